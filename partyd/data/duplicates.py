"""Find sample ids that come more than once, among any number of rows, in bounded memory.

Ids are hashed to 64 bits (a sum of words times odd constants: trailing zeros change nothing, so that widths do not
matter). Only rows whose hashes meet are compared byte by byte, one part of the hashes at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.data.npy import pieces

PART_BYTES = 128 << 20
_GOLDEN = 0x9E3779B97F4A7C15


class IdHashes:
    """Collects the hashes of ids in a file, in the order of the rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("xb")
        self._rows = 0

    def append(self, ids: NDArray[np.bytes_]) -> None:
        """Add the ids of some rows."""
        self._file.write(hashed(ids).data)
        self._rows += len(ids)

    def close(self) -> None:
        """Let the file go and remove it."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def repeated(self, ids: Path) -> Iterator[NDArray[np.int64]]:
        """Yield the rows whose id has come before; ``ids`` is the finished column."""
        self._file.flush()
        parts = 1
        while self._rows * 24 > parts * PART_BYTES:
            parts *= 2
        for part in range(parts):
            meeting = self._meeting(part, parts)
            if len(meeting):
                yield _repeated(ids, meeting)

    def _meeting(self, part: int, parts: int) -> NDArray[np.int64]:
        """Return the rows of one part of the hashes whose hash is another row's too, in order."""
        rows, hashes = [], []
        for first, piece in self._pieces():
            here = np.flatnonzero(piece % np.uint64(parts) == part) if parts > 1 else np.arange(len(piece))
            rows.append(here + first)
            hashes.append(piece[here])
        if not rows:
            return np.zeros(0, dtype=np.int64)
        found = np.concatenate(hashes)
        del hashes
        ordered = np.sort(found)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if not len(twice):
            return np.zeros(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(twice, found), len(twice) - 1)
        meeting: NDArray[np.int64] = np.concatenate(rows)[twice[at] == found]
        return meeting

    def _pieces(self) -> Iterator[tuple[int, NDArray[np.uint64]]]:
        first = 0
        with self._path.open("rb") as file:
            while data := file.read(8 << 20):
                yield first, np.frombuffer(data, dtype=np.uint64)
                first += len(data) // 8


def hashed(ids: NDArray[np.bytes_]) -> NDArray[np.uint64]:
    """Return 64 bits for each id."""
    width = -(-ids.dtype.itemsize // 8) * 8
    words = np.ascontiguousarray(ids.astype(f"S{width}")).view(np.uint64).reshape(len(ids), width // 8)
    total = np.zeros(len(ids), dtype=np.uint64)
    for i in range(words.shape[1]):
        mixed = words[:, i] ^ (words[:, i] >> np.uint64(29))
        total += mixed * np.uint64((_GOLDEN * (2 * i + 1)) % (1 << 64) | 1)
        total ^= np.where(mixed == 0, np.uint64(0), total >> np.uint64(31))
    return total


def _repeated(ids: Path, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of ``rows`` whose id one before them has."""
    found, first = [], 0
    for piece in pieces(ids):
        end = first + len(piece)
        here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, end)] - first
        found.append(piece[here])
        first = end
    candidates = np.concatenate(found)
    order = np.argsort(candidates, kind="stable")
    same = np.flatnonzero(candidates[order][1:] == candidates[order][:-1]) + 1
    return np.sort(rows[order[same]])
