"""Frames of every type as a hostile broker would alter them, and the count of what a channel lets through."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from partyd.wire.channel import Channel
from partyd.wire.events import Rejected
from partyd.wire.frame import HEADER, HEADER_BYTES
from tests.wire.channel_pair import Pair, Side

STEP_S = 0.11
"""Time between two handshake frames, so that the limit of ten a second never hides a check behind it."""


@dataclass
class Tally:
    """What happened: ``accepted`` and ``unhandled`` must stay 0, ``lost`` counts originals refused afterwards."""

    tried: int = 0
    accepted: int = 0
    unhandled: int = 0
    lost: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.accepted or self.unhandled or self.lost)


@dataclass
class Target:
    """A receiver just before an honest ``frame`` arrives; ``step`` is how time moves with each attempt."""

    side: Side
    frame: bytes
    step: float
    now: float = 1000.0

    def attack(self, altered: bytes, tally: Tally) -> None:
        """Feed one altered frame: it must be rejected, silently and without an exception."""
        if altered == self.frame:
            return
        tally.tried += 1
        self.now += self.step
        channel = self.side.channel
        try:
            events = channel.receive(altered, self.now)
        except Exception as error:
            tally.unhandled += 1
            tally.examples.append(f"{error!r} from {altered.hex()[:400]}")
            return
        if len(events) != 1 or type(events[0]) is not Rejected or channel._outgoing:
            tally.accepted += 1
            tally.examples.append(f"{events} from {altered.hex()[:400]}")

    def conclude(self, tally: Tally) -> None:
        """Deliver the honest frame: had an altered one changed anything, it would be refused."""
        self.now += self.step
        events = self.side.channel.receive(self.frame, self.now)
        if all(isinstance(event, Rejected) for event in events):
            tally.lost += 1
        self.side.channel.frames_to_send()


def data_targets(count: int, rng: random.Random, longest: int) -> list[Target]:
    pair = Pair()
    pair.connect()
    record = rng.randbytes
    return [
        Target(pair.right, pair.left.channel.seal(record(rng.randrange(1, longest))), step=0.0) for _ in range(count)
    ]


def handshake_targets(count: int) -> Iterator[Target]:
    """Yield INIT and RESPONSE frames in turn, each with a receiver of its own."""
    for number in range(count):
        pair = Pair()
        pair.left.epoch = 1000 * number
        pair.left.channel.initiate(pair.now)
        (init,) = pair.left.channel.frames_to_send()
        if number % 2 == 0:
            yield Target(pair.right, init, STEP_S)
            continue
        pair.right.receive(init, pair.now)
        (response,) = pair.right.channel.frames_to_send()
        yield Target(pair.left, response, STEP_S)


def flip_every_bit(target: Target, tally: Tally) -> None:
    for bit in range(len(target.frame) * 8):
        altered = bytearray(target.frame)
        altered[bit // 8] ^= 1 << bit % 8
        target.attack(bytes(altered), tally)
    target.conclude(tally)


def _flip_some(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    altered = bytearray(frame)
    for _ in range(rng.randrange(1, 9)):
        altered[rng.randrange(len(altered))] ^= rng.randrange(1, 256)
    return bytes(altered)


def _cut(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    return frame[: rng.randrange(len(frame))]


def _extend(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    return frame + rng.randbytes(rng.randrange(1, 64))


def _splice(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(1, min(len(frame), len(other)))
    return frame[:at] + other[at:]


def _swap_headers(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    return other[:HEADER_BYTES] + frame[HEADER_BYTES:]


def _other_counter(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    version, kind, flags, index, counter = HEADER.unpack_from(frame)
    jump = rng.choice([1, 2**13, 2**24, 2**63])
    return HEADER.pack(version, kind, flags, index, (counter + jump) % 2**64) + frame[HEADER_BYTES:]


def _other_type(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    altered = bytearray(frame)
    altered[1] = rng.choice([kind for kind in range(256) if kind != frame[1]])
    return bytes(altered)


def _drop_middle(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(frame))
    return frame[:at] + frame[at + rng.randrange(1, 20) :]


def _noise(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    return frame[:HEADER_BYTES] + rng.randbytes(len(frame) - HEADER_BYTES)


Mutation = Callable[[bytes, bytes, random.Random], bytes]
MUTATIONS: list[Mutation] = [
    _flip_some,
    _cut,
    _extend,
    _splice,
    _swap_headers,
    _other_counter,
    _other_type,
    _drop_middle,
    _noise,
]


def mutate(targets: list[Target], count: int, rng: random.Random, tally: Tally) -> None:
    """Feed ``count`` random mutations, then every honest frame."""
    honest = {target.frame for target in targets}
    for _ in range(count):
        target, other = rng.choice(targets), rng.choice(targets)
        altered = rng.choice(MUTATIONS)(target.frame, other.frame, rng)
        if altered not in honest:
            target.attack(altered, tally)
    for target in targets:
        target.conclude(tally)


def run(frames: int, mutations: int, rng: random.Random) -> Tally:
    """Flip every bit of ``frames`` small frames, then try ``mutations`` of larger ones; 4 % are handshake frames."""
    tally = Tally()
    handshakes = max(2, frames // 25)
    for target in data_targets(frames - handshakes, rng, 200):
        flip_every_bit(target, tally)
    for target in handshake_targets(handshakes):
        flip_every_bit(target, tally)
    mutate(data_targets(200, rng, 20_000), mutations * 9 // 10, rng, tally)
    mutate(list(handshake_targets(20)), mutations - mutations * 9 // 10, rng, tally)
    return tally


def aimed_at(frame: bytes, channel: Channel) -> list[bytes]:
    """Return ``frame`` as it is and with its index replaced by every index ``channel`` answers to."""
    version, kind, flags, index, counter = HEADER.unpack_from(frame)
    indexes = {index, *channel._keys.indexes}
    if channel._pending is not None:
        indexes.add(channel._pending.index)
    return [HEADER.pack(version, kind, flags, each, counter) + frame[HEADER_BYTES:] for each in sorted(indexes)]


__all__ = ["Tally", "Target", "aimed_at", "data_targets", "flip_every_bit", "mutate", "run"]
