"""A party's tables: what they are called, where they lie, who used them.

A table's columns lie in a folder named after their digest, records point at it, so that a table can be replaced while a
job reads the old one. A folder goes when no record and no use by an open job names it. The record of a bound path or
query says where the rows are; they are read at a job's first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from pydantic import BaseModel, ConfigDict

from partyd.data.formats import Format
from partyd.data.orders import Kept
from partyd.data.schema import Schema
from partyd.errors import DataError, StoreFull
from partyd.jobs.ports import JobStore, Reader, Transaction
from partyd.jobs.record import JOB_ENDS
from partyd.layout import Layout, make_private_dir, sync_dir
from partyd.tables import reading
from partyd.tables.sources import FileMark, Sources
from partyd.types import Role

log = structlog.get_logger()

TABLES = "table"
USES = "table_use"
ALL = 1 << 40
"""Of documents: a table that was left out here would be taken for one that is gone."""
_ENDS = frozenset(status.value for status in JOB_ENDS)


class TableMissing(DataError):
    """There is no table of that name."""


class TableDisabled(DataError):
    """The owner keeps jobs from using a table."""

    code = "table_disabled"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Binding(_Part):
    """Where a bound table's rows are: a file, a folder of ours, or a query or table of a configured database."""

    path: str = ""
    form: Format = Format()
    mark: FileMark | None = None
    source: str = ""
    query: str = ""
    table: str = ""


class TableRecord(_Part):
    """One table as its owner sees it."""

    namespace: str
    name: str
    count: int = 0
    table_schema: Schema = Schema(rows=0)
    digest: str = ""
    """Empty for a bound table that was never read."""
    folder: str = ""
    """The folder's name among ours; empty for tables of earlier versions and bound folders."""
    bad_rows: int = 0
    skipped: tuple[str, ...] = ()
    created_at: float = 0
    job: str = ""
    meta: dict[str, object] = {}
    """What the upload said about the file, in FATE's words where it came so."""
    partitions: int = 0
    is_disabled: bool = False
    binding: Binding | None = None

    @property
    def key(self) -> str:
        """The key in the store."""
        return f"{self.namespace}/{self.name}"


class Use(_Part):
    """That a task of a job has read a table."""

    namespace: str
    name: str
    job: str
    task: str
    digest: str
    folder: str
    at: float
    is_open: bool = True
    """Until the job has ended: a task that is started again finds the same rows."""

    @property
    def key(self) -> str:
        """The key in the store."""
        return f"{self.namespace}/{self.name}/{self.job}/{self.task}"


