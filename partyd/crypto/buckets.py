"""Products of numbers by bucket, for many ways at once of putting the same numbers into buckets.

A histogram of hidden numbers is a product of ciphertexts for each bin, and every feature of a table asks for its own.
One feature costs a product for each row. Two features together cost little more than one: let each pair of bins be a
*cell*; one pass over the N rows fills the cells, and then each feature's bins are products of cells, of which there
are at most B^2 and often far fewer. The same holds for three features where B^3 << N, and so on: a group of features
is a binary tree, whose root's cells are made from the rows and every other node's from its parent's cells.

``plan`` builds these trees from the leaves, as Huffman (1952) did his: it joins the two groups of fewest cells as long
as that saves time. Groups S and T apart take N - cells(S) and N - cells(T) products of rows. Their union U takes
N - cells(U), and 2 cells(U) - cells(S) - cells(T) products of cells. Cells are counted, not estimated: features that
depend on each other, and features of few values, share passes that independent ones could not. The results do not
depend on the plan, since all products are exact.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.multiexp import product_of
from partyd.errors import CryptoError

MOST_CELLS = 1 << 19
"""How many cells two groups may have between them, used or not, before their union is not even counted."""
WORTH_COUNTING = 64
"""A pass that costs less than this many products is not worth a count of cells."""
MOST_BINS = 1 << 16
Codes = NDArray[np.int64]
Bins = NDArray[np.int64] | NDArray[np.int32] | NDArray[np.int16]


@dataclass(frozen=True)
class Group:
    """Features that share a pass over the rows; ``feature`` is the first of them.

    ``codes`` are the cells of all rows, -1 for none; of ``cells`` cells ``used`` are not empty, by ``rows`` rows.
    """

    codes: Codes
    cells: int
    used: int
    rows: int
    feature: int
    parts: tuple[Group, ...] = ()

    @property
    def passing(self) -> int:
        """The products of a pass over the rows: a cell's first row takes none."""
        return self.rows - self.used


@dataclass(frozen=True)
class Factors:
    """Numbers to be multiplied modulo ``modulus``, and for each a number that is added up meanwhile, if any."""

    products: Sequence[mpz]
    totals: Sequence[mpz]
    modulus: mpz

    def take(self, rows: Codes) -> Factors:
        """Return the chosen numbers."""
        chosen = rows.tolist()
        products, totals = self.products, self.totals
        return Factors([products[i] for i in chosen], [totals[i] for i in chosen] if totals else [], self.modulus)

    def by(self, labels: Codes, count: int) -> Factors:
        """Return the product and the total of each label from 0 to ``count`` - 1; -1 belongs to none."""
        counts = np.bincount(labels + 1, minlength=count + 1)
        order = np.argsort(labels.astype(np.int16) if count < 1 << 15 else labels, kind="stable")[counts[0] :]
        ends = np.cumsum(counts[1:]).tolist()
        slices, ordered = [slice(start, end) for start, end in pairwise([0, *ends])], self.take(order)
        products = [product_of(ordered.products[each], self.modulus) for each in slices]
        totals = [sum(ordered.totals[each], mpz(0)) for each in slices] if self.totals else []
        return Factors(products, totals, self.modulus)


def checked_bins(bins: Bins, count: int, n_bins: int, rows: Codes | None = None) -> Codes:
    """Return ``bins`` (count, features), or ``rows`` of them, as codes; raises CryptoError where they are none."""
    if not 1 <= n_bins <= MOST_BINS:
        raise CryptoError(f"a histogram has 1 to {MOST_BINS} bins, not {n_bins}")
    if bins.ndim != 2 or len(bins) != count or bins.dtype.kind not in "iu":
        raise CryptoError(f"bins of {bins.dtype} {bins.shape} do not match {count} numbers; give integers, a row each")
    chosen = bins if rows is None else bins[rows]
    if chosen.size and not (chosen.min() >= -1 and chosen.max() < n_bins):
        raise CryptoError(f"a bin is not one of 0 to {n_bins - 1}, nor -1 for none; bin the data anew")
    return chosen.astype(np.int64)


def checked_rows(rows: NDArray[np.intp] | None, count: int) -> Codes:
    """Return the indices ``rows`` of ``count`` numbers, all by default; raises CryptoError where they are none."""
    if rows is None:
        return np.arange(count, dtype=np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (rows.size and not (rows.min() >= 0 and rows.max() < count)):
        raise CryptoError(f"rows are chosen by a list of indices from 0 to {count - 1}")
    return rows.astype(np.int64)


def plan(bins: Codes, n_bins: int, cell_cost: float) -> list[Group]:
    """Return the groups that cover each column of ``bins``; a product of two cells takes ``cell_cost`` of a row's."""
    settled: list[Group] = []
    heap = [(leaf.used, leaf.feature, leaf) for leaf in (_leaf(bins, n_bins, j) for j in range(bins.shape[1]))]
    heapq.heapify(heap)
    while heap:
        _, _, first = heapq.heappop(heap)
        joined = _join(first, heap[0][2]) if heap and first.passing >= WORTH_COUNTING else None
        if joined is None or _saving(joined, cell_cost) <= 0:
            settled.append(first)
        else:
            heapq.heapreplace(heap, (joined.used, joined.feature, joined))
    return sorted(settled, key=lambda group: group.feature)


def by_feature(factors: Factors, groups: Sequence[Group]) -> dict[int, Factors]:
    """Return the factors of each bin for each feature in ``groups``."""
    found: dict[int, Factors] = {}
    waiting = [(group, group.codes, factors) for group in groups]
    while waiting:
        group, labels, given = waiting.pop()
        cells = given.by(labels, group.cells)
        if not group.parts:
            found[group.feature] = cells
        waiting += [(part, _labels(group, part), cells) for part in group.parts]
    return found


def _leaf(bins: Codes, n_bins: int, feature: int) -> Group:
    codes = np.ascontiguousarray(bins[:, feature])
    counts = np.bincount(codes + 1, minlength=n_bins + 1)[1:]
    return Group(codes, n_bins, int(np.count_nonzero(counts)), int(counts.sum()), feature)


def _join(a: Group, b: Group) -> Group | None:
    """Return the union of two groups, its cells numbered without gaps; None where there are too many to count."""
    space = (a.cells + 1) * (b.cells + 1)
    if space > MOST_CELLS:
        return None
    pairs = (a.codes + 1) * (b.cells + 1) + b.codes + 1
    present = np.zeros(space, dtype=np.bool_)
    present[pairs] = True
    present[0] = False
    codes = (np.cumsum(present) - 1)[pairs]
    used = int(np.count_nonzero(present))
    return Group(codes, used, used, int(np.count_nonzero(codes >= 0)), min(a.feature, b.feature), (a, b))


def _saving(joined: Group, cell_cost: float) -> float:
    """Return the products that a union saves."""
    cells = sum(joined.used - part.used for part in joined.parts)
    return sum(part.passing for part in joined.parts) - joined.passing - cell_cost * cells


def _labels(group: Group, part: Group) -> Codes:
    """Return the cell of ``part`` in which each cell of ``group`` lies."""
    labels, used = np.full(group.cells, -1, dtype=np.int64), group.codes >= 0
    labels[group.codes[used]] = part.codes[used]
    return labels
