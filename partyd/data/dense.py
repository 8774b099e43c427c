"""Dense text (CSV): a header or none, then a row a line.

A block of well-formed rows is cut at its delimiters and turned into numbers at once. A block with quotes, blank lines
or anything that cannot be read goes through the csv module row by row, which names the lines; both give the same.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partyd.data.blocks import BadRows, Block, Columns, Numbers, made_ids, types_of
from partyd.data.formats import MAX_ID_BYTES, Format
from partyd.data.ids import composite, normal, read_id
from partyd.data.text import TextBlocks
from partyd.errors import DataError

SPACES = (b" ", b"\t", b"\v", b"\f")


class DenseRows:
    """The rows of a CSV file; raises DataError when its header does not suffice."""

    def __init__(self, text: TextBlocks, form: Format, bad: BadRows, max_columns: int, sid_prefix: str) -> None:
        self._text = text
        self._form = form
        self._bad = bad
        self._blocks = iter(text)
        self._first = next(self._blocks, b"")
        self._line = text.line
        names = self._header()
        self._columns = Columns.find(names, form, text.where, max_columns)
        self._numbers = Numbers(form)
        self._types = types_of(self._columns, form)
        self._prefix = sid_prefix
        self._made = 0

    @property
    def columns(self) -> Columns:
        """What each column holds."""
        return self._columns

    def blocks(self) -> Iterator[Block]:
        """Yield the rows."""
        if self._first:
            yield self._read(self._first, self._line)
        for data in self._blocks:
            yield self._read(data, self._text.line)

    def _header(self) -> list[str]:
        """Take the header off the first block, or make one."""
        while self._first.startswith(b"\n"):
            self._first = self._first[1:]
            self._line += 1
        end = self._first.find(b"\n") + 1
        try:
            width = _fields(self._first[:end], self._form)
        except csv.Error as error:
            raise DataError(f"{self._text.where}, line {self._line}: {error}; mend the file") from error
        if not self._form.head:
            made = ["id", *(f"x{i}" for i in range(len(width) - 1))] if width else []
            return list(self._form.header) or made
        self._first = self._first[end:]
        self._line += 1
        return list(self._form.header) or [name.strip() for name in width]

    def _read(self, data: bytes, line: int) -> Block:
        block = self._read_at_once(data, line)
        return self._read_by_row(data, line) if block is None else block

    def _read_at_once(self, data: bytes, line: int) -> Block | None:
        """Return the rows of a well-formed block, None for any other."""
        parts = _cut(data, len(self._columns.names), self._form)
        if parts is None:
            return None
        columns, width = self._columns, len(self._columns.names)
        rows = len(parts) // width
        try:
            ids = None if columns.sample_id is None else self._ids(parts[columns.sample_id :: width], data)
            match_ids = self._match_ids([parts[place::width] for place in columns.match_ids], data)
            numbers = self._matrix(parts, rows, b"_" in data)
        except ValueError:
            return None
        if not self._are_good(numbers):
            return None
        return self._block(ids, match_ids, numbers, np.arange(line, line + rows, dtype=np.int64))

    def _ids(self, words: list[bytes], data: bytes) -> NDArray[np.bytes_]:
        return _bounded(self._texts(words, data))

    def _match_ids(self, columns: list[list[bytes]], data: bytes) -> NDArray[np.bytes_] | None:
        texts = [self._texts(words, data) for words in columns]
        if len(texts) < 2:
            return _bounded(texts[0]) if texts else None
        return _bounded([composite(parts) for parts in zip(*texts, strict=True)])

    def _texts(self, words: list[bytes], data: bytes) -> list[bytes]:
        """Return the texts of a column of ids; raises ValueError when one is empty."""
        if self._form.strip_ids and any(space in data for space in SPACES):
            words = [word.strip() for word in words]
        if not data.isascii():
            words = [normal(word) for word in words]
        if not all(words):
            raise ValueError
        return words

    def _matrix(self, parts: list[bytes], rows: int, may_hold_underscores: bool) -> NDArray[np.float64]:
        """Turn the columns of numbers into numbers; leaves ``parts`` without the others."""
        width = len(self._columns.names)
        for place in sorted(set(range(width)) - set(self._columns.numeric), reverse=True):
            del parts[place::width]
            width -= 1
        if may_hold_underscores and any(b"_" in part for part in parts):
            raise ValueError  # float() would read 1_000
        if self._numbers.missing_first:
            found = np.fromiter(map(self._numbers.read, parts), dtype=np.float64, count=len(parts))
        else:
            try:
                found = np.fromiter(map(float, parts), dtype=np.float64, count=len(parts))
            except ValueError:
                found = np.fromiter(map(self._numbers.read, parts), dtype=np.float64, count=len(parts))
        return found.reshape(rows, width)

    def _are_good(self, numbers: NDArray[np.float64]) -> bool:
        whole = [i for i, place in enumerate(self._columns.numeric) if self._types[place].startswith("int")]
        if whole and not _are_whole(numbers[:, whole]):
            return False
        return not np.isinf(numbers).any()

    def _read_by_row(self, data: bytes, line: int) -> Block:
        rows = _Rows()
        reader = _csv(data, self._form)
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{self._text.where}, line {line + reader.line_num}: {error}; mend the file") from error
            if row is None:
                break
            if row:
                self._read_row(row, line + reader.line_num - 1, rows)
        numbers = np.array(rows.numbers, dtype=np.float64).reshape(len(rows.lines), len(self._columns.numeric))
        ids = None if self._columns.sample_id is None else np.array(rows.ids, dtype=np.bytes_)
        match_ids = np.array(rows.match_ids, dtype=np.bytes_) if self._columns.match_ids else None
        return self._block(ids, match_ids, numbers, np.array(rows.lines, dtype=np.int64))

    def _read_row(self, row: list[str], line: int, rows: _Rows) -> None:
        columns = self._columns
        try:
            if len(row) != len(columns.names):
                raise ValueError(f"{len(row)} columns instead of {len(columns.names)}")
            numbers = [self._numbers.named(row[i].encode(), columns.names[i], self._types[i]) for i in columns.numeric]
            strip = self._form.strip_ids
            sample = b"" if columns.sample_id is None else read_id(row[columns.sample_id].encode(), strip)
            match = composite([read_id(row[i].encode(), strip) for i in columns.match_ids])
        except ValueError as error:
            self._bad.add(line, str(error))
            return
        rows.ids.append(sample)
        rows.match_ids.append(match)
        rows.numbers.append(numbers)
        rows.lines.append(line)

    def _block(
        self,
        ids: NDArray[np.bytes_] | None,
        match_ids: NDArray[np.bytes_] | None,
        numbers: NDArray[np.float64],
        lines: NDArray[np.int64],
    ) -> Block:
        if ids is None:
            ids = made_ids(self._prefix, self._made, len(lines))
            self._made += len(lines)
        at = {place: i for i, place in enumerate(self._columns.numeric)}
        label, weight = self._columns.label, self._columns.weight
        return Block(
            ids=ids,
            features=numbers[:, [at[i] for i in self._columns.features]],
            lines=lines,
            match_ids=match_ids,
            label=None if label is None else numbers[:, at[label]],
            weight=None if weight is None else numbers[:, at[weight]],
        )


class _CsvReader(Protocol):
    """What csv.reader gives."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


