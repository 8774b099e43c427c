"""The registry of trained models: what tasks gave out at their model ports, by (model_id, model_version).

A task's models lie together in one folder, which is written beside its place and renamed into it: it is there whole or
not at all. The store keeps one document for each such folder and one for the job that made them. The folder holds the
same document, so that a model explains itself on the disk.

    models/<model_id>/<model_version>/<role>-<party_id>/<task>/{entry.json, <key>.json, <key>/...}

That document lists every file with its SHA-256 and says where the models come from (`partyd.jobs.lineage`). Both are
compared before a job takes a model and before it is exported.
"""

from __future__ import annotations

import asyncio
import glob
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from partyd import __version__
from partyd.components.base import Component, Kind
from partyd.errors import DataError
from partyd.jobs.lineage import ENTRY, read_lineage
from partyd.jobs.ports import JobStore, Transaction
from partyd.jobs.record import MODEL_JOBS, JobRecord, ModelJob, model_job_key
from partyd.layout import Layout, encoded, make_private_dir, sync_dir, write_private
from partyd.models.entry import (
    MAX_FILES,
    MAX_MODEL_BYTES,
    ModelEntry,
    ModelFile,
    check_entry,
    check_files,
    insist_on_form,
    sha256_of,
)
from partyd.types import Address, Role

MODELS = "model"
"""Documents: one for each task's models, by model id, version, role, party and task."""
"""Documents: the job that made a model, by model id, version, role and party."""
DEFAULT_VERSION = "0"


