"""Train and apply vertical logistic regression: FATE 2.2's component of this name.

`partyd.components.coordinated` tells what each stage does. A label of more than two classes trains a model for each
class against the rest; with two the class is 1 where the probability is above ``threshold``. Rows weigh as much as the
guest's weight column says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.class_count import MOST_CLASSES
from partyd.algorithms.coordinated_lr import coordinated_lr as training
from partyd.algorithms.linear_model import probability
from partyd.algorithms.metrics import multiclass
from partyd.components.base import JsonObject, TaskContext
from partyd.components.coordinated import carry_out, component
from partyd.components.coordinated_model import Model
from partyd.components.scores import binary_metrics, class_table, result_table
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.federation.algorithm import Algorithm

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class ClassOutcome:
    """An `Outcome`: the probability of a class."""

    training: Algorithm[Any] = training
    classified: bool = True

    def labels(self, label: Vector) -> tuple[float, ...]:
        """Return the label's values in order; raises DataError for one that is no class."""
        found = np.unique(label)
        if not bool(np.all(np.isfinite(found))):
            raise DataError("a row has no label; drop the rows without one before the upload")
        if len(found) > MOST_CLASSES or not bool(np.all(found == np.floor(found))):
            raise DataError(
                f"the label has {len(found)} values or is no class; logistic regression takes whole numbers"
            )
        return tuple(found.tolist()) if len(found) > 2 else (0.0, 1.0)

    def table(self, rows: Table, scores: list[Vector], _exposure: Vector | None, model: Model, kind: str) -> Table:
        """Return the result table of rows."""
        columns = [probability(z) for z in scores]
        if model.ovr:
            return class_table(rows, np.column_stack(columns), model.labels, kind)
        return result_table(rows, columns[0], model.threshold, kind)

    def judged(self, context: TaskContext, name: str, scored: Table, model: Model) -> JsonObject:
        """Return and report the metrics of scored rows, when all their labels are known and of both classes."""
        if scored.label is None:
            return {}
        label, score, result = np.asarray(scored.label), scored.features[:, 0], scored.features[:, 1]
        report = partial(context.party.report.metric, step=0)
        if model.ovr and bool(np.all(np.isfinite(label))):
            document: JsonObject = dict(multiclass(label, np.asarray(result)))
            report(f"{name}_accuracy", value=document["accuracy"])
            return document
        if not np.array_equal(np.unique(label), (0, 1)):
            return {}
        document = binary_metrics(label, np.asarray(score), model.threshold)
        for metric in ("auc", "ks"):
            report(f"{name}_{metric}", value=float(document[metric]))
        return document


CLASSES = ClassOutcome()


async def run(context: TaskContext) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    await carry_out(context, CLASSES)


coordinated_lr = component(CLASSES, run)
