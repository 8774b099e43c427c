"""What the components of vertical linear models with an arbiter share: train, cross-validate, predict.

``train`` reads ``train_data`` and writes each party's share of the model (`partyd.components.coordinated_model`); the
guest gets the scored rows, those of ``validate_data`` among them, told apart by ``type``. ``warm_start_model`` goes on
where that model's training ended, with its optimizer, schedule, threshold and exposure. ``predict`` reads ``test_data``
and ``input_model``. ``cross_validation`` trains on all folds of ``cv_data`` but one and judges that one, in turn; it
leaves no model. An `Outcome` says what a score means. Hosts and arbiter have no result tables.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.class_count import ClassCountParams, Classes, class_count
from partyd.algorithms.coordinated_messages import ArbiterState, Weights
from partyd.algorithms.linear_model import batch_count
from partyd.algorithms.linear_score import LinearScoreParams, Scored, Scores, linear_score
from partyd.algorithms.lr_parameters import CoordinatedLrParams, CoordinatedParams
from partyd.algorithms.lr_rows import Features, Labelled
from partyd.components.base import Component, JsonObject, Kind, Port, Stage, TaskContext
from partyd.components.columns import column
from partyd.components.coordinated_model import Estimator, Model, warm
from partyd.components.folds import folds
from partyd.components.prefixed import metrics_named
from partyd.components.scores import TEST, TRAIN, VALIDATE
from partyd.components.union import stacked
from partyd.data.render import number
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.federation.algorithm import Algorithm
from partyd.types import ARBITER, GUEST, HOST

Vector = NDArray[np.float64]
BOTH = GUEST | HOST
ALL = GUEST | HOST | ARBITER


class Outcome(Protocol):
    """What tells one of these components from another: what is predicted, and how it is judged."""

    @property
    def training(self) -> Algorithm[Any]:
        """The algorithm that trains; the component and its models have its name."""

    @property
    def classified(self) -> bool:
        """Whether the label is a class: more than two are trained one against the rest."""

    def labels(self, label: Vector) -> tuple[float, ...]:
        """Return the classes of a label; raises DataError for one that has none."""

    def table(self, rows: Table, scores: list[Vector], exposure: Vector | None, model: Model, kind: str) -> Table:
        """Return the result table of rows with the scores of each estimator."""

    def judged(self, context: TaskContext, name: str, scored: Table, model: Model) -> JsonObject:
        """Return and report the metrics of scored rows, nothing when their labels do not allow it."""


async def carry_out(context: TaskContext, outcome: Outcome) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    assert isinstance(context.params, CoordinatedParams)
    params, is_arbiter = context.params, context.party.me.role == ARBITER
    if context.stage == "predict":
        if not is_arbiter:
            await _predict(context, outcome)
        return
    asked, used = params.he_param.key_length, params.key_bits
    if asked < used and "he_param" in params.model_fields_set:
        context.party.report.info(f"key_length {asked} is below the floor; a key of {used} bits is used")
    context.limits.insist_on_key(used)
    if context.stage == "cross_validation":
        await _cross_validate(context, outcome, params)
    elif is_arbiter:
        await _serve(context, outcome, params, "")
        context.write_model("output_model", Model(outcome.training.name, ()).document("arbiter", params))
    else:
        await _train(context, outcome, params)


async def _train(context: TaskContext, outcome: Outcome, params: CoordinatedParams) -> None:
    table, role, begin = context.read_table("train_data"), context.party.me.role, None
    if context.has_input("warm_start_model"):
        document = context.read_model("warm_start_model")
        params, begin = warm(params, document), Model.read(document, outcome.training.name)
        context.party.report.info("goes on with the earlier model's weights, optimizer, schedule and threshold")
    model = await _fitted(context, outcome, params, table, "", begin)
    context.write_model("output_model", model.document(role.label, params))
    scored = await _scored(context, outcome, "score", table, model, TRAIN)
    validated = None
    if context.has_input("validate_data"):
        validated = await _scored(context, outcome, "validate", context.read_table("validate_data"), model, VALIDATE)
    if scored is None:
        return
    metric: JsonObject = {"loss": list(model.estimators[0].losses)}
    metric |= outcome.judged(context, "train", scored, model)
    if validated is not None:
        metric["validate"] = outcome.judged(context, "validate", validated, model)
        context.write_table("validate_output_data", validated)
    context.write_table("train_output_data", scored if validated is None else stacked([scored, validated]))
    context.write_document("metric", metric)


async def _cross_validate(context: TaskContext, outcome: Outcome, params: CoordinatedParams) -> None:
    """Train on all folds but one and score both, in turn."""
    role, outputs, metric = context.party.me.role, list[Table](), JsonObject()
    if role == ARBITER:
        for i in range(params.cv_param.n_splits):
            await _serve(context, outcome, params, f"fold_{i}-")
        return
    table = context.read_table("cv_data")
    for i, parts in enumerate(folds(len(table), params.cv_param, context.party.context)):
        train, held_out = (table.take(rows) for rows in parts)
        model = await _fitted(context, outcome, params, train, f"fold_{i}-", None)
        scored = await _scored(context, outcome, f"fold_{i}-score", train, model, TRAIN)
        validated = await _scored(context, outcome, f"fold_{i}-validate", held_out, model, VALIDATE)
        if scored is not None and validated is not None:
            outputs.append(stacked([scored, validated]))
            metric[f"fold_{i}"] = {
                "train": outcome.judged(context, f"fold_{i}_train", scored, model),
                "validate": outcome.judged(context, f"fold_{i}_validate", validated, model),
            }
    if role == GUEST:
        if params.output_cv_data:
            context.write_tables("cv_output_datas", outputs)
        context.write_document("metric", metric)


async def _serve(context: TaskContext, outcome: Outcome, params: CoordinatedParams, prefix: str) -> None:
    """Be the arbiter of one training."""
    for i in range(await _models(context, outcome, prefix, None)):
        await context.driver.run(_stage(prefix, i), outcome.training, params, None, ArbiterState)


async def _models(context: TaskContext, outcome: Outcome, prefix: str, mine: int | None) -> int:
    """Return how many models there are to train: the guest has ``mine`` and says so."""
    if not outcome.classified:
        return 1
    return (await context.driver.run(f"{prefix}classes", class_count, ClassCountParams(), mine, Classes)).count


async def _fitted(
    context: TaskContext, outcome: Outcome, params: CoordinatedParams, table: Table, prefix: str, begin: Model | None
) -> Model:
    """Train one model, or one for each class against the rest."""
    context.limits.insist_on_rows(len(table))
    context.limits.insist_on_batch(len(table) // batch_count(len(table), params.batch_size))
    is_guest = context.party.me.role == GUEST
    column_name = params.exposure if is_guest else None
    table, exposure = without_exposure(table, column_name)
    label = np.asarray(table.require_label()) if is_guest else np.zeros(0)
    labels = outcome.labels(label) if is_guest else (0.0, 1.0)
    count = await _models(context, outcome, prefix, len(labels) if len(labels) > 2 else 1)
    if begin is not None and len(begin.estimators) != count:
        raise DataError(f"the earlier model has {len(begin.estimators)} classes and the table {count}")
    estimators, intercept = [], is_guest and params.init_param.fit_intercept
    weight = None if table.weight is None else np.asarray(table.weight)
    for i in range(count):
        start = None if begin is None else begin.estimators[i].start(table)
        x = np.asarray(table.features)
        y = label if count == 1 else (label == labels[i]).astype(np.float64) if is_guest else label
        data = Labelled(x, y, weight, start, exposure) if is_guest else Features(x, start)
        which = prefix.replace("-", "_") + (f"class_{number(labels[i])}_" if count > 1 and is_guest else "")
        with metrics_named(context.party, which):
            state = await context.driver.run(_stage(prefix, i), outcome.training, params, data, Weights)
        estimators.append(Estimator.trained(state, table.schema.features, params.epochs, intercept=intercept))
    threshold = params.threshold if isinstance(params, CoordinatedLrParams) else 0.5
    return Model(outcome.training.name, tuple(estimators), labels, threshold, column_name)


def _stage(prefix: str, position: int) -> str:
    return f"{prefix}train" if not position else f"{prefix}train-class{position}"


def without_exposure(table: Table, name: str | None) -> tuple[Table, Vector | None]:
    """Return the table without the column that is its rows' exposure, and that column; raises DataError without it."""
    if name is None:
        return table, None
    if name not in table.schema.features:
        raise DataError(f"exposure_colname names {name!r}, which the guest's table lacks; name a feature of the guest")
    rest = [i for i, feature in enumerate(table.schema.features) if feature != name]
    features = tuple(table.schema.features[i] for i in rest)
    return table.with_features(features, np.asarray(table.features[:, rest])), column(table, name)


