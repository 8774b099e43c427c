"""Local jobs: uploads, transformations and downloads, which concern this party alone (FATE's role ``local``, party 0).

Each has a job id, progress while it runs, and an end that is kept. One that a restart of the daemon interrupted has
failed; what it had half written is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from partyd.data.formats import Format
from partyd.data.orders import ExportOrder, inner_draft
from partyd.errors import DataError, JobError, PartydError, StoreError
from partyd.jobs.ports import JobStore, Transaction
from partyd.layout import make_private_dir
from partyd.tables import reading
from partyd.tables.catalog import Catalog, TableRecord
from partyd.tables.reading import Progress
from partyd.types import Address

log = structlog.get_logger()

LOCAL_JOBS = "local_job"
MAX_KEPT = 1000
MAX_WAITING = 1000
FORGET_EVERY = 100
"""Ends, until old jobs are forgotten again."""
INTERRUPTED = "the daemon was restarted while this ran; nothing was kept, so start it again"


Share = Callable[[str, str, Path, Mapping[str, str]], Awaitable[None]]
"""Gives a stored table (namespace, name, folder) to other parties of one owner, or to the one that is named."""


class LocalStatus(StrEnum):
    """States of a local job, in FATE's words."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"


ENDS = frozenset({LocalStatus.SUCCESS, LocalStatus.FAILED, LocalStatus.CANCELED})
TRANSITIONS: dict[LocalStatus, frozenset[LocalStatus]] = {
    LocalStatus.WAITING: frozenset({LocalStatus.RUNNING, LocalStatus.FAILED, LocalStatus.CANCELED}),
    LocalStatus.RUNNING: ENDS,
    **{end: frozenset[LocalStatus]() for end in ENDS},
}


class LocalJob(BaseModel):
    """One local job as it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    component: str
    address: str
    namespace: str
    name: str
    actor: str = ""
    status: LocalStatus = LocalStatus.WAITING
    reason: str = ""
    code: str = ""
    progress: float = 0.0
    """Between 0 and 1."""
    rows: int = 0
    done: int = 0
    total: int = 0
    """In bytes, or in rows where the source counts those."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDS

    def moved(self, status: LocalStatus, **updates: object) -> LocalJob:
        """Return the job in another state; the transition must be legal."""
        if status not in TRANSITIONS[self.status]:
            raise ValueError(f"a local job cannot go from {self.status} to {status}")
        return self.model_copy(update={"status": status, **updates})


@dataclass(frozen=True)
class Upload:
    """Read a file or a database's table into a table; a file that was received for this is removed at the end."""

    record: TableRecord
    form: Format
    path: str = ""
    is_received: bool = False
    source: str = ""
    query: str = ""
    table: str = ""
    shown_as: str = ""
    only: Mapping[str, str] = field(default_factory=dict)
    """The party that a federation of one owner is to share the table with; empty for all."""

    component = "upload"

    async def run(self, catalog: Catalog, job: LocalJob, tell: reading.Tell) -> TableRecord:
        """Do it and return what is stored."""
        folder = catalog.new_folder()
        try:
            order = await catalog.sources.order(
                folder,
                self.form,
                path=self.path,
                source=self.source,
                query=self.query,
                table=self.table,
                shown_as=self.shown_as,
            )
            await asyncio.to_thread(make_private_dir, folder.parent)
            kept = await reading.read(order, catalog.watched(tell))
            return await catalog.keep(self.record.model_copy(update={"job": job.job_id}), folder, kept, job.actor)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def clear(self) -> None:
        """Remove what was received."""
        if self.is_received:
            Path(self.path).unlink(missing_ok=True)


@dataclass(frozen=True)
class Transform:
    """Give a table another name: an upload has made a table of numbers already, as FATE's transformer would."""

    record: TableRecord
    source_namespace: str
    source_name: str
    drop: bool = True

    only: Mapping[str, str] = field(default_factory=dict)

    component = "dataframe_transformer"

    async def run(self, catalog: Catalog, job: LocalJob, tell: reading.Tell) -> TableRecord:
        """Do it and return what is stored."""
        source = await catalog.find(self.source_namespace, self.source_name)
        if not self.drop and any(record.key == self.record.key for record in await catalog.records()):
            raise DataError(f"there is a table {self.record.key} already; allow it to be replaced with drop = true")
        source = await catalog.read_bound(source, tell=tell)
        update: dict[str, object] = {"namespace": self.record.namespace, "name": self.record.name, "job": job.job_id}
        update |= {"created_at": self.record.created_at, "is_disabled": False}
        tell(Progress(source.count, source.count, source.count))
        return await catalog.put_again(source.model_copy(update=update), catalog.folder(source), job.actor)

    def clear(self) -> None:
        """Leave nothing behind."""