class Catalog:
    """The tables of one address."""

    def __init__(
        self, layout: Layout, role: Role, store: JobStore, sources: Sources, clock: Callable[[], float] = time.time
    ) -> None:
        self._layout = layout
        self._store = store
        self._sources = sources
        self._clock = clock
        self._lock = asyncio.Lock()
        self._open: dict[str, list[Use]] = {}
        """The uses of jobs that have not ended, by job."""
        self.place = layout.state_dir / "tables" / f".{role.label}"
        """Where the folders lie; no namespace's folder begins with a dot."""

    @property
    def sources(self) -> Sources:
        """Files and databases outside the daemon."""
        return self._sources

    async def recover(self) -> None:
        """Remove what an earlier life left half written, and close the uses of jobs that have ended; call it first."""
        for use in await self._uses():
            if use.is_open:
                self._open.setdefault(use.job, []).append(use)
        for job in list(self._open):
            if await self._has_ended(job):
                await self._close(self._open.pop(job))
        await asyncio.to_thread(_remove, self.place, "*.partial")
        await self.sweep()

    def new_folder(self) -> Path:
        """Return where a table may be written before it is kept."""
        return self.place / f"{secrets.token_hex(16)}.partial"

    # -- records

    async def find(self, namespace: str, name: str) -> TableRecord:
        """Return a table's record; raises TableMissing."""
        return await self._store.read(lambda store: _found(store, namespace, name))

    async def records(self) -> list[TableRecord]:
        """Return every table."""
        rows = await self._store.read(lambda store: store.documents(TABLES, limit=ALL))
        return [_read(row.document) for row in rows]

    def folder(self, record: TableRecord) -> Path:
        """Return where a table's columns lie; raises DataError for a bound one that was never read."""
        if record.folder:
            return self.place / record.folder
        if record.binding is None:
            return self._layout.tables_dir(record.namespace, record.name)
        if record.binding.mark is not None and record.binding.mark.is_folder:
            return Path(record.binding.path)
        raise DataError(f"{record.key} is bound and was not read yet; a job reads it, or: flow table preview")

    async def keep(self, record: TableRecord, folder: Path, kept: Kept, actor: str = "") -> TableRecord:
        """Make a folder that was just written the table of a record; a table of that name is replaced."""
        made = record.model_copy(
            update={
                "count": kept.count,
                "table_schema": kept.table_schema,
                "digest": kept.digest,
                "folder": kept.digest,
                "bad_rows": kept.bad_rows,
                "skipped": kept.skipped,
            }
        )
        async with self._lock:
            await asyncio.to_thread(_settle, folder, self.place / kept.digest)
            made = await self._put(made, "table_uploaded", actor)
        await self.sweep()
        return made

    async def put_again(self, record: TableRecord, folder: Path, actor: str = "") -> TableRecord:
        """Keep a table that is here, in ``folder``, under another name; raises DataError when it is gone meanwhile."""
        if not record.folder and record.binding is None:
            return await self.adopt(record, folder, actor)  # of an earlier version, where the folder is the name's
        async with self._lock:
            if not await asyncio.to_thread(folder.is_dir):
                raise DataError(f"the table that becomes {record.key} was replaced or deleted just now; try again")
            await self.put(record, "table_uploaded", actor)
        await self.sweep()
        return record

    def watched(self, tell: reading.Tell) -> reading.Tell:
        """Return a listener that also ends the reading, with StoreFull, before the disk is full."""

        def watch(progress: reading.Progress) -> None:
            if self._store.is_low():
                raise StoreFull("the disk is almost full; free some space, then try again")
            tell(progress)

        return watch

    async def adopt(self, record: TableRecord, folder: Path, actor: str = "") -> TableRecord:
        """Keep a table that lies in our own columns elsewhere: links to its files, or copies of them."""
        draft = self.new_folder()
        try:
            await asyncio.to_thread(make_private_dir, self.place)
            kept = await asyncio.to_thread(_adopted, folder, draft)
            return await self.keep(record, draft, kept, actor)
        finally:
            await asyncio.to_thread(shutil.rmtree, draft, ignore_errors=True)

    async def put(self, record: TableRecord, event: str, actor: str = "") -> None:
        """Write a record down, and that it was written."""
        await self._store.write(lambda store: _write(store, record, event, actor))

    async def _put(self, record: TableRecord, event: str, actor: str) -> TableRecord:
        """Write a record down whose rows have just been read; raises DataError for a binding that is another now."""

        def write(store: Transaction) -> TableRecord:
            if record.binding is None:
                return _write(store, record, event, actor)
            now = store.document(TABLES, record.key)
            current = None if now is None else _read(now)
            if current is None or current.binding != record.binding:
                raise DataError(f"{record.key} was bound anew or deleted while it was read; try again")
            return _write(store, record.model_copy(update={"is_disabled": current.is_disabled}), event, actor)

        return await self._store.write(write)

    async def bind(self, record: TableRecord, actor: str = "") -> TableRecord:
        """Keep a record whose rows stay where they are."""
        await self.put(record, "table_bound", actor)
        await self.sweep()
        return record

    async def disable(self, namespace: str, name: str, *, is_disabled: bool, actor: str = "") -> TableRecord:
        """Keep new jobs from using a table, or allow it again."""
        event = "table_disabled" if is_disabled else "table_enabled"

        def write(store: Transaction) -> TableRecord:
            record = _found(store, namespace, name).model_copy(update={"is_disabled": is_disabled})
            return _write(store, record, event, actor)

        return await self._store.write(write)

    async def delete(self, namespace: str, name: str, actor: str = "") -> TableRecord:
        """Delete a table; a bound file stays where it is, and jobs that have read the table keep what they read."""

        def write(store: Transaction) -> TableRecord:
            record = _found(store, namespace, name)
            store.delete_document(TABLES, record.key)
            store.append_event("table_deleted", "", _detail(record, actor))
            return record

        record = await self._store.write(write)
        if not record.folder and record.binding is None:
            await asyncio.to_thread(shutil.rmtree, self.folder(record), ignore_errors=True)
        await self.sweep()
        return record

    # -- what jobs do with them

    async def open(self, namespace: str, name: str, job: str, task: str) -> Path:
        """Return the folder of a table for a task, and note the use; a bound table is read now.

        The same task of the same job gets the same rows again, whatever has become of the name since. Raises
        TableMissing, TableDisabled, or DataError when a bound file has changed or is gone.
        """
        before = await self._store.read(lambda store: store.document(USES, f"{namespace}/{name}/{job}/{task}"))
        if before is not None:
            use = Use.model_validate_json(before)
            if use.is_open and use.folder and (self.place / use.folder).is_dir():
                return self.place / use.folder
        record = await self.find(namespace, name)
        if record.is_disabled:
            raise TableDisabled(f"table {record.key} is disabled by its owner; allow it with: flow table enable")
        record = await self.read_bound(record, is_new_job=True)
        async with self._lock:
            if record.folder and not (self.place / record.folder).is_dir():
                record = await self.find(namespace, name)  # it was replaced while we looked
            await self._note(record, job, task)
        return self.folder(record)

    async def read_bound(
        self, record: TableRecord, *, is_new_job: bool = False, tell: reading.Tell = reading.unheard
    ) -> TableRecord:
        """Return the record of a table whose rows are here: a bound file is read once, a query anew for each job."""
        binding = record.binding
        if binding is None or (binding.mark is not None and binding.mark.is_folder):
            if binding is not None and binding.mark is not None:
                await self._sources.check(binding.path, binding.mark)
            return record
        if binding.mark is not None:
            await self._sources.check(binding.path, binding.mark)
        is_cached = bool(record.folder) and (self.place / record.folder).is_dir()
        if is_cached and (binding.mark is not None or not is_new_job):
            return record
        folder = self.new_folder()
        order = await self._sources.order(
            folder, binding.form, path=binding.path, source=binding.source, query=binding.query, table=binding.table
        )
        try:
            await asyncio.to_thread(make_private_dir, self.place)
            kept = await reading.read(order, self.watched(tell))
            if binding.mark is not None:
                await self._sources.check(binding.path, binding.mark)
            return await self.keep(record, folder, kept)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def release(self, job: str) -> None:
        """Let go of the tables that a job has used; call it when the job has ended."""
        uses = self._open.pop(job, None)
        if uses is not None:
            await self._close(uses)
            await self.sweep()

    async def lineage(self, namespace: str, name: str) -> list[Use]:
        """Return which tasks have read a table, the latest first; also of a table that is gone."""
        return sorted(await self._uses(f"{namespace}/{name}/"), key=lambda use: -use.at)

    async def sweep(self) -> None:
        """Remove the folders that no record and no open use names."""
        async with self._lock:
            if not self.place.is_dir():
                return
            named = {record.folder for record in await self.records()}
            named |= {use.folder for uses in self._open.values() for use in uses}
            await asyncio.to_thread(_remove_all_but, self.place, named)

    # -- inside

    async def _note(self, record: TableRecord, job: str, task: str) -> None:
        use = Use(
            namespace=record.namespace,
            name=record.name,
            job=job,
            task=task,
            digest=record.digest,
            folder=record.folder,
            at=self._clock(),
        )
        self._open.setdefault(job, []).append(use)
        await self._store.write(lambda store: store.put_document(USES, use.key, use.model_dump_json().encode()))

    async def _close(self, uses: Sequence[Use]) -> None:
        closed = [use.model_copy(update={"is_open": False}) for use in uses]

        def write(store: Transaction) -> None:
            for use in closed:
                store.put_document(USES, use.key, use.model_dump_json().encode())

        if closed:
            await self._store.write(write)

    async def _uses(self, prefix: str = "") -> list[Use]:
        rows = await self._store.read(lambda store: store.documents(USES, prefix, limit=ALL))
        return [Use.model_validate_json(row.document) for row in rows]

    async def _has_ended(self, job: str) -> bool:
        row = await self._store.read(lambda store: store.job(job))
        return row is None or row.status in _ENDS


