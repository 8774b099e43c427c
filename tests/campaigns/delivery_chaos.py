"""Drive two sessions through a hostile network and crashes, by seed, on a virtual clock.

    python tests/campaigns/delivery_chaos.py --seeds 1000 [--first 0]

Checked at every step: nothing arrives that was not submitted, bodies are identical, a message is delivered only when
the peer has it on its (simulated) disk, and once per life of the sender. Checked at the end, on a calm network:
everything is delivered. A failing seed is printed and repeats exactly.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.crypto.identity import LocalIdentity
from partyd.types import Address
from partyd.wire.bodies import Body, BytesBody, MemorySpool
from partyd.wire.card import Card, issue
from partyd.wire.channel import Channel
from partyd.wire.delivery import Delivery
from partyd.wire.delivery_events import Arrived, Delivered, Refused
from partyd.wire.events import EpochSeen, EpochStale
from partyd.wire.hello import Hello
from partyd.wire.session import Session, SessionEvent

CHUNK = 12_000
WINDOW = 20 * CHUNK
BUDGET = 8 * CHUNK
CALM_S = 400.0
EPOCH = 1_800_000_000


def insecure_seed(*parts: object) -> bytes:
    """Bytes anybody can compute: for tests only."""
    return hashlib.sha256(repr(parts).encode()).digest()


def insecure_identity(address: Address) -> LocalIdentity:
    return LocalIdentity(
        address=address,
        id_key=Ed25519PrivateKey.from_private_bytes(insecure_seed("id", address)),
        kx_key=X25519PrivateKey.from_private_bytes(insecure_seed("kx", address)),
        kx_created=EPOCH,
    )


def card_of(address: Address) -> Card:
    identity = insecure_identity(address)
    return issue(identity, org="Test", serial=1, not_before=EPOCH, not_after=EPOCH + 90 * 86_400)


GUEST, HOST = Address.parse("10000/guest"), Address.parse("9999/host")
CARDS = {address: card_of(address) for address in (GUEST, HOST)}


@dataclass(frozen=True)
class Faults:
    """Chances per frame, and the longest delay."""

    loss: float = 0.0
    repeat: float = 0.0
    truncate: float = 0.0
    corrupt: float = 0.0
    delay_s: float = 0.002


@dataclass
class Disk:
    """What outlives a crash."""

    number: int = 1
    epoch: int = 100
    last_seen: int = 0
    next_seq: int = 1
    outbox: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)
    inbox: dict[bytes, bytes] = field(default_factory=dict)


class Party:
    """One side: its disk, its session, and what it must be held to."""

    def __init__(self, world: World, address: Address, peer: Address) -> None:
        self.world, self.address, self.peer = world, address, peer
        self.disk = Disk()
        self.boots = 0
        self.delivered: Counter[int] = Counter()
        self.session = self.boot()

    def boot(self) -> Session:
        """Start (again) with what is on the disk."""
        self.boots += 1
        self.delivered.clear()
        rng, now = self.world.rng, self.world.now
        boot_id = insecure_seed("boot", self.address, self.boots)[:16]
        channel = Channel(
            insecure_identity(self.address),
            CARDS[self.address],
            CARDS[self.peer],
            hello=Hello(boot_id, insecure_seed("store", self.address, self.disk.number)[:16], WINDOW, 1 << 20),
            next_epoch=self.next_epoch,
            last_seen_epoch=self.disk.last_seen,
            token_bytes=rng.randbytes,
            generate_kx=lambda: X25519PrivateKey.from_private_bytes(rng.randbytes(32)),
        )
        delivery = Delivery(boot_id, MemorySpool, rng.uniform, now, chunk=CHUNK, window=WINDOW)
        self.session = Session(channel, delivery, rng.uniform, now)
        self.session.connect()
        for seq, (header, body) in self.disk.outbox.items():
            self.session.submit(seq, header, BytesBody(body))
        return self.session

    def next_epoch(self) -> int:
        self.disk.epoch += 1
        return self.disk.epoch

    def submit(self, body: bytes) -> None:
        seq = self.disk.next_seq
        self.disk.next_seq += 1
        header = b"%s store %d message %d" % (str(self.address).encode(), self.disk.number, seq)
        self.disk.outbox[seq] = (header, body)
        self.world.submitted[header] = body
        self.session.submit(seq, header, BytesBody(body), control=len(body) < 50)

    def take(self, events: list[SessionEvent]) -> None:
        for event in events:
            match event:
                case EpochSeen(epoch):
                    self.disk.last_seen = epoch
                case EpochStale(last_seen):
                    self.disk.epoch = max(self.disk.epoch, last_seen)
                case Arrived():
                    self.arrived(event)
                case Delivered(seq):
                    self.was_delivered(seq)
                case Refused():
                    raise AssertionError(f"{self.address}: an honest message was refused: {event}")

    def arrived(self, event: Arrived) -> None:
        body = content(event.body)
        assert self.world.submitted.get(event.header) == body, f"{self.address}: never submitted so: {event.header!r}"
        assert event.header.startswith(str(self.peer).encode())
        life = self.boots
        self.world.later(self.world.rng.uniform(0, 0.02), lambda: self.store(event.seq, event.header, body, life))

    def store(self, seq: int, header: bytes, body: bytes, life: int) -> None:
        """The fsync came back, unless the process died before."""
        if life == self.boots:
            self.disk.inbox[header] = body
            self.session.stored(seq, self.world.now)

    def was_delivered(self, seq: int) -> None:
        header, body = self.disk.outbox.pop(seq)
        self.delivered[seq] += 1
        assert self.delivered[seq] == 1, f"{self.address}: message {seq} delivered twice"
        assert self.world.parties[self.peer].disk.inbox.get(header) == body, f"message {seq} was never stored"


def content(body: bytes | Body) -> bytes:
    return body if isinstance(body, bytes) else body.read(0, body.size)


class World:
    """Two parties, the network between them, and time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.faults = Faults()
        self.submitted: dict[bytes, bytes] = {}
        self._number = itertools.count()
        self._future: list[tuple[float, int, Callable[[], None]]] = []
        self.parties: dict[Address, Party] = {}
        self.parties = {GUEST: Party(self, GUEST, HOST), HOST: Party(self, HOST, GUEST)}

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._future, (self.now + delay_s, next(self._number), action))

    def post(self, target: Party, frame: bytes) -> None:
        """Give one frame to the network."""
        rng, faults = self.rng, self.faults
        copies = 1 + (rng.random() < faults.repeat)
        for _ in range(copies if rng.random() >= faults.loss else 0):
            data = frame
            if rng.random() < faults.truncate:
                data = data[: rng.randrange(len(data))]
            if data and rng.random() < faults.corrupt:
                flipped = bytearray(data)
                flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                data = bytes(flipped)
            self.later(rng.uniform(0, faults.delay_s), partial(self.arrive, target, data))

    def arrive(self, target: Party, data: bytes) -> None:
        target.take(target.session.receive_frame(data, self.now))

    def flush(self) -> None:
        """Let both sides send what they may."""
        for party in self.parties.values():
            for frame in party.session.frames_to_send(self.now, BUDGET):
                self.post(self.parties[party.peer], frame)

    def run(self, seconds: float) -> None:
        """Let time pass from event to event."""
        end = self.now + seconds
        steps = 0
        while True:
            self.flush()
            times = [self._future[0][0]] if self._future else []
            times += [at for party in self.parties.values() if (at := party.session.next_deadline()) is not None]
            upcoming = min(times, default=end)
            if upcoming > end:
                break
            steps = steps + 1 if upcoming <= self.now else 0
            assert steps < 5000, "the sessions spin without time passing"
            self.now = max(self.now, upcoming)
            while self._future and self._future[0][0] <= self.now:
                heapq.heappop(self._future)[2]()
            for party in self.parties.values():
                party.take(party.session.tick(self.now))
        self.now = end

    def quiet(self) -> bool:
        return not any(party.disk.outbox for party in self.parties.values())

    def finish(self) -> None:
        """On a calm network everything must be delivered."""
        self.faults = Faults()
        end = self.now + CALM_S
        while not self.quiet():
            assert self.now < end, f"not delivered: {[len(party.disk.outbox) for party in self.parties.values()]}"
            self.run(5.0)
        for party in self.parties.values():
            stats = party.session.stats.delivery
            assert stats.unacknowledged == 0


