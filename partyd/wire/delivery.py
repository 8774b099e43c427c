"""Deliver numbered messages to one peer until it has them on its disk; no I/O, no clock, no cryptography.

The broker may lose, repeat, delay and reorder whatever it likes: it promises nothing here. A message has a number that
its sender's store assigned. It is cut into chunks; the receiver takes the chunks of each message in order, checks the
body's SHA-256, hands the message to its owner, and only when the owner says ``stored`` (after its fsync) does the
sender hear that the message is delivered. Whatever is not acknowledged is sent again: at once when the receiver tells
of a gap, after a timeout otherwise, and on every new session. Repetition is harmless, since the receiver knows the
numbers it has settled and its owner's inbox knows messages by their identity.

Flow control: the receiver grants the bytes that may be unacknowledged (``credit``). Credit zero pauses the sender, but
up to 64 control messages may still fly. An acknowledgement carries the whole state it speaks of, so any of them may be
lost.

Use: feed records in with ``receive``, call ``tick`` when ``next_deadline`` has come, and take what is to be sent with
``records_to_send`` until it returns nothing. A body is read only when its chunk is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from partyd.errors import BadValue
from partyd.wire.bodies import Body, SpoolFactory
from partyd.wire.delivery_events import Alive, BodyLost, DeliveryEvent, RecordRejected, Suspect
from partyd.wire.reassembly import Receiver, ReceiverLimits
from partyd.wire.records import BOOT_BYTES, OVERHEAD, Ack, First, More, Ping, Probe, Record, Refuse, decode, encode
from partyd.wire.sending import Sender
from partyd.wire.timing import ResendTimer, Uniform

CHUNK = 511 * 1024
"""A little less than 512 KiB, so that the padded frame is not a step of Padmé (16 KiB) longer."""
MIN_RECORD = 16 * 1024
"""The least that the channel must carry in one record: a header of 4 KiB and a chunk, or a full acknowledgement."""
WINDOW = 16 << 20
HEARTBEAT_S = 10.0
BLOCKED_HEARTBEAT_S = 2.0
SUSPECT_S = 3 * HEARTBEAT_S + 2.0


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """Figures for the metrics page."""

    unacknowledged: int
    bytes_sent: int
    bytes_received: int
    resent: int
    duplicates: int
    rejected: int
    round_trip_s: float | None
    credit: int


class Delivery:
    """Both halves of delivery with one peer.

    ``boot`` names this process's life (at least 8 random bytes); ``uniform`` supplies the jitter.
    """

    def __init__(
        self,
        boot: bytes,
        spool: SpoolFactory,
        uniform: Uniform,
        now: float,
        *,
        chunk: int = CHUNK,
        window: int = WINDOW,
        limits: ReceiverLimits | None = None,
    ) -> None:
        self._boot = boot[:BOOT_BYTES]
        self._max_chunk = chunk
        self._window = window
        self._granted = window
        self._timer = ResendTimer(uniform)
        self._sender = Sender(self._timer, chunk)
        self._receiver = Receiver(spool, limits or ReceiverLimits())
        self._peer_boot: bytes | None = None
        self._peer_store: bytes | None = None
        self._ack_number = 0
        self._ack_seen = 0
        self._echo = 0
        self._ping: tuple[int, float] | None = None
        self._ping_number = 0
        self._ping_wanted = False
        self._next_ping = now + HEARTBEAT_S
        self._suspected = False
        self._rejected = 0
        self._pending: list[DeliveryEvent] = []
        self.last_heard = now

    # what the owner says

    def submit(self, seq: int, header: bytes, body: Body, control: bool = False) -> None:
        """Take message ``seq`` to deliver; the same number again is ignored.

        ``control`` is for small messages (64 KiB) that must pass while the window is closed, and go before all others.
        Raises LocalProtocolError if header or body are too long.
        """
        self._sender.submit(seq, header, body, control)

    def stored(self, seq: int, now: float) -> None:
        """Say that the message that arrived is on this side's disk; the peer is told with the next records.

        After the peer came back with a new store, call it only for messages that arrived since.
        """
        self._receiver.stored(seq, now)

    def refused(self, seq: int, code: str, now: float) -> None:
        """Say that the message that arrived will never be taken; the peer is told ``code`` (1 to 32 of a-z 0-9 _)."""
        self._receiver.refuse(seq, code, now)

    def set_credit(self, credit: int, now: float) -> None:
        """Grant the peer this many unacknowledged bytes (never more than the window); told at once."""
        granted = max(0, min(credit, self._window))
        if granted != self._granted:
            self._granted = granted
            self._receiver.tell_now(now)

    def reconnected(self, now: float, boot: bytes, store: bytes, window: int, max_record: int) -> None:
        """Begin with a new session: everything unacknowledged goes out again.

        ``boot``, ``store`` and ``window`` (the first credit) are what the peer's hello said; ``max_record``, at least
        ``MIN_RECORD``, is the longest record the channel carries. A peer that started anew has forgotten the open
        messages; a peer with a new store numbers its own messages anew.
        """
        new_boot = self._peer_boot != boot[:BOOT_BYTES]
        new_store = self._peer_store is not None and self._peer_store != store
        self._peer_boot, self._peer_store = boot[:BOOT_BYTES], store
        chunk = min(self._max_chunk, max_record - OVERHEAD)
        self._sender.restart(chunk, from_start=new_boot)
        self._sender.credit = min(window, self._window)
        self._receiver.reconnected(new_boot, new_store)
        self._ack_seen = 0
        self._ping, self._ping_wanted = None, True
        self._receiver.tell_now(now)
        self._heard(now)

    def resend(self) -> None:
        """Send everything unacknowledged again at once: the transport is back after it was down."""
        self._sender.restart(self._sender.chunk, from_start=False)
        self._timer.heard()

    def close(self) -> None:
        """Abort what is half received."""
        self._receiver.close()

    # what the peer says

    def receive(self, data: bytes, now: float) -> list[DeliveryEvent]:
        """Take one record as it was opened; hostile bytes make a RecordRejected, never an exception."""
        try:
            boot, record = decode(data)
        except BadValue as error:
            return self._counted([RecordRejected(str(error))])
        if boot != self._peer_boot:
            return self._counted([RecordRejected("record of another life of the peer")])
        self._heard(now)
        return self._drain() + self._counted(self._take(record, now))

    def _drain(self) -> list[DeliveryEvent]:
        events, self._pending = self._pending, []
        return events

    def _heard(self, now: float) -> None:
        if self._suspected:
            self._pending.append(Alive())
        self.last_heard = now
        self._next_ping = now + HEARTBEAT_S
        self._suspected = False
        self._sender.heard()

    def _counted(self, events: list[DeliveryEvent]) -> list[DeliveryEvent]:
        self._rejected += sum(isinstance(event, RecordRejected) for event in events)
        return events

    def _take(self, record: Record, now: float) -> list[DeliveryEvent]:
        match record:
            case First():
                return self._receiver.first(record, now)
            case More():
                return self._receiver.more(record, now)
            case Probe():
                self._receiver.probe(record, now)
            case Ack():
                return self._take_ack(record, now)
            case Refuse(seq, code):
                return self._sender.refused(seq, code)
            case Ping(nonce):
                self._echo = nonce
                self._receiver.tell_now(now)
        return []

    def _take_ack(self, ack: Ack, now: float) -> list[DeliveryEvent]:
        if ack.number > self._ack_seen:
            self._ack_seen = ack.number
            self._sender.credit = min(ack.credit, self._window)
        if self._ping is not None and ack.echo == self._ping[0]:
            self._timer.measured(now - self._ping[1])
            self._ping = None
        events: list[DeliveryEvent] = []
        for first, last in ack.stored:
            events += self._sender.stored(first, last, now)
        for told in ack.progress:
            events += self._sender.progress(told, now)
        return events

    # time

    def next_deadline(self) -> float:
        """When ``tick`` or ``records_to_send`` must be called at the latest, while there is a session."""
        if self._pending:
            return self.last_heard
        times = [self._ping_due(), self.suspect_deadline(), self._sender.next_timer(), self._receiver.ack_due]
        return min(time for time in times if time is not None)

    def suspect_deadline(self) -> float | None:
        """When a silent peer becomes suspect; all that runs on while there is no session."""
        return None if self._suspected else self.last_heard + SUSPECT_S

    def _ping_due(self) -> float:
        """Heartbeats come sooner while a closed window holds messages back: the news of its opening may be lost."""
        blocked = self._sender.credit == 0 and len(self._sender) > 0
        return self._next_ping - (HEARTBEAT_S - BLOCKED_HEARTBEAT_S) * blocked

    def tick(self, now: float) -> list[DeliveryEvent]:
        """Let time pass: resend timers, heartbeats, suspicion."""
        events = self._drain()
        if self._sender.expire(now):
            self._ping_wanted = True
        if now >= self._ping_due():
            self._ping_wanted = True
            self._next_ping = now + HEARTBEAT_S
        if not self._suspected and now >= self.last_heard + SUSPECT_S:
            self._suspected = True
            events.append(Suspect(now - self.last_heard))
        return events

    @property
    def has_work(self) -> bool:
        """Something is submitted and not delivered, or an acknowledgement is owed."""
        return len(self._sender) > 0 or self._receiver.ack_due is not None

    # what is to be sent

    def records_to_send(self, now: float, budget: int) -> list[bytes]:
        """Return the records to send now: acknowledgements always, chunks until ``budget`` bytes are reached."""
        records = [encode(self._boot, record) for record in self._owed(now)]
        spent = 0
        while spent < budget:
            record = self._sender.next_record(now)
            if record is None:
                break
            if isinstance(record, BodyLost):
                self._pending.append(record)
                continue
            records.append(encode(self._boot, record))
            spent += len(records[-1])
        return records

    def _owed(self, now: float) -> Iterator[Record]:
        """Yield acknowledgements, refusals and the heartbeat that are due."""
        yield from self._receiver.take_refusals()
        due = self._receiver.ack_due
        if due is not None and now >= due:
            for stored, progress in self._receiver.take_acks():
                self._ack_number += 1
                yield Ack(self._ack_number, self._granted, self._echo, stored, progress)
            self._echo = 0
        if self._ping_wanted:
            self._ping_wanted = False
            if self._ping is None or now >= self._ping[1] + HEARTBEAT_S:  # else ask again: slow is not lost
                self._ping_number += 1
                self._ping = (self._ping_number, now)
            yield Ping(self._ping_number)

    @property
    def stats(self) -> DeliveryStats:
        """Present figures."""
        return DeliveryStats(
            unacknowledged=len(self._sender),
            bytes_sent=self._sender.bytes_sent,
            bytes_received=self._receiver.bytes_received,
            resent=self._sender.resent,
            duplicates=self._receiver.duplicates,
            rejected=self._rejected,
            round_trip_s=self._timer.smoothed_s,
            credit=self._sender.credit,
        )
