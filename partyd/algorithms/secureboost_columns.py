"""One party's columns in bins, the splits that they offer, and sums over what lies left of each split.

A *candidate* is a split that a party could make: column j, bin b, and where missing values go. A row goes left when its
bin is at most b; a missing value goes right, or left where the candidate says so. Candidates that send missing values
left exist only for columns that have some. The order is: columns, in each the bins, in each first right and then left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.quantiles import MISSING, bins_of, cuts
from partyd.errors import DataError

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Candidates:
    """Splits, by position: the column, the last bin that goes left, and whether missing values do."""

    column: Integers
    bin: Integers
    missing_left: Mask

    def __len__(self) -> int:
        return len(self.column)

    def take(self, order: Integers) -> Candidates:
        """Return the candidates in another order."""
        return Candidates(self.column[order], self.bin[order], self.missing_left[order])


@dataclass(frozen=True)
class Columns:
    """A party's training rows in bins, with each column's cuts."""

    bins: Integers
    edges: tuple[Vector, ...]

    def __len__(self) -> int:
        return len(self.bins)

    def candidates(self) -> Candidates:
        """Return every split that the columns offer."""
        parts: list[tuple[int, int, bool]] = []
        for j, edges in enumerate(self.edges):
            ways = (False, True) if bool(np.any(self.bins[:, j] == MISSING)) else (False,)
            parts += [(j, b, way) for b in range(len(edges)) for way in ways]
        table = np.array(parts, dtype=np.int64).reshape(-1, 3)
        return Candidates(table[:, 0], table[:, 1], table[:, 2].astype(np.bool_))

    def lefts(self, candidates: Candidates, rows: Integers | slice) -> Mask:
        """Return, rows x candidates, which of ``rows`` go left."""
        bins = self.bins[rows][:, candidates.column]
        return np.where(bins == MISSING, candidates.missing_left, bins <= candidates.bin)

    def left_sums(self, candidates: Candidates, place: Integers, nodes: int, weights: Integers) -> Integers:
        """Return, nodes x candidates, the sums of whole ``weights`` over the rows of a node that go left.

        ``place`` is each row's node, -1 for none.
        """
        inside = place >= 0
        node, weight = place[inside], weights[inside]
        widest = max((len(edges) for edges in self.edges), default=0) + 2
        sums = np.zeros((nodes, len(candidates)), dtype=np.int64)
        for j in np.unique(candidates.column).tolist():
            cell = node * widest + self.bins[inside, j] + 1  # the missing come first
            flat = np.bincount(cell, weights=weight, minlength=nodes * widest)
            by_bin = np.rint(flat).astype(np.int64).reshape(nodes, widest)
            reached = np.cumsum(by_bin[:, 1:], axis=1)
            mine = np.flatnonzero(candidates.column == j)
            sums[:, mine] = reached[:, candidates.bin[mine]] + by_bin[:, :1] * candidates.missing_left[mine]
        return sums


def without_zeros(x: Matrix) -> Matrix:
    """Return ``x`` with zeros taken for missing values."""
    return np.where(x == 0, np.nan, x)


def columns_of(x: Matrix, max_bin: int, *, use_missing: bool, zero_as_missing: bool) -> Columns:
    """Cut each column into bins; raises DataError for infinite values, and for missing ones that are not welcome."""
    insist_on_known(x, use_missing=use_missing)
    values = without_zeros(x) if zero_as_missing else x
    edges = tuple(cuts(values[:, j], max_bin) for j in range(values.shape[1]))
    return Columns(binned(values, edges), edges)


def binned(x: Matrix, edges: tuple[Vector, ...]) -> Integers:
    """Return the bin of every value."""
    if not edges:
        return np.zeros((len(x), 0), dtype=np.int64)
    return np.column_stack([bins_of(x[:, j], edge) for j, edge in enumerate(edges)])


def insist_on_known(x: Matrix, *, use_missing: bool) -> None:
    """Raise DataError for infinite values, and for missing ones unless they are welcome."""
    if bool(np.any(np.isinf(x))):
        raise DataError("a feature has an infinite value; mend the column before the upload")
    if not use_missing and bool(np.any(np.isnan(x))):
        raise DataError("a feature has a missing value; set use_missing, or fill it with feature_imputation")


def goes_left(x: Vector, threshold: float, *, missing_left: bool, zero_as_missing: bool) -> Mask:
    """Return which values go left of a split."""
    values = without_zeros(x) if zero_as_missing else x
    left: Mask = np.where(np.isnan(values), missing_left, values <= threshold)
    return left
