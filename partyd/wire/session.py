"""One peer's session: delivery inside the encrypted channel; no I/O, no clock.

The session asks the channel for a handshake when it is to be connected or has something to deliver. The channel repeats
an unanswered handshake after 5 s, ever more slowly; a ``nudge`` (the transport is back, the peer is said to be there)
begins a fresh one at once. Nudges come from the untrusted broker, so they are spaced by a back-off with jitter that
only an authentic frame resets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from partyd.crypto.identity import LocalIdentity
from partyd.wire.bodies import Body
from partyd.wire.card import Card
from partyd.wire.delivery import MIN_RECORD, Delivery, DeliveryStats
from partyd.wire.delivery_events import DeliveryEvent, RecordRejected
from partyd.wire.events import ChannelEvent, EpochSeen, Established, Opened
from partyd.wire.timing import Backoff, Uniform

NUDGE_FIRST_S = 0.5
ANSWERED_S = 2.0
"""So long after the peer's own handshake a nudge does not disturb it."""

SessionEvent = ChannelEvent | DeliveryEvent


class SecureChannel(Protocol):
    """What the session needs of ``channel.Channel``."""

    @property
    def established(self) -> bool:
        """Whether ``seal`` may be called."""

    @property
    def max_record(self) -> int:
        """The longest record that ``seal`` takes."""

    def receive(self, frame: bytes, now: float) -> Sequence[ChannelEvent]:
        """Take a frame from the transport."""

    def initiate(self, now: float) -> None:
        """Begin a handshake unless one is under way or there are keys."""

    def seal(self, record: bytes) -> bytes:
        """Return ``record`` as a frame."""

    def tick(self, now: float) -> Sequence[ChannelEvent]:
        """Let time pass."""

    def next_deadline(self) -> float | None:
        """When ``tick`` must be called."""

    def frames_to_send(self) -> Sequence[bytes]:
        """Handshake frames to send."""

    def reset(self) -> None:
        """Drop all keys."""

    def replace_cards(
        self,
        identity: LocalIdentity,
        card: Card,
        peer: Card,
        *,
        previous_card: Card | None = None,
        previous_peer: Card | None = None,
    ) -> None:
        """Use new cards from the next handshake on."""


@dataclass(frozen=True, slots=True)
class SessionStats:
    """Figures for the metrics page."""

    established: bool
    handshakes: int
    frames_received: int
    frames_sent: int
    last_heard: float
    delivery: DeliveryStats