def _adopted(folder: Path, draft: Path) -> Kept:
    """Link or copy the files of a table and describe it; raises DataError when it is none."""
    from partyd.data.table import Table  # here, for numpy comes with it and a daemon seldom adopts a table

    table = Table.load(folder)
    draft.mkdir(mode=0o700)
    for file in folder.iterdir():
        if file.suffix in (".npy", ".json"):
            if file.is_symlink():
                raise DataError(f"{file} is a symbolic link; a table in partyd's own columns has none")
            try:
                (draft / file.name).hardlink_to(file)
            except OSError:
                shutil.copyfile(file, draft / file.name)
    return Kept(count=len(table), table_schema=table.schema, digest=table.digest().hex(), bad_rows=0, skipped=())


def _read(document: bytes) -> TableRecord:
    """Read a record, also one of an earlier version."""
    fields = json.loads(document)
    if "schema" in fields:
        fields["table_schema"] = fields.pop("schema")
    return TableRecord.model_validate(fields)


def _found(store: Reader, namespace: str, name: str) -> TableRecord:
    found = store.document(TABLES, f"{namespace}/{name}")
    if found is None:
        raise TableMissing(f"there is no table {namespace}/{name}; upload it with: flow data upload")
    return _read(found)


def _write(store: Transaction, record: TableRecord, event: str, actor: str) -> TableRecord:
    store.put_document(TABLES, record.key, record.model_dump_json().encode())
    store.append_event(event, "", _detail(record, actor))
    return record


def _detail(record: TableRecord, actor: str) -> bytes:
    return json.dumps({"table": record.key, "digest": record.digest, "by": actor}).encode()


def _settle(folder: Path, final: Path) -> None:
    """Give a folder its name, on the disk before any record says so; an equal one stays, a damaged one goes."""
    if final.exists():
        if _sizes(folder) == _sizes(final):
            shutil.rmtree(folder, ignore_errors=True)
            return
        shutil.rmtree(final)
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_dir(folder)
    folder.rename(final)
    sync_dir(final.parent)
    sync_dir(final.parent.parent)


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in folder.iterdir()}


def _remove(place: Path, pattern: str) -> None:
    for path in place.glob(pattern):
        shutil.rmtree(path, ignore_errors=True)


def _remove_all_but(place: Path, named: set[str]) -> None:
    for path in place.iterdir():
        if path.name not in named and not path.name.endswith(".partial"):
            shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.rmdir()
