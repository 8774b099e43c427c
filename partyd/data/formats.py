"""How an uploaded file is to be read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class CsvFormat(BaseModel):
    """How to read the file; names not given are guessed as ``id`` or the first column, and ``y`` or ``label``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    sample_id: str | None = None
    match_id: str | None = None
    label: str | None = None
    weight: str | None = None
    on_bad_row: Literal["refuse", "skip"] = "refuse"
