"""What the daemon tells the processes that read and write tables, and what they answer. No numpy here."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from partyd.data.formats import Format
from partyd.data.schema import Schema

REFUSED = 3
"""How such a process ends when what it said on standard error is a sentence for the owner; a traceback ends with 1."""


class Order(BaseModel):
    """What to read and where to keep it: ``path`` of a file, or ``url`` of a database and ``query`` or ``table``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    """Becomes the table's folder; an empty one may be there already."""
    form: Format = Format()
    path: Path | None = None
    shown_as: str = ""
    """What the source is called in errors, where its path is of no use to the reader."""
    url: str = ""
    query: str = ""
    table: str = ""
    max_columns: int = 10_000
    sid_prefix: str = ""


class Kept(BaseModel):
    """What has been kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    table_schema: Schema
    digest: str
    bad_rows: int
    skipped: tuple[str, ...]


class ExportOrder(BaseModel):
    """Which table to write, and where: one CSV file, or FATE's archive of it with a description of its header."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
    target: Path
    draft: Path
    """Where the file is written, beside the target, before it takes the target's place."""
    is_archive: bool = False
    has_header: bool = True


def inner_draft(draft: Path) -> Path:
    """Return where the CSV of an archive is written."""
    return draft.with_name(f"{draft.name}.csv")
