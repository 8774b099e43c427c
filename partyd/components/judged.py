"""Rows to be judged, and the form of a result: ``{"metric": name, "val": number or columns}``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics
from partyd.algorithms.clustering import Clusters
from partyd.algorithms.contingency import Contingency
from partyd.algorithms.curves import Ranked
from partyd.algorithms.precision_recall import PrecisionRecall
from partyd.components.base import JsonObject
from partyd.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Entry = JsonObject
Judge = Callable[["Judged"], list[Entry]]


@dataclass(frozen=True)
class Judged:
    """Labels, predictions and what else a table holds of the same rows; what several metrics need is computed once."""

    known: Vector | None
    predicted: Vector
    points: Matrix | None = None
    """For clusters the columns in which points lie."""

    @property
    def label(self) -> Vector:
        """The labels; raises DataError where there are none."""
        if self.known is None:
            raise DataError("the evaluated table has no label, and a metric compares with it; upload it with its label")
        return self.known

    @cached_property
    def ranked(self) -> Ranked:
        """The scores, sorted by class."""
        return Ranked.of(self.label, self.predicted)

    @cached_property
    def roc(self) -> metrics.Roc:
        """The ROC curve."""
        return metrics.roc(self.label, self.predicted)

    @cached_property
    def precision_recall(self) -> PrecisionRecall:
        """The curve of precision and recall."""
        return PrecisionRecall.of(self.ranked)

    @cached_property
    def confusion(self) -> Contingency:
        """The confusion matrix of classes."""
        return Contingency.confusion(self.label, self.predicted)

    @cached_property
    def contingency(self) -> Contingency:
        """The contingency matrix of labels and clusters."""
        return Contingency.of(self.label, self.predicted)

    @cached_property
    def clusters(self) -> Clusters:
        """The clusters of the points."""
        points = np.zeros((len(self.predicted), 0)) if self.points is None else self.points
        return Clusters.of(points, self.predicted)


def entry(name: str, value: object) -> Entry:
    """Return one result."""
    return {"metric": name, "val": value}


def single(name: str, measure: Callable[[Judged], float]) -> Judge:
    """Return a judge that gives one number."""
    return lambda rows: [entry(name, float(measure(rows)))]
