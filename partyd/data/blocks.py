"""What every reader makes of its source: blocks of rows, and a count of those that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partyd.data.formats import Format
from partyd.errors import DataError

MAX_NAMED_BAD_ROWS = 20
MAX_NAME = 1024
EXTENDED = "extend_sid"
"""The name of sample ids of our making, as in FATE."""

Ids = NDArray[np.bytes_]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Some rows. ``lines`` says where each stands in its source."""

    ids: Ids
    features: NDArray[np.float64]
    lines: NDArray[np.int64]
    match_ids: Ids | None = None
    label: Vector | None = None
    weight: Vector | None = None

    def __len__(self) -> int:
        return len(self.lines)


@dataclass
class BadRows:
    """Rows that cannot be read: all are counted, the first ones named."""

    where: str
    word: str = "line"
    count: int = 0
    named: list[str] = field(default_factory=list)

    def add(self, line: int, why: str) -> None:
        """Note one row."""
        self.count += 1
        if len(self.named) < MAX_NAMED_BAD_ROWS:
            self.named.append(f"{self.word} {line}: {why}")

    def refuse(self, mend: str) -> None:
        """Raise DataError naming the rows."""
        more = f" and {self.count - len(self.named)} more" if self.count > len(self.named) else ""
        raise DataError(f"{self.where}: {'; '.join(self.named)}{more}. {mend}")


@dataclass(frozen=True)
class Columns:
    """Which column of a source holds what, by position; ``sample_id`` is None for ids of our making.

    ``match_ids`` are the columns whose texts together are the match id.
    """

    names: tuple[str, ...]
    sample_id: int | None
    match_ids: tuple[int, ...]
    label: int | None
    weight: int | None
    features: tuple[int, ...]

    @property
    def sample_name(self) -> str:
        """What the sample ids are called."""
        return EXTENDED if self.sample_id is None else self.names[self.sample_id]

    @property
    def match_name(self) -> str | None:
        """What the match ids are called, if there are any."""
        return "+".join(self.names[i] for i in self.match_ids) or None

    @property
    def numeric(self) -> tuple[int, ...]:
        """The columns that hold numbers, in the order of the source."""
        return tuple(sorted({i for i in (self.label, self.weight) if i is not None} | set(self.features)))

    def name(self, place: int | None) -> str | None:
        """Return the name of a column, if there is one."""
        return None if place is None else self.names[place]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features' names."""
        return tuple(self.names[i] for i in self.features)

    @classmethod
    def find(cls, names: Sequence[str], form: Format, where: str, max_columns: int) -> Columns:
        """Find the columns of a header; raises DataError naming what is missing or there twice."""
        if not names or len(set(names)) != len(names) or "" in names:
            raise DataError(f"{where}: the header must name every column once; it reads {list(names[:20])}")
        if any(len(name) > MAX_NAME for name in names):
            raise DataError(f"{where}: a name is longer than {MAX_NAME} characters; is the first line a header?")
        if len(names) > max_columns:
            raise DataError(f"{where} has {len(names)} columns; at most {max_columns} are taken (data.max_columns)")
        finder = _Finder(list(names), form.guess, where)
        first = finder.place(form.sample_id, ("id", "sample_id", "sid"))
        listed = _listed(finder, form, 0 if first is None else first)
        used = _used(finder, form, listed)
        if first is None:
            first = used[0] if used and form.extend_sid else 0
        if form.extend_sid:
            used = used or (first,)
        elif used == (first,):
            used = ()
        label, weight = finder.place(form.label, ("y", "label")), finder.place(form.weight)
        ids = {first, *used, *listed}
        taken = [place for place in (label, weight) if place is not None]
        if ids & set(taken) or len(set(taken)) != len(taken):
            raise DataError(f"{where}: one column is named as two of sample id, match id, label and weight")
        features = tuple(i for i in range(len(names)) if i not in {*ids, *taken})
        return cls(tuple(names), None if form.extend_sid else first, used, label, weight, features)