async def _predict(context: TaskContext, outcome: Outcome) -> None:
    model = Model.read(context.read_model("input_model"), outcome.training.name)
    table = context.read_table("test_data")
    context.limits.insist_on_rows(len(table))
    scored = await _scored(context, outcome, "predict", table, model, TEST)
    if scored is not None:
        context.write_table("test_output_data", scored)
        context.write_document("metric", outcome.judged(context, "test", scored, model))


async def _scored(
    context: TaskContext, outcome: Outcome, stage: str, table: Table, model: Model, kind: str
) -> Table | None:
    """Return the scored rows at the guest, None at a host."""
    if not model.estimators:
        raise TaskFailed("the model has no weights; connect the output_model of a training at this party")
    bare, exposure = without_exposure(table, model.exposure)
    scores: list[Vector] = []
    for i, estimator in enumerate(model.estimators):
        x, w = estimator.aligned(bare)
        name = stage if not i else f"{stage}-class{i}"
        state = await context.driver.run(name, linear_score, LinearScoreParams(), Scored(x, w), Scores)
        if state.z is not None:
            scores.append(state.z)
    return outcome.table(table, scores, exposure, model, kind) if scores else None


TRAINS: tuple[Stage, ...] = ("train", "default")
INPUTS = (
    Port("train_data", Kind.DATA, BOTH, optional=True, needed=TRAINS, stages=TRAINS),
    Port("validate_data", Kind.DATA, BOTH, optional=True, stages=TRAINS),
    Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",), stages=("predict",)),
    Port("cv_data", Kind.DATA, BOTH, optional=True, needed=("cross_validation",), stages=("cross_validation",)),
    Port("warm_start_model", Kind.MODEL, ALL, optional=True, stages=TRAINS),
    Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",), stages=("predict",)),
)
OUTPUTS = (
    Port("train_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
    Port("validate_output_data", Kind.DATA, GUEST, optional=True, stages=TRAINS),
    Port("test_output_data", Kind.DATA, GUEST, optional=True, stages=("predict",)),
    Port("cv_output_datas", Kind.DATA, GUEST, optional=True, stages=("cross_validation",), several=True),
    Port("output_model", Kind.MODEL, ALL, optional=True, stages=TRAINS),
)


AGREED = ("epochs", "batch_size", "early_stop", "he_param", "floating_point_precision", "cv_param")


def component(outcome: Outcome, run: Callable[[TaskContext], Awaitable[None]]) -> Component:
    """Return the component that trains and applies ``outcome``; ``run`` stands in the module that describes it."""
    counted = (class_count,) if outcome.classified else ()
    algorithms = (*counted, outcome.training, linear_score)
    name, params = outcome.training.name, outcome.training.params
    return Component(name, ALL, params, run, inputs=INPUTS, outputs=OUTPUTS, algorithms=algorithms, agreed=AGREED)