def random_faults(rng: random.Random) -> Faults:
    strength = rng.choice([0.0, 0.02, 0.1, 0.3])
    loss, repeat, truncate, corrupt = (rng.random() * strength for _ in range(4))
    drawn = Faults(loss, repeat, truncate, corrupt, delay_s=rng.choice([0.001, 0.02, 0.5]))
    return rng.choice([drawn, drawn, replace(drawn, loss=1.0), Faults()])


def random_body(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice([0, 10, 1000, CHUNK, CHUNK + 1, rng.randrange(40 * CHUNK)]))


def chaos(seed: int, steps: int = 60) -> World:
    """Run one seed; raises AssertionError when a promise is broken."""
    world = World(seed)
    rng = world.rng
    for _ in range(steps):
        party = world.parties[rng.choice([GUEST, HOST])]
        action = rng.random()
        if action < 0.5:
            for _ in range(rng.choice([1, 1, 5, 30])):
                party.submit(random_body(rng))
        elif action < 0.6:
            party.boot()
        elif action < 0.8:
            world.faults = random_faults(rng)
        elif action < 0.85:
            party.session.nudge(world.now)
        elif action < 0.9:
            party.session.transport_restored(world.now)
        world.run(rng.choice([0.0, 0.01, 0.1, 1.0, 10.0, 100.0]))
    world.finish()
    return world


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    arguments = parser.parse_args()
    began, messages, failed = time.monotonic(), 0, 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        try:
            messages += len(chaos(seed).submitted)
        except AssertionError as error:
            failed += 1
            print(f"seed {seed}: {error}")
    print(f"{arguments.seeds} seeds, {messages} messages, {failed} failed, {time.monotonic() - began:.1f} s")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
