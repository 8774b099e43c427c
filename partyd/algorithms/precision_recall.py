"""Precision and recall of binary scores: their curve, the area under it, and FATE 1.x's table of quantiles.

The curve admits every score that is not *below* a threshold, as scikit-learn's does; the table of quantiles, as FATE's
other tables, those *above* it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.curves import BINS, Columns, Ranked
from partyd.algorithms.metrics import ROC_POINTS

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class PrecisionRecall:
    """A point for each distinct score, ascending, and last the point where nothing is admitted, without a threshold."""

    precision: Vector
    recall: Vector
    thresholds: Vector

    @classmethod
    def of(cls, ranked: Ranked) -> PrecisionRecall:
        """Return the curve."""
        thresholds = np.unique(ranked.every)
        tp = len(ranked.positive) - np.searchsorted(ranked.positive, thresholds, side="left")
        fp = len(ranked.negative) - np.searchsorted(ranked.negative, thresholds, side="left")
        precision, recall = tp / (tp + fp), tp / len(ranked.positive)
        return cls(np.append(precision, 1.0), np.append(recall, 0.0), thresholds)

    @property
    def average(self) -> float:
        """The precision averaged over the steps of recall."""
        return float(-np.sum(np.diff(self.recall) * self.precision[:-1])) + 0.0

    def columns(self, points: int = ROC_POINTS) -> Columns:
        """Return at most ``points`` of the curve, its ends among them, as columns; the last point has no threshold."""
        kept = np.arange(len(self.recall))
        if len(kept) > points:
            kept = np.unique(np.linspace(0, len(kept) - 1, points).round().astype(np.int64))
        return {
            "precision": self.precision[kept].tolist(),
            "recall": self.recall[kept].tolist(),
            "threshold": self.thresholds[kept[:-1]].tolist(),
        }


def at_quantiles(ranked: Ranked) -> Columns:
    """Return precision and recall above the scores at every twentieth of the rows, from the lowest up."""
    thresholds = np.quantile(ranked.every, np.arange(BINS + 1) / BINS, method="nearest")
    counts = ranked.counts(thresholds)
    admitted = counts.tp + counts.fp
    precision = np.divide(counts.tp, admitted, out=np.ones_like(counts.tp), where=admitted != 0)
    recall = counts.tp / len(ranked.positive)
    return {"p": precision.tolist(), "r": recall.tolist(), "threshold": thresholds.tolist()}
