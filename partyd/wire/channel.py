"""The encrypted channel between one local address and one pinned peer: no I/O, no clock, no tasks.

The owner feeds frames (``receive``) and time (``tick`` at ``next_deadline``), carries ``frames_to_send`` to the
broker, and gets events. Records go out through ``seal`` once ``established`` is true.

A handshake is one INIT and one RESPONSE; then the initiator sends an empty DATA frame at once, because the responder
uses new keys only after a frame proves that the initiator has them (key confirmation; a replayed INIT never gets that
far). Until then the session in use stays in use. The keys before are receive-only for 60 s more.

            initiator                                   responder
    initiate  --- INIT(epoch, index, hello) ---------->   epoch > last seen? remember it (EpochSeen)
    Established <- RESPONSE(ok, index, hello) ---------   keys wait for confirmation
              --- DATA(empty) ------------------------>   Established
              <-- DATA(empty) -------------------------   (so that the initiator stops repeating its own)

When both begin at once, the lower address's handshake counts: it ignores the other's INIT and repeats its own, fresh
and at most every 0.5 s, in case the first was lost. After two unanswered attempts it gives way, so that no rule can
keep two honest sides apart. Whoever has sent data for 15 s and heard nothing begins a new handshake: the peer may have
restarted and lost its keys.

Every frame that is not accepted yields one ``Rejected`` and changes nothing. No frame makes ``receive`` raise.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.crypto.identity import LocalIdentity
from partyd.errors import BadFrame, BadValue, LocalProtocolError
from partyd.types import Address
from partyd.wire.card import Card
from partyd.wire.events import ChannelEvent, EpochSeen, EpochStale, Established, Opened, Reason, Rejected
from partyd.wire.frame import HEADER_BYTES, FrameType, Header, pack_header, parse_header
from partyd.wire.hello import Hello, InitPayload, ResponsePayload, Status
from partyd.wire.keypair import KeyPair
from partyd.wire.keyring import PSK_BYTES, Keyring
from partyd.wire.keytable import KeyTable
from partyd.wire.noise import Initiator, Responder, TransportKeys
from partyd.wire.rate import TokenBucket

HANDSHAKE_TIMEOUT_S: Final = 5.0
HANDSHAKE_RETRY_CAP_S: Final = 30.0
JITTER_S: Final = 0.5
RESEND_INIT_S: Final = 0.5
GIVE_WAY_AFTER: Final = 2
"""Unanswered attempts after which the lower address answers the other's INIT."""
STALE_RETRY_S: Final = 0.05
CONFIRM_REPEAT_S: Final = 1.0
SILENCE_S: Final = 15.0
KEEPALIVE_S: Final = 10.0
HANDSHAKES_PER_S: Final = 10.0
STALE_ANSWERS_PER_S: Final = 1.0


@dataclass(frozen=True, repr=False)
class _Pending:
    """Our handshake under way."""

    noise: Initiator
    index: int
    epoch: int
    sent: float
    deadline: float


