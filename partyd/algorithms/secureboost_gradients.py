"""Gradients as a few levels: what makes sums over hidden columns cheap, at next to no loss.

A sum of g_i [[v_i]] over the rows i of a node takes a power for each row. When the pairs (g_i, h_i) take only D
different values, it takes a product for each row and two powers for each value, since rows of one value can be
multiplied first. So before a tree is grown its pairs are sorted into at most D *levels*, and a row counts with the mean
of its level (a vector quantisation; D = 64 by default). The levels are found by cutting, again and again, the one that
has the largest sum of squared distances from its mean, at its mean, along g or h, whichever varies more. What a level's
rows have too much and too little cancels in every sum over all of them, and mostly in others. For comparison, Shi et
al., "Quantized training of gradient boosting decision trees", NeurIPS 2022, lose nothing with 8 levels and less.

Levels only decide which splits look best. They do so for the guest's own columns, too, so that splits of all parties
are measured alike; weights of leaves, scores and losses are computed from the gradients themselves.

A level's g and h become integers of ``bits`` bits: in units of a power of two above the largest |g| (h) of the tree.
All sums are exact from here on.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.crypto.prg import Prg

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]
LEAST = 1e-300
LEFT_OUT = 255
"""The code of a row that the tree does not look at."""


@dataclass(frozen=True)
class Levels:
    """The level of each row, and each level's g and h in units."""

    codes: Codes
    g: Integers
    h: Integers
    g_unit: float
    h_unit: float

    def sampled(self) -> NDArray[np.bool_]:
        """Return which rows the tree looks at."""
        chosen: NDArray[np.bool_] = self.codes != LEFT_OUT
        return chosen


def levels(g: Vector, h: Vector, most: int, bits: int, rows: NDArray[np.bool_]) -> Levels:
    """Return the levels of the chosen ``rows``' gradients, at most ``most`` of them."""
    codes = np.full(len(g), LEFT_OUT, dtype=np.uint8)
    chosen = np.flatnonzero(rows)
    cells = _cells(g[chosen], h[chosen], most)
    g_unit, h_unit = unit(g[chosen], bits), unit(h[chosen], bits)
    means = np.empty((2, len(cells)))
    for i, cell in enumerate(cells):
        codes[chosen[cell]] = i
        means[:, i] = g[chosen[cell]].mean(), h[chosen[cell]].mean()
    g_levels, h_levels = np.rint(means[0] / g_unit), np.rint(means[1] / h_unit)
    return Levels(codes, g_levels.astype(np.int64), h_levels.astype(np.int64), g_unit, h_unit)


def unit(values: Vector, bits: int) -> float:
    """Return the power of two in which ``values`` take less than ``bits`` bits."""
    largest = float(np.abs(values).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1] - bits) if largest > 0 else 1.0


def goss(g: NDArray[np.float64], top: float, other: float, prg: Prg) -> tuple[NDArray[np.bool_], Vector]:
    """Choose rows by gradient-based one-side sampling (LightGBM, NIPS 2017, algorithm 2), and how much each counts.

    All of the ``top`` share by |g| (summed over a row's trees), and of the others as many as ``other`` of all rows.
    """
    rows = len(g)
    size = np.abs(g).sum(axis=1)
    order = np.argsort(-size, kind="stable")
    first, more = max(1, int(top * rows)), max(1, int(other * rows))
    rest = np.sort(order[first:])
    drawn = rest[prg.permutation(len(rest))[:more]]
    chosen, factor = np.zeros(rows, dtype=np.bool_), np.ones(rows)
    chosen[order[:first]] = True
    chosen[drawn] = True
    factor[drawn] = len(rest) / max(len(drawn), 1)
    return chosen, factor


def _cells(g: Vector, h: Vector, most: int) -> list[Integers]:
    """Cut the rows into cells, the worst first; a cell whose rows are all alike is left whole."""
    points = np.column_stack([values / max(float(np.abs(values).max(initial=0)), LEAST) for values in (g, h)])
    queue = [_entry(points, np.arange(len(g)), 0)]
    done: list[tuple[int, Integers]] = []
    made = 1
    while queue and len(queue) + len(done) < most:
        spread, position, cell = heapq.heappop(queue)
        parts = _cut(points, cell) if spread < 0 else None
        if parts is None:
            done.append((position, cell))
            continue
        for part in parts:
            heapq.heappush(queue, _entry(points, part, made))
            made += 1
    return [cell for _, cell in sorted(done + [entry[1:] for entry in queue], key=lambda entry: entry[0])]


def _entry(points: NDArray[np.float64], cell: Integers, position: int) -> tuple[float, int, Integers]:
    inside = points[cell]
    return -float(((inside - inside.mean(axis=0)) ** 2).sum()), position, cell


def _cut(points: NDArray[np.float64], cell: Integers) -> tuple[Integers, Integers] | None:
    inside = points[cell]
    axis = int(np.argmax(inside.var(axis=0)))
    left = inside[:, axis] <= inside[:, axis].mean()
    return (cell[left], cell[~left]) if 0 < int(left.sum()) < len(cell) else None  # a mean may be off by rounding
