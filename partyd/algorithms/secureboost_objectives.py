"""What boosted trees minimise: for each objective the first score, loss, gradient and curvature, and the prediction.

Scores s are an array of rows x trees a round: one tree, or for ``multi:ce`` one for each class. Of the loss l(y, s) of
a row, g is the first derivative by s and h the second one, or what stands for it where that is useless (XGBoost, KDD
2016, section 2.2). As in FATE, ``regression:l2`` takes (s - y)^2, so g = 2 (s - y) and h = 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partyd.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
ObjectiveName = Literal[
    "binary:bce",
    "multi:ce",
    "regression:l2",
    "regression:l1",
    "regression:huber",
    "regression:fair",
    "regression:log_cosh",
    "regression:tweedie",
]
SHAPES: Mapping[str, float] = {"regression:huber": 1.0, "regression:fair": 1.0, "regression:tweedie": 1.5}
"""The default of the number that an objective may take: huber's delta, fair's c, tweedie's variance power."""
LEAST = 1e-15
MOST_SCORE = 30.0
"""Beyond e^30 a tweedie mean has run away."""


@dataclass(frozen=True)
class Objective:
    """One objective; ``trees`` are grown a round, ``begin`` gives their first scores."""

    name: str
    trees: int
    begin: Callable[[Vector, Vector], Vector]
    derivatives: Callable[[Vector, Matrix], tuple[Matrix, Matrix]]
    losses: Callable[[Vector, Matrix], Vector]
    predict: Callable[[Matrix], Matrix]

    @property
    def task(self) -> str:
        """``binary``, ``multi`` or ``regression``."""
        return self.name.partition(":")[0]

    def insist_on_labels(self, y: Vector) -> None:
        """Raise DataError for labels that the objective cannot take."""
        if not bool(np.all(np.isfinite(y))):
            raise DataError("a row has no label; drop the rows without one before the upload")
        if self.task == "binary" and not np.array_equal(np.unique(y), (0, 1)):
            raise DataError("binary:bce needs labels 0 and 1, and both; map the label column before the upload")
        if self.task == "multi" and not bool(np.all((y == np.floor(y)) & (y >= 0) & (y < self.trees))):
            raise DataError(f"multi:ce needs labels 0 to num_class - 1 = {self.trees - 1}; check num_class")
        if self.name == "regression:tweedie" and bool(np.any(y < 0)):
            raise DataError("regression:tweedie needs labels that are not negative")


def objective(name: ObjectiveName, num_class: int, shape: float | None = None) -> Objective:
    """Return the objective of that name; ``shape`` is its number where it takes one."""
    if name == "binary:bce":
        return Objective(name, 1, lambda _y, _w: np.zeros(1), _bce, _bce_loss, sigmoid)
    if name == "multi:ce":
        return Objective(name, num_class, lambda _y, _w: np.zeros(num_class), _ce, _ce_loss, softmax)
    number = SHAPES.get(name, 0.0) if shape is None else shape
    if name == "regression:tweedie":
        return _tweedie(name, number)
    derivatives, losses = _residual_forms(name, number)
    begin = _median if name == "regression:l1" else _mean
    return Objective(
        name,
        1,
        begin,
        lambda y, s: _columns(*derivatives(s[:, 0] - y)),
        lambda y, s: losses(s[:, 0] - y),
        lambda s: s,
    )


def sigmoid(s: Matrix) -> Matrix:
    """Return 1 / (1 + e^-s)."""
    small = np.exp(-np.abs(s))
    return np.where(s >= 0, 1 / (1 + small), small / (1 + small))


def softmax(s: Matrix) -> Matrix:
    """Return e^s over the sum of each row's."""
    raised = np.exp(s - s.max(axis=1, keepdims=True))
    shares: Matrix = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _bce(y: Vector, s: Matrix) -> tuple[Matrix, Matrix]:
    p = sigmoid(s)
    return p - y[:, None], p * (1 - p)


def _bce_loss(y: Vector, s: Matrix) -> Vector:
    z = s[:, 0]
    loss: Vector = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    return loss


def _ce(y: Vector, s: Matrix) -> tuple[Matrix, Matrix]:
    p = softmax(s)
    return p - (y[:, None] == np.arange(s.shape[1])), p * (1 - p)


def _ce_loss(y: Vector, s: Matrix) -> Vector:
    of_class: Vector = softmax(s)[np.arange(len(y)), y.astype(np.int64)]
    return -np.log(np.maximum(of_class, LEAST))


Forms = tuple[Callable[[Vector], tuple[Vector, Vector]], Callable[[Vector], Vector]]


def _residual_forms(name: str, c: float) -> Forms:
    """Return (g, h) and the loss as functions of the residual d = s - y."""
    forms: Mapping[str, Forms] = {
        "regression:l2": (lambda d: (2 * d, np.full_like(d, 2.0)), lambda d: d * d),
        "regression:l1": (lambda d: (np.sign(d), np.ones_like(d)), np.abs),
        "regression:huber": (
            lambda d: (d / np.sqrt(1 + (d / c) ** 2), (1 + (d / c) ** 2) ** -1.5),
            lambda d: c * c * (np.sqrt(1 + (d / c) ** 2) - 1),
        ),
        "regression:fair": (
            lambda d: (c * d / (np.abs(d) + c), (c / (np.abs(d) + c)) ** 2),
            lambda d: c * c * (np.abs(d) / c - np.log1p(np.abs(d) / c)),
        ),
        "regression:log_cosh": (
            lambda d: (np.tanh(d), 1 - np.tanh(d) ** 2),
            lambda d: np.abs(d) + np.log1p(np.exp(-2 * np.abs(d))) - np.log(2),
        ),
    }
    return forms[name]


def _tweedie(name: str, rho: float) -> Objective:
    """Return the deviance of a compound Poisson variable of mean e^s and variance power ``rho``."""

    def derivatives(y: Vector, s: Matrix) -> tuple[Matrix, Matrix]:
        a, b = np.exp((1 - rho) * s[:, 0]), np.exp((2 - rho) * s[:, 0])
        return _columns(b - y * a, (2 - rho) * b - (1 - rho) * y * a)

    def losses(y: Vector, s: Matrix) -> Vector:
        loss: Vector = np.exp((2 - rho) * s[:, 0]) / (2 - rho) - y * np.exp((1 - rho) * s[:, 0]) / (1 - rho)
        return loss

    def begin(y: Vector, w: Vector) -> Vector:
        return np.log(np.maximum(_mean(y, w), LEAST))

    def predict(s: Matrix) -> Matrix:
        return np.exp(np.minimum(s, MOST_SCORE))

    return Objective(name, 1, begin, derivatives, losses, predict)


def _columns(g: Vector, h: Vector) -> tuple[Matrix, Matrix]:
    return g[:, None], h[:, None]


def _mean(y: Vector, w: Vector) -> Vector:
    return np.array([float(np.average(y, weights=w))])


def _median(y: Vector, w: Vector) -> Vector:
    order = np.argsort(y, kind="stable")
    reached = np.cumsum(w[order])
    return np.array([float(y[order][int(np.searchsorted(reached, reached[-1] / 2))])])
