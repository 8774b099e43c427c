"""Train and apply vertical gradient boosting: FATE 2.2's component of this name.

``train`` reads ``train_data`` and writes each party's half of the model (`partyd.components.secureboost_model`); the
guest gets the scored rows, those of ``validate_data`` among them, told apart by ``type``. With
``early_stopping_rounds`` the training ends when the validation rows' metric has not improved for so many trees, and the
trees after the best are dropped. ``warm_start_model`` is grown by ``num_trees`` more trees, with its objective and
learning rate. ``predict`` reads ``test_data`` and ``input_model``. ``cross_validation`` trains on all folds of
``cv_data`` but one and judges that one, in turn; it leaves no model.

``binary:bce`` takes labels 0 and 1, ``multi:ce`` 0 to ``num_class`` - 1, the others numbers. Rows weigh as much as the
guest's weight column says. Hosts have no result tables.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.hetero_secureboost import hetero_secureboost as training
from partyd.algorithms.metrics import multiclass, regression
from partyd.algorithms.secureboost_messages import GuestRows, GuestState, HostRecord, HostRows, HostState
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_score import (
    Forest,
    GuestScores,
    HostPlan,
    Kept,
    ScoreParams,
    secureboost_score,
)
from partyd.algorithms.secureboost_sums import Spool
from partyd.algorithms.secureboost_trees import Tree
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.folds import folds
from partyd.components.prefixed import metrics_named
from partyd.components.scores import TEST, TRAIN, VALIDATE, binary_metrics, class_table, number_table, result_table
from partyd.components.secureboost_model import Model
from partyd.components.union import stacked
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST

Matrix = NDArray[np.float64]
BOTH = GUEST | HOST
SPOOL = "working"
"""Where the guest keeps what hosts encrypted, in the task's folder; removed at the end."""


async def run(context: TaskContext) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    assert isinstance(context.params, SecureBoostParams)
    if context.stage == "predict":
        await _predict(context)
        return
    params = context.params
    asked, used = params.he_param.key_length, params.key_bits
    if asked < used and "he_param" in params.model_fields_set:
        context.party.report.info(f"key_length {asked} is below the floor; a key of {used} bits is used")
    context.limits.insist_on_key(used)
    if context.stage == "cross_validation":
        await _cross_validate(context, params)
    else:
        await _train(context, params)


async def _train(context: TaskContext, params: SecureBoostParams) -> None:
    table, earlier, held_out = context.read_table("train_data"), None, None
    if context.has_input("validate_data"):
        held_out = context.read_table("validate_data")
    if context.has_input("warm_start_model"):
        earlier = Model.read(context.read_model("warm_start_model"))
        params = earlier.with_hyper(params)
        context.party.report.info("goes on with the earlier model's trees, objective and learning rate")
    model, scores, held_scores = await _fitted(context, params, table, held_out, "", earlier)
    context.write_model("output_model", model.document(context.party.me, params))
    if scores is None:
        return
    scored = _table(params, table, scores, TRAIN)
    metric: JsonObject = {"loss": list(model.losses)} | _judged(context, "train", scored, params)
    if held_out is not None and held_scores is not None:
        validated = _table(params, held_out, held_scores, VALIDATE)
        metric["validate"] = _judged(context, "validate", validated, params)
        context.write_table("validate_output_data", validated)
        context.write_table("train_output_data", stacked([scored, validated]))
    else:
        context.write_table("train_output_data", scored)
    context.write_document("metric", metric)


async def _cross_validate(context: TaskContext, params: SecureBoostParams) -> None:
    """Train on all folds but one and score both, in turn."""
    table, outputs, metric = context.read_table("cv_data"), list[Table](), JsonObject()
    for i, parts in enumerate(folds(len(table), params.cv_param, context.party.context)):
        train, held_out = (table.take(rows) for rows in parts)
        _, scores, held_scores = await _fitted(context, params, train, held_out, f"fold_{i}-", None)
        if scores is not None and held_scores is not None:
            both = [_table(params, train, scores, TRAIN), _table(params, held_out, held_scores, VALIDATE)]
            outputs.append(stacked(both))
            named = dict(zip(("train", "validate"), both, strict=True))
            judged = {name: _judged(context, f"fold_{i}_{name}", rows, params) for name, rows in named.items()}
            metric[f"fold_{i}"] = judged
    if context.party.me.role == GUEST:
        if params.output_cv_data:
            context.write_tables("cv_output_datas", outputs)
        context.write_document("metric", metric)


