"""Train and apply vertical logistic regression: FATE 2.2's component of this name.

``train`` reads ``train_data`` and writes each party's share of the model (`partyd.components.lr_model`); the guest gets
the scored rows, those of ``validate_data`` among them, told apart by ``type``. ``warm_start_model`` goes on where that
model's training ended, with its optimizer, schedule and threshold. ``predict`` reads ``test_data`` and ``input_model``.
``cross_validation`` trains on all folds of ``cv_data`` but one and judges that one, in turn; it leaves no model.

A label of more than two classes trains a model for each class against the rest. Rows weigh as much as the guest's
weight column says. Hosts and arbiter have no result tables.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.class_count import MOST_CLASSES, ClassCountParams, Classes, class_count
from partyd.algorithms.coordinated_lr import ArbiterState, Weights
from partyd.algorithms.coordinated_lr import coordinated_lr as training
from partyd.algorithms.linear_model import batch_count, probability
from partyd.algorithms.linear_score import LinearScoreParams, Scored, Scores, linear_score
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Features, Labelled
from partyd.algorithms.metrics import multiclass
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.folds import folds
from partyd.components.lr_model import Estimator, Model, warm
from partyd.components.prefixed import metrics_named
from partyd.components.scores import TEST, TRAIN, VALIDATE, binary_metrics, class_table, result_table
from partyd.components.union import stacked
from partyd.data.render import number
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import ARBITER, GUEST, HOST

Vector = NDArray[np.float64]
BOTH = GUEST | HOST
ALL = GUEST | HOST | ARBITER


async def run(context: TaskContext) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    assert isinstance(context.params, CoordinatedLrParams)
    params, is_arbiter = context.params, context.party.me.role == ARBITER
    if context.stage == "predict":
        if not is_arbiter:
            await _predict(context)
        return
    asked, used = params.he_param.key_length, params.key_bits
    if asked < used and "he_param" in params.model_fields_set:
        context.party.report.info(f"key_length {asked} is below the floor; a key of {used} bits is used")
    context.limits.insist_on_key(used)
    if context.stage == "cross_validation":
        await _cross_validate(context, params)
    elif is_arbiter:
        await _serve(context, params, "")
        context.write_model("output_model", Model(()).document("arbiter", params))
    else:
        await _train(context, params)


async def _train(context: TaskContext, params: CoordinatedLrParams) -> None:
    table, role, begin = context.read_table("train_data"), context.party.me.role, None
    if context.has_input("warm_start_model"):
        document = context.read_model("warm_start_model")
        params, begin = warm(params, document), Model.read(document)
        context.party.report.info("goes on with the earlier model's weights, optimizer, schedule and threshold")
    model = await _fitted(context, params, table, "", begin)
    context.write_model("output_model", model.document(role.label, params))
    scored = await _scored(context, "score", table, model, TRAIN)
    validated = None
    if context.has_input("validate_data"):
        validated = await _scored(context, "validate", context.read_table("validate_data"), model, VALIDATE)
    if scored is None:
        return
    metric: JsonObject = {"loss": list(model.estimators[0].losses)} | _judged(context, "train", scored, model)
    if validated is not None:
        metric["validate"] = _judged(context, "validate", validated, model)
        context.write_table("validate_output_data", validated)
    context.write_table("train_output_data", scored if validated is None else stacked([scored, validated]))
    context.write_document("metric", metric)


async def _cross_validate(context: TaskContext, params: CoordinatedLrParams) -> None:
    """Train on all folds but one and score both, in turn."""
    role, outputs, metric = context.party.me.role, list[Table](), JsonObject()
    if role == ARBITER:
        for i in range(params.cv_param.n_splits):
            await _serve(context, params, f"fold_{i}-")
        return
    table = context.read_table("cv_data")
    for i, parts in enumerate(folds(len(table), params.cv_param, context.party.context)):
        train, held_out = (table.take(rows) for rows in parts)
        model = await _fitted(context, params, train, f"fold_{i}-", None)
        scored = await _scored(context, f"fold_{i}-score", train, model, TRAIN)
        validated = await _scored(context, f"fold_{i}-validate", held_out, model, VALIDATE)
        if scored is not None and validated is not None:
            outputs.append(stacked([scored, validated]))
            metric[f"fold_{i}"] = {
                "train": _judged(context, f"fold_{i}_train", scored, model),
                "validate": _judged(context, f"fold_{i}_validate", validated, model),
            }
    if role == GUEST:
        if params.output_cv_data:
            context.write_tables("cv_output_datas", outputs)
        context.write_document("metric", metric)


async def _serve(context: TaskContext, params: CoordinatedLrParams, prefix: str) -> None:
    """Be the arbiter of one training."""
    classes = await context.driver.run(f"{prefix}classes", class_count, ClassCountParams(), None, Classes)
    for i in range(classes.count):
        await context.driver.run(_stage(prefix, i), training, params, None, ArbiterState)


async def _fitted(
    context: TaskContext, params: CoordinatedLrParams, table: Table, prefix: str, begin: Model | None
) -> Model:
    """Train one model, or one for each class against the rest."""
    context.limits.insist_on_rows(len(table))
    context.limits.insist_on_batch(len(table) // batch_count(len(table), params.batch_size))
    is_guest = context.party.me.role == GUEST
    label = np.asarray(table.require_label()) if is_guest else np.zeros(0)
    labels = _classes(label) if is_guest else (0.0, 1.0)
    mine = len(labels) if len(labels) > 2 else 1
    classes = await context.driver.run(f"{prefix}classes", class_count, ClassCountParams(), mine, Classes)
    if begin is not None and len(begin.estimators) != classes.count:
        raise DataError(f"the earlier model has {len(begin.estimators)} classes and the table {classes.count}")
    estimators, intercept = [], is_guest and params.init_param.fit_intercept
    weight = None if table.weight is None else np.asarray(table.weight)
    for i in range(classes.count):
        start = None if begin is None else begin.estimators[i].start(table)
        x = np.asarray(table.features)
        y = label if classes.count == 1 else (label == labels[i]).astype(np.float64) if is_guest else label
        data = Labelled(x, y, weight, start) if is_guest else Features(x, start)
        which = prefix.replace("-", "_") + (f"class_{number(labels[i])}_" if classes.count > 1 and is_guest else "")
        with metrics_named(context.party, which):
            state = await context.driver.run(_stage(prefix, i), training, params, data, Weights)
        trained = Estimator.trained(state, table.schema.features, params.epochs, intercept=intercept)
        estimators.append(trained)
    return Model(tuple(estimators), labels, params.threshold)


def _stage(prefix: str, position: int) -> str:
    return f"{prefix}train" if not position else f"{prefix}train-class{position}"


def _classes(label: Vector) -> tuple[float, ...]:
    """Return the label's values in order; raises DataError for one that is no class."""
    found = np.unique(label)
    if not bool(np.all(np.isfinite(found))):
        raise DataError("a row has no label; drop the rows without one before the upload")
    if len(found) > MOST_CLASSES or not bool(np.all(found == np.floor(found))):
        raise DataError(f"the label has {len(found)} values or is no class; logistic regression takes whole numbers")
    return tuple(found.tolist()) if len(found) > 2 else (0.0, 1.0)


