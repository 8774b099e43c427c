"""Judge predictions where the labels are: FATE 2.2's evaluation, at the guest. Nothing is exchanged.

The document is FATE's: results by the task whose table was judged, then by the kind of rows (train_set, validate_set,
test_set; ``origin`` for a table that does not say). A score counts as positive above one half.

Of FATE 1.x are the setting ``clustering``, the other names of metrics, ``pos_label`` (that label is positive and every
other negative; without it labels are 0 and 1) and ``unfold_multi_result``: AUC and KS of each class against the others,
as results of ``task_class_<label>``. Clusters stand in ``predict_result``; the points, for metrics that need them, are
what other columns the table has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field, FiniteFloat

from partyd.algorithms.parameters import FateParams, lower
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import column
from partyd.components.judged import Judged
from partyd.components.judging import ALIASES, DEFAULTS, JUDGES, MEANT, STABILITY, compare, judge, numbers
from partyd.components.judging_classes import BY_LABEL, BY_POINTS
from partyd.data.render import DETAIL, PREDICT_RESULT, PREDICT_SCORE, ROW_TYPES, SCORED_LABEL, TYPE, is_scored
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST

Vector = NDArray[np.float64]
Results = dict[str, list[object]]
TRAIN, VALIDATE, _ = ROW_TYPES
CLUSTERS = "clustering"
UNFOLDED = ("auc", "ks")


def _known(name: str) -> str:
    name = ALIASES.get(name, name)
    if name not in JUDGES and name != STABILITY:
        raise ValueError(f"there is no metric {name!r}; known are {', '.join(JUDGES)} and {STABILITY}")
    return name


Metric = Annotated[str, BeforeValidator(lower), AfterValidator(_known)]
Setting = Annotated[Literal["binary", "multi", "regression", "clustering"], BeforeValidator(lower)]


class EvaluationParams(FateParams):
    """FATE 2.2's parameters and 1.x's; without ``metrics`` it is all of the setting that the table allows."""

    default_eval_setting: Setting = "binary"
    metrics: tuple[Metric, ...] | None = Field(default=None, min_length=1)
    predict_column_name: str | None = None
    label_column_name: str | None = None
    pos_label: FiniteFloat | None = None
    unfold_multi_result: bool = False

    @property
    def asked(self) -> tuple[str, ...]:
        """The metrics to compute, each once."""
        meant = MEANT.get(self.default_eval_setting, {})
        names = self.metrics or DEFAULTS[self.default_eval_setting]
        return tuple(dict.fromkeys(meant.get(name, name) for name in names))

    @property
    def predicted(self) -> str:
        """The column of predictions."""
        if self.predict_column_name is not None:
            return self.predict_column_name
        of_classes = ("multi_", "macro_", "weighted_", "class_")
        classes = all(name.startswith(of_classes) or name in BY_LABEL or name in BY_POINTS for name in self.asked)
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
        for label, results in unfolded(table, context.params).items():
            document[f"{name}_class_{label}"] = results
    several = sum(len(kinds) for kinds in document.values()) > 1
    for name, kinds in document.items():
        for kind, results in kinds.items():
            path = [name] * (len(document) > 1) + [kind] * (len(kinds) > 1)
            for metric, value in numbers(results).items():
                context.party.report.metric("_".join([*path, metric]) if several else metric, 0, value)
    context.write_document("metric", document)
    context.party.report.info(f"judged {len(tables)} tables by {', '.join(context.params.asked)}")


def evaluate(table: Table, params: EvaluationParams) -> Results:
    """Return the results by kind of rows; raises DataError for columns that are not there and rows that do not fit."""
    parts = _parts(table, _judged(table, params))
    asked = params.asked
    if params.metrics is None and params.default_eval_setting == CLUSTERS:
        asked = tuple(name for name in asked if _allows(table, params, name))
        if not asked:
            raise DataError("clusters are judged by labels or by their points, and the evaluated table has neither")
    results = {name: judge(asked, rows) for name, rows in parts.items()}
    if STABILITY in asked:
        results.setdefault(VALIDATE, []).append(compare(parts, TRAIN, VALIDATE))
    return results


def unfolded(table: Table, params: EvaluationParams) -> dict[str, Results]:
    """Return AUC and KS of each class against the others, by the class; of rows that have both."""
    if not params.unfold_multi_result or params.default_eval_setting != "multi":
        return {}
    found: dict[str, Results] = {}
    for name in table.schema.features:
        label = _label(table, params.label_column_name)
        if label is None or not name.startswith(DETAIL):
            continue
        text = name.removeprefix(DETAIL)
        rows = Judged(np.where(label == float(text), 1.0, 0.0), column(table, name))
        parts = {kind: part for kind, part in _parts(table, rows).items() if len(np.unique(part.label)) == 2}
        found[text] = {kind: judge(UNFOLDED, part) for kind, part in parts.items()}
    return found


def _judged(table: Table, params: EvaluationParams) -> Judged:
    label = _label(table, params.label_column_name)
    if params.default_eval_setting == "binary" and params.pos_label is not None and label is not None:
        label = np.where(np.isnan(label), np.nan, np.where(label == params.pos_label, 1.0, 0.0))
    points = _points(table, params) if params.default_eval_setting == CLUSTERS else ()
    columns = np.column_stack([column(table, name) for name in points]) if points else None
    return Judged(label, _column(table, params.predicted), columns)


def _points(table: Table, params: EvaluationParams) -> tuple[str, ...]:
    """Return the columns of a table of clusters that say where its rows lie."""
    others = {PREDICT_SCORE, PREDICT_RESULT, TYPE, params.predicted, params.label_column_name}
    return tuple(name for name in table.schema.features if name not in others and not name.startswith(DETAIL))


def _allows(table: Table, params: EvaluationParams, metric: str) -> bool:
    """Return whether a table of clusters holds what a metric reads."""
    if metric in BY_POINTS:
        return bool(_points(table, params))
    return _label(table, params.label_column_name) is not None


def _parts(table: Table, rows: Judged) -> Mapping[str, Judged]:
    """Return the rows of each kind."""
    if not is_scored(table):
        return {"origin": rows}
    kinds = column(table, TYPE)
    return {ROW_TYPES[int(kind)]: _where(rows, kinds == kind) for kind in np.unique(kinds).tolist()}


def _where(rows: Judged, chosen: NDArray[np.bool_]) -> Judged:
    known = None if rows.known is None else rows.known[chosen]
    points = None if rows.points is None else rows.points[chosen]
    return replace(rows, known=known, predicted=rows.predicted[chosen], points=points)


def _label(table: Table, name: str | None) -> Vector | None:
    if name is None or name == SCORED_LABEL or name == table.schema.label:
        return None if table.label is None else np.asarray(table.label, dtype=np.float64)
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
