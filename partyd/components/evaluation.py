"""Judge predictions where the labels are: FATE 2.2's evaluation, at the guest. Nothing is exchanged.

The document is FATE's: results by the task whose table was judged, then by the kind of rows (train_set, validate_set,
test_set; ``origin`` for a table that does not say). A score counts as positive above one half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from partyd.algorithms.parameters import FateParams, lower
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import column
from partyd.components.judging import DEFAULTS, JUDGES, STABILITY, compare, judge, numbers
from partyd.data.render import PREDICT_RESULT, PREDICT_SCORE, ROW_TYPES, SCORED_LABEL, TYPE, is_scored
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST

Vector = NDArray[np.float64]
TRAIN, VALIDATE, _ = ROW_TYPES


def _known(name: str) -> str:
    if name not in JUDGES and name != STABILITY:
        raise ValueError(f"there is no metric {name!r}; known are {', '.join(JUDGES)} and {STABILITY}")
    return name


Metric = Annotated[str, BeforeValidator(lower), AfterValidator(_known)]


class EvaluationParams(FateParams):
    """FATE 2.2's parameters; without ``metrics`` it is all of the setting."""

    default_eval_setting: Annotated[Literal["binary", "multi", "regression"], BeforeValidator(lower)] = "binary"
    metrics: tuple[Metric, ...] | None = Field(default=None, min_length=1)
    predict_column_name: str | None = None
    label_column_name: str | None = None

    @property
    def asked(self) -> tuple[str, ...]:
        """The metrics to compute."""
        return self.metrics or DEFAULTS[self.default_eval_setting]

    @property
    def predicted(self) -> str:
        """The column of predictions."""
        if self.predict_column_name is not None:
            return self.predict_column_name
        classes = all(name.startswith(("multi_", "macro_")) for name in self.asked)
        return PREDICT_RESULT if classes else PREDICT_SCORE


async def run(context: TaskContext) -> None:
    """Judge every connected table, report each number and keep the results as one document."""
    assert isinstance(context.params, EvaluationParams)
    tables = context.read_tables("input_datas")
    names = context.producers_of("input_datas")
    names = names if len(names) == len(tables) else tuple(f"input_{i}" for i in range(len(tables)))
    document: JsonObject = {}
    for name, table in zip(names, tables, strict=True):
        document[name] = evaluate(table, context.params)
    several = sum(len(kinds) for kinds in document.values()) > 1
    for name, kinds in document.items():
        for kind, results in kinds.items():
            path = [name] * (len(document) > 1) + [kind] * (len(kinds) > 1)
            for metric, value in numbers(results).items():
                context.party.report.metric("_".join([*path, metric]) if several else metric, 0, value)
    context.write_document("metric", document)
    context.party.report.info(f"judged {len(tables)} tables by {', '.join(context.params.asked)}")


def evaluate(table: Table, params: EvaluationParams) -> dict[str, list[object]]:
    """Return the results by kind of rows; raises DataError for columns that are not there and rows that do not fit."""
    label = _label(table, params.label_column_name)
    predicted = _column(table, params.predicted)
    parts = _parts(table)
    results = {name: judge(params.asked, label[rows], predicted[rows]) for name, rows in parts.items()}
    if STABILITY in params.asked:
        scores = {name: predicted[rows] for name, rows in parts.items()}
        results.setdefault(VALIDATE, []).append(compare(scores, TRAIN, VALIDATE))
    return results


def _parts(table: Table) -> Mapping[str, NDArray[np.bool_]]:
    """Return which rows are of which kind."""
    if not is_scored(table):
        return {"origin": np.ones(len(table), bool)}
    kinds = column(table, TYPE)
    return {ROW_TYPES[int(kind)]: kinds == kind for kind in np.unique(kinds).tolist()}


def _label(table: Table, name: str | None) -> Vector:
    if name is None or name == SCORED_LABEL or name == table.schema.label:
        return np.asarray(table.require_label(), dtype=np.float64)
    return _column(table, name)


def _column(table: Table, name: str) -> Vector:
    if name not in table.schema.features:
        raise DataError(f"the evaluated table has no column {name!r}; it has {', '.join(table.schema.features[:20])}")
    return column(table, name)


evaluation = Component(
    "evaluation",
    GUEST,
    EvaluationParams,
    run,
    inputs=(Port("input_datas", Kind.DATA, GUEST, several=True),),
    metric="evaluation",
)
