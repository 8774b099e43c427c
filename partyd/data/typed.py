"""Rows whose values have types already, as databases and Parquet files give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from partyd.data.blocks import BadRows, Block, Columns, Numbers, check_whole, made_ids, types_of
from partyd.data.formats import Format
from partyd.data.ids import composite, read_id

Values = Sequence[object] | NDArray[np.float64]
"""One column of a batch: values of any type, or numbers already."""


class TypedRows:
    """The rows of ``batches``, each a list of columns of equal length, in the order of ``columns``."""

    def __init__(
        self, columns: Columns, batches: Iterable[list[Values]], form: Format, bad: BadRows, sid_prefix: str
    ) -> None:
        self._columns = columns
        self._batches = batches
        self._form = form
        self._bad = bad
        self._prefix = sid_prefix
        self._numbers = Numbers(form)
        self._types = types_of(columns, form)
        self._made = 0

    @property
    def columns(self) -> Columns:
        """What each column holds."""
        return self._columns

    def blocks(self) -> Iterator[Block]:
        """Yield the rows."""
        first = 1
        for batch in self._batches:
            rows = len(batch[0])
            yield self._read(batch, np.arange(first, first + rows, dtype=np.int64))
            first += rows

    def _read(self, batch: list[Values], lines: NDArray[np.int64]) -> Block:
        bad: dict[int, str] = {}
        numbers = {place: self._vector(batch[place], place, bad) for place in self._columns.numeric}
        ids = {
            place: self._ids(batch[place], bad)
            for place in dict.fromkeys((self._columns.sample_id, *self._columns.match_ids))
            if place is not None
        }
        match = self._match_ids([ids[place] for place in self._columns.match_ids], bad)
        for row in sorted(bad):
            self._bad.add(int(lines[row]), bad[row])
        good = np.array([row for row in range(len(lines)) if row not in bad], dtype=np.int64) if bad else None
        sample = None if self._columns.sample_id is None else ids[self._columns.sample_id]
        return self._block(numbers, sample, match, lines, good)

    def _match_ids(self, columns: list[list[bytes]], bad: dict[int, str]) -> list[bytes] | None:
        """Return the match ids that columns of texts make; rows whose texts cannot be read are told already."""
        found: list[bytes] = []
        for row, parts in enumerate(zip(*columns, strict=True)):
            try:
                found.append(composite(parts))
            except ValueError as error:
                bad.setdefault(row, str(error))
                found.append(b"")
        return found if columns else None

    def _block(
        self,
        numbers: dict[int, NDArray[np.float64]],
        sample_ids: list[bytes] | None,
        match_ids: list[bytes] | None,
        lines: NDArray[np.int64],
        good: NDArray[np.int64] | None,
    ) -> Block:
        columns = self._columns
        every = np.arange(len(lines)) if good is None else good

        def texts(ids: list[bytes] | None) -> NDArray[np.bytes_] | None:
            return None if ids is None else np.array([ids[row] for row in every.tolist()], dtype=np.bytes_)

        def vector(place: int | None) -> NDArray[np.float64] | None:
            return None if place is None else numbers[place][every]

        sample = texts(sample_ids)
        if sample is None:
            sample = made_ids(self._prefix, self._made, len(every))
            self._made += len(every)
        features = np.empty((len(every), len(columns.features)))
        for i, place in enumerate(columns.features):
            features[:, i] = numbers[place][every]
        return Block(sample, features, lines[every], texts(match_ids), vector(columns.label), vector(columns.weight))

    def _vector(self, values: Values, place: int, bad: dict[int, str]) -> NDArray[np.float64]:
        name, kind = self._columns.names[place], self._types[place]
        quick = _at_once(values)
        if quick is not None and _are_good(quick, kind):
            return quick
        found = np.full(len(values), np.nan)
        for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
            try:
                found[row] = self._number(value, name, kind)
            except (ValueError, OverflowError) as error:
                bad.setdefault(row, str(error))
        return found

    def _number(self, value: object, name: str, kind: str) -> float:
        if value is None:
            return float("nan")
        if isinstance(value, str):
            return self._numbers.named(value.encode(), name, kind)
        if not hasattr(value, "__float__"):
            raise ValueError(f"{name} holds {str(value)[:40]!r}, which is no number")
        number = float(value)
        if number in (float("inf"), float("-inf")):
            raise ValueError(f"{name} holds {number!r}, which is no finite number")
        check_whole(number, name, kind)
        return number

    def _ids(self, values: Values, bad: dict[int, str]) -> list[bytes]:
        found = [b""] * len(values)
        for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
            try:
                found[row] = read_id(_text(value), self._form.strip_ids)
            except ValueError as error:
                bad.setdefault(row, str(error))
        return found


def _at_once(values: Values) -> NDArray[np.float64] | None:
    """Return values that are numbers or missing as numbers; None where each is to be looked at."""
    if isinstance(values, np.ndarray):
        return values
    if not set(map(type, values)) <= {int, float, bool, Decimal, type(None)}:
        return None
    try:
        return np.array(values, dtype=np.float64)
    except (OverflowError, ValueError, TypeError):
        return None


def _are_good(numbers: NDArray[np.float64], kind: str) -> bool:
    if np.isinf(numbers).any():
        return False
    return not kind.startswith("int") or bool(np.all(np.isnan(numbers) | (np.floor(numbers) == numbers)))


def _text(value: object) -> bytes:
    """Return an id's text; whole numbers have no point, so that a column of numbers matches one of texts."""
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        if value != value:
            return b""
        return str(int(value)).encode() if value.is_integer() else repr(value).encode()
    return str(value).encode()