@dataclass(frozen=True)
class ModelRegistry:
    """The models of one address of this daemon."""

    layout: Layout
    me: Address
    store: JobStore
    clock: Callable[[], float] = time.time
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def keep(self, record: JobRecord, task: str, component: Component, folder: Path) -> ModelEntry | None:
        """Keep what a task that has succeeded wrote to its model ports in ``folder``; None when it wrote none.

        Keeping the same again changes nothing, and a rerun of the job replaces what its earlier run gave. Raises
        DataError when another job's models are there under that id and version.
        """
        model_id, model_version = identity(record)
        keys = tuple(port.name for port in component.outputs if port.kind is Kind.MODEL)
        found = await asyncio.to_thread(_files_of, folder, keys)
        if not found:
            return None
        lineage = await asyncio.to_thread(read_lineage, folder)
        entry = ModelEntry(
            model_id=model_id,
            model_version=model_version,
            role=self.me.role.label,
            party_id=self.me.party_id,
            task_name=task,
            component=component.name,
            component_version=__version__,
            job_id=record.job,
            created_at=self.clock(),
            keys=tuple(key for key in keys if any(_belongs(file.name, key) for file in found)),
            files=found,
            schema_version=component.model_schema,
            lineage=lineage,
            lineage_sha256="" if lineage is None else lineage.digest,
        )
        job = ModelJob(
            model_id=model_id,
            model_version=model_version,
            role=entry.role,
            party_id=entry.party_id,
            job_id=record.job,
            created_at=record.created_at,
            spec=record.spec.model_dump(mode="json", exclude_defaults=True)
            | {"schema_version": record.spec.schema_version, "kind": record.spec.kind},
        )
        await self.put(job, [(entry, folder)])
        return entry

    async def put(self, job: ModelJob, entries: Sequence[tuple[ModelEntry, Path]]) -> None:
        """Take models in, each from the folder where its files lie; raises DataError rather than replace others."""
        async with self._lock:
            known = {}
            for entry, _ in entries:
                there = await self._entry(_key(entry))
                if there is not None and there.digest == entry.digest and self.place(there).is_dir():
                    known[entry.task_name] = there
                if there is not None and there.job_id != entry.job_id and there.digest != entry.digest:
                    raise DataError(
                        f"model {entry.model_id} version {entry.model_version} of task {entry.task_name} is already "
                        f"here, made by job {there.job_id}; choose another model_version, or delete that one first"
                    )
            fresh = [(entry, source) for entry, source in entries if entry.task_name not in known]
            if fresh:
                await self._insist_on_maker(job)
            for entry, source in fresh:
                await asyncio.to_thread(_install, entry, source, self.place(entry))
            if fresh:
                await self.store.write(lambda store: _record(store, job, [entry for entry, _ in fresh]))

    async def _insist_on_maker(self, job: ModelJob) -> None:
        """Raise DataError when another job has made this model: who was in the one may use all of the model."""
        made_by = Address(job.party_id, Role.from_label(job.role))
        key = model_job_key(job.model_id, job.model_version, made_by)
        raw = await self.store.read(lambda store: store.document(MODEL_JOBS, key))
        if raw is not None and ModelJob.model_validate_json(raw).job_id != job.job_id:
            raise DataError(
                f"model {job.model_id} version {job.model_version} is another job's; choose another model_version"
            )

    def path(self, model_id: str, model_version: str, task: str, key: str) -> Path:
        """Return where an output of a trained task lies, without its ``.json``; raises DataError when it is not here.

        The caller adds ``.json`` for a JSON model, as it does for an output of a task; a directory has that very name.
        """
        folder = self._folder(model_id, model_version) / encoded(task)
        path = folder / key
        if not key.isidentifier() or not (path.with_suffix(".json").is_file() or path.is_dir()):
            raise DataError(
                f"{self.me} has no model {model_id} version {model_version} of task {task} with the output {key!r}; "
                "list those there are with: flow model query"
            )
        return path

    async def checked(self, model_id: str, model_version: str, task: str, key: str) -> Path:
        """Return what ``path`` does, after comparing the task's files and lineage with what was kept.

        Raises DataError for a model that is not here, is no longer what it was, or of a form that this partyd does not
        know.
        """
        path = self.path(model_id, model_version, task, key)
        entry = await self._entry(f"{model_job_key(model_id, model_version, self.me)}/{encoded(task)}")
        if entry is None:
            raise DataError(f"the files of model {model_id} are at {self.me}, but its record is not; import it again")
        insist_on_form(entry)
        await asyncio.to_thread(check_entry, entry, path.parent)
        return path

    def place(self, entry: ModelEntry) -> Path:
        """Return the folder where a task's models lie."""
        return self._folder(entry.model_id, entry.model_version) / encoded(entry.task_name)

    async def query(self, model_id: str = "", model_version: str = "", job_id: str = "") -> list[ModelEntry]:
        """Return the models here by id, version and job, each of which may be left out."""
        prefix = f"{encoded(model_id)}/" if model_id else ""
        rows = await self.store.read(lambda store: store.documents(MODELS, prefix, limit=100_000))
        entries = [ModelEntry.model_validate_json(row.document) for row in rows if _is_of(row.key, self.me)]
        return [
            entry for entry in entries if model_version in ("", entry.model_version) and job_id in ("", entry.job_id)
        ]

    async def job(self, model_id: str, model_version: str) -> ModelJob:
        """Return the job that made a model; raises DataError when the model is not here."""
        key = model_job_key(model_id, model_version, self.me)
        found = await self.store.read(lambda store: store.document(MODEL_JOBS, key))
        if found is None:
            raise DataError(f"{self.me} has no model {model_id} version {model_version}; list them: flow model query")
        return ModelJob.model_validate_json(found)

    async def delete(self, model_id: str, model_version: str, task: str = "", key: str = "") -> int:
        """Delete a model, or only one task's, or only one output's; return how many outputs that were."""
        async with self._lock:
            entries = [e for e in await self.query(model_id, model_version) if task in ("", e.task_name)]
            count = 0
            for entry in entries:
                gone = {k for k in entry.keys if key in ("", k)}
                count += len(gone)
                await self._forget(entry, gone)
            if not await self.query(model_id, model_version):
                job_key = f"{encoded(model_id)}/{encoded(model_version)}/{self.me.role.label}/{self.me.party_id}"
                await self.store.write(lambda store: store.delete_document(MODEL_JOBS, job_key))
            return count

    async def _forget(self, entry: ModelEntry, keys: set[str]) -> None:
        """Delete outputs of one task: first from the store, so that a crash leaves files that nobody finds."""
        if not keys:
            return
        files = tuple(file for file in entry.files if not any(_belongs(file.name, key) for key in keys))
        if not files:
            await self.store.write(lambda store: store.delete_document(MODELS, _key(entry)))
            await asyncio.to_thread(_remove, self.place(entry))
            return
        rest = entry.model_copy(update={"keys": tuple(k for k in entry.keys if k not in keys), "files": files})
        packed = rest.model_dump_json().encode()
        await self.store.write(lambda store: store.put_document(MODELS, _key(rest), packed))
        await asyncio.to_thread(_install, rest, self.place(entry), self.place(entry))

    async def _entry(self, key: str) -> ModelEntry | None:
        found = await self.store.read(lambda store: store.document(MODELS, key))
        return None if found is None else ModelEntry.model_validate_json(found)

    def _folder(self, model_id: str, model_version: str) -> Path:
        party = f"{self.me.role.label}-{self.me.party_id}"
        return self.layout.state_dir / "models" / encoded(model_id) / encoded(model_version) / party


