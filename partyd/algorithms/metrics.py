"""How good scores are: AUC, KS, ROC, and the counts at a threshold, for binary labels; errors for regression.

Scores that tie are one step of the ROC curve, so that the order of equal scores changes nothing (the trapezoid rule
then equals the Mann-Whitney statistic with ties counted half). KS is the largest distance between the two cumulative
distributions, max |TPR - FPR|.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.contingency import ByClass, Contingency, accuracy
from partyd.errors import DataError

Vector = NDArray[np.float64]
ROC_POINTS = 200


@dataclass(frozen=True)
class Roc:
    """The curve's corners from (0, 0) to (1, 1); ``thresholds[i]`` admits every score that is not below it."""

    fpr: Vector
    tpr: Vector
    thresholds: Vector


@dataclass(frozen=True)
class Confusion:
    """How many rows fall where at one threshold."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int

    @property
    def accuracy(self) -> float:
        """The share of rows on the right side."""
        right = self.true_positive + self.true_negative
        return right / (right + self.false_positive + self.false_negative)

    @property
    def precision(self) -> float:
        """The share of the admitted that are positive; 0 when none is admitted."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """The share of the positive that are admitted; 0 when none is positive."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _binary(label: Vector, score: Vector) -> None:
    if label.shape != score.shape or label.ndim != 1 or len(label) == 0:
        raise DataError(f"labels of shape {label.shape} and scores of shape {score.shape} cannot be compared")
    if not bool(np.all((label == 0) | (label == 1))):
        raise DataError("a binary metric needs labels 0 and 1; map the label column before the upload")
    if not bool(np.all(np.isfinite(score))):
        raise DataError("a score is missing or infinite; look at the features of the rows that were scored")


def insist_on_both_classes(label: Vector, score: Vector) -> None:
    """Raise DataError unless labels are 0 and 1, both occur, and every score is a number."""
    _binary(label, score)
    if int(label.sum()) in (0, len(label)):
        raise DataError("all labels are the same, so there is no ROC curve; evaluate on rows of both classes")


def roc(label: Vector, score: Vector) -> Roc:
    """Return the ROC curve, one corner for each distinct score; raises DataError unless both classes occur."""
    insist_on_both_classes(label, score)
    positives = int(label.sum())
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(label[order])
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    tpr = np.append(0.0, hits[last] / positives)
    fpr = np.append(0.0, (last + 1 - hits[last]) / (len(label) - positives))
    return Roc(fpr, tpr, np.append(np.inf, ranked[last]))


def area(curve: Roc) -> float:
    """Return the area under a ROC curve."""
    return float(np.sum(np.diff(curve.fpr) * (curve.tpr[1:] + curve.tpr[:-1])) / 2)


def distance(curve: Roc) -> tuple[float, float]:
    """Return the KS statistic and the threshold at which it is reached (the highest, when several reach it)."""
    apart = np.abs(curve.tpr - curve.fpr)
    best = int(np.argmax(apart))
    return float(apart[best]), float(curve.thresholds[best])


def auc(label: Vector, score: Vector) -> float:
    """Return the area under the ROC curve."""
    return area(roc(label, score))


def ks(label: Vector, score: Vector) -> tuple[float, float]:
    """Return the KS statistic and the threshold at which it is reached."""
    return distance(roc(label, score))


def thinned(curve: Roc, points: int = ROC_POINTS) -> Roc:
    """Return at most ``points`` corners of ``curve``, its ends among them, for drawing."""
    if len(curve.fpr) <= points:
        return curve
    kept = np.unique(np.linspace(0, len(curve.fpr) - 1, points).round().astype(np.int64))
    return Roc(curve.fpr[kept], curve.tpr[kept], curve.thresholds[kept])


def confusion(label: Vector, score: Vector, threshold: float = 0.5) -> Confusion:
    """Return the counts when every score of at least ``threshold`` is admitted."""
    _binary(label, score)
    admitted, positive = score >= threshold, label == 1
    return Confusion(
        true_positive=int(np.sum(admitted & positive)),
        false_positive=int(np.sum(admitted & ~positive)),
        true_negative=int(np.sum(~admitted & ~positive)),
        false_negative=int(np.sum(~admitted & positive)),
    )


def log_loss(label: Vector, score: Vector) -> float:
    """Return the mean negative log likelihood of probabilities, which are kept one rounding step off 0 and 1."""
    _binary(label, score)
    edge = float(np.finfo(np.float64).eps)
    p = np.clip(score, edge, 1 - edge)
    return float(-np.mean(label * np.log(p) + (1 - label) * np.log1p(-p)))


def _comparable(label: Vector, prediction: Vector) -> None:
    if label.shape != prediction.shape or len(label) == 0:
        raise DataError(f"labels of shape {label.shape} and predictions of shape {prediction.shape} cannot be compared")
    if not bool(np.all(np.isfinite(label) & np.isfinite(prediction))):
        raise DataError("a label or a prediction is missing or infinite; fill or drop those rows")


def regression(label: Vector, prediction: Vector) -> dict[str, float]:
    """Return the errors of a numeric prediction: mse, rmse, mae, the median error, r2 and the explained variance."""
    _comparable(label, prediction)
    error = label - prediction
    spread = float(np.sum((label - label.mean()) ** 2))
    mse = float(np.mean(error**2))
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(np.mean(np.abs(error))),
        "median_absolute_error": float(np.median(np.abs(error))),
        "r2": _explained(float(np.sum(error**2)), spread),
        "explained_variance": _explained(float(np.var(error)) * len(label), spread),
    }


def _explained(left: float, spread: float) -> float:
    """Return the share of ``spread`` that is not ``left``; where there is none, whether nothing is left."""
    return 1 - left / spread if spread else float(left == 0)


def squared_log_error(label: Vector, prediction: Vector) -> float:
    """Return the mean squared difference of ln(1 + x); raises DataError for a value of -1 or less."""
    _comparable(label, prediction)
    if not bool(np.all((label > -1) & (prediction > -1))):
        raise DataError("a label or a prediction is -1 or less, so it has no logarithm; take another metric")
    return float(np.mean((np.log1p(label) - np.log1p(prediction)) ** 2))


def multiclass(label: Vector, prediction: Vector) -> dict[str, float]:
    """Return accuracy and the means over classes of precision and recall, for predicted classes."""
    confusion = Contingency.confusion(label, prediction)
    by_class = ByClass.of(confusion)
    means = {name: by_class.macro(name) for name in ("precision", "recall")}
    return {"accuracy": accuracy(confusion)} | means
