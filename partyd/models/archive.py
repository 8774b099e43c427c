"""A model in one file, to carry to another daemon: a zip with a manifest that names every file, its size and digest.

The manifest also says of each task's models where they come from (`partyd.jobs.lineage`).

    manifest.json
    <task>/<file>       as in the registry

What is read back is checked before anything is kept: no name that the manifest does not list, no size or digest other
than listed, nothing that is not JSON where JSON is said, and no entry is ever used as a path of this machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd import __version__
from partyd.components.base import JsonObject
from partyd.dag.dag import JobSpec
from partyd.errors import DataError
from partyd.jobs.record import ModelJob
from partyd.layout import encoded, make_private_dir
from partyd.models.entry import MAX_MODEL_BYTES, ModelEntry, ModelFile, check_entry, check_lineage, insist_on_form
from partyd.types import Address

MANIFEST = "manifest.json"
FORMAT = "partyd-model"
FORMAT_VERSION = 2
READ_VERSIONS = (1, 2)
"""1: without where the models come from."""
MAX_MANIFEST_BYTES = 8 << 20
MAX_DIRECTORY_BYTES = 16 << 20
"""Of the list of files at a zip's end, all of which `zipfile` holds in memory."""
MAX_JSON_BYTES = 64 << 20
"""Larger documents are left to the component that reads them."""
END_BYTES, LOCATOR_BYTES = 22, 20
MAX_TASKS = 1_000
MAX_NAME = 160
CHUNK_BYTES = 1 << 20
LATEST = 1e11
"""Seconds since 1970 that no clock shows."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that equal models make equal files."""


class Manifest(BaseModel):
    """What an exported model holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    partyd_version: str = Field(default=__version__, max_length=64)
    parties: tuple[str, ...] = Field(max_length=64)
    job: ModelJob
    tasks: tuple[ModelEntry, ...] = Field(min_length=1, max_length=MAX_TASKS)


def file_name(job: ModelJob) -> str:
    """Return the name that FATE gives an exported model; a hash stands for ids that make no file's name."""
    name = f"{encoded(job.model_id)}_{encoded(job.model_version)}"
    if len(name) > MAX_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()
    return f"{name}_{job.role}_{job.party_id}.zip"


def write_zip(stream: BinaryIO, job: ModelJob, entries: Sequence[tuple[ModelEntry, Path]]) -> None:
    """Write a model as a zip; raises DataError when a file of it is not what was kept."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        _fill(archive, job, entries)


def write_archive(target: Path, job: ModelJob, entries: Sequence[tuple[ModelEntry, Path]]) -> str:
    """Write a model to a new file and return its SHA-256; raises DataError when another file has that name.

    The file appears whole or not at all; one with the same content is left as it is.
    """
    draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b") as stream:
            write_zip(stream, job, entries)
            stream.flush()
            os.fsync(stream.fileno())
        digest = _sha256(draft)
        if not (target.exists() or target.is_symlink()):
            os.link(draft, target)
        elif target.is_symlink() or not target.is_file() or _sha256(target) != digest:
            raise DataError(f"{target} is there and holds something else; name another directory, or remove it")
    except FileExistsError as error:
        raise DataError(f"{target} has just been made by somebody else; try again") from error
    finally:
        draft.unlink(missing_ok=True)
    return digest


def read_archive(path: Path, draft: Path) -> tuple[Manifest, list[tuple[ModelEntry, Path]]]:
    """Unpack a checked model below ``draft``; raises DataError for a file that is not a whole exported model."""
    try:
        _check_directory(path)
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(archive)
            entries = [(entry, draft / str(index)) for index, entry in enumerate(manifest.tasks)]
            _unpack(archive, entries)
            return manifest, entries
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, RuntimeError, EOFError, OSError) as error:
        raise DataError(f"the file is not a zip that can be read: {error}") from error


def rename(
    job: ModelJob, entries: Sequence[ModelEntry], me: Address, model_id: str, model_version: str
) -> tuple[ModelJob, list[ModelEntry]]:
    """Return a model under another id, version and party."""
    place = {"model_id": model_id, "model_version": model_version, "role": me.role.label, "party_id": me.party_id}
    return job.model_copy(update=place), [entry.model_copy(update=place) for entry in entries]


def migrated(job: ModelJob, role: str, old: str, new: str) -> ModelJob:
    """Return the job with one party's id written anew wherever the job names that party."""
    return job.model_copy(update={"spec": _replaced(job.spec, role, old, new)})


def _replaced(value: JsonObject, role: str, old: str, new: str) -> JsonObject:
    found: JsonObject = {}
    for name, item in value.items():
        if name == "parties" and isinstance(item, list):
            found[name] = [_group(group, role, old, new) for group in item]
        elif isinstance(item, dict):
            found[name] = _replaced(item, role, old, new)
        else:
            found[name] = item
    return found