@dataclass
class _Rows:
    ids: list[bytes] = field(default_factory=list)
    match_ids: list[bytes] = field(default_factory=list)
    numbers: list[list[float]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def _bounded(ids: list[bytes]) -> NDArray[np.bytes_]:
    """Return ids as an array; raises ValueError when one is too long."""
    found = np.array(ids, dtype=np.bytes_)
    if found.dtype.itemsize > MAX_ID_BYTES:
        raise ValueError
    return found


def _cut(data: bytes, width: int, form: Format) -> list[bytes] | None:
    """Return the fields of a block in which every line has ``width`` of them and nothing is quoted, else None."""
    quote, delimiter = form.quote.encode(), form.delimiter.encode()
    if (quote and quote in data) or b"\0" in data or data.startswith(b"\n") or b"\n\n" in data:
        return None
    text = np.frombuffer(data, dtype=np.uint8)
    marks = text[(text == ord("\n")) | (text == ord(delimiter))]
    rows, rest = divmod(len(marks), width)
    ends = marks[width - 1 :: width] == ord("\n")
    if rest or np.count_nonzero(marks == ord("\n")) != rows or not ends.all():
        return None
    return data[:-1].replace(b"\n", delimiter).split(delimiter)


def _are_whole(numbers: NDArray[np.float64]) -> bool:
    return bool(np.all(np.isnan(numbers) | (np.floor(numbers) == numbers)))


def _fields(line: bytes, form: Format) -> list[str]:
    return next(_csv(line, form), [])


def _csv(data: bytes, form: Format) -> _CsvReader:
    stream = io.StringIO(data.decode(), newline="")
    if not form.quote:
        return csv.reader(stream, delimiter=form.delimiter, quoting=csv.QUOTE_NONE, quotechar=None)
    return csv.reader(stream, delimiter=form.delimiter, quotechar=form.quote)
