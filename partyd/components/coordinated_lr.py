"""Train and apply vertical logistic regression: FATE 2.2's component of this name, on two algorithms.

``train`` reads ``train_data``, writes each party's share of the model and, at the guest, the scored training rows;
``validate_data``, where connected, is scored with the final model. ``predict`` reads ``test_data`` and ``input_model``.
Hosts and arbiter have no result tables. A share of the model names its features, so that columns may come in any order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.coordinated_lr import ArbiterState, CoordinatedLrParams, Labelled, Weights
from partyd.algorithms.coordinated_lr import coordinated_lr as training
from partyd.algorithms.linear_model import probability, with_ones
from partyd.algorithms.linear_score import LinearScoreParams, Scored, Scores, linear_score
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.scores import binary_metrics, result_table
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import ARBITER, GUEST, HOST

Vector = NDArray[np.float64]
BOTH = GUEST | HOST


async def run(context: TaskContext) -> None:
    """Train, or predict when the job's stage says so."""
    assert isinstance(context.params, CoordinatedLrParams)
    role = context.party.me.role
    asked, used = context.params.he_param.key_length, context.params.key_bits
    if asked < used:
        context.party.report.info(f"key_length {asked} is below the floor; a key of {used} bits is used")
    if context.stage == "predict":
        if role != ARBITER:
            await _predict(context)
    elif role == ARBITER:
        await context.driver.run("train", training, context.params, None, ArbiterState)
        context.write_model("output_model", {"kind": "coordinated_lr", "role": "arbiter"})
    else:
        await _train(context, context.params)


async def _train(context: TaskContext, params: CoordinatedLrParams) -> None:
    table, is_guest = context.read_table("train_data"), context.party.me.role == GUEST
    x = np.asarray(table.features)
    data = Labelled(x, np.asarray(table.require_label())) if is_guest else x
    state = await context.driver.run("train", training, params, data, Weights)
    model = model_document(table, state, params, is_guest=is_guest)
    context.write_model("output_model", model)
    scored = await _scored(context, "score", table, model)
    document: JsonObject = {"loss": list(state.losses)}
    if scored is not None:
        document |= _judged(context, "train", scored, params.threshold)
        context.write_table("train_output_data", scored)
    if context.has_input("validate_data"):
        validated = await _scored(context, "validate", context.read_table("validate_data"), model)
        if validated is not None:
            document["validate"] = _judged(context, "validate", validated, params.threshold)
            context.write_table("validate_output_data", validated)
    if is_guest:
        context.write_document("metric", document)


async def _predict(context: TaskContext) -> None:
    model = context.read_model("input_model")
    scored = await _scored(context, "predict", context.read_table("test_data"), model)
    if scored is not None:
        context.write_table("test_output_data", scored)
        if scored.label is not None:
            context.write_document("metric", _judged(context, "test", scored, float(model["threshold"])))


async def _scored(context: TaskContext, stage: str, table: Table, model: JsonObject) -> Table | None:
    """Return the scored rows at the guest, None at a host."""
    x, w = aligned(table, model)
    state = await context.driver.run(stage, linear_score, LinearScoreParams(), Scored(x, w), Scores)
    return None if state.z is None else result_table(table, probability(state.z), float(model["threshold"]))


def _judged(context: TaskContext, name: str, scored: Table, threshold: float) -> JsonObject:
    """Return and report the metrics of scored rows, when their labels are known and of both classes."""
    label = scored.require_label()
    if len(np.unique(label)) < 2:
        return {}
    document = binary_metrics(np.asarray(label), np.asarray(scored.features[:, 0]), threshold)
    for metric in ("auc", "ks"):
        context.party.report.metric(f"{name}_{metric}", 0, float(document[metric]))
    return document


def model_document(table: Table, state: Weights, params: CoordinatedLrParams, *, is_guest: bool) -> JsonObject:
    """Return this party's share of the model: weights by feature name, and at the guest the intercept."""
    names, w = table.schema.features, state.w.tolist()
    document: JsonObject = {
        "kind": "coordinated_lr",
        "role": "guest" if is_guest else "host",
        "weights": dict(zip(names, w, strict=False)),
        "threshold": params.threshold,
        "epochs": state.taken // state.batches,
    }
    if is_guest:
        document |= {"intercept": w[-1] if params.init_param.fit_intercept else 0.0, "losses": list(state.losses)}
    return document


def aligned(table: Table, model: JsonObject) -> tuple[Vector, Vector]:
    """Return the columns and weights that ``model`` names; raises DataError for a column that the table lacks."""
    if model.get("kind") != "coordinated_lr" or not isinstance(model.get("weights"), dict):
        raise TaskFailed("the input model is not one of coordinated_lr; connect a training's output_model")
    weights: dict[str, float] = model["weights"]
    missing = [name for name in weights if name not in table.schema.features]
    if missing:
        raise DataError(f"the table lacks the model's feature {missing[0]!r}; use the columns of the training")
    names = sorted(weights)
    columns = [table.schema.features.index(name) for name in names]
    x, w = np.asarray(table.features[:, columns]), np.array([weights[name] for name in names], dtype=np.float64)
    return (with_ones(x), np.append(w, model["intercept"])) if "intercept" in model else (x, w)


coordinated_lr = Component(
    "coordinated_lr",
    GUEST | HOST | ARBITER,
    CoordinatedLrParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True),
        Port("validate_data", Kind.DATA, BOTH, optional=True),
        Port("test_data", Kind.DATA, BOTH, optional=True),
        Port("input_model", Kind.MODEL, BOTH, optional=True),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, GUEST, optional=True),
        Port("validate_output_data", Kind.DATA, GUEST, optional=True),
        Port("test_output_data", Kind.DATA, GUEST, optional=True),
        Port("output_model", Kind.MODEL, GUEST | HOST | ARBITER, optional=True),
    ),
    algorithms=(training, linear_score),
)
