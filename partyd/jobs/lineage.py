"""Where a model comes from: one document beside it, written by the worker that made it.

``lineage.json`` in a task's folder says which job, task, component and code wrote the models there, for which parties,
with which parameters and from which data and earlier models, each by its SHA-256. A table's digest is `Table.digest`,
under which the audit log knows an uploaded one; ``uploads`` are the uploaded tables that the task's data came from,
through all tasks before it. Other parties' data have no digests here: nobody tells them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd import __version__
from partyd.components.base import Component, JsonObject, Kind, Training, stored_tables
from partyd.errors import DataError
from partyd.jobs.order import WorkOrder
from partyd.types import ARBITER, GUEST, HOST

LINEAGE = "lineage"
"""The name of the document."""
ENTRY = "entry.json"
"""What the registry writes beside a model; its ``lineage`` is this document."""
LINEAGE_SCHEMA = 1
MAX_LINEAGE_BYTES = 1 << 20
Sha256 = str
_HEX = re.compile(r"^[0-9a-f]{64}$")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Origin(_Part):
    """One input: the task that made it, empty for a table, and what it held."""

    task: str = Field(default="", max_length=128)
    sha256: Sha256 = Field(pattern=_HEX.pattern)


class Made(_Part):
    """One model: the version of its document's form, and what it held when it was written."""

    schema_version: int = Field(ge=1)
    sha256: Sha256 = Field(pattern=_HEX.pattern)


class Lineage(_Part):
    """What is known here of how a task's models came to be."""

    schema_version: int = Field(default=LINEAGE_SCHEMA, ge=1)
    job: str = Field(max_length=64)
    task: str = Field(max_length=128)
    component: str = Field(max_length=128)
    component_version: str = Field(default=__version__, max_length=64)
    algorithms: dict[str, str] = Field(default={}, max_length=64)
    """The version of each algorithm that the component may run."""
    stage: str = Field(max_length=32)
    role: str = Field(max_length=16)
    party_id: str = Field(max_length=64)
    parties: dict[str, tuple[str, ...]] = Field(max_length=8)
    """By role, who took part in the task."""
    contract: str = Field(default="", max_length=64)
    """The SHA-256 of the contract that all parties signed for the job."""
    parameters: Sha256 = Field(pattern=_HEX.pattern)
    """Of the parameters as canonical JSON, defaults included."""
    data: dict[str, tuple[Origin, ...]] = Field(default={}, max_length=64)
    models: dict[str, tuple[Origin, ...]] = Field(default={}, max_length=64)
    """The earlier models that the task took: a warm start's, or those that were put together."""
    uploads: tuple[Sha256, ...] = Field(default=(), max_length=10_000)
    made: dict[str, Made] = Field(default={}, max_length=64)

    @property
    def digest(self) -> Sha256:
        """The SHA-256 of the lineage as canonical JSON."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(document: JsonObject) -> Sha256:
    """Return the SHA-256 of a document as canonical JSON: sorted keys, no spaces."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def write_lineage(order: WorkOrder, component: Component) -> None:
    """Write down where the outputs of a task that has just succeeded come from; reads what its models came from."""
    folder = Path(order.outputs)
    made = {port.name: _made(folder, port.name, component) for port in component.outputs if port.kind is Kind.MODEL}
    kept = {key: model for key, model in made.items() if model is not None}
    kinds = {port.name: port.kind for port in component.inputs}
    origins = {port: tuple(_origins(order, port, kinds[port])) for port in order.inputs} if kept else {}
    lineage = Lineage(
        job=order.job,
        task=order.task,
        component=component.name,
        algorithms={algorithm.name: algorithm.version for algorithm in component.algorithms},
        stage=order.stage,
        role=order.me.role.label,
        party_id=order.me.party_id,
        parties=_by_role(order, component),
        contract=order.contract,
        parameters=digest_of(component.params.model_validate(order.parameters).model_dump(mode="json")),
        data={port: found for port, found in origins.items() if kinds[port] is Kind.DATA},
        models={port: found for port, found in origins.items() if kinds[port] is Kind.MODEL},
        uploads=tuple(sorted(_uploads(order, component))),
        made=kept,
    )
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{LINEAGE}.json.partial"
    partial.write_text(json.dumps(lineage.model_dump(mode="json"), sort_keys=True, indent=1))
    partial.rename(folder / f"{LINEAGE}.json")


