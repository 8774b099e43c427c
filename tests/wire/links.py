"""Two ends of a delivery in one process, and the line between them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from partyd.wire.bodies import Body, MemorySpool, Spool
from partyd.wire.delivery import Delivery
from partyd.wire.delivery_events import (
    Arrived,
    DeliveryEvent,
)
from partyd.wire.records import Record, decode

CHUNK = 4096
ENDLESS = 1 << 40
Filter = Callable[[Record], bool]


def everything(_: Record) -> bool:
    return True


@dataclass
class End:
    """One side: its delivery and what it told."""

    name: str
    spool: Callable[[int], Spool] = MemorySpool
    window: int = 64 * CHUNK
    stores: bool = True
    events: list[DeliveryEvent] = field(default_factory=list)
    boots: int = 0
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        self.boot(0.0)

    @property
    def boot_id(self) -> bytes:
        return f"{self.name}{self.boots}".encode().ljust(16, b".")

    def boot(self, now: float) -> None:
        self.boots += 1
        uniform = random.Random(1).uniform
        self.delivery = Delivery(self.boot_id, self.spool, uniform, now, chunk=CHUNK, window=self.window)

    def of(self, kind: type) -> list[DeliveryEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def take(self, events: list[DeliveryEvent], now: float) -> None:
        self.events += events
        for event in events:
            if isinstance(event, Arrived) and self.stores:
                self.delivery.stored(event.seq, now)

    def bodies(self) -> dict[int, bytes]:
        return {e.seq: content(e.body) for e in self.events if isinstance(e, Arrived)}


def content(body: bytes | Body) -> bytes:
    return body if isinstance(body, bytes) else body.read(0, body.size)


class Link:
    """Two ends and the time between them."""

    def __init__(self, left: End | None = None, right: End | None = None) -> None:
        self.left = left or End("left")
        self.right = right or End("right")
        self.now = 0.0
        self.seen: list[tuple[str, Record]] = []
        self.connect()

    def connect(self, store: bytes = b"store") -> None:
        for end, peer in ((self.left, self.right), (self.right, self.left)):
            end.delivery.reconnected(self.now, peer.boot_id, store, peer.window, 1 << 20)

    def carry(self, source: End, target: End, passes: Filter = everything, budget: int = ENDLESS) -> int:
        """Move the records of one drain; return how many there were."""
        records = source.delivery.records_to_send(self.now, budget)
        for data in records:
            record = decode(data)[1]
            self.seen.append((source.name, record))
            if passes(record):
                target.take(target.delivery.receive(data, self.now), self.now)
        return len(records)

    def settle(self, passes: Filter = everything) -> None:
        """Carry until both sides are silent at this instant."""
        while self.carry(self.left, self.right, passes) + self.carry(self.right, self.left, passes):
            pass

    def advance(self, until: float, passes: Filter = everything) -> None:
        """Let time pass from deadline to deadline."""
        self.settle(passes)
        while (deadline := min(self.left.delivery.next_deadline(), self.right.delivery.next_deadline())) < until:
            self.now = max(self.now, deadline)
            for end in (self.left, self.right):
                end.take(end.delivery.tick(self.now), self.now)
            self.settle(passes)
        self.now = until


def drop_once(wanted: Filter) -> Filter:
    dropped: list[Record] = []

    def passes(record: Record) -> bool:
        if not dropped and wanted(record):
            dropped.append(record)
            return False
        return True

    return passes


def random_bytes(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)
