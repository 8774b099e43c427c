"""Give every row a weight: FATE 1.x's SampleWeight. Nothing is exchanged.

The weight comes from the label: ``class_weight`` is a weight for each class (1 for those not named), or ``balanced``,
which is rows / (classes * rows of the class), as scikit-learn's. Or it comes from the column ``sample_weight_name``,
which is then no feature any more; ``normalize`` divides it by its mean. Where both are given the column counts.

Classes, balance and mean are those of the training, also for tables that are transformed later. A host without labels
has nothing to weigh by class and gives its table out as it came.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, FiniteFloat

from partyd.algorithms.parameters import lower
from partyd.components.base import Component, JsonObject, TaskContext
from partyd.components.columns import column, named
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.components.labels import classes, replaced
from partyd.data.render import number
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Weight = Annotated[FiniteFloat, Field(ge=0)]
Mode = Literal["class weight", "sample weight name"]


class SampleWeightParams(LocalParams):
    """FATE 1.x's parameters; without ``class_weight`` and ``sample_weight_name`` the table stays as it is."""

    class_weight: Annotated[Literal["balanced"] | dict[float, Weight], BeforeValidator(lower)] | None = None
    sample_weight_name: str | None = None
    normalize: bool = False


class Weighing(Learned):
    """Where weights come from; ``class_weight`` is by the class in words."""

    weight_mode: Mode | None = None
    class_weight: dict[str, Weight] = Field(default_factory=dict)
    sample_weight_name: str | None = None
    weight_base: FiniteFloat = 1.0


async def run(context: TaskContext) -> None:
    """Weigh the rows of the training table, or those of another by the model."""
    params, me = context.params, context.party.me
    assert isinstance(params, SampleWeightParams)
    weighing = carry_out(context, "sample_weight", Weighing, lambda table: fit(table, params, me), transform)
    if weighing is None:
        return
    summary: JsonObject = {
        "weight_mode": weighing.weight_mode,
        "class_weight": weighing.class_weight or None,
        "classes": list(weighing.class_weight) or None,
        "sample_weight_name": weighing.sample_weight_name,
    }
    context.write_document("metric", summary)
    if params.class_weight is not None and weighing.weight_mode == "sample weight name":
        context.party.report.info("class_weight and sample_weight_name are both given; the column's weights are used")


def fit(table: Table, params: SampleWeightParams, me: Address) -> Weighing:
    """Return where weights come from; raises DataError for a column that is not there or holds no weights."""
    if params.sample_weight_name is not None:
        (name,) = named(table, [params.sample_weight_name], me, "sample_weight_name", anonymous=False)
        weights = _weights(table, name)
        base = float(weights.mean()) if params.normalize and len(weights) else 1.0
        return Weighing(weight_mode="sample weight name", sample_weight_name=name, weight_base=base or 1.0)
    if params.class_weight is None or (table.label is None and me.role == HOST):
        return Weighing()
    found = classes(np.asarray(table.require_label()))
    if isinstance(params.class_weight, dict):
        by_class = {number(value): params.class_weight.get(value, 1.0) for value in found}
        return Weighing(weight_mode="class weight", class_weight=by_class)
    rows = sum(found.values())
    balanced = {number(value): rows / (len(found) * count) for value, count in found.items()}
    return Weighing(weight_mode="class weight", class_weight=balanced)


def transform(table: Table, weighing: Weighing) -> Table:
    """Return the table with weights; a table without what they come from has none."""
    name = weighing.sample_weight_name
    if name is not None:
        if name not in table.schema.features:
            return table
        weights = _weights(table, name) / weighing.weight_base
        names = tuple(other for other in table.schema.features if other != name)
        kept = [table.schema.features.index(other) for other in names]
        return _weighted(table.with_features(names, np.asarray(table.features)[:, kept]), weights)
    if weighing.weight_mode is None or table.label is None:
        return table
    label = np.asarray(table.label)
    by_class = {value: weighing.class_weight.get(number(value), 1.0) for value in classes(label)}
    return _weighted(table, np.nan_to_num(replaced(label, by_class), nan=1.0))


def _weights(table: Table, name: str) -> Vector:
    weights = column(table, name)
    if not bool(np.all(np.isfinite(weights) & (weights >= 0))):
        raise DataError(f"the weights in {name!r} are not all numbers from 0; mend the column before the upload")
    return weights


def _weighted(table: Table, weights: Vector) -> Table:
    schema = table.schema.model_copy(update={"weight": table.schema.weight or "weight", "weight_type": "float64"})
    return replace(table, schema=schema, weight=weights)


sample_weight = Component("sample_weight", BOTH, SampleWeightParams, run, inputs(BOTH), outputs(BOTH))
