"""Post offices with real stores and real sessions, and a wire that loses, repeats, reorders and cuts frames.

The event loop's clock runs `SPEED` times as fast as the wall's, so that resend timers cost no time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import selectors
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from partyd.federation.bodies import FileSpool
from partyd.federation.office import PostOffice
from partyd.federation.watch import Watch
from partyd.store import GroupCommit, SpaceLimits, Store
from partyd.types import Address, MessageId
from partyd.wire.channel import Channel
from partyd.wire.delivery import Delivery
from partyd.wire.frame import MAX_FRAME
from partyd.wire.hello import Hello
from partyd.wire.session import Session
from tests.wire.channel_pair import card_of, insecure_identity, seed

T = TypeVar("T")
SPEED = 50.0
GUEST, HOST = Address.parse("10000/guest"), Address.parse("9999/host")
NO_RESERVE = SpaceLimits(low_share=0.0, low_bytes=0, reserve_bytes=0)


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(None if timeout is None else timeout / SPEED)
        return found


class FastLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds are short."""

    def __init__(self) -> None:
        super().__init__(_Selector())

    def time(self) -> float:
        return time.monotonic() * SPEED


def run_fast(work: Callable[[], Awaitable[T]], limit_s: float = 40.0) -> T:
    """Run ``work()`` on a fast loop, at most ``limit_s`` of the wall's seconds; it must leave no task behind."""

    async def limited() -> T:
        async with asyncio.timeout(limit_s * SPEED):
            result = await work()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return result

    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(limited())


@dataclass
class Wire:
    """Carries frames between offices; ``loss`` and so on are probabilities."""

    chance: random.Random
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    cut: float = 0.0
    offices: dict[Address, PostOffice] = field(default_factory=dict)
    carried: list[tuple[Address, Address]] = field(default_factory=list)
    held: list[tuple[Address, Address, bytes]] = field(default_factory=list)

    async def publish(self, source: Address, destination: Address, frame: bytes) -> None:
        self.carried.append((source, destination))
        if self.chance.random() < self.loss:
            return
        if self.chance.random() < self.cut:
            frame = frame[: self.chance.randrange(len(frame))]
        self.held.append((source, destination, frame))
        if self.chance.random() < self.repeat:
            self.held.append((source, destination, frame))
        await asyncio.sleep(0)
        if self.chance.random() >= self.reorder:
            self.release()

    def release(self) -> None:
        """Let everything arrive that was held back, in any order."""
        frames, self.held = self.held, []
        self.chance.shuffle(frames)
        for source, destination, frame in frames:
            office = self.offices.get(destination)
            if office is not None:
                office.frame_arrived(source, frame)


class Seen:
    """What an office's owner was told."""

    def __init__(self) -> None:
        self.is_open = True
        self.control: list[tuple[MessageId, bytes]] = []
        self.equivocated: list[MessageId] = []
        self.store_changed: list[Address] = []

    def watch(self) -> Watch:
        return Watch(
            lambda _message: self.is_open,
            lambda message, body: self.control.append((message, body)),
            self.store_changed.append,
            self.equivocated.append,
            self._raise_epoch,
        )

    async def _raise_epoch(self, _epoch: int) -> None:
        raise AssertionError("no party was restored here")


@dataclass
class Site:
    """One address: its store, its office, and the task that runs it."""

    me: Address
    store: Store
    office: PostOffice
    seen: Seen
    running: asyncio.Task[None]
    wire: Wire

    async def know(self, peer: Address) -> None:
        await self.office.add_peer(peer, await session(self.store, self.me, peer))

    def message(self, number: int, to: Address, task: str = "train", job: str = "job1") -> MessageId:
        return MessageId(job, task, 0, f"iteration/{number}", "Forward", self.me, to)

    async def stop(self) -> None:
        self.wire.offices.pop(self.me, None)
        self.running.cancel()
        await asyncio.wait([self.running])
        await self.store.close()
        assert self.running.cancelled(), self.running.exception()


_boots = itertools.count(1)
_WRITER = ThreadPoolExecutor(1)


async def session(store: Store, me: Address, peer: Address) -> Session:
    """Return a session as a node makes it, with keys anybody can compute."""
    boot = seed("boot", str(me), next(_boots))[:16]
    now = asyncio.get_running_loop().time()
    channel = Channel(
        insecure_identity(me),
        card_of(insecure_identity(me)),
        card_of(insecure_identity(peer)),
        hello=Hello(boot, store.store_id, 16 << 20, MAX_FRAME),
        next_epoch=lambda: (store.boot_epoch << 24) + next(_boots),
        last_seen_epoch=await store.read(lambda reader: reader.seen_epoch(peer)),
    )
    uniform = random.Random(str(me)).uniform
    delivery = Delivery(
        boot, lambda _total: FileSpool(store.blobs.spool_path(), _WRITER), uniform, now, chunk=256 << 10
    )
    return Session(channel, delivery, uniform, now)


async def open_site(
    folder: Path, me: Address, wire: Wire, *peers: Address, outbox: int = 64 << 20, inbox: int = 64 << 20
) -> Site:
    """Open an office on the store in ``folder``, as a daemon does when it starts."""
    store = Store.open(folder / str(me).replace("/", "-"), limits=NO_RESERVE, group=GroupCommit())
    seen = Seen()
    clock = asyncio.get_running_loop().time
    office = PostOffice(me, store, wire, seen.watch(), outbox_quota_bytes=outbox, inbox_quota_bytes=inbox, clock=clock)
    site = Site(me, store, office, seen, asyncio.create_task(office.run()), wire)
    for peer in peers:
        await site.know(peer)
    wire.offices[me] = office
    await asyncio.sleep(0)
    office.transport_changed(True)
    return site


@contextlib.asynccontextmanager
async def two_sites(folder: Path, wire: Wire, **quotas: int) -> AsyncIterator[tuple[Site, Site]]:
    """Open guest and host, pinned to each other."""
    sites = [await open_site(folder, GUEST, wire, HOST, **quotas), await open_site(folder, HOST, wire, GUEST, **quotas)]
    try:
        yield sites[0], sites[1]
    finally:
        for site in sites:
            await site.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(30 * SPEED):
        while not condition():
            await asyncio.sleep(0.05)