def _group(group: object, role: str, old: str, new: str) -> object:
    if not isinstance(group, dict) or group.get("role") != role:
        return group
    return group | {"party_id": [new if party == old else party for party in group.get("party_id", [])]}


def parties_of(job: ModelJob) -> tuple[str, ...]:
    """Return the parties of the job that made a model, as it names them."""
    groups = job.spec.get("dag", {}).get("parties", [])
    return tuple(f"{party}/{group['role']}" for group in groups for party in group["party_id"])


def _check_directory(path: Path) -> None:
    """Refuse a zip whose list of files would fill the memory; raises DataError (section 4.3.16 of PKWARE's APPNOTE)."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - END_BYTES - LOCATOR_BYTES))
        tail = stream.read()
    end = tail[-END_BYTES:]
    if end[:4] != b"PK\x05\x06" or tail[:4] == b"PK\x06\x07":
        raise DataError("the file is not a zip as partyd writes it; import what flow model export has written")
    if int.from_bytes(end[12:16], "little") > MAX_DIRECTORY_BYTES:
        raise DataError(f"the zip's list of files is larger than {MAX_DIRECTORY_BYTES} bytes")


def _fill(archive: zipfile.ZipFile, job: ModelJob, entries: Sequence[tuple[ModelEntry, Path]]) -> None:
    manifest = Manifest(parties=parties_of(job), job=job, tasks=tuple(entry for entry, _ in entries))
    text = json.dumps(manifest.model_dump(mode="json"), sort_keys=True, indent=1)
    archive.writestr(_info(MANIFEST), text)
    for entry, folder in entries:
        check_entry(entry, folder)
        for file in entry.files:
            with (folder / file.name).open("rb") as source, archive.open(_info(_name(entry, file)), "w") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _name(entry: ModelEntry, file: ModelFile) -> str:
    return f"{encoded(entry.task_name)}/{file.name}"


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    try:
        packed = _read(archive, MANIFEST, MAX_MANIFEST_BYTES)
        manifest = Manifest.model_validate_json(packed)
        JobSpec.model_validate(manifest.job.spec)
    except KeyError as error:
        raise DataError(
            f"the zip has no {MANIFEST}; import what flow model export of a partyd daemon has written"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"the model's {MANIFEST} cannot be used: {where}: {first['msg']}") from error
    if manifest.format != FORMAT or manifest.format_version not in READ_VERSIONS:
        raise DataError(
            f"the zip is of the form {manifest.format} {manifest.format_version}, this partyd reads {FORMAT} "
            f"{FORMAT_VERSION}; use a newer partyd"
        )
    _check(archive, manifest)
    for entry in manifest.tasks:
        insist_on_form(entry)
        check_lineage(entry)
    return manifest


def _check(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    tasks = {entry.task_name for entry in manifest.tasks}
    times = [manifest.job.created_at, *(entry.created_at for entry in manifest.tasks)]
    if len(tasks) != len(manifest.tasks) or not all(0 <= moment <= LATEST for moment in times):
        raise DataError("the zip's manifest names a task twice, or a time that is none; export the model again")
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in archive.infolist()):
        raise DataError("the zip is packed in a way that partyd does not read; export the model again")
    names = [MANIFEST, *(_name(entry, file) for entry in manifest.tasks for file in entry.files)]
    inside = [info.filename for info in archive.infolist()]
    if sorted(names) != sorted(inside) or len(set(names)) != len(names):
        odd = sorted(set(inside) ^ set(names))
        raise DataError(f"the zip does not hold exactly the files that its manifest lists ({', '.join(odd[:3])})")
    if sum(file.size for entry in manifest.tasks for file in entry.files) > MAX_MODEL_BYTES:
        raise DataError(f"the model is larger than {MAX_MODEL_BYTES} bytes")


def _unpack(archive: zipfile.ZipFile, entries: Sequence[tuple[ModelEntry, Path]]) -> None:
    for entry, folder in entries:
        make_private_dir(folder)
        for file in entry.files:
            target = folder / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest, size = hashlib.sha256(), 0
            with target.open("wb") as stream:
                for chunk in _chunks(archive, _name(entry, file), file.size):
                    digest.update(chunk)
                    size += len(chunk)
                    stream.write(chunk)
            if size != file.size or digest.hexdigest() != file.sha256:
                raise DataError(f"{_name(entry, file)} is not what the manifest says; export the model again")
            if target.suffix == ".json" and file.size <= MAX_JSON_BYTES:
                _check_json(target)


def _check_json(path: Path) -> None:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path.name} of the model is not JSON: {error}") from error


def _chunks(archive: zipfile.ZipFile, name: str, most: int) -> Iterator[bytes]:
    """Yield an entry's bytes, at most ``most`` and one chunk more, whatever its header says."""
    left = most + 1
    with archive.open(name) as stream:
        while left > 0 and (chunk := stream.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    found = b"".join(_chunks(archive, name, most))
    if len(found) > most:
        raise DataError(f"{name} is larger than {most} bytes")
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
