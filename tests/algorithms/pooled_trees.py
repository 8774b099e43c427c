"""The oracle of the boosting tests: the same trees on all columns in one place, row by row, without any cipher."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.quantiles import cuts
from partyd.algorithms.secureboost_gradients import levels
from partyd.algorithms.secureboost_parameters import SecureBoostParams

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


@dataclass
class Pooled:
    """What a training on pooled columns ends with: scores, and of every split its column, threshold and gain."""

    scores: Matrix
    splits: list[list[tuple[int, float, bool, float]]]
    leaves: list[list[float]]


def pooled(params: SecureBoostParams, x: Matrix, y: Vector, weight: Vector | None = None) -> Pooled:
    """Grow ``params.num_trees`` rounds of trees."""
    aim, w = params.aim, np.ones(len(y)) if weight is None else weight
    scores = np.tile(aim.begin(y, w), (len(y), 1))
    splits, leaves = list[list[tuple[int, float, bool, float]]](), list[list[float]]()
    for _ in range(params.num_trees):
        g, h = aim.derivatives(y, scores)
        g, h = g * w[:, None], h * w[:, None]
        moved = scores.copy()
        for c in range(aim.trees):
            rows = np.ones(len(y), dtype=np.bool_)
            found = levels(g[:, c], h[:, c], params.gradient_levels, params.gradient_bits, rows)
            rounded = found.g[found.codes] * found.g_unit, found.h[found.codes] * found.h_unit
            tree = _Tree(params, x, g[:, c], h[:, c], *rounded)
            tree.grow(np.arange(len(y)), 0)
            splits.append(sorted(tree.splits))
            leaves.append(sorted(tree.leaves))
            moved[:, c] += params.learning_rate * tree.weights
        scores = moved
    return Pooled(scores, splits, leaves)


class _Tree:
    def __init__(self, params: SecureBoostParams, x: Matrix, g: Vector, h: Vector, gq: Vector, hq: Vector) -> None:
        self.params, self.x, self.g, self.h, self.gq, self.hq = params, x, g, h, gq, hq
        self.weights = np.zeros(len(g))
        self.splits: list[tuple[int, float, bool, float]] = []
        self.leaves: list[float] = []

    def grow(self, rows: NDArray[np.int64], depth: int) -> None:
        best = self._best(rows) if depth < self.params.depth else None
        if best is None:
            weight = -self._shrunk(self.g[rows].sum()) / (self.h[rows].sum() + self.params.l2)
            self.weights[rows] = weight
            self.leaves.append(round(float(weight), 9))
            return
        gain, column, threshold, missing_left, left = best
        self.splits.append((column, threshold, missing_left, round(gain, 6)))
        self.grow(rows[left], depth + 1)
        self.grow(rows[~left], depth + 1)

    def _best(self, rows: NDArray[np.int64]) -> tuple[float, int, float, bool, NDArray[np.bool_]] | None:
        p, best = self.params, None
        if len(rows) < p.min_sample_split:
            return None
        for j in range(self.x.shape[1]):
            values = self.x[rows, j]
            for threshold in cuts(self.x[:, j], p.max_bin).tolist():
                for way in (False, True) if np.isnan(self.x[:, j]).any() else (False,):
                    left = np.where(np.isnan(values), way, values <= threshold).astype(np.bool_)
                    gain = self._gain(rows, left)
                    if gain >= p.min_impurity_split and (best is None or gain > best[0] + 1e-9):
                        best = gain, j, threshold, way, left
        return best

    def _gain(self, rows: NDArray[np.int64], left: NDArray[np.bool_]) -> float:
        p, total = self.params, 0.0
        for side in (rows[left], rows[~left]):
            if len(side) < p.min_leaf_node or self.hq[side].sum() < p.min_child_weight - 1e-9:
                return -np.inf
            total += self._shrunk(self.gq[side].sum()) ** 2 / (self.hq[side].sum() + p.l2)
        return float(total - self._shrunk(self.gq[rows].sum()) ** 2 / (self.hq[rows].sum() + p.l2))

    def _shrunk(self, g: float) -> float:
        return float(np.sign(g) * max(abs(g) - self.params.l1, 0.0))
