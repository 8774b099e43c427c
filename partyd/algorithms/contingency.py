"""Two columns of classes counted against each other, and what follows from the counts.

A `Contingency` has a row for each value of the first column and a column for each of the second. Between labels and
predicted classes it is the confusion matrix when both have the same values (`confusion`): then tp, fp and fn of a class
are its diagonal element, the rest of its column and the rest of its row. A class that was never predicted has the
precision 0, one without rows the recall 0, as scikit-learn has it when it does not warn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.errors import DataError

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]
MOST_CLASSES = 1000
"""As many classes as FATE allows; a column with more holds numbers."""


@dataclass(frozen=True)
class Contingency:
    """How many rows have which pair of values; both lists of values are ascending."""

    labels: Vector
    predictions: Vector
    counts: Counts

    @classmethod
    def of(cls, label: Vector, prediction: Vector) -> Contingency:
        """Count the pairs that occur; raises DataError for columns that cannot be compared, or hold no classes."""
        _insist_on_classes(label, prediction)
        return _counted(label, prediction, np.unique(label), np.unique(prediction))

    @classmethod
    def confusion(cls, label: Vector, prediction: Vector) -> Contingency:
        """Count with the values of either column on both sides."""
        _insist_on_classes(label, prediction)
        both = np.union1d(label, prediction)
        return _counted(label, prediction, both, both)

    @property
    def rows(self) -> int:
        """All rows."""
        return int(self.counts.sum())


@dataclass(frozen=True)
class ByClass:
    """Precision, recall, F1 and the number of rows of each class of a confusion matrix."""

    classes: Vector
    precision: Vector
    recall: Vector
    f1: Vector
    support: Counts

    @classmethod
    def of(cls, confusion: Contingency) -> ByClass:
        """Compute them."""
        tp = np.diag(confusion.counts).astype(np.float64)
        predicted, actual = confusion.counts.sum(axis=0), confusion.counts.sum(axis=1)
        return cls(
            classes=confusion.labels,
            precision=_share(tp, predicted),
            recall=_share(tp, actual),
            f1=_share(2 * tp, predicted + actual),
            support=actual,
        )

    def macro(self, name: str) -> float:
        """Return the mean over classes of precision, recall or f1."""
        return float(np.mean(self._of(name)))

    def weighted(self, name: str) -> float:
        """Return the mean over rows of precision, recall or f1 of their classes."""
        return float(np.average(self._of(name), weights=self.support))

    def _of(self, name: str) -> Vector:
        return {"precision": self.precision, "recall": self.recall, "f1": self.f1}[name]


def accuracy(confusion: Contingency) -> float:
    """Return the share of rows on the diagonal; micro averages of precision, recall and F1 equal it."""
    return int(np.trace(confusion.counts)) / confusion.rows


def _share(part: Vector, whole: Counts) -> Vector:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def _insist_on_classes(label: Vector, prediction: Vector) -> None:
    if label.shape != prediction.shape or len(label) == 0:
        raise DataError(f"labels of shape {label.shape} and predictions of shape {prediction.shape} cannot be compared")
    if not bool(np.all(np.isfinite(label) & np.isfinite(prediction))):
        raise DataError("a label or a prediction is missing or infinite; fill or drop those rows")
    if max(len(np.unique(label)), len(np.unique(prediction))) > MOST_CLASSES:
        raise DataError(f"labels or predictions have more than {MOST_CLASSES} values, so they are no classes")


def _counted(label: Vector, prediction: Vector, rows: Vector, columns: Vector) -> Contingency:
    at = np.searchsorted(rows, label) * len(columns) + np.searchsorted(columns, prediction)
    counts = np.bincount(at, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    return Contingency(rows, columns, counts.astype(np.int64))