def identity(record: JobRecord) -> tuple[str, str]:
    """Return the id and version of the model that a job makes: what its conf says, else the job's id and ``0``."""
    conf = record.spec.dag.conf
    values = conf.model_dump() if isinstance(conf, BaseModel) else dict(conf)
    return str(values.get("model_id") or record.job), str(values.get("model_version") or DEFAULT_VERSION)


def _key(entry: ModelEntry) -> str:
    made_by = Address(entry.party_id, Role.from_label(entry.role))
    return f"{model_job_key(entry.model_id, entry.model_version, made_by)}/{encoded(entry.task_name)}"


def _is_of(key: str, me: Address) -> bool:
    return key.split("/")[2:4] == [me.role.label, me.party_id]


def _record(store: Transaction, job: ModelJob, entries: Sequence[ModelEntry]) -> None:
    made_by = Address(job.party_id, Role.from_label(job.role))
    key = model_job_key(job.model_id, job.model_version, made_by)
    store.put_document(MODEL_JOBS, key, job.model_dump_json().encode())
    for entry in entries:
        store.put_document(MODELS, _key(entry), entry.model_dump_json().encode())


def _belongs(name: str, key: str) -> bool:
    return name == f"{key}.json" or name.startswith(f"{key}/")


def _files_of(folder: Path, keys: Sequence[str]) -> tuple[ModelFile, ...]:
    """Return the files of some outputs of a task, in order; raises DataError for what cannot be kept."""
    found: list[Path] = []
    for key in keys:
        json_file, directory = folder / f"{key}.json", folder / key
        if json_file.is_file():
            found.append(json_file)
        if directory.is_dir():
            found += sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    try:
        files = [
            ModelFile(name=path.relative_to(folder).as_posix(), size=path.stat().st_size, sha256=sha256_of(path))
            for path in found
        ]
    except ValidationError as error:
        raise DataError(f"a model file in {folder.name} cannot be kept: {error.errors()[0]['msg']}") from error
    if sum(file.size for file in files) > MAX_MODEL_BYTES or len(files) > MAX_FILES:
        raise DataError(f"the models in {folder.name} are more than {MAX_MODEL_BYTES} bytes or {MAX_FILES} files")
    return tuple(files)


def _install(entry: ModelEntry, source: Path, place: Path) -> None:
    """Copy an entry's files into its folder in one step."""
    packed = entry.model_dump_json(indent=1).encode()
    make_private_dir(place.parent)
    for stale in place.parent.glob(f".{glob.escape(place.name)}.*"):
        shutil.rmtree(stale)  # of a process that was killed
    draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    make_private_dir(draft)
    try:
        for file in entry.files:
            write_private(draft / file.name, (source / file.name).read_bytes())
        check_files(entry, draft)
        write_private(draft / ENTRY, packed)
        _swap(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _swap(draft: Path, place: Path) -> None:
    _remove(place)
    draft.rename(place)
    sync_dir(place.parent)


def _remove(place: Path) -> None:
    """Take a folder away in one step, then erase it."""
    trash = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    if place.exists():
        place.rename(trash)
        sync_dir(place.parent)
        shutil.rmtree(trash)
