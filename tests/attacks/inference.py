"""Label inference: what a curious host can do with numbers that follow from the guest's labels. No party in sight.

The norm and the cosine attack are those of Li et al., "Label leakage and protection in two-party split learning", 2021
(arXiv:2102.08504), where a host holds a gradient for each row; here it holds one for each batch, or a ciphertext for
each row. Batch inference solves a batch's equations for its rows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear
from sklearn.metrics import roc_auc_score

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


def auc_either_way(labels: Vector, guesses: Vector) -> float:
    """Return the AUC of the guesses or of their opposite: an attacker learns the sign from one row that it knows."""
    area = float(roc_auc_score(labels, guesses))
    return max(area, 1 - area)


def norms(rows: Matrix) -> Vector:
    """The norm attack: rows of one class are larger."""
    lengths: Vector = np.sqrt(np.sum(rows * rows, axis=1))
    return lengths


def cosines(rows: Matrix) -> Vector:
    """The cosine attack: rows of one class point one way; the way of the largest spread, without their mean."""
    centred = rows - rows.mean(axis=0)
    way = np.linalg.svd(centred, full_matrices=False)[2][0]
    found: Vector = centred @ way / np.maximum(norms(centred), 1e-12)
    return found


def least_squares(x: Matrix, gradient: Vector) -> Vector:
    """Batch inference: the smallest residuals d of which ``x.T @ d`` is the gradient."""
    solved: Vector = x @ np.linalg.lstsq(x.T @ x, gradient, rcond=None)[0]
    return solved


def boxed(x: Matrix, gradient: Vector, half: float) -> Vector:
    """Batch inference that knows that residuals lie within ``half`` of 0: the relaxation of labels 0 and 1."""
    solved: Vector = lsq_linear(x.T, gradient, bounds=(-half, half)).x
    return solved


def declared_auc(rows: int, columns: int) -> float:
    """Return Phi(sqrt(2 k / (n - k))): the AUC that k sums over n labels give to columns unrelated to them."""
    return 0.5 * (1 + math.erf(math.sqrt(columns / (rows - columns))))
