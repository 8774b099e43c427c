"""Vertical linear models that predict a number: what the components of linear and Poisson regression share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.metrics import regression
from partyd.components.base import JsonObject, TaskContext
from partyd.components.coordinated_model import Model
from partyd.components.scores import number_table
from partyd.data.table import Table
from partyd.federation.algorithm import Algorithm

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class NumberOutcome:
    """An `Outcome`: ``predicted`` makes the number of score and exposure, ``measures`` judge beside the errors."""

    training: Algorithm[Any]
    predicted: Callable[[Vector, Vector | None], Vector]
    measures: Callable[[Vector, Vector], dict[str, float]] = lambda _label, _predicted: {}
    classified: bool = False

    def labels(self, _label: Vector) -> tuple[float, ...]:
        """Return no classes."""
        return ()

    def table(self, rows: Table, scores: list[Vector], exposure: Vector | None, _model: Model, kind: str) -> Table:
        """Return the result table of rows."""
        return number_table(rows, self.predicted(scores[0], exposure), kind)

    def judged(self, context: TaskContext, name: str, scored: Table, _model: Model) -> JsonObject:
        """Return and report the errors of scored rows, when their labels are known."""
        if scored.label is None or not bool(np.all(np.isfinite(scored.label))):
            return {}
        label, predicted = np.asarray(scored.label), np.asarray(scored.features[:, 0])
        document: JsonObject = dict(regression(label, predicted))
        more = self.measures(label, predicted)
        for metric, value in {"rmse": document["rmse"], **more}.items():
            context.party.report.metric(f"{name}_{metric}", 0, value)
        return document | more
