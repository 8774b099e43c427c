"""What an intersection keeps on the disk: ids each once, tags by position, random orders, and their join.

A *tag* is 16 bytes that are equal for equal ids and random otherwise; a million ids collide with probability 2^-88.
Sets of tags may be larger than the memory: they lie in files, and are sorted and joined range by range of their
values, as many ranges as fit the bound. As tags are as good as random, the ranges are equally full.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.crypto.prg import Prg
from partyd.errors import BadValue, TaskFailed
from partyd.layout import sync_dir

Ids = NDArray[np.bytes_]
Positions = NDArray[np.int64]
Keys = NDArray[np.uint64]
Where = NDArray[np.int32]
TAG_BYTES = 16
BLOCK = 1 << 18
"""Rows that are read from a file at a time."""
SORTED_BYTES = 64
"""What sorting takes in memory, for each row of a range."""
NOWHERE = -1


@dataclass(frozen=True)
class Compared:
    """One party's side of an intersection: its distinct ids, and where it may keep what does not fit the memory.

    ``rows`` are the rows of ``ids`` on which each id occurs first, None where none occurs twice.
    """

    ids: Ids
    folder: Path
    memory_bytes: int = 256 << 20
    rows: Positions | None = None

    @classmethod
    def of(cls, ids: Ids, folder: Path, memory_bytes: int = 256 << 20) -> Compared:
        """Find the first row of each id; ``folder`` is made and belongs to this intersection alone."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = first_rows(ids, folder, memory_bytes)
        return cls(ids, folder, memory_bytes, None if len(rows) == len(ids) else rows)

    def __len__(self) -> int:
        return len(self.ids) if self.rows is None else len(self.rows)

    @property
    def repeats(self) -> int:
        """How many rows have an id that came before."""
        return len(self.ids) - len(self)

    def rows_of(self, positions: Positions) -> Positions:
        """Return the rows at which distinct ids stand, by their positions among them."""
        return positions if self.rows is None else self.rows[positions]

    def take(self, positions: Positions) -> list[bytes]:
        """Return distinct ids by their positions."""
        return list(self.ids[self.rows_of(positions)].tolist())

    def in_order_of_ids(self, positions: Positions) -> Positions:
        """Return ``positions`` in the order of their ids: the same order at every party that has them."""
        path = self.folder / "common.npy"
        found = np.lib.format.open_memmap(path, "w+", self.ids.dtype, (len(positions),)) if len(positions) else None
        if found is None:
            return positions
        for at in range(0, len(positions), BLOCK):
            found[at : at + BLOCK] = self.ids[self.rows_of(positions[at : at + BLOCK])]
        ordered = positions[np.argsort(found, kind="stable")]
        path.unlink()
        return ordered

    def tags(self, name: str, count: int) -> Tags:
        """Return the file of ``count`` tags that is called ``name``."""
        return Tags(self.folder / f"{name}.tags", count)

    def order(self, prg: Callable[[], Prg], name: str, count: int) -> Where:
        """Return a random order of 0..count-1 that is the same whenever ``prg`` gives the same stream; kept in a file.

        It is the order of ``count`` random words, as `Prg.permutation` makes it.
        """
        path = self.folder / f"{name}-{prg().take(8).hex()}.npy"
        if not path.exists() and count:
            partial = path.with_suffix(".partial")
            order = np.lib.format.open_memmap(partial, "w+", np.dtype(np.int32), (count,))
            at = 0
            for run in ascending(lambda: _words(prg(), count), count, self.memory_bytes):
                order[at : at + len(run)] = run
                at += len(run)
            order.flush()
            del order
            partial.rename(path)
        return np.asarray(np.load(path, mmap_mode="r")) if count else np.zeros(0, np.int32)


@dataclass(frozen=True)
class Tags:
    """A file of tags, written at any position and any number of times."""

    path: Path
    count: int

    def write(self, at: int, tags: bytes) -> None:
        """Write ``tags`` from position ``at`` on; they are on the disk when this returns."""
        is_new = not self.path.exists()
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, tags, at * TAG_BYTES)
            os.fdatasync(file)
        finally:
            os.close(file)
        if is_new:
            sync_dir(self.path.parent)

    def words(self) -> Keys:
        """Return the tags as pairs of words, memory-mapped; raises TaskFailed when the file is not whole."""
        if not self.count:
            return np.zeros((0, 2), np.uint64)
        if not self.path.exists() or self.path.stat().st_size != self.count * TAG_BYTES:
            raise TaskFailed(f"the working file {self.path.name} is gone or cut off; rerun the task from its beginning")
        return np.asarray(np.memmap(self.path, "<u8", "r", shape=(self.count, 2)))


