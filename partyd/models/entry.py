"""What the registry writes down of a task's models: their files with digests, and where they come from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from partyd.components import COMPONENTS
from partyd.errors import DataError
from partyd.jobs.lineage import Lineage

MAX_ID = 256
MAX_MODEL_BYTES = 1 << 30
MAX_FILES = 10_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelFile(_Part):
    """One file of a model; ``name`` begins with the output's key."""

    name: str = Field(pattern=r"^[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}(/[0-9A-Za-z_][0-9A-Za-z_.-]{0,127}){0,7}$")
    size: int = Field(ge=0, le=MAX_MODEL_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelEntry(_Part):
    """The models of one task at one party."""

    model_id: str = Field(min_length=1, max_length=MAX_ID)
    model_version: str = Field(min_length=1, max_length=MAX_ID)
    role: str
    party_id: str
    task_name: str = Field(min_length=1, max_length=128)
    component: str = Field(max_length=128)
    component_version: str = Field(max_length=64)
    job_id: str = Field(max_length=64)
    created_at: float
    keys: tuple[str, ...] = Field(min_length=1, max_length=64)
    files: tuple[ModelFile, ...] = Field(min_length=1, max_length=MAX_FILES)
    schema_version: int = Field(default=1, ge=1)
    """The version of the form of the component's model documents."""
    lineage: Lineage | None = None
    """Where the models come from; models of earlier partyds have none."""
    lineage_sha256: str = Field(default="", max_length=64)

    @property
    def digest(self) -> str:
        """The digest of the content, whoever made it and when."""
        listing = json.dumps([file.model_dump() for file in self.files], sort_keys=True)
        return hashlib.sha256(listing.encode()).hexdigest()


def insist_on_form(entry: ModelEntry) -> None:
    """Raise DataError when a newer partyd has written a model in a form that this one does not know."""
    component = COMPONENTS.get(entry.component)
    if component is not None and entry.schema_version > component.model_schema:
        raise DataError(
            f"the model of task {entry.task_name} has the form {entry.schema_version} of {entry.component}, and this "
            f"partyd reads up to {component.model_schema}; use a newer partyd"
        )


def check_entry(entry: ModelEntry, folder: Path) -> None:
    """Compare files and lineage with the digests that an entry lists; raises DataError naming what differs."""
    check_lineage(entry)
    check_files(entry, folder)


def check_lineage(entry: ModelEntry) -> None:
    """Compare an entry's lineage with its digest; raises DataError when it was changed."""
    if (entry.lineage.digest if entry.lineage is not None else "") != entry.lineage_sha256:
        raise DataError(f"the lineage of task {entry.task_name}'s model is not what was kept; take it from a backup")


def check_files(entry: ModelEntry, folder: Path) -> None:
    """Compare files with the digests that an entry lists; raises DataError naming the first that differs."""
    for file in entry.files:
        path = folder / file.name
        if not path.is_file() or path.is_symlink() or sha256_of(path) != file.sha256:
            raise DataError(
                f"the model file {entry.task_name}/{file.name} is missing or not what was kept; take it from a backup"
            )


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
