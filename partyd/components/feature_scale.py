"""Scale features, each party its own: FATE 2.2's feature_scale. Nothing is exchanged.

``standard`` subtracts the mean and divides by the standard deviation (over rows, as numpy's ``std``); ``min_max`` maps
the range of the training rows onto ``feature_range``, and with ``strict_range`` clips what lies outside. A constant
column becomes zero, or the lower end of its range. Missing values stay missing and count for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from partyd.algorithms.parameters import FateParams, lower
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import column, named
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Range = tuple[float, float]


class FeatureScaleParams(FateParams):
    """FATE 2.2's parameters; without ``scale_col`` every column is scaled, and ``feature_range`` may name columns."""

    method: Annotated[Literal["standard", "min_max"], BeforeValidator(lower)] = "standard"
    feature_range: Range | dict[str, Range] = (0.0, 1.0)
    scale_col: tuple[str, ...] | None = None
    scale_idx: tuple[int, ...] | None = Field(default=None)
    strict_range: bool = True
    use_anonymous: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> FeatureScaleParams:
        if self.scale_col is not None and self.scale_idx is not None:
            raise ValueError("give scale_col or scale_idx, not both")
        ranges = self.feature_range.values() if isinstance(self.feature_range, dict) else (self.feature_range,)
        if any(not low < high for low, high in ranges):
            raise ValueError("a feature_range is empty: give the lower end first, then the upper one")
        return self


async def run(context: TaskContext) -> None:
    """Fit and transform the training table, or transform another with the fitted model."""
    assert isinstance(context.params, FeatureScaleParams)
    if context.stage == "predict" or not context.has_input("train_data"):
        scaled = transform(context.read_table("test_data"), context.read_model("input_model"))
        context.write_table("test_output_data", scaled)
        context.party.report.info(f"scaled {len(scaled)} rows with the fitted model")
        return
    table = context.read_table("train_data")
    model = fit(table, context.params, context.party.me)
    context.write_model("output_model", model)
    context.write_table("train_output_data", transform(table, model))
    if context.has_input("test_data"):
        context.write_table("test_output_data", transform(context.read_table("test_data"), model))
    info = model["data"]["scaler_info"]
    context.party.report.info(f"scaled {len(info['select_col'])} columns of {len(table)} rows")


def fit(table: Table, params: FeatureScaleParams, me: Address) -> JsonObject:
    """Return the model, in FATE's shape: numbers by column, and the names of the scaled columns."""
    names = _chosen(table, params, me)
    columns = {name: _known(column(table, name), name) for name in names}
    ranges = _ranges(table, params, me, names)
    info: JsonObject = _standard(columns) if params.method == "standard" else _min_max(columns, ranges)
    numbers = {f"{name}_dtype": "float64" for name in info}
    if params.method == "min_max":
        info["strict_range"] = params.strict_range
    return {
        "data": {"scaler_info": info | numbers | {"select_col": list(names)}},
        "meta": {"method": params.method, "model_type": "feature_scale"},
    }


def transform(table: Table, model: JsonObject) -> Table:
    """Return ``table`` scaled; raises DataError when it lacks a column of the model."""
    method = model.get("meta", {}).get("method")
    if model.get("meta", {}).get("model_type") != "feature_scale":
        raise TaskFailed("the input model is not one of feature_scale; connect its output_model")
    info = model["data"]["scaler_info"]
    features = np.array(table.features, dtype=np.float64)
    for name in info["select_col"]:
        if name not in table.schema.features:
            raise DataError(f"the table lacks the scaled feature {name!r}; use the columns of the training")
        j = table.schema.features.index(name)
        if method == "standard":
            features[:, j] = (features[:, j] - info["mean"][name]) / info["std"][name]
        else:
            low, high = info["range_min"][name], info["range_max"][name]
            scaled = features[:, j] * info["scale"][name] - info["scale_min"][name] + low
            features[:, j] = np.clip(scaled, low, high) if info["strict_range"] else scaled
    return table.with_features(table.schema.features, features)


def _known(values: Vector, name: str) -> Vector:
    known = values[~np.isnan(values)]
    if not len(known) or not bool(np.all(np.isfinite(known))):
        raise DataError(f"the column {name!r} has no finite values to scale by; drop it or fill it")
    return known


def _standard(columns: Mapping[str, Vector]) -> JsonObject:
    spreads = {name: float(known.std()) for name, known in columns.items()}
    means = {name: float(known.mean()) for name, known in columns.items()}
    return {"mean": means, "std": {name: spread if spread > 0 else 1.0 for name, spread in spreads.items()}}


def _min_max(columns: Mapping[str, Vector], ranges: Mapping[str, Range]) -> JsonObject:
    scale, scale_min = {}, {}
    for name, known in columns.items():
        width, (low, high) = float(known.max() - known.min()), ranges[name]
        scale[name] = (high - low) / (width if width > 0 else 1.0)
        scale_min[name] = float(known.min()) * scale[name]
    ends = {f"range_{end}": {name: ranges[name][i] for name in columns} for i, end in enumerate(("min", "max"))}
    return {"scale": scale, "scale_min": scale_min} | ends


def _ranges(table: Table, params: FeatureScaleParams, me: Address, names: Sequence[str]) -> dict[str, Range]:
    given = params.feature_range
    if not isinstance(given, dict):
        return dict.fromkeys(names, given)
    of = named(table, list(given), me, "feature_range", anonymous=params.use_anonymous)
    return dict.fromkeys(names, (0.0, 1.0)) | dict(zip(of, given.values(), strict=True))


def _chosen(table: Table, params: FeatureScaleParams, me: Address) -> tuple[str, ...]:
    names = table.schema.features
    if params.scale_idx is not None:
        if any(not 0 <= i < len(names) for i in params.scale_idx):
            raise DataError(f"scale_idx names a column beyond the table's {len(names)}; count from 0")
        return tuple(dict.fromkeys(names[i] for i in params.scale_idx))
    if params.scale_col is None:
        return names
    return tuple(dict.fromkeys(named(table, params.scale_col, me, "scale_col", anonymous=params.use_anonymous)))


feature_scale = Component(
    "feature_scale",
    BOTH,
    FeatureScaleParams,
    run,
    inputs=(
        Port("train_data", Kind.DATA, BOTH, optional=True, needed=("train",), stages=("train", "default")),
        Port("test_data", Kind.DATA, BOTH, optional=True, needed=("predict",)),
        Port("input_model", Kind.MODEL, BOTH, optional=True, needed=("predict",)),
    ),
    outputs=(
        Port("train_output_data", Kind.DATA, BOTH, optional=True, stages=("train", "default")),
        Port("test_output_data", Kind.DATA, BOTH, optional=True),
        Port("output_model", Kind.MODEL, BOTH, optional=True, stages=("train", "default")),
    ),
)
