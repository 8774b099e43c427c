"""Scale features, each party its own: FATE 2.2's feature_scale. Nothing is exchanged.

``standard`` subtracts the mean and divides by the standard deviation (over rows, as numpy's ``std``); ``min_max`` maps
the range of the training rows onto ``feature_range``, and with ``strict_range`` clips what lies outside. A constant
column becomes zero, or the lower end of its range. Missing values stay missing and count for nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.federation.algorithm import Params
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
Range = tuple[float, float]


class FeatureScaleParams(Params):
    """FATE 2.2's parameters; ``scale_col`` None scales every column, ``feature_range`` may name columns."""

    method: Literal["standard", "min_max"] = "standard"
    feature_range: Range | dict[str, Range] | None = (0.0, 1.0)
    scale_col: tuple[str, ...] | None = None
    scale_idx: tuple[int, ...] | None = Field(default=None)
    strict_range: bool = True


async def run(context: TaskContext) -> None:
    """Fit and transform the training table, or transform another with the fitted model."""
    assert isinstance(context.params, FeatureScaleParams)
    if context.stage == "predict" or not context.has_input("train_data"):
        model = context.read_model("input_model")
        context.write_table("test_output_data", transform(context.read_table("test_data"), model))
        return
    table = context.read_table("train_data")
    model = fit(table, context.params)
    context.write_model("output_model", model)
    context.write_table("train_output_data", transform(table, model))
    if context.has_input("test_data"):
        context.write_table("test_output_data", transform(context.read_table("test_data"), model))


def fit(table: Table, params: FeatureScaleParams) -> JsonObject:
    """Return the model: for each scaled column the number taken off, the divisor, and the range to keep within."""
    columns: JsonObject = {}
    for name in _chosen(table, params):
        values = np.asarray(table.features[:, table.schema.features.index(name)])
        known = values[~np.isnan(values)]
        if len(known) == 0 or not bool(np.all(np.isfinite(known))):
            raise DataError(f"the column {name!r} has no finite values to scale by; drop it or fill it")
        columns[name] = _standard(known) if params.method == "standard" else _min_max(known, params, name)
    return {"kind": "feature_scale", "method": params.method, "columns": columns}


def transform(table: Table, model: JsonObject) -> Table:
    """Return ``table`` scaled; raises DataError when it lacks a column of the model."""
    if model.get("kind") != "feature_scale":
        raise TaskFailed("the input model is not one of feature_scale; connect its output_model")
    features = np.array(table.features, dtype=np.float64)
    for name, column in model["columns"].items():
        if name not in table.schema.features:
            raise DataError(f"the table lacks the scaled feature {name!r}; use the columns of the training")
        j = table.schema.features.index(name)
        scaled = (features[:, j] - column["shift"]) / column["divisor"] + column["offset"]
        features[:, j] = np.clip(scaled, *column["keep"]) if column["keep"] else scaled
    return table.with_features(table.schema.features, features)


def _standard(known: NDArray[np.float64]) -> JsonObject:
    spread = float(known.std())
    return {"shift": float(known.mean()), "divisor": spread if spread > 0 else 1.0, "offset": 0.0, "keep": None}


def _min_max(known: NDArray[np.float64], params: FeatureScaleParams, name: str) -> JsonObject:
    ranges = params.feature_range
    low, high = (ranges.get(name, (0.0, 1.0)) if isinstance(ranges, dict) else ranges) or (0.0, 1.0)
    if high <= low:
        raise DataError(f"the range of {name!r} is empty: [{low}, {high}]; give the lower end first")
    width = float(known.max() - known.min())
    divisor = width / (high - low) if width > 0 else 1.0
    keep = [low, high] if params.strict_range else None
    return {"shift": float(known.min()), "divisor": divisor, "offset": low, "keep": keep}


def _chosen(table: Table, params: FeatureScaleParams) -> tuple[str, ...]:
    names = table.schema.features
    if params.scale_col is not None and params.scale_idx is not None:
        raise DataError("give scale_col or scale_idx, not both")
    if params.scale_idx is not None:
        if any(not 0 <= i < len(names) for i in params.scale_idx):
            raise DataError(f"scale_idx names a column beyond the table's {len(names)}")
        return tuple(names[i] for i in params.scale_idx)
    chosen = names if params.scale_col is None else params.scale_col
    missing = [name for name in chosen if name not in names]
    if missing:
        raise DataError(f"scale_col names {missing[0]!r}, which this party's table lacks; it has {', '.join(names)}")
    return chosen


feature_scale = Component(
    "feature_scale",
    BOTH,
    FeatureScaleParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True),
        Port("test_data", Kind.DATA, BOTH, optional=True),
        Port("input_model", Kind.MODEL, BOTH, optional=True),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, BOTH, optional=True),
        Port("test_output_data", Kind.DATA, BOTH, optional=True),
        Port("output_model", Kind.MODEL, BOTH, optional=True),
    ),
)
