"""The local mathematics of vertical linear models: scores, batches, first weights. No party in sight."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from partyd.algorithms.parameters import Settings, lower
from partyd.crypto.prg import Prg
from partyd.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


MOST_COLUMNS = 20_000
"""Of a party: so many weights it may have, and have opened by the arbiter."""
LEAST_ROWS_A_COLUMN = 2
WISE_ROWS_A_COLUMN = 30
ALIASES = {"consts": "const", "random": "random_normal"}


def _method(word: object) -> object:
    word = lower(word)
    return ALIASES.get(word, word) if isinstance(word, str) else word


class Init(Settings):
    """How weights begin; the random ones are small: uniform in [-0.1, 0.1), or normal with deviation 0.1."""

    method: Annotated[
        Literal["zeros", "ones", "const", "random_uniform", "random_normal"], BeforeValidator(_method)
    ] = "zeros"
    fill_val: float = 0.0
    fit_intercept: bool = True
    random_state: int | None = Field(default=None, ge=0, lt=1 << 63)

    def weights(self, rng: Prg, columns: int) -> Vector:
        """Return the weights before the first batch; a ``random_state`` takes the place of ``rng``."""
        if self.random_state is not None:
            rng = Prg(self.random_state.to_bytes(32, "big"), "weights")
        if self.method == "random_uniform":
            return rng.uniform(-0.1, 0.1, columns)
        if self.method == "random_normal":
            radius, angle = 1 - rng.uniform(0, 1, columns), rng.uniform(0, 2 * np.pi, columns)
            normal: Vector = 0.1 * np.sqrt(-2 * np.log(radius)) * np.cos(angle)
            return normal
        return np.full(columns, {"zeros": 0.0, "ones": 1.0}.get(self.method, self.fill_val))


def linear(x: Matrix, w: Vector) -> Vector:
    """Return x @ w, summed column by column: the same bits on every machine, which a BLAS does not promise."""
    z = np.zeros(len(x))
    for j in range(len(w)):
        z = z + x[:, j] * w[j]
    return z


def with_ones(x: Matrix) -> Matrix:
    """Return x with a last column of ones, for the intercept."""
    return np.column_stack([x, np.ones(len(x))])


def probability(z: Vector) -> Vector:
    """Return 1 / (1 + exp(-z)) without overflow."""
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0, small) / (1.0 + small)


def batch_count(rows: int, batch_size: int | None) -> int:
    """Return how many batches an epoch has; they differ by one row at most, so that none is tiny."""
    return max(1, -(-rows // batch_size)) if batch_size else 1


def batch(seed: bytes, rows: int, count: int, taken: int) -> NDArray[np.int64]:
    """Return the rows of the batch after ``taken`` others, in the order that the seed gives.

    Every epoch has the same batches, as in FATE 2.2. Batches drawn anew would give a party, epoch by epoch, other
    equations about the same labels and scores, until it could solve for them.
    """
    if count == 1:
        return np.arange(rows)
    return np.array_split(Prg(seed, "batches").permutation(rows), count)[taken % count]


def insist_on_finite(x: Matrix) -> None:
    """Raise DataError when a feature is missing or infinite."""
    if not bool(np.all(np.isfinite(x))):
        raise DataError("a feature has missing or infinite values; fill or drop them first")


def insist_on_rows(rows: int, columns: int) -> None:
    """Raise DataError for more columns than a model may have, and for batches whose gradients would give labels away.

    A gradient is one equation a column. With as many as rows the residuals can be computed, and as labels are 0 or 1
    already below one and a half rows a column. The floor keeps off both; `guessed_auc` says what is left.
    """
    if columns > MOST_COLUMNS:
        raise DataError(f"a party's part of a model has {columns} columns, at most {MOST_COLUMNS} go; drop some")
    if rows < LEAST_ROWS_A_COLUMN * columns:
        raise DataError(
            f"a batch of {rows} rows against {columns} columns would let a party compute the others' residuals from "
            f"its own gradient; take larger batches or fewer features: {LEAST_ROWS_A_COLUMN} rows a column at least, "
            f"{WISE_ROWS_A_COLUMN} or more to be wise"
        )


def guessed_auc(rows: int, columns: int) -> float:
    """Return Phi(sqrt(2 k / (n - k))): the AUC with which k sums over n labels tell 0 from 1, whatever the columns."""
    return 0.5 * (1 + math.erf(math.sqrt(columns / (rows - columns))))


def warning(rows: int, columns: int, *, guest: bool) -> str | None:
    """Return what a party should read in its log about small batches; None from 30 rows a column on.

    A guest does not know how many columns a host has, and reads what as many as its own would tell.
    """
    if rows >= WISE_ROWS_A_COLUMN * columns:
        return None
    whose = f"a host with {columns} columns, as many as here," if guest else f"this host with its {columns} columns"
    return (
        f"WARNING: batches of {rows} rows are small: from its gradients {whose} can guess the guest's labels with an "
        f"AUC of about {guessed_auc(rows, columns):.2f}, whatever the columns hold (docs/leakage.md, coordinated "
        f"models); from {WISE_ROWS_A_COLUMN} rows a column on it is 0.60 and less"
    )
