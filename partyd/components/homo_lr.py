"""Train and apply horizontal logistic regression: FATE 2.2's component of this name.

Guest and hosts bring rows with the same feature columns and a label of classes 0, 1, ...; the arbiter averages the
models that they train by themselves, and sees the sums alone. ``train`` reads ``train_data`` and writes the model, the
same at every party, and each party's rows scored, those of ``validate_data`` among them, told apart by ``type``.
``warm_start_model`` goes on where that model's training ended, with its optimizer, schedule, intercept and threshold;
all parties must bring the same one. ``predict`` applies the model at each party to that party's ``test_data``; nothing
is exchanged.

More than two classes need ``ovr`` and ``label_num``. Rows weigh as much as a party's weight column says. Columns should
be of like scales (`feature_scale`), as for every descent.
"""

from __future__ import annotations

import numpy as np

from partyd.algorithms.homo_lr import HomoArbiter, HomoModel
from partyd.algorithms.homo_lr import homo_lr as training
from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import HomoRows, Progress
from partyd.algorithms.metrics import multiclass
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.homo_lr_model import HomoLrModel, warm
from partyd.components.scores import TEST, TRAIN, VALIDATE, binary_metrics, class_table, result_table
from partyd.components.union import stacked
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import ARBITER, GUEST, HOST

BOTH = GUEST | HOST
ALL = GUEST | HOST | ARBITER


async def run(context: TaskContext) -> None:
    """Train or predict, as the job's stage says; the arbiter has nothing to do with a prediction."""
    assert isinstance(context.params, HomoLrParams)
    if context.party.me.role == ARBITER:
        if context.stage != "predict":
            await context.driver.run("train", training, context.params, None, HomoArbiter)
        return
    if context.stage == "predict":
        _predict(context)
    else:
        await _train(context, context.params)


async def _train(context: TaskContext, params: HomoLrParams) -> None:
    table, start = context.read_table("train_data"), None
    context.limits.insist_on_rows(len(table))
    context.limits.insist_on_batch(len(table))
    if context.has_input("warm_start_model"):
        document = context.read_model("warm_start_model")
        params, earlier = warm(params, document), HomoLrModel.read(document)
        start = _begin(earlier, table)
        context.party.report.info("goes on with the earlier model's weights, optimizer, schedule and threshold")
    rows = _rows(table, start)
    state = await context.driver.run("train", training, params, rows, HomoModel)
    model = HomoLrModel.trained(state, rows.columns, params.threshold)
    context.write_model("output_model", model.document(context.party.me.role.label, params))
    scored = _scored(table, model, TRAIN)
    metric: JsonObject = {"loss": list(model.losses)} | _judged(context, "train", scored, model)
    if context.has_input("validate_data"):
        validated = _scored(context.read_table("validate_data"), model, VALIDATE)
        metric["validate"] = _judged(context, "validate", validated, model)
        scored = stacked([scored, validated])
    context.write_table("train_output_data", scored)
    context.write_document("metric", metric)


def _predict(context: TaskContext) -> None:
    model, table = HomoLrModel.read(context.read_model("input_model")), context.read_table("test_data")
    context.limits.insist_on_rows(len(table))
    scored = _scored(table, model, TEST)
    context.write_table("test_output_data", scored)
    context.write_document("metric", _judged(context, "test", scored, model))


def _rows(table: Table, start: Progress | None) -> HomoRows:
    """Return the table's rows, its columns in the order of their names."""
    columns = tuple(sorted(table.schema.features))
    x = np.asarray(table.features[:, [table.schema.features.index(name) for name in columns]])
    weight = None if table.weight is None else np.asarray(table.weight)
    return HomoRows(columns, x, np.asarray(table.require_label()), weight, start)


def _begin(model: HomoLrModel, table: Table) -> Progress:
    """Return where the earlier model's training ended; raises DataError unless the table has its columns alone."""
    if model.header != tuple(sorted(table.schema.features)):
        differing = sorted(set(model.header) ^ set(table.schema.features))
        raise DataError(f"the table and the earlier model differ in {', '.join(differing[:10])}; use its columns")
    return model.progress


def _scored(table: Table, model: HomoLrModel, kind: str) -> Table:
    scores = model.scores(table)
    if model.classes > 2:
        return class_table(table, scores, [float(k) for k in range(model.classes)], kind)
    return result_table(table, scores[:, 0], model.threshold, kind)


def _judged(context: TaskContext, name: str, scored: Table, model: HomoLrModel) -> JsonObject:
    """Return and report the metrics of this party's scored rows, when all labels are known and of several classes."""
    if scored.label is None:
        return {}
    label, score, result = (np.asarray(a) for a in (scored.label, scored.features[:, 0], scored.features[:, 1]))
    document: JsonObject = {}
    if model.classes > 2 and bool(np.all(np.isfinite(label))):
        document = dict(multiclass(label, result))
    elif np.array_equal(np.unique(label), (0, 1)):
        document = binary_metrics(label, score, model.threshold)
    for metric in ("auc", "ks", "accuracy"):
        if metric in document:
            context.party.report.metric(f"{name}_{metric}", 0, float(document[metric]))
    return document


TRAINS: tuple[Stage, ...] = ("train", "default")
homo_lr = Component(
    "homo_lr",
    ALL,
    HomoLrParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=TRAINS, stages=TRAINS),
        Port("validate_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",), stages=("predict",)),
        Port("warm_start_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",), stages=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_output_data", Kind.DATA, BOTH, optional=True, stages=("predict",)),
        Port("output_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
    ),
    algorithms=(training,),
    agreed=("epochs", "aggregate_iters", "ovr", "label_num", "init_param", "secure_aggregation"),
)