def ascending(keys: Callable[[], Iterable[Keys]], count: int, memory_bytes: int) -> Iterator[Positions]:
    """Yield the positions of ``count`` random keys in ascending order, in runs that fit the memory.

    ``keys`` gives them block by block, once for every run. Equal keys are in one run, in the order of positions.
    """
    for low, high in ranges(count, memory_bytes):
        places, words, at = [], [], 0
        for block in keys():
            inside = np.flatnonzero((block >= low) & (block <= high))
            places.append(inside + at)
            words.append(block[inside])
            at += len(block)
        if places:
            yield np.concatenate(places)[np.argsort(np.concatenate(words), kind="stable")]


def ranges(count: int, memory_bytes: int) -> Iterator[tuple[np.uint64, np.uint64]]:
    """Yield the bounds, both included, of ranges of words that hold about as many of ``count`` as fit the memory."""
    runs = max(1, -(-count * SORTED_BYTES // memory_bytes))
    edges = [(run << 64) // runs for run in range(runs + 1)]
    for low, high in pairwise(edges):
        yield np.uint64(low), np.uint64(high - 1)


def first_rows(ids: Ids, folder: Path, memory_bytes: int) -> Positions:
    """Return the rows on which each id occurs first, ascending."""
    digests = Tags(folder / "ids.tags", len(ids))
    for at in range(0, len(ids), BLOCK):
        block = ids[at : at + BLOCK].tolist()
        digests.write(at, b"".join([hashlib.blake2b(i, digest_size=TAG_BYTES).digest() for i in block]))
    words, is_first = digests.words(), np.ones(len(ids), np.bool_)
    for run in ascending(lambda: _blocks(words[:, 0]), len(ids), memory_bytes):
        order = run[_by_both(words[run])]
        found = words[order]
        is_first[order[1:][_repeats(found)]] = False
    digests.path.unlink(missing_ok=True)
    return np.flatnonzero(is_first).astype(np.int64)


def join(own: Tags, theirs: Tags, target: Path, memory_bytes: int) -> Where:
    """Return for each own tag the position of the equal one among theirs, -1 where there is none; in a file.

    Raises BadValue when a tag stands twice on either side: the peer sent an id, or an answer, twice.
    """
    if not own.count:
        return np.zeros(0, np.int32)
    left, right = own.words(), theirs.words()
    places = np.lib.format.open_memmap(target, "w+", np.dtype(np.int32), (own.count,))
    places[:] = NOWHERE
    for low, high in ranges(own.count + theirs.count, memory_bytes):
        mine, yours = _sorted(left, low, high), _sorted(right, low, high)
        at = np.searchsorted(right[yours, 0], left[mine, 0])
        for _ in range(_longest_run(right[yours, 0])):
            inside = np.flatnonzero(at < len(yours))
            equal = inside[np.all(left[mine[inside]] == right[yours[at[inside]]], axis=1)]
            places[mine[equal]] = yours[at[equal]]
            at = at + 1
    return np.asarray(places)


def _sorted(words: Keys, low: np.uint64, high: np.uint64) -> Positions:
    """Return the positions of the tags in a range, by both words; raises BadValue for one that stands twice."""
    places = [at + np.flatnonzero((block >= low) & (block <= high)) for at, block in _numbered(words[:, 0])]
    inside = np.concatenate(places) if places else np.zeros(0, np.int64)
    found = words[inside]
    order = _by_both(found)
    if np.any(_repeats(found[order])):
        raise BadValue("a peer sent the same point in two chunks; refuse its result")
    return inside[order]


def _by_both(words: Keys) -> Positions:
    """Return the order of pairs by both words, of equal pairs by position."""
    order = np.argsort(words[:, 0], kind="stable")
    first = words[order, 0]
    return np.lexsort((words[:, 1], words[:, 0])) if np.any(first[1:] == first[:-1]) else order


def _repeats(words: Keys) -> NDArray[np.bool_]:
    """Return for each of sorted pairs but the first whether it equals the one before."""
    repeats: NDArray[np.bool_] = np.all(words[1:] == words[:-1], axis=1)
    return repeats


def _longest_run(values: Keys) -> int:
    """Return how often the most frequent of sorted ``values`` stands there: 1 but once in 2^24 millions of tags."""
    if not len(values):
        return 0
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    return int(np.diff(np.append(starts, len(values))).max())


def _blocks(words: Keys) -> Iterator[Keys]:
    for at in range(0, len(words), BLOCK):
        yield words[at : at + BLOCK]


def _numbered(words: Keys) -> Iterator[tuple[int, Keys]]:
    return zip(range(0, len(words), BLOCK), _blocks(words), strict=True)


def _words(prg: Prg, count: int) -> Iterator[Keys]:
    for at in range(0, count, BLOCK):
        yield prg.uint64(min(BLOCK, count - at))
