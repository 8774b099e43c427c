"""The local mathematics of horizontal logistic regression: one party's rows, its loss, and its epochs over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.linear_model import batch_count, insist_on_finite, linear, probability, with_ones
from partyd.algorithms.optimizers import step
from partyd.crypto.prg import Prg
from partyd.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
"""Of weights: a row for each class that is trained against the rest, the intercept last where there is one."""


@dataclass(frozen=True)
class Progress:
    """Where a party's training stands: weights, the optimizer's moments, steps and epochs taken."""

    w: Matrix
    first: Matrix
    second: Matrix
    steps: int = 0
    epochs: int = 0

    @classmethod
    def zero(cls, w: Matrix) -> Progress:
        """Return the beginning of a training with the weights ``w``."""
        return cls(w, np.zeros_like(w), np.zeros_like(w))


@dataclass(frozen=True)
class HomoRows:
    """One party's rows: features by name, a class 0, 1, ... for each, what rows weigh, and where training begins.

    The columns are in the order of their names, so that they are in the same order at every party.
    """

    columns: tuple[str, ...]
    x: Matrix
    y: Vector
    weight: Vector | None = None
    start: Progress | None = None

    def insist_on_labels(self, labels: int) -> None:
        """Raise DataError unless the rows can be trained on: finite features, known classes, weights that count."""
        insist_on_finite(self.x)
        if self.columns != tuple(sorted(set(self.columns))) or self.x.shape != (len(self.y), len(self.columns)):
            raise DataError("the feature columns are not in order, or repeated, or not one for each name")
        if not bool(np.all((self.y >= 0) & (self.y < labels) & (self.y == np.floor(self.y)))):
            raise DataError(
                f"a label is not one of 0 to {labels - 1}; map the label column before the upload, or train more "
                "classes with ovr and label_num"
            )
        weight = self.weights
        if not len(weight) or not bool(np.all(np.isfinite(weight) & (weight >= 0))) or not weight.sum() > 0:
            raise DataError("there are no rows, or a row's weight is missing or negative; mend the weight column")

    @cached_property
    def weights(self) -> Vector:
        """What each row weighs: 1 where nothing is said."""
        return np.ones(len(self.y)) if self.weight is None else np.asarray(self.weight, dtype=np.float64)

    @property
    def total_weight(self) -> float:
        """What all rows weigh."""
        return float(self.weights.sum())

    def width(self, *, intercept: bool) -> int:
        """Return how many weights a class has."""
        return len(self.columns) + intercept


def loss_of(data: HomoRows, w: Matrix) -> float:
    """Return the mean logistic loss of the rows, over the classes too where there are several."""
    x, weight = _inputs(data, w), data.weights
    total = 0.0
    for k in range(len(w)):
        z, y = linear(x, w[k]), _against_rest(data.y, k, len(w))
        total += float((weight * (np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))).sum())
    return total / (len(w) * data.total_weight)


def epochs_of(params: HomoLrParams, data: HomoRows, begin: Progress, epochs: int, rng: Prg) -> Progress:
    """Return where a party stands after ``epochs`` over its rows, in batches drawn anew for each."""
    x, count = _inputs(data, begin.w), batch_count(len(data.y), params.rows_a_batch)
    done, w, moments = begin.steps, begin.w, (begin.first, begin.second)
    penalised = np.ones(begin.w.shape[1])
    if params.init_param.fit_intercept:
        penalised[-1] = 0.0
    for epoch in range(epochs):
        factor = params.learning_rate_scheduler.factor(begin.epochs + epoch)
        order = np.arange(len(data.y)) if count == 1 else rng.permutation(len(data.y))
        for rows in np.array_split(order, count):
            g = gradient(x[rows], data.y[rows], data.weights[rows], w)
            g = g + params.pull * (w - begin.w)
            w, moments = step(params.optimizer, factor, w, g, moments, done, penalised)
            done += 1
    return Progress(w, *moments, steps=done, epochs=begin.epochs + epochs)


def gradient(x: Matrix, y: Vector, weight: Vector, w: Matrix) -> Matrix:
    """Return the gradient of the mean loss of each class's model; every sum in the order of the rows."""
    found, total = np.zeros_like(w), float(weight.sum())
    if not total:
        return found
    for k in range(len(w)):
        d = weight * (probability(linear(x, w[k])) - _against_rest(y, k, len(w)))
        found[k] = (x * d[:, None]).sum(axis=0) / total
    return found


def _inputs(data: HomoRows, w: Matrix) -> Matrix:
    return with_ones(data.x) if w.shape[1] > len(data.columns) else data.x


def _against_rest(y: Vector, k: int, models: int) -> Vector:
    """Return 1 for the rows of the class of the ``k``-th model; with one model that is class 1."""
    of_class: Vector = (y == (k if models > 1 else 1)).astype(np.float64)
    return of_class
