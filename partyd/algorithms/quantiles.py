"""Where a numeric column is cut into bins of about equal numbers of rows, and in which bin a value lies.

A column of no more than ``EXACT_ROWS`` known values is sorted; a longer one goes through a `Sketch`, which holds a few
thousand values whatever the column's length and can be merged with the sketch of other rows of the same column. It is
the sketch of Manku, Rajagopalan and Lindsay ("Approximate medians and other quantiles in one pass and with limited
memory", SIGMOD 1998) with the compactors of Karnin, Lang and Liberty (FOCS 2016): level i holds values that stand for
2^i rows each; a full level is sorted, and every other value moves one level up. The first and the second of each pair
move in turn, not by chance, so that the same rows give the same cuts. A compaction at level i moves a rank by at most
2^i, and there are n / (k 2^i) of them, so a rank is wrong by at most (n / k) log2(n / k) rows of n.

Bins: with cuts c_0 < c_1 < ... < c_m bin i holds c_(i-1) < x <= c_i, the last bin what is above c_m. So a cut is a
value that occurs, and "x <= c_i" a rule that needs no more than it. A missing value (NaN) is in bin -1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partyd.errors import DataError

Vector = NDArray[np.float64]
Bins = NDArray[np.int64]
EXACT_ROWS = 1 << 20
"""Up to so many values a column is sorted."""
SKETCH_VALUES = 1 << 14
"""Values of a level of a sketch: a rank is off by less than a thousandth of the rows up to 2^28 of them."""
MISSING = -1


@dataclass
class Sketch:
    """What is remembered of a column that is read piece by piece."""

    size: int = SKETCH_VALUES
    count: int = 0
    low: float = np.inf
    high: float = -np.inf
    _levels: list[Vector] = field(default_factory=list)
    _turns: list[int] = field(default_factory=list)

    def add(self, values: Vector) -> None:
        """Take the known values among ``values`` in."""
        known = values[~np.isnan(values)]
        if len(known):
            self._note(len(known), float(known.min()), float(known.max()))
            for start in range(0, len(known), self.size):
                self._push(0, known[start : start + self.size])

    def merge(self, other: Sketch) -> None:
        """Take in what ``other`` saw; raises DataError for a sketch of another size."""
        if other.size != self.size:
            raise DataError(f"sketches of {self.size} and {other.size} values a level cannot be merged; use one size")
        if other.count:
            self._note(other.count, other.low, other.high)
            for level, values in enumerate(other._levels):
                self._push(level, values)

    def quantiles(self, shares: Sequence[float]) -> Vector:
        """Return for each share the smallest remembered value that so much of the column does not exceed."""
        if not self.count:
            return np.full(len(shares), np.nan)
        values = np.concatenate(self._levels)
        weights = np.concatenate([np.full(len(part), 1 << level) for level, part in enumerate(self._levels)])
        order = np.argsort(values, kind="stable")
        ranks = np.cumsum(weights[order])
        wanted = np.asarray(shares) * ranks[-1]
        chosen = values[order][np.minimum(np.searchsorted(ranks, wanted - 1e-9), len(order) - 1)]
        chosen = np.where(np.asarray(shares) <= 0, self.low, chosen)
        return np.where(np.asarray(shares) >= 1, self.high, chosen)

    def _note(self, count: int, low: float, high: float) -> None:
        self.count, self.low, self.high = self.count + count, min(self.low, low), max(self.high, high)

    def _push(self, level: int, values: Vector) -> None:
        if level == len(self._levels):
            self._levels.append(np.zeros(0))
            self._turns.append(0)
        held = np.concatenate([self._levels[level], values])
        if len(held) < 2 * self.size:
            self._levels[level] = held
            return
        held = np.sort(held)
        even = len(held) // 2 * 2
        moved, self._levels[level] = held[self._turns[level] : even : 2], held[even:]
        self._turns[level] ^= 1
        self._push(level + 1, moved)


def sketch(values: Vector, size: int = SKETCH_VALUES) -> Sketch:
    """Return the sketch of a column."""
    made = Sketch(size)
    made.add(values)
    return made


def cuts(values: Vector, max_bin: int) -> Vector:
    """Return at most ``max_bin - 1`` rising cuts; none for a column with fewer than two known values.

    A column of no more than ``max_bin`` different values has a bin for each of them.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        return np.zeros(0)
    shares = np.arange(1, max_bin) / max_bin
    if len(known) > EXACT_ROWS:
        made = sketch(known)
        chosen, high = made.quantiles(shares.tolist()), made.high
    else:
        ordered = np.sort(known)
        different = ordered[np.flatnonzero(np.diff(ordered, prepend=-np.inf))]
        if len(different) <= max_bin:
            return different[:-1]
        chosen = ordered[np.maximum(np.ceil(shares * len(ordered) - 1e-9).astype(np.int64) - 1, 0)]
        high = float(ordered[-1])
    found = np.unique(chosen)
    return found[found < high]


def bins_of(values: Vector, edges: Vector) -> Bins:
    """Return each value's bin among those that ``edges`` cut, ``MISSING`` for NaN."""
    return np.where(np.isnan(values), MISSING, np.searchsorted(edges, values, side="left")).astype(np.int64)
