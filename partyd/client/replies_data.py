"""What a daemon says of tables, as frozen values."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast, runtime_checkable

from partyd.client.errors import ClientError
from partyd.client.fields import Fields


@runtime_checkable
class Frame(Protocol):
    """A pandas DataFrame, as far as this client goes."""

    def to_csv(self, path_or_buf: None = None, *, index: bool = True) -> str:
        """Return the frame as CSV."""


@dataclass(frozen=True)
class StoredTable:
    """An uploaded table."""

    namespace: str
    name: str
    count: int
    sample_id: str
    match_id: str
    label: str
    weight: str
    features: tuple[str, ...]
    digest: str
    skipped: tuple[str, ...]
    is_disabled: bool = False
    bad_rows: int = 0
    bound: str = ""
    """Where the rows of a bound table are."""

    @classmethod
    def read(cls, fields: Fields) -> StoredTable:
        """Return the table in a reply."""
        schema = fields.part("schema")
        return cls(
            fields.text("namespace"),
            fields.text("name"),
            fields.whole("count"),
            schema.text("sample_id"),
            schema.text("match_id"),
            schema.text("label"),
            schema.text("weight"),
            _names(schema, "features"),
            fields.text("digest"),
            fields.texts("skipped"),
            fields.flag("disabled"),
            fields.whole("bad_rows"),
            " ".join(str(value) for value in fields.part("bound").values.values()),
        )


def _names(schema: Fields, name: str) -> tuple[str, ...]:
    """Return the columns' names, each told as a text or as an object with a name."""
    return tuple(str(c.get("name", "")) if isinstance(c, Mapping) else str(c) for c in schema.sequence(name))


@dataclass(frozen=True)
class Rows:
    """Rows of a table, which has ``count`` in all."""

    count: int
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    @classmethod
    def read(cls, fields: Fields) -> Rows:
        """Return the rows in a reply."""
        rows = tuple(tuple(row) if isinstance(row, list) else (row,) for row in fields.sequence("rows"))
        return cls(fields.whole("count"), fields.texts("header"), rows)

    def column(self, name: str) -> list[object]:
        """Return one column's values; raises ClientError naming those there are."""
        if name not in self.header:
            raise ClientError(
                f"there is no column {name!r}", where="this table", how=f"its columns are {', '.join(self.header)}"
            )
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def frame(self) -> Frame:
        """Return the rows as a pandas DataFrame; raises ClientError where pandas is not installed."""
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise ClientError(
                "a frame needs pandas, which is not installed", where="this Python", how="pip install pandas"
            ) from error
        return cast("Frame", pandas.DataFrame([list(row) for row in self.rows], columns=list(self.header)))

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.header)
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(_cell(v))}</td>' for v in row)}</tr>" for row in self.rows)
        return f"<table><tr>{head}</tr>{body}</table><p>{len(self.rows)} of {self.count} rows</p>"


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