async def _fitted(
    context: TaskContext,
    params: SecureBoostParams,
    table: Table,
    held_out: Table | None,
    prefix: str,
    earlier: Model | None,
) -> tuple[Model, Matrix | None, Matrix | None]:
    """Train, and return this party's half and, at the guest, the scores of all rows."""
    context.limits.insist_on_rows(len(table))
    context.limits.insist_on_batch(len(table))
    header, begun = tuple(table.schema.features), tuple[Matrix | None, Matrix | None]((None, None))
    if earlier is not None:
        if sorted(earlier.header) != sorted(header):
            differing = ", ".join(sorted(set(earlier.header) ^ set(header))[:10])
            raise DataError(f"the table and the earlier model differ in {differing}; use its columns")
        header = earlier.header
        first = await _scores(context, f"{prefix}begin", table, earlier)
        second = None if held_out is None else await _scores(context, f"{prefix}begin-held", held_out, earlier)
        begun = first, second
    shape = Model(header, {})
    x, held_x = shape.columns(table), None if held_out is None else shape.columns(held_out)
    if context.party.me.role != GUEST:
        rows = HostRows(x, held_x, 0 if earlier is None else len(earlier.records))
        host = await context.driver.run(f"{prefix}train", training, params, rows, HostState)
        return Model(header, {}, records=_all_records(earlier, host.records)), None, None
    spool = Spool(context.outputs / SPOOL)
    guest_rows = GuestRows(
        x,
        held_x,
        y=np.asarray(table.require_label()),
        weight=None if table.weight is None else np.asarray(table.weight),
        held_y=None if held_out is None or held_out.label is None else np.asarray(held_out.label),
        scores=begun[0],
        held_scores=begun[1],
        spool=spool,
    )
    with metrics_named(context.party, prefix.replace("-", "_")):
        state = await context.driver.run(f"{prefix}train", training, params, guest_rows, GuestState)
    spool.clear()
    return _grown(header, earlier, state), state.scores, state.held_scores


def _all_records(earlier: Model | None, new: list[HostRecord]) -> tuple[HostRecord, ...]:
    return (*(() if earlier is None else earlier.records), *new)


def _grown(header: tuple[str, ...], earlier: Model | None, state: GuestState) -> Model:
    """Return the guest's half: an earlier model's trees, if any, and the new ones."""
    trees = tuple(Tree.from_bytes(data) for data in state.trees)
    losses, judged = tuple(state.losses), tuple(state.judged)
    if earlier is None:
        return Model(header, {}, tuple(state.begin.tolist()), trees, losses=losses, judged=judged)
    return Model(header, {}, earlier.begin, (*earlier.trees, *trees), losses=losses, judged=judged)


async def _predict(context: TaskContext) -> None:
    model = Model.read(context.read_model("input_model"))
    table = context.read_table("test_data")
    context.limits.insist_on_rows(len(table))
    scores = await _scores(context, "predict", table, model)
    if scores is not None:
        assert isinstance(context.params, SecureBoostParams)
        params = model.with_hyper(context.params)
        scored = _table(params, table, scores, TEST)
        context.write_table("test_output_data", scored)
        context.write_document("metric", _judged(context, "test", scored, params))


async def _scores(context: TaskContext, stage: str, table: Table, model: Model) -> Matrix | None:
    """Return every row's scores at the guest, None at a host."""
    x, zeros = model.columns(table), bool(model.hyper["zero_as_missing"])
    if context.party.me.role != GUEST:
        await context.driver.run(stage, secureboost_score, ScoreParams(), Kept(x, model.records, zeros), HostPlan)
        return None
    rate = float(str(model.hyper["learning_rate"]))
    forest = Forest(x, model.trees, rate, np.array(model.begin), zeros)
    state = await context.driver.run(stage, secureboost_score, ScoreParams(), forest, GuestScores)
    return state.scores


def _table(params: SecureBoostParams, rows: Table, scores: Matrix, kind: str) -> Table:
    """Return the result table of scored rows."""
    predicted = params.aim.predict(scores)
    if params.aim.task == "binary":
        return result_table(rows, predicted[:, 0], params.threshold, kind)
    if params.aim.task == "multi":
        return class_table(rows, predicted, [float(c) for c in range(params.num_class)], kind)
    return number_table(rows, predicted[:, 0], kind)


def _judged(context: TaskContext, name: str, scored: Table, params: SecureBoostParams) -> JsonObject:
    """Return and report the metrics of scored rows, when their labels are known."""
    if scored.label is None or not bool(np.all(np.isfinite(scored.label))):
        return {}
    label, score, result = np.asarray(scored.label), scored.features[:, 0], scored.features[:, 1]
    report, document = partial(context.party.report.metric, step=0), JsonObject()
    told: tuple[str, ...] = ("rmse",)
    if params.aim.task == "binary":
        if not np.array_equal(np.unique(label), (0, 1)):
            return {}
        document, told = binary_metrics(label, np.asarray(score), params.threshold), ("auc", "ks")
    elif params.aim.task == "multi":
        document, told = dict(multiclass(label, np.asarray(result))), ("accuracy",)
    else:
        document = dict(regression(label, np.asarray(result)))
    for metric in told:
        report(f"{name}_{metric}", value=float(document[metric]))
    return document


TRAINS: tuple[Stage, ...] = ("train", "default")
hetero_secureboost = Component(
    "hetero_secureboost",
    BOTH,
    SecureBoostParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=TRAINS, stages=TRAINS),
        Port("validate_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",), stages=("predict",)),
        Port("cv_data", Kind.DATA, BOTH, optional=True, needed=("cross_validation",), stages=("cross_validation",)),
        Port("warm_start_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",), stages=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
        Port("validate_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
        Port("test_output_data", Kind.DATA, GUEST, optional=True, stages=("predict",)),
        Port("cv_output_datas", Kind.DATA, GUEST, optional=True, stages=("cross_validation",), several=True),
        Port("output_model", Kind.MODEL, BOTH, optional=True, stages=TRAINS),
    ),
    algorithms=(training, secureboost_score),
    agreed=(
        "num_trees",
        "max_depth",
        "complete_secure",
        "objective",
        "num_class",
        "boosting_strategy",
        "tree_num_per_party",
        "guest_depth",
        "host_depth",
        "early_stopping_rounds",
        "hide_rows",
        "gradient_levels",
        "gradient_bits",
        "he_param",
        "cv_param",
    ),
)