class Session:
    """Channel and delivery for one peer."""

    def __init__(self, channel: SecureChannel, delivery: Delivery, uniform: Uniform, now: float) -> None:
        self._channel = channel
        self._delivery = delivery
        self._backoff = Backoff(uniform, NUDGE_FIRST_S)
        self._next_nudge = now
        self._nudged = False
        self._wanted = False
        self._usable = True
        self._handshakes = 0
        self._received = 0
        self._sent = 0

    # what the owner says

    def connect(self) -> None:
        """Have a channel from now on, whether or not there is anything to send."""
        self._wanted = True

    def submit(self, seq: int, header: bytes, body: Body, control: bool = False) -> None:
        """See ``Delivery.submit``."""
        self._delivery.submit(seq, header, body, control)

    def stored(self, seq: int, now: float) -> None:
        """See ``Delivery.stored``."""
        self._delivery.stored(seq, now)

    def refused(self, seq: int, code: str, now: float) -> None:
        """See ``Delivery.refused``."""
        self._delivery.refused(seq, code, now)

    def set_credit(self, credit: int, now: float) -> None:
        """See ``Delivery.set_credit``."""
        self._delivery.set_credit(credit, now)

    def nudge(self, now: float) -> None:
        """Begin a fresh handshake soon if there are no keys: something hints that the peer can be reached now."""
        self._nudged = not self._channel.established and self._needed
        self._next_nudge = max(self._next_nudge, now)

    def transport_restored(self, now: float) -> None:
        """Send everything unacknowledged again at once: frames may have been lost while the transport was down."""
        self._delivery.resend()
        self.nudge(now)

    def replace_cards(
        self,
        identity: LocalIdentity,
        card: Card,
        peer: Card,
        *,
        previous_card: Card | None = None,
        previous_peer: Card | None = None,
    ) -> None:
        """Use new cards from the next handshake on; the keys in use stay in use. See ``Channel.replace_cards``."""
        self._channel.replace_cards(identity, card, peer, previous_card=previous_card, previous_peer=previous_peer)

    def drop_keys(self) -> None:
        """Forget the keys; a new handshake follows, and what was under way is sent again under its keys."""
        self._channel.reset()

    def close(self) -> None:
        """Drop the keys and what is half received."""
        self._wanted = False
        self._channel.reset()
        self._delivery.close()

    # frames

    def receive_frame(self, frame: bytes, now: float) -> list[SessionEvent]:
        """Take one frame as the transport brought it."""
        self._received += 1
        events: list[SessionEvent] = []
        for event in self._channel.receive(frame, now):
            events += self._take(event, now)
        return events

    def _take(self, event: ChannelEvent, now: float) -> Sequence[SessionEvent]:
        if isinstance(event, Opened):
            self._backoff.reset()
            return self._delivery.receive(event.record, now)
        if isinstance(event, EpochSeen):
            self._next_nudge = max(self._next_nudge, now + ANSWERED_S)
        if isinstance(event, Established):
            return [event, *self._establish(event, now)]
        return [event]

    def _establish(self, event: Established, now: float) -> list[SessionEvent]:
        self._backoff.reset()
        self._nudged = False
        self._handshakes += 1
        max_record = self._channel.max_record
        self._usable = max_record >= MIN_RECORD
        if not self._usable:
            return [RecordRejected(f"the peer takes records of {max_record} bytes; {MIN_RECORD} are needed")]
        hello = event.hello
        self._delivery.reconnected(now, hello.boot_id, hello.store_id, hello.window, max_record)
        return []

    def frames_to_send(self, now: float, budget: int) -> list[bytes]:
        """Return the frames to publish now; call until it returns nothing. ``budget`` bounds the bytes of data."""
        if self._nudged and now >= self._next_nudge:
            self._nudged = False
            self._next_nudge = now + self._backoff.next()
            self._channel.reset()
        if not self._channel.established and self._needed:
            self._channel.initiate(now)
        frames = list(self._channel.frames_to_send())
        if self._sending:
            frames += [self._channel.seal(record) for record in self._delivery.records_to_send(now, budget)]
        self._sent += len(frames)
        return frames

    @property
    def _needed(self) -> bool:
        return self._wanted or self._delivery.has_work

    @property
    def _sending(self) -> bool:
        return self._channel.established and self._usable

    # time

    def tick(self, now: float) -> list[SessionEvent]:
        """Let time pass; call it when ``next_deadline`` has come, then ``frames_to_send``."""
        events: list[SessionEvent] = []
        for event in self._channel.tick(now):
            events += self._take(event, now)
        return events + list(self._delivery.tick(now))

    def next_deadline(self) -> float | None:
        """When ``tick`` and ``frames_to_send`` must be called at the latest; None for never."""
        times = [self._channel.next_deadline(), self._next_nudge if self._nudged else None]
        times.append(self._delivery.next_deadline() if self._sending else self._delivery.suspect_deadline())
        return min((time for time in times if time is not None), default=None)

    @property
    def established(self) -> bool:
        """Whether there are keys to send with."""
        return self._channel.established

    @property
    def stats(self) -> SessionStats:
        """Present figures."""
        return SessionStats(
            established=self._channel.established,
            handshakes=self._handshakes,
            frames_received=self._received,
            frames_sent=self._sent,
            last_heard=self._delivery.last_heard,
            delivery=self._delivery.stats,
        )