def read_lineage(folder: Path) -> Lineage | None:
    """Return the lineage of what lies in a task's folder, None when it has none; raises DataError for another thing."""
    path = folder / f"{LINEAGE}.json"
    if not path.is_file():
        return None
    try:
        if path.stat().st_size > MAX_LINEAGE_BYTES:
            raise DataError(f"the lineage of {folder.name} is larger than any; run the job again")
        return Lineage.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise DataError(f"the lineage of {folder.name} cannot be read; run the job again") from error


def trainings_of(order: WorkOrder, component: Component) -> dict[str, Training]:
    """Return which training the model at each port comes from, where it is one model and that is known."""
    found: dict[str, Training] = {}
    for port in (one.name for one in component.inputs if one.kind is Kind.MODEL):
        paths = order.inputs.get(port, ())
        lineage = lineage_of_model(Path(paths[0])) if len(paths) == 1 else None
        if lineage is not None:
            parties = tuple(f"{party}/{role}" for role, ids in lineage.parties.items() for party in ids)
            found[port] = Training(f"{lineage.job}/{lineage.task}/{lineage.contract}", parties)
    return found


def lineage_of_model(path: Path) -> Lineage | None:
    """Return the lineage of the model at ``path``, in a task's folder or in the registry's; None without one."""
    entry = path.parent / ENTRY
    if not entry.is_file():
        return read_lineage(path.parent)
    try:
        document = json.loads(entry.read_bytes()).get(LINEAGE)
        return None if document is None else Lineage.model_validate(document)
    except (ValueError, AttributeError, OSError) as error:
        raise DataError(f"{ENTRY} of the model {path.parent.name} cannot be read; import the model again") from error


def digest_of_model(path: Path) -> Sha256:
    """Return the digest of the model at ``path`` (without its suffix): of its JSON, or of all its files by name."""
    document = path.with_suffix(".json")
    if document.is_file():
        return _of_file(document)
    digest = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{_of_file(file)}\n".encode())
    return digest.hexdigest()


def digest_of_tables(path: Path) -> Sha256:
    """Return the digest of the one table at ``path``, or of the digests of the several."""
    from partyd.data.schema import Schema
    from partyd.data.writer import digest_of_folder  # here, for numpy comes with it and only workers need it

    found = [
        digest_of_folder(folder, Schema.model_validate_json((folder / "schema.json").read_bytes()))
        for folder in stored_tables(path)
    ]
    return found[0].hex() if len(found) == 1 else hashlib.sha256(b"".join(found)).hexdigest()


def _made(folder: Path, key: str, component: Component) -> Made | None:
    path = folder / key
    if not (path.with_suffix(".json").is_file() or path.is_dir()):
        return None
    return Made(schema_version=component.model_schema, sha256=digest_of_model(path))


def _origins(order: WorkOrder, port: str, kind: Kind) -> Iterator[Origin]:
    tasks = order.producers.get(port, ())
    for i, path in enumerate(map(Path, order.inputs[port])):
        sha256 = digest_of_tables(path) if kind is Kind.DATA else digest_of_model(path)
        yield Origin(task=tasks[i] if i < len(tasks) else "", sha256=sha256)


def _uploads(order: WorkOrder, component: Component) -> set[Sha256]:
    """Return the digests of the uploaded tables that a task's data came from."""
    own = set(order.tables.values())
    found = {_digest_of_upload(Path(folder)) for folder in own}
    for port in (one.name for one in component.inputs if one.kind is Kind.DATA):
        for path in (one for one in order.inputs.get(port, ()) if one not in own):
            earlier = read_lineage(Path(path).parent)
            found |= {_digest_of_upload(Path(path))} if earlier is None else set(earlier.uploads)
    return found


def _digest_of_upload(folder: Path) -> Sha256:
    """Return the digest of an uploaded table, after which its folder is named where we keep its columns."""
    return folder.name if _HEX.fullmatch(folder.name) else digest_of_tables(folder)


def _by_role(order: WorkOrder, component: Component) -> dict[str, tuple[str, ...]]:
    taking_part = [address for address in order.parties if address.role & component.roles]
    named = {role: tuple(a.party_id for a in taking_part if a.role is role) for role in (GUEST, HOST, ARBITER)}
    return {role.label: ids for role, ids in named.items() if ids}


def _of_file(path: Path) -> Sha256:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