@dataclass(frozen=True)
class Download:
    """Write a table as a CSV file on the daemon's machine."""

    record: TableRecord
    target: Path
    is_archive: bool = False
    has_header: bool = True
    token: str = field(default_factory=lambda: secrets.token_hex(4))
    """Part of the draft's name: two downloads into one file write two drafts."""

    component = "download"

    @property
    def draft(self) -> Path:
        """Where the file is written before it takes its name."""
        return self.target.with_name(f".{self.target.name}.{self.token}.partial")

    async def run(self, catalog: Catalog, job: LocalJob, tell: reading.Tell) -> None:
        """Do it; nothing new is stored."""
        del job
        record = await catalog.read_bound(self.record, tell=tell)
        order = ExportOrder(
            folder=catalog.folder(record),
            target=self.target,
            draft=self.draft,
            is_archive=self.is_archive,
            has_header=self.has_header,
        )
        await reading.write(order, tell)

    def clear(self) -> None:
        """Leave nothing half written behind."""
        for path in (self.draft, inner_draft(self.draft)):
            path.unlink(missing_ok=True)


Work = Upload | Transform | Download


@dataclass
class _Live:
    job: LocalJob
    work: Work
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    is_stopped: bool = False


class LocalJobs:
    """The local jobs of every address of a daemon; `run` must be running for jobs to start."""

    def __init__(
        self,
        catalogs: Mapping[Address, Catalog],
        stores: Mapping[Address, JobStore],
        jobs_at_once: int = 2,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalogs = catalogs
        self._stores = stores
        self._slots = asyncio.Semaphore(jobs_at_once)
        self._clock = clock
        self.share: Share | None = None
        self._live: dict[str, _Live] = {}
        self._ended = 0
        self._group: asyncio.TaskGroup | None = None

    def catalog(self, address: Address) -> Catalog:
        """Return the tables of an address."""
        return self._catalogs[address]

    async def recover(self) -> None:
        """End what a restart interrupted; call it once, before `run`."""
        for catalog in self._catalogs.values():
            await catalog.recover()
        for store in self._stores.values():
            jobs = await _kept(store)
            for job in jobs:
                if not job.is_ended:
                    ended = job.moved(
                        LocalStatus.FAILED, reason=INTERRUPTED, code="interrupted", ended_at=self._clock()
                    )
                    await _keep(store, ended)
            await _forget(store)

    async def run(self) -> None:
        """Carry jobs out until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    async def start(self, address: Address, work: Work, actor: str = "") -> LocalJob:
        """Begin a job and return it; raises JobError while the daemon stops or has too many."""
        if self._group is None:
            raise JobError("the daemon is starting or stopping and takes no local job; ask again in a moment")
        if len(self._live) >= MAX_WAITING:
            raise JobError(f"{len(self._live)} local jobs run or wait already; ask again when some have ended")
        now = self._clock()
        job = LocalJob(
            job_id=datetime.fromtimestamp(now, UTC).strftime("%Y%m%d%H%M%S%f") + f"{secrets.randbelow(1000):03d}",
            component=work.component,
            address=str(address),
            namespace=work.record.namespace,
            name=work.record.name,
            actor=actor,
            created_at=now,
        )
        live = self._live[job.job_id] = _Live(job, work)
        try:
            await _keep(self._stores[address], job)
            live.task = self._group.create_task(self._carry_out(address, live))
            await asyncio.sleep(0)  # a task that is cancelled before it has begun would never say so
        except BaseException:
            del self._live[job.job_id]
            raise
        return job

    async def find(self, job_id: str) -> LocalJob | None:
        """Return a job, running or ended."""
        live = self._live.get(job_id)
        if live is not None:
            return live.job
        for store in self._stores.values():
            found = await store.read(lambda reader: reader.document(LOCAL_JOBS, job_id))
            if found is not None:
                return LocalJob.model_validate_json(found)
        return None

    async def listing(self) -> list[LocalJob]:
        """Return every job that is kept, the latest first."""
        found = {job.job_id: job for store in self._stores.values() for job in await _kept(store)}
        found |= {job_id: live.job for job_id, live in self._live.items()}
        return sorted(found.values(), key=lambda job: job.job_id, reverse=True)

    async def wait(self, job_id: str) -> LocalJob:
        """Return a job when it has ended; raises JobError for an unknown one."""
        live = self._live.get(job_id)
        if live is not None:
            await live.ended.wait()
            return live.job
        job = await self.find(job_id)
        if job is None:
            raise JobError(f"there is no local job {job_id[:64]!r}")
        return job

    async def stop(self, job_id: str) -> LocalJob:
        """Cancel a job and return it when it has ended; one that has ended stays as it is."""
        live = self._live.get(job_id)
        if live is not None and live.task is not None:
            live.is_stopped = True
            live.task.cancel()
        return await self.wait(job_id)

    async def _carry_out(self, address: Address, live: _Live) -> None:
        store = self._stores[address]
        try:
            async with self._slots:
                await self._move(store, live, LocalStatus.RUNNING, started_at=self._clock())
                catalog = self._catalogs[address]
                stored = await live.work.run(catalog, live.job, lambda progress: _tell(live, progress))
                if self.share is not None and stored is not None and not isinstance(live.work, Download):
                    await self.share(stored.namespace, stored.name, catalog.folder(stored), live.work.only)
            await self._end(store, live, LocalStatus.SUCCESS, progress=1.0)
        except asyncio.CancelledError:
            if not live.is_stopped:
                raise  # the daemon stops: the next one finds this job unfinished
            await self._end(store, live, LocalStatus.CANCELED, reason="stopped by its owner", code="canceled")
        except (PartydError, OSError, ValueError, ExceptionGroup) as error:
            reason, code = _reason(error)
            log.warning("local_job_failed", job=live.job.job_id, component=live.job.component, reason=reason)
            await self._end(store, live, LocalStatus.FAILED, reason=reason, code=code)
        finally:
            with contextlib.suppress(OSError):  # then `recover` or the next download removes it
                live.work.clear()
            live.ended.set()
            self._live.pop(live.job.job_id, None)

    async def _end(self, store: JobStore, live: _Live, status: LocalStatus, **updates: object) -> None:
        live.job = live.job.moved(status, ended_at=self._clock(), **updates)
        self._ended += 1
        try:
            await _keep(store, live.job, is_vital=True)
            if self._ended % FORGET_EVERY == 0:
                await _forget(store)
        except StoreError as error:  # a disk without room must not end the daemon with the job
            log.error("local_job_end_not_kept", job=live.job.job_id, status=status.value, error=str(error))

    async def _move(self, store: JobStore, live: _Live, status: LocalStatus, **updates: object) -> None:
        live.job = live.job.moved(status, **updates)
        await _keep(store, live.job)


def _tell(live: _Live, progress: Progress) -> None:
    live.job = live.job.model_copy(
        update={
            "progress": progress.share,
            "done": progress.done,
            "total": progress.total,
            "rows": progress.rows,
        }
    )


def _reason(error: PartydError | OSError | ValueError | ExceptionGroup[Exception]) -> tuple[str, str]:
    if isinstance(error, PartydError):
        return str(error), error.code
    if isinstance(error, OSError):
        return f"{error.strerror or error}: see the daemon's disk", "io"
    found = error.exceptions if isinstance(error, ExceptionGroup) else (error,)
    return "; ".join(str(one) for one in found)[:4000], "internal"


async def _keep(store: JobStore, job: LocalJob, *, is_vital: bool = False) -> None:
    packed = job.model_dump_json().encode()
    await store.write(lambda writer: writer.put_document(LOCAL_JOBS, job.job_id, packed), is_vital=is_vital)


async def _forget(store: JobStore) -> None:
    """Forget the oldest jobs that have ended, above those that are kept."""
    old = [job.job_id for job in (await _kept(store))[MAX_KEPT:] if job.is_ended]

    def forget(writer: Transaction) -> None:
        for job in old:
            writer.delete_document(LOCAL_JOBS, job)

    if old:
        await store.write(forget)


async def _kept(store: JobStore) -> list[LocalJob]:
    """Return what is kept, the latest first."""
    rows = await store.read(lambda reader: reader.documents(LOCAL_JOBS, limit=10 * MAX_KEPT))
    found = [LocalJob.model_validate_json(row.document) for row in rows]
    return sorted(found, key=lambda job: job.job_id, reverse=True)
