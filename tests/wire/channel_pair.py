"""Two channels on one virtual clock, and a wire between them that the test plays with."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.crypto.identity import LocalIdentity
from partyd.types import Address
from partyd.wire.card import Card, issue
from partyd.wire.channel import Channel
from partyd.wire.events import ChannelEvent, EpochSeen, EpochStale, Established, Opened, Rejected
from partyd.wire.hello import Hello

GUEST = Address.parse("10000/guest")
HOST = Address.parse("9999/host")
EPOCH = 1_800_000_000


def seed(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


def insecure_identity(address: Address, number: int = 0) -> LocalIdentity:
    """Keys anybody can compute: for tests only."""
    return LocalIdentity(
        address=address,
        id_key=Ed25519PrivateKey.from_private_bytes(seed("id", address, number)),
        kx_key=X25519PrivateKey.from_private_bytes(seed("kx", address, number)),
        kx_created=EPOCH,
    )


def card_of(identity: LocalIdentity, serial: int = 1, previous: Card | None = None) -> Card:
    return issue(
        identity, org="Test", serial=serial, not_before=EPOCH, not_after=EPOCH + 90 * 86_400, previous=previous
    )


def stream(*parts: object) -> Callable[[int], bytes]:
    """Return deterministic ``token_bytes``."""
    counter = itertools.count()
    return lambda count: seed(*parts, next(counter))[:count]


def key_stream(*parts: object) -> Callable[[], X25519PrivateKey]:
    counter = itertools.count()
    return lambda: X25519PrivateKey.from_private_bytes(seed(*parts, next(counter)))


class Side:
    """A channel with what its driver would persist; ``boot`` starts it again."""

    def __init__(self, local: Address, peer: Address, *, max_frame: int = 1 << 20) -> None:
        self.identity = insecure_identity(local)
        self.peer = peer
        self.max_frame = max_frame
        self.epoch = 100
        self.last_seen = 0
        self.boots = 0
        self.store = 1
        self.inbox: list[bytes] = []
        self.events: list[ChannelEvent] = []
        self.channel = self.boot()

    def next_epoch(self) -> int:
        self.epoch += 1
        return self.epoch

    def boot(self) -> Channel:
        self.boots += 1
        name = (str(self.identity.address), self.boots)
        self.channel = Channel(
            self.identity,
            card_of(self.identity),
            card_of(insecure_identity(self.peer)),
            hello=Hello(seed("boot", *name)[:16], seed("store", name[0], self.store)[:16], 4096, self.max_frame),
            next_epoch=self.next_epoch,
            last_seen_epoch=self.last_seen,
            token_bytes=stream("token", *name),
            generate_kx=key_stream("ephemeral", *name),
        )
        return self.channel

    def receive(self, frame: bytes, now: float) -> list[ChannelEvent]:
        events = self.channel.receive(frame, now)
        for event in events:
            if isinstance(event, EpochSeen):
                self.last_seen = event.epoch
            if isinstance(event, EpochStale):
                self.epoch = event.last_seen
            if isinstance(event, Opened):
                self.inbox.append(event.record)
        self.events += events
        return events

    def established_events(self) -> list[Established]:
        return [event for event in self.events if isinstance(event, Established)]

    def rejections(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, Rejected)]


class Pair:
    """Two sides; ``settle`` carries frames until silence, ``pass_time`` also ticks both."""

    def __init__(self, first: Address = GUEST, second: Address = HOST) -> None:
        self.now = 1000.0
        self.left, self.right = Side(first, second), Side(second, first)
        self.sides = (self.left, self.right)

    def other(self, side: Side) -> Side:
        return self.right if side is self.left else self.left

    def take(self) -> list[tuple[Side, bytes]]:
        """Return the frames that wait, each with its receiver."""
        return [(self.other(side), frame) for side in self.sides for frame in side.channel.frames_to_send()]

    def settle(self) -> None:
        for _ in range(50):
            frames = self.take()
            if not frames:
                return
            for receiver, frame in frames:
                receiver.receive(frame, self.now)
        raise AssertionError("the two channels talk for ever")

    def pass_time(self, seconds: float, *, deliver: bool = True) -> None:
        """Let time pass, ticking at every deadline."""
        end = self.now + seconds
        for _ in range(10_000):
            deadlines = [at for side in self.sides if (at := side.channel.next_deadline()) is not None]
            self.now = max(self.now, min([end, *deadlines]))
            for side in self.sides:
                side.channel.tick(self.now)
            if deliver:
                self.settle()
            else:
                self.take()
            if self.now >= end:
                return
        raise AssertionError("deadlines do not move on")

    def connect(self) -> None:
        self.left.channel.initiate(self.now)
        self.settle()
        assert self.left.channel.established
        assert self.right.channel.established

    def send(self, sender: Side, record: bytes) -> list[ChannelEvent]:
        return self.other(sender).receive(sender.channel.seal(record), self.now)