async def _predict(context: TaskContext) -> None:
    model = Model.read(context.read_model("input_model"))
    table = context.read_table("test_data")
    context.limits.insist_on_rows(len(table))
    scored = await _scored(context, "predict", table, model, TEST)
    if scored is not None:
        context.write_table("test_output_data", scored)
        context.write_document("metric", _judged(context, "test", scored, model))


async def _scored(context: TaskContext, stage: str, table: Table, model: Model, kind: str) -> Table | None:
    """Return the scored rows at the guest, None at a host."""
    if not model.estimators:
        raise TaskFailed("the model has no weights; connect the output_model of a training at this party")
    columns: list[Vector] = []
    for i, estimator in enumerate(model.estimators):
        x, w = estimator.aligned(table)
        name = stage if not i else f"{stage}-class{i}"
        state = await context.driver.run(name, linear_score, LinearScoreParams(), Scored(x, w), Scores)
        if state.z is not None:
            columns.append(probability(state.z))
    if not columns:
        return None
    if model.ovr:
        return class_table(table, np.column_stack(columns), model.labels, kind)
    return result_table(table, columns[0], model.threshold, kind)


def _judged(context: TaskContext, name: str, scored: Table, model: Model) -> JsonObject:
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


TRAINS: tuple[Stage, ...] = ("train", "default")
coordinated_lr = Component(
    "coordinated_lr",
    ALL,
    CoordinatedLrParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=TRAINS, stages=TRAINS),
        Port("validate_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",), stages=("predict",)),
        Port("cv_data", Kind.DATA, BOTH, optional=True, needed=("cross_validation",), stages=("cross_validation",)),
        Port("warm_start_model", Kind.MODEL, ALL, optional=True, stages=TRAINS),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",), stages=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
        Port("validate_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
        Port("test_output_data", Kind.DATA, GUEST, optional=True, stages=("predict",)),
        Port("cv_output_datas", Kind.DATA, GUEST, optional=True, stages=("cross_validation",), several=True),
        Port("output_model", Kind.MODEL, ALL, optional=True, stages=TRAINS),
    ),
    algorithms=(class_count, training, linear_score),
)