def _listed(finder: _Finder, form: Format, first: int) -> tuple[int, ...]:
    """Return the columns that hold ids beside the sample id; raises DataError for some that are not there."""
    if form.match_id_list:
        places = [finder.place(name) for name in form.match_id_list]
        return tuple(dict.fromkeys(place for place in places if place is not None))
    after = [place for place in range(len(finder.names)) if form.extend_sid or place != first]
    if len(after) < form.match_id_range:
        raise DataError(f"{finder.where} has no {form.match_id_range} columns of ids after the sample id")
    return tuple(after[: form.match_id_range])


def _used(finder: _Finder, form: Format, listed: tuple[int, ...]) -> tuple[int, ...]:
    """Return the columns that make the match id: the one that is named, else all that are listed."""
    named = finder.place(form.match_id)
    if named is None:
        return listed
    if listed and named not in listed:
        ids = ", ".join(finder.names[place] for place in listed)
        raise DataError(f"{finder.where}: the match id {form.match_id!r} is none of the listed ids {ids}")
    return (named,)


@dataclass(frozen=True)
class _Finder:
    names: list[str]
    guesses: bool
    where: str

    def place(self, name: str | None, usual: tuple[str, ...] = ()) -> int | None:
        if name is not None and name not in self.names:
            known = ", ".join(self.names[:40])
            raise DataError(f"{self.where} has no column {name!r}; its columns are {known}")
        chosen = name or next((guess for guess in usual if self.guesses and guess in self.names), None)
        return None if chosen is None else self.names.index(chosen)


class Rows(Protocol):
    """A source that has been opened: its columns, then its rows, once."""

    @property
    def columns(self) -> Columns: ...
    def blocks(self) -> Iterator[Block]: ...


class Numbers:
    """Reads the texts of numbers as a format says."""

    def __init__(self, form: Format) -> None:
        self._missing = frozenset(word.strip().lower().encode() for word in form.missing)
        self.missing_first = any(_is_number(word) for word in self._missing)
        """Whether a word for a missing value looks like a number, so that words are to be asked about first."""

    def read(self, text: bytes) -> float:
        """Return a number, NaN for a missing one; raises ValueError."""
        word = text.strip()
        if self.missing_first and word.lower() in self._missing:
            return float("nan")
        try:
            number = float(word)
        except ValueError:
            if word.lower() in self._missing:
                return float("nan")
            raise
        if b"_" in word or number in (float("inf"), float("-inf")):
            raise ValueError
        return number

    def named(self, text: bytes, name: str, kind: str) -> float:
        """Return a number; raises ValueError with a sentence about the column."""
        try:
            number = self.read(text)
        except ValueError:
            shown = text.strip()[:40].decode("utf-8", "replace")
            raise ValueError(f"{name} holds {shown!r}, which is no number") from None
        check_whole(number, name, kind)
        return number


def check_whole(number: float, name: str, kind: str) -> None:
    """Raise ValueError when a whole number was promised and this is none."""
    if kind.startswith("int") and number == number and number % 1:
        raise ValueError(f"{name} holds {number!r}, which is no whole number as {kind} says")


def types_of(columns: Columns, form: Format) -> dict[int, str]:
    """Return the type of each column that holds numbers."""
    kinds = {place: form.type_of(columns.names[place]) for place in columns.features}
    if columns.label is not None:
        kinds[columns.label] = form.label_type
    if columns.weight is not None:
        kinds[columns.weight] = form.weight_type
    return kinds


def made_ids(prefix: str, first: int, count: int) -> Ids:
    """Return sample ids of our making: the prefix, then the number of the row."""
    return np.array([f"{prefix}{row}".encode() for row in range(first, first + count)], dtype=np.bytes_)


def _is_number(word: bytes) -> bool:
    try:
        return float(word) == float(word)
    except ValueError:
        return False
