"""Read a CSV file as a table, naming every row that cannot be read."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from partyd.data.formats import CsvFormat
from partyd.data.table import Schema, Table
from partyd.errors import DataError

MISSING = frozenset({"", "na", "nan", "null", "none", "n/a", "?"})
MAX_NAMED_BAD_ROWS = 20
MAX_ID_BYTES = 256


@dataclass
class _Columns:
    ids: list[bytes] = field(default_factory=list)
    match_ids: list[bytes] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    bad_count: int = 0


def read_csv(path: Path, form: CsvFormat) -> tuple[Table, list[str]]:
    """Return the table in ``path`` and a line for each bad row that was skipped; raises DataError naming the lines."""
    with _open(path) as lines:
        reader = csv.reader(lines, delimiter=form.delimiter)
        columns = _Columns()
        try:
            header = [name.strip() for name in next(reader, [])]
            places = _Places.find(header, form, path)
            for row in reader:
                if row:
                    _read_row(row, reader.line_num, places, columns)
        except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
            raise DataError(f"{path}, near line {reader.line_num}: {error}; save the file as UTF-8 CSV") from error
    if columns.bad_count and form.on_bad_row != "skip":
        more = f" and {columns.bad_count - len(columns.bad)} more" if columns.bad_count > len(columns.bad) else ""
        raise DataError(f"{path}: {'; '.join(columns.bad)}{more}. Mend them, or upload with --bad-rows skip")
    if not columns.ids:
        raise DataError(f"{path} holds no rows below its header")
    return _table(places, columns), columns.bad


def _open(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return cast("TextIO", gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class _Places:
    """Which column holds what, by position."""

    header: list[str]
    sample_id: int
    match_id: int | None
    label: int | None
    weight: int | None
    features: list[int]

    @property
    def numeric(self) -> list[int]:
        return [i for i in (self.label, self.weight) if i is not None] + self.features

    @classmethod
    def find(cls, header: list[str], form: CsvFormat, path: Path) -> _Places:
        if len(set(header)) != len(header) or not header:
            raise DataError(f"{path}: the header must name every column once; it reads {header[:20]}")

        def place(name: str | None, guesses: tuple[str, ...] = ()) -> int | None:
            if name is not None and name not in header:
                raise DataError(f"{path} has no column {name!r}; its columns are {', '.join(header[:40])}")
            chosen = name or next((guess for guess in guesses if guess in header), None)
            return None if chosen is None else header.index(chosen)

        sample_id = place(form.sample_id, ("id", "sample_id", "sid"))
        sample_id = 0 if sample_id is None else sample_id
        match_id, label, weight = place(form.match_id), place(form.label, ("y", "label")), place(form.weight)
        special = {sample_id, match_id, label, weight}
        return cls(header, sample_id, match_id, label, weight, [i for i in range(len(header)) if i not in special])


def _read_row(row: list[str], line: int, places: _Places, columns: _Columns) -> None:
    try:
        if len(row) != len(places.header):
            raise ValueError(f"{len(row)} columns instead of {len(places.header)}")
        numbers = [_number(row[i], places.header[i]) for i in places.numeric]
        sample = _id(row[places.sample_id])
        match = None if places.match_id is None else _id(row[places.match_id])
    except ValueError as error:
        columns.bad_count += 1
        if len(columns.bad) < MAX_NAMED_BAD_ROWS:
            columns.bad.append(f"line {line}: {error}")
        return
    columns.ids.append(sample)
    columns.numbers.append(numbers)
    if match is not None:
        columns.match_ids.append(match)


def _number(text: str, name: str) -> float:
    word = text.strip()
    if word.lower() in MISSING:
        return float("nan")
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{name} holds {word[:40]!r}, which is no number") from None


def _id(text: str) -> bytes:
    word = text.strip().encode()
    if not word or b"\0" in word or len(word) > MAX_ID_BYTES:
        raise ValueError(f"an id is empty, longer than {MAX_ID_BYTES} bytes or holds a NUL")
    return word


def _table(places: _Places, columns: _Columns) -> Table:
    numbers = np.array(columns.numbers, dtype=np.float64).reshape(len(columns.ids), -1)
    at = places.numeric.index
    features = [at(i) for i in places.features]
    schema = Schema(
        rows=len(columns.ids),
        sample_id=places.header[places.sample_id],
        match_id=None if places.match_id is None else places.header[places.match_id],
        label=None if places.label is None else places.header[places.label],
        weight=None if places.weight is None else places.header[places.weight],
        features=tuple(places.header[i] for i in places.features),
    )
    return Table(
        schema=schema,
        ids=np.array(columns.ids, dtype=np.bytes_),
        match_ids=np.array(columns.match_ids, dtype=np.bytes_) if places.match_id is not None else None,
        label=None if places.label is None else numbers[:, at(places.label)],
        weight=None if places.weight is None else numbers[:, at(places.weight)],
        features=numbers[:, features],
    )