class Channel:
    """One local address's end of the channel to one peer address."""

    def __init__(
        self,
        identity: LocalIdentity,
        card: Card,
        peer: Card,
        *,
        hello: Hello,
        next_epoch: Callable[[], int],
        last_seen_epoch: int,
        psk: bytes = bytes(PSK_BYTES),
        previous_card: Card | None = None,
        previous_peer: Card | None = None,
        known_boot: bytes | None = None,
        known_store: bytes | None = None,
        token_bytes: Callable[[int], bytes] = secrets.token_bytes,
        generate_kx: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
    ) -> None:
        """Make a channel at rest.

        ``next_epoch`` gives a number above every one it gave before, also across restarts (its owner persists it
        before returning). ``last_seen_epoch``, ``known_boot`` and ``known_store`` are what earlier events said. The
        cards must have been verified; the owner calls ``reset`` when one expires or is revoked.
        """
        self._keyring = _keyring(identity, card, peer, previous_card, previous_peer, psk)
        self._psk = psk
        self._hello = hello
        self._next_epoch = next_epoch
        self._last_seen = last_seen_epoch
        self._known_boot, self._known_store = known_boot, known_store
        self._token_bytes, self._generate_kx = token_bytes, generate_kx
        self._handshakes = TokenBucket(HANDSHAKES_PER_S, HANDSHAKES_PER_S)
        self._responses = TokenBucket(HANDSHAKES_PER_S, HANDSHAKES_PER_S)
        self._stale_answers = TokenBucket(STALE_ANSWERS_PER_S, 2 * STALE_ANSWERS_PER_S)
        self._last_init = b""
        self._now = 0.0
        self._outgoing: list[bytes] = []
        self._forget()

    def _forget(self) -> None:
        self._keys = KeyTable()
        self._pending: _Pending | None = None
        self._wanted = False
        self._attempts = 0
        self._stale_in_a_row = 0
        self._retry_at: float | None = None
        self._confirm_at: float | None = None
        self._unanswered_since: float | None = None
        self._sealed_unanswered = False
        """``seal`` has no clock: the next ``tick``, which is due at once, begins to count the silence."""
        self._owing_since: float | None = None
        self._outgoing.clear()

    # What the owner sees

    @property
    def local(self) -> Address:
        return self._keyring.local

    @property
    def peer(self) -> Address:
        return self._keyring.peer

    @property
    def established(self) -> bool:
        """Say whether ``seal`` may be called now."""
        return self._keys.current is not None and not self._keys.current.exhausted

    @property
    def max_record(self) -> int:
        """The longest record the session in use carries; 0 without one."""
        return self._keys.current.max_record if self._keys.current else 0

    def reset(self) -> None:
        """Forget every key and handshake; ``initiate`` begins anew."""
        self._forget()

    def replace_cards(
        self,
        identity: LocalIdentity,
        card: Card,
        peer: Card,
        *,
        previous_card: Card | None = None,
        previous_peer: Card | None = None,
    ) -> None:
        """Use new cards (after a rotation) from the next handshake on; the session in use goes on."""
        ring = _keyring(identity, card, peer, previous_card, previous_peer, self._psk)
        if (ring.local, ring.peer) != (self.local, self.peer):
            raise LocalProtocolError(f"the channel joins {self.local} and {self.peer}; these cards are of others")
        self._keyring = ring

    def frames_to_send(self) -> list[bytes]:
        """Return the channel's own frames (handshakes, keep-alives), each once."""
        frames, self._outgoing = self._outgoing, []
        return frames

    def seal(self, record: bytes) -> bytes:
        """Return a data frame with ``record``; raises LocalProtocolError when not established or too long."""
        if self._keys.current is None:
            raise LocalProtocolError(f"no session with {self.peer} yet: wait for Established")
        frame = self._keys.current.seal(record)
        if record:
            self._owing_since = None
            self._sealed_unanswered = self._unanswered_since is None
        return frame

    def initiate(self, now: float) -> None:
        """Begin a handshake unless one is under way or a session is in use."""
        self._now = now
        self._wanted = True
        if self._keys.current is not None or self._pending is not None:
            return
        if self._keys.awaiting is None:
            self._begin(now)
        elif self._retry_at is None:
            self._retry_at = now + HANDSHAKE_TIMEOUT_S

    # Time

    def tick(self, now: float) -> list[ChannelEvent]:
        """Do what is due by ``now``; it may put frames into ``frames_to_send``."""
        self._now = now
        if self._keys.drop_expired(now):
            self._confirm_at = self._unanswered_since = self._owing_since = None
        if self._sealed_unanswered:
            self._sealed_unanswered, self._unanswered_since = False, now
        due = self._handshake_at()
        if due is not None and now >= due:
            self._begin(now)
        if self._confirm_at is not None and now >= self._confirm_at:
            self._confirm_at = now + CONFIRM_REPEAT_S + self._jitter()
            self._keep_alive()
        if self._owing_since is not None and now >= self._owing_since + KEEPALIVE_S:
            self._keep_alive()
        return []

    def next_deadline(self) -> float | None:
        """Return when ``tick`` has something to do, or None."""
        times = [self._confirm_at, self._handshake_at(), *self._keys.ends]
        if self._owing_since is not None:
            times.append(self._owing_since + KEEPALIVE_S)
        if self._sealed_unanswered:
            times.append(self._now)
        return min((at for at in times if at is not None), default=None)

    def _handshake_at(self) -> float | None:
        """Return when the next INIT is due, if ever."""
        if self._pending is not None:
            return self._pending.deadline
        if self._retry_at is not None:
            return self._retry_at
        current = self._keys.current
        if current is None:
            return self._now if self._wanted and self._keys.awaiting is None else None
        at = self._now if current.wants_rekey(self._now) else current.rekey_at
        return at if self._unanswered_since is None else min(at, self._unanswered_since + SILENCE_S)

    def _jitter(self) -> float:
        return JITTER_S * int.from_bytes(self._token_bytes(2), "big") / 65_536

    # Sending handshakes

    def _begin(self, now: float) -> None:
        """Send a fresh INIT; an earlier one is given up."""
        noise = self._keyring.begin(self._attempts, self._generate_kx())
        index, epoch = self._fresh_index(), self._next_epoch()
        message = noise.write_first(InitPayload(epoch, index, self._hello).encode())
        wait = min(HANDSHAKE_TIMEOUT_S * 2 ** max(0, min(self._attempts, 8) - 1), HANDSHAKE_RETRY_CAP_S)
        self._pending = _Pending(noise, index, epoch, now, now + wait + self._jitter())
        self._attempts += 1
        self._retry_at = None
        self._outgoing = [frame for frame in self._outgoing if frame[1] != FrameType.INIT]
        self._outgoing.append(pack_header(FrameType.INIT, 0, 0) + message)

    def _fresh_index(self) -> int:
        while True:
            index = int.from_bytes(self._token_bytes(4), "big")
            if index and index not in self._keys.indexes and (self._pending is None or index != self._pending.index):
                return index

    def _keep_alive(self) -> None:
        self._owing_since = None
        if self._keys.current is not None and not self._keys.current.exhausted:
            self._outgoing.append(self._keys.current.seal(b""))

    # Receiving

    def receive(self, frame: bytes, now: float) -> list[ChannelEvent]:
        """Take one frame from the peer's mailbox; never raises on what is in it."""
        self._now = now
        try:
            header = parse_header(frame)
        except BadFrame:
            return [Rejected(Reason.MALFORMED)]
        try:
            if header.type is FrameType.DATA:
                return self._receive_data(header, frame, now)
            if header.type is FrameType.INIT:
                return self._receive_init(frame, now)
            return self._receive_response(header, frame, now)
        except BadFrame as error:
            reason = error.args[0]
            return [Rejected(reason if isinstance(reason, Reason) else Reason.HANDSHAKE)]
        except BadValue:
            return [Rejected(Reason.CONTENT)]

    def _receive_data(self, header: Header, frame: bytes, now: float) -> list[ChannelEvent]:
        keypair = self._keys.find(header.receiver_index, now)
        record = keypair.open(header, frame, now)
        events: list[ChannelEvent] = []
        if keypair is self._keys.awaiting:
            events.append(self._use(keypair, now))
            self._keep_alive()
        if keypair is self._keys.current:
            self._confirm_at = self._unanswered_since = None
            self._sealed_unanswered = False
        if record:
            events.append(Opened(record))
            if self._owing_since is None:
                self._owing_since = now
        return events

    def _receive_init(self, frame: bytes, now: float) -> list[ChannelEvent]:
        fingerprint = hashlib.sha256(frame).digest()
        if fingerprint == self._last_init:
            raise BadFrame(Reason.DUPLICATE_INIT)
        if not self._handshakes.take(now):
            raise BadFrame(Reason.RATE)
        noise, data = self._keyring.answer(frame[HEADER_BYTES:])
        init = InitPayload.decode(data)
        if init.epoch <= self._last_seen:
            if self._stale_answers.take(now):
                self._answer(noise, init, Status.STALE_EPOCH, 0)
            return [Rejected(Reason.STALE_EPOCH)]
        self._last_seen, self._last_init = init.epoch, fingerprint
        events: list[ChannelEvent] = [EpochSeen(init.epoch)]
        version = self._hello.common_version(init.hello)
        if version is None:
            self._answer(noise, init, Status.NO_COMMON_VERSION, 0)
            return [*events, Rejected(Reason.NO_COMMON_VERSION)]
        if not self._prevails(now):
            self._accept(noise, init, version, now)
        return events

    def _prevails(self, now: float) -> bool:
        """Say whether our own handshake under way goes before the peer's; then see that it is not lost."""
        pending = self._pending
        if pending is None or not self._keyring.local_wins or self._attempts > GIVE_WAY_AFTER:
            return False
        if now >= pending.sent + RESEND_INIT_S:
            self._begin(now)
        else:
            deadline = min(pending.deadline, pending.sent + RESEND_INIT_S)
            self._pending = _Pending(pending.noise, pending.index, pending.epoch, pending.sent, deadline)
        return True

    def _accept(self, noise: Responder, init: InitPayload, version: int, now: float) -> None:
        """Answer an INIT; its keys wait for the first frame under them."""
        index = self._answer(noise, init, Status.OK, version)
        self._keys.wait_for(self._keypair(_split(noise.keys), (index, init.sender_index), init.hello, False, now), now)
        if self._pending is not None and self._keyring.local_wins:
            return  # given way, and yet ours may be answered first: then it counts
        if self._pending is not None or self._wanted:
            self._pending = None
            self._retry_at = now + HANDSHAKE_TIMEOUT_S + self._jitter()

    def _answer(self, noise: Responder, init: InitPayload, status: Status, version: int) -> int:
        index = self._fresh_index()
        payload = ResponsePayload(status, self._last_seen, version, index, self._hello).encode()
        message = noise.write_second(payload, self._generate_kx())
        self._outgoing.append(pack_header(FrameType.RESPONSE, init.sender_index, 0) + message)
        return index

    def _receive_response(self, header: Header, frame: bytes, now: float) -> list[ChannelEvent]:
        pending = self._pending
        if pending is None or header.receiver_index != pending.index:
            raise BadFrame(Reason.UNKNOWN_INDEX)
        if not self._responses.take(now):
            raise BadFrame(Reason.RATE)
        response = ResponsePayload.decode(pending.noise.read_second(frame[HEADER_BYTES:]))
        if response.status is Status.STALE_EPOCH:
            return self._retry_stale(response, pending, now)
        common = self._hello.common_version(response.hello)
        if response.status is not Status.OK or response.version != common:
            raise BadFrame(Reason.NO_COMMON_VERSION)
        indexes = (pending.index, response.sender_index)
        keypair = self._keypair(_split(pending.noise.keys), indexes, response.hello, True, now)
        event = self._use(keypair, now)
        self._confirm_at, self._unanswered_since = now + CONFIRM_REPEAT_S + self._jitter(), now
        self._keep_alive()
        return [event]

    def _retry_stale(self, response: ResponsePayload, pending: _Pending, now: float) -> list[ChannelEvent]:
        if response.last_seen_epoch < pending.epoch:
            raise BadFrame(Reason.CONTENT)
        self._pending = None
        self._stale_in_a_row += 1
        wait = STALE_RETRY_S if self._stale_in_a_row == 1 else HANDSHAKE_TIMEOUT_S
        self._retry_at = now + wait * self._stale_in_a_row
        return [EpochStale(response.last_seen_epoch)]

    # Keys

    def _keypair(
        self, keys: TransportKeys, indexes: tuple[int, int], peer: Hello, initiator: bool, now: float
    ) -> KeyPair:
        return KeyPair(
            keys,
            initiator=initiator,
            local=self.local,
            peer=self.peer,
            indexes=indexes,
            hello=peer,
            max_frame=min(self._hello.max_frame, peer.max_frame),
            now=now,
        )

    def _use(self, keypair: KeyPair, now: float) -> Established:
        """Seal with ``keypair`` from now on; every timer of the session before ends."""
        self._keys.use(keypair, now)
        self._pending, self._wanted = None, True
        self._attempts = self._stale_in_a_row = 0
        self._retry_at = self._confirm_at = self._unanswered_since = self._owing_since = None
        self._sealed_unanswered = False
        hello = keypair.hello
        event = Established(
            hello, hello.boot_id != self._known_boot, hello.store_id != self._known_store, keypair.initiator
        )
        self._known_boot, self._known_store = hello.boot_id, hello.store_id
        return event


def _split(keys: TransportKeys | None) -> TransportKeys:
    if keys is None:
        raise LocalProtocolError("the handshake is not complete")
    return keys


def _keyring(
    identity: LocalIdentity, card: Card, peer: Card, previous_card: Card | None, previous_peer: Card | None, psk: bytes
) -> Keyring:
    own = [each for each in (card, previous_card) if each is not None]
    peers = [each for each in (peer, previous_peer) if each is not None]
    return Keyring(identity, own, peers, psk)


__all__ = ["Channel", "ChannelEvent", "EpochSeen", "EpochStale", "Established", "Opened", "Rejected"]
