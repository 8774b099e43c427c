"""What a daemon does now and then: keys and cards, disk space, blobs, backups, jobs whose peers are silent.

Nothing here is urgent and nothing here may end the daemon: what fails is logged and tried again the next time.

A backup of our own is ``backups/<UTC time>/store/<role>``, so that ``partyd restore backups/<UTC time>`` takes it
like any other. It holds the stores only: keys, peers, tables and outputs lie beside it on the same disk. It is there
for the day on which a store is damaged, not for the day on which the disk is.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import structlog

from partyd.config import Settings
from partyd.errors import PartydError
from partyd.jobs.supervisor import Supervisor
from partyd.layout import Layout, make_private_dir, sync_dir
from partyd.types import Address

log = structlog.get_logger()

LOOK_EVERY_S = 60.0
WORK_EVERY_S = 3600.0
SETTLE_S = 180.0
"""After a job's end, until its erased checkpoints' files are removed."""
GRACE_S = 120.0
"""A blob younger than this may be one whose row is still to come."""
DRIFT_S = 5.0
_BACKUP = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z")


class Kept(Protocol):
    """A store, as far as housekeeping goes."""

    async def ping(self) -> float: ...
    async def collect_blobs(self, grace_s: float = ...) -> int: ...
    async def backup_to(self, directory: Path) -> object: ...
    def renew_reserve(self) -> bool: ...
    def is_low(self) -> bool: ...
    def free_bytes(self) -> int: ...


class Refreshed(Protocol):
    """Keys and cards, as far as housekeeping goes."""

    async def refresh(self) -> None: ...


class Household(Protocol):
    """One address of the daemon."""

    @property
    def store(self) -> Kept: ...
    @property
    def supervisor(self) -> Supervisor: ...
    @property
    def cards(self) -> Refreshed: ...
    def end_orphans(self) -> None: ...


@dataclass
class DriftWatch:
    """Notices that the machine was suspended, copied, set back or given another time.

    The wall clock goes on (or jumps) while the monotonic clock stands still. After a copy two machines may hold the
    same session keys and counters, so all keys are dropped (reliability: VM-snapshot guard).
    """

    offset_s: float | None = None

    def has_jumped(self, wall_s: float, monotonic_s: float) -> bool:
        """Say whether the clocks have drifted apart by more than 5 s since the last call."""
        offset_s, self.offset_s = self.offset_s, wall_s - monotonic_s
        return offset_s is not None and abs(self.offset_s - offset_s) > DRIFT_S


@dataclass
class Housekeeper:
    """Looks after one daemon; use `run` in a task group, after `clear_leftovers`."""

    settings: Settings
    nodes: Mapping[Address, Household]
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _low: set[Address] = field(default_factory=set)
    _worked_at: float = field(init=False)
    _backed_up_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._worked_at = self._backed_up_at = self.monotonic()

    @property
    def _layout(self) -> Layout:
        return Layout(self.settings.state_dir)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for address, node in self.nodes.items():
                group.create_task(self._collect_after_jobs(address, node))
            while True:
                await self.look()
                await self.sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Do what is due now; called once a minute."""
        for address, node in self.nodes.items():
            self._look_at_disk(address, node.store)
            node.end_orphans()
            node.supervisor.end_stalled(self.settings.jobs.peer_timeout_s)
        now = self.monotonic()
        if now - self._worked_at >= WORK_EVERY_S:
            self._worked_at = now
            for address, node in self.nodes.items():
                await self.work(address, node)
        every_s = self.settings.store.backup_every_h * 3600
        if every_s and now - self._backed_up_at >= every_s:
            self._backed_up_at = now
            await self.back_up()

    async def work(self, address: Address, node: Household) -> None:
        """Do the hourly work for one address."""
        try:
            await node.cards.refresh()
        except (PartydError, OSError) as error:
            log.error("cards_not_refreshed", me=str(address), error=str(error))
        try:
            if not await asyncio.to_thread(node.store.renew_reserve):
                log.warning("reserve_missing", me=str(address), what="the disk is too full to make it again")
        except OSError as error:
            log.error("reserve_missing", me=str(address), what=error.strerror)
        await self._collect(address, node.store)

    async def back_up(self) -> None:
        """Back up every store into a new directory named after the time, and drop the oldest backups."""
        folder = self._layout.state_dir / "backups"
        name = datetime.fromtimestamp(self.clock(), UTC).strftime("%Y%m%dT%H%M%SZ")
        draft = folder / f".{name}"
        if self._low or (folder / name).exists():
            log.warning("backup_skipped", why="the disk is almost full" if self._low else f"{folder / name} exists")
            return
        try:
            for place in (folder, draft, draft / "store"):
                await asyncio.to_thread(make_private_dir, place)
            for address, node in self.nodes.items():
                await node.store.backup_to(draft / "store" / address.role.label)
            await asyncio.to_thread(_publish, draft, folder / name)
            await asyncio.to_thread(_prune, folder, self.settings.store.backups_kept)
        except (PartydError, OSError) as error:
            log.error("backup_failed", directory=str(folder / name), error=str(error))
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)
        else:
            log.info("backed_up", directory=str(folder / name))

    def _look_at_disk(self, address: Address, store: Kept) -> None:
        try:
            is_low = store.is_low()
        except OSError as error:
            log.error("disk_not_seen", me=str(address), error=error.strerror)
            return
        if is_low and address not in self._low:
            self._low.add(address)
            what = "no job and no upload is taken until there is room"
            log.warning("disk_low", me=str(address), free_mib=store.free_bytes() >> 20, what=what)
        elif not is_low and address in self._low:
            self._low.discard(address)
            log.info("disk_has_room", me=str(address), free_mib=store.free_bytes() >> 20)

    async def _collect_after_jobs(self, address: Address, node: Household) -> None:
        """Remove the files of erased checkpoints soon after a job's end."""
        ended = node.supervisor.counts()["ended"]
        while True:
            await node.supervisor.changed()
            if node.supervisor.counts()["ended"] > ended:
                await self.sleep(SETTLE_S)
                ended = node.supervisor.counts()["ended"]
                await self._collect(address, node.store)

    async def _collect(self, address: Address, store: Kept) -> None:
        try:
            await store.ping()  # a writer that stands still may hold rows whose blobs look like nobody's
            count = await store.collect_blobs(GRACE_S)
        except (PartydError, OSError) as error:
            log.warning("blobs_not_collected", me=str(address), error=str(error))
            return
        if count:
            log.info("blobs_collected", me=str(address), count=count)


def clear_leftovers(layout: Layout) -> None:
    """Delete what an earlier life of the daemon did not finish: uploads and backups half written."""
    backups = layout.state_dir / "backups"
    half = [path for path in backups.iterdir() if path.name.startswith(".")] if backups.is_dir() else []
    for path in [layout.state_dir / "uploads", *half]:
        shutil.rmtree(path, ignore_errors=True)


def _publish(draft: Path, final: Path) -> None:
    draft.rename(final)
    sync_dir(final.parent)


def _prune(folder: Path, kept: int) -> None:
    made = sorted(path for path in folder.iterdir() if _BACKUP.match(path.name))
    for path in made[:-kept]:
        shutil.rmtree(path, ignore_errors=True)
