"""Judge predictions where the labels are: AUC, KS and their kin at the guest. Nothing is exchanged."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.scores import PREDICT_RESULT, PREDICT_SCORE, binary_metrics
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.federation.algorithm import Params
from partyd.types import GUEST

PORTS = ("input_datas", "input_data")
ALWAYS = frozenset({"roc", "confusion", "threshold", "ks_threshold"})


class EvaluationParams(Params):
    """FATE 2.2's parameters; ``metrics`` None means all of the setting."""

    default_eval_setting: Literal["binary", "multi", "regression"] = "binary"
    metrics: tuple[str, ...] | None = None
    predict_column_name: str | None = None
    label_column_name: str | None = None


async def run(context: TaskContext) -> None:
    """Compute the metrics of the result table, report each and keep them as one document."""
    assert isinstance(context.params, EvaluationParams)
    connected = [port for port in PORTS if context.has_input(port)]
    if not connected:
        raise DataError(
            "evaluation has no input; connect input_datas to a task's train_output_data or test_output_data"
        )
    document = evaluate(context.read_table(connected[0]), context.params)
    for name, value in document.items():
        if isinstance(value, float):
            context.party.report.metric(name, 0, value)
    context.write_document("metric", document)


def evaluate(table: Table, params: EvaluationParams) -> JsonObject:
    """Return the metrics that ``params`` ask for; raises DataError for one that the setting does not have."""
    label = _column(table, params.label_column_name) if params.label_column_name else table.require_label()
    predicted = PREDICT_RESULT if params.default_eval_setting == "multi" else PREDICT_SCORE
    score = _column(table, params.predict_column_name or predicted)
    document = _metrics(params.default_eval_setting, label, score)
    if params.metrics is None:
        return document
    missing = [name for name in params.metrics if name not in document]
    if missing:
        raise DataError(f"evaluation has no metric {missing[0]!r}; the setting has {', '.join(sorted(document))}")
    return {name: value for name, value in document.items() if name in params.metrics or name in ALWAYS}


def _metrics(setting: str, label: NDArray[np.float64], score: NDArray[np.float64]) -> JsonObject:
    if setting == "binary":
        return binary_metrics(label, score)
    return dict(metrics.regression(label, score) if setting == "regression" else metrics.multiclass(label, score))


def _column(table: Table, name: str) -> NDArray[np.float64]:
    if name == table.schema.label and table.label is not None:
        return table.label
    if name not in table.schema.features:
        raise DataError(f"the evaluated table has no column {name!r}; it has {', '.join(table.schema.features)}")
    return np.asarray(table.features[:, table.schema.features.index(name)])


evaluation = Component(
    "evaluation",
    GUEST,
    EvaluationParams,
    run,
    inputs=tuple(Port(name, Kind.DATA, GUEST, optional=True) for name in PORTS),
)
