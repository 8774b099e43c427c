"""The party's durable state behind an asyncio face."""

from __future__ import annotations

import asyncio
import concurrent.futures
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from partyd.errors import PartydError, StoreFull
from partyd.store import backup, faults, highwater, integrity, opening
from partyd.store.backup import Manifest
from partyd.store.blobs import GRACE_S, Blobs
from partyd.store.files import Files
from partyd.store.lanes import Call
from partyd.store.layout import Layout, Lock
from partyd.store.opening import Boot, Connector
from partyd.store.reading import Reading
from partyd.store.space import Space, SpaceLimits, Usage, disk_usage
from partyd.store.transaction import Reader, Transaction
from partyd.store.writer import GroupCommit, Writer

T = TypeVar("T")


class Store:
    """One state directory in use by this process; made by ``Store.open``."""

    def __init__(
        self, layout: Layout, lock: Lock, connector: Connector, booted: Boot, blobs: Blobs, files: Files, space: Space,
        clock: Callable[[], float], group: GroupCommit | None,
    ) -> None:  # fmt: skip
        self.blobs = blobs
        self.space = space
        self.store_id = booted.store_id
        self.boot_epoch = booted.boot_epoch
        self._layout = layout
        self._lock = lock
        self._connector = connector
        self._files = files
        self._clock = clock
        self._committed_at = time.monotonic()
        self._is_open = True
        self._writer = Writer(booted.connection, connector.writing, self._acknowledge, blobs, clock, group=group)
        self._reading = Reading(connector.reading, blobs, clock)
        self._writer.lane.start()
        self._reading.lane.start()

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        limits: SpaceLimits | None = None,
        usage: Callable[[Path], Usage] = disk_usage,
        group: GroupCommit | None = None,
        files: Files | None = None,
        vfs: str | None = None,
    ) -> Store:
        """Open or create the store in ``directory``, recover and check it; blocks.

        Raises ConfigError if another process uses it or a newer partyd wrote it, StoreCorrupt (with what to do) if it
        must not be used, StoreFull if there is no space to start.
        """
        files = files or Files()
        layout = Layout(directory.absolute())
        connector = Connector(layout, vfs)
        blobs = Blobs(layout.blobs, layout.spool, files)
        try:
            files.make_dir(layout.directory)
            lock = Lock(layout.lock)
        except OSError as error:
            raise faults.from_system(error, f"opening {directory}") from error
        try:
            blobs.prepare()
            booted = opening.boot(connector, blobs, files, clock, random_bytes)
            space = Space(layout.reserve, limits or SpaceLimits(), usage)
            space.renew()
            return cls(layout, lock, connector, booted, blobs, files, space, clock, group)
        except (apsw.Error, OSError, PartydError) as error:
            lock.release()
            raise faults.translated(error, f"opening {directory}") from error

    async def write(self, work: Callable[[Transaction], T], *, is_vital: bool = False) -> T:
        """Run ``work`` in the writer thread and return its result once it is durable.

        Whatever ``work`` raises undoes its changes alone and is raised here. ``work`` must do nothing but use the
        transaction, quickly. Raises StoreFull without space; ``is_vital`` work is then run once more with the reserve
        given up. After a StoreError at the commit, or a cancellation, the changes may still turn out to be there:
        repeat the call.
        """
        try:
            return await self._submit_write(work)
        except StoreFull:
            if not (is_vital and await asyncio.to_thread(self.release_reserve)):
                raise
        return await self._submit_write(work)

    async def read(self, work: Callable[[Reader], T]) -> T:
        """Run ``work`` in the reader thread, on one snapshot, and return its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._require_open()
        self._reading.lane.submit(Call(work, future, loop))
        return await future

    def write_now(self, work: Callable[[Transaction], T]) -> T:
        """Do what ``write`` does, blocking; for commands that run without an event loop."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._require_open()
        self._writer.lane.submit(Call(work, future, None))
        return future.result()

    def read_now(self, work: Callable[[Reader], T]) -> T:
        """Do what ``read`` does, blocking."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._require_open()
        self._reading.lane.submit(Call(work, future, None))
        return future.result()

    async def ping(self) -> float:
        """Commit nothing, durably, and return how many seconds that took."""
        started = time.monotonic()
        await self._submit_write(_nothing)
        return time.monotonic() - started

    @property
    def is_alive(self) -> bool:
        """Whether both threads run."""
        return self._writer.lane.is_alive and self._reading.lane.is_alive

    @property
    def last_commit_age(self) -> float:
        """Seconds since the last successful commit."""
        return time.monotonic() - self._committed_at

    async def raise_boot_epoch(self, at_least: int) -> int:
        """Raise the boot epoch to ``at_least``, durably, if it is lower; return it."""
        self.boot_epoch = await self.write(partial(_raise_epoch, at_least=at_least), is_vital=True)
        return self.boot_epoch

    async def collect_blobs(self, grace_s: float = GRACE_S) -> int:
        """Delete blobs that nothing refers to and that were not written within ``grace_s``; return how many."""
        referenced = await self.read(Reader.blob_references)
        return await asyncio.to_thread(self.blobs.collect, referenced, grace_s)

    async def verify_events(self) -> int:
        """Check the audit log's chain and return its length; raises StoreCorrupt naming the first bad row."""
        return await self.read(Reader.verify_events)

    async def backup_to(self, directory: Path) -> Manifest:
        """Write a backup of this moment into the new directory ``directory``, while others go on writing."""
        work = partial(backup.write_backup, self._connector, self.blobs, directory, self._clock, self._files)
        return await asyncio.to_thread(work)

    def release_reserve(self) -> bool:
        """Give up the reserve file so that terminal states can be written; return whether there was one."""
        return self.space.release()

    def renew_reserve(self) -> bool:
        """Make the reserve file again if there is space; return whether it is there. Call it now and then."""
        return self.space.renew()

    def is_low(self) -> bool:
        """Whether space is so low that new jobs must be refused and data not acknowledged."""
        return self.space.is_low()

    def free_bytes(self) -> int:
        """Bytes free on the state directory's disk."""
        return self.space.free_bytes()

    def size_bytes(self) -> int:
        """Bytes of database and log; blobs are not counted."""
        return sum(path.stat().st_size for path in (self._layout.database, self._layout.log) if path.exists())

    async def close(self) -> None:
        """Finish what was submitted, close the database and mark the stop as clean."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """Do what ``close`` does, blocking; closing twice does nothing."""
        if not self._is_open:
            return
        self._is_open = False
        self._reading.lane.close()
        self._writer.lane.close()
        try:
            if not (self._layout.log.exists() and self._layout.log.stat().st_size):
                integrity.leave_clean_mark(self._layout, self._files)
        except OSError as error:
            raise faults.from_system(error, f"closing {self._layout.directory}") from error
        finally:
            self._lock.release()

    async def _submit_write(self, work: Callable[[Transaction], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._require_open()
        self._writer.lane.submit(Call(work, future, loop))
        return await future

    def _acknowledge(self, commits: int) -> None:
        """Note a durable commit; a mark that lags behind proves less, so failing to write it is no failure."""
        self._committed_at = time.monotonic()
        with suppress(OSError):
            highwater.record(self._files, self._layout.commits, self.store_id, commits)

    def _require_open(self) -> None:
        if not self._is_open:
            raise faults.closed(self._layout.directory)


def restore(
    backup_dir: Path,
    state_dir: Path,
    *,
    clock: Callable[[], float] = time.time,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Manifest:
    """Make ``state_dir`` a store from a backup; it has a new store id, so that peers notice, and a far higher epoch."""
    return backup.restore(backup_dir, state_dir, clock=clock, random_bytes=random_bytes)


def _nothing(_transaction: Transaction) -> None:
    return None


def _raise_epoch(transaction: Transaction, at_least: int) -> int:
    epoch = max(transaction.counter("boot_epoch"), at_least)
    transaction.set_counter("boot_epoch", epoch)
    return epoch
