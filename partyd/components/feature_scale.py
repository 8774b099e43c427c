"""Scale features, each party its own: FATE 2.2's feature_scale. Nothing is exchanged.

``standard`` subtracts the mean and divides by the standard deviation (over rows, as numpy's ``std``); ``min_max`` maps
the range of the training rows onto ``feature_range``, and with ``strict_range`` clips what lies outside. A constant
column becomes zero, or the lower end of its range. Missing values stay missing and count for nothing.

Of FATE 1.x are ``with_mean`` and ``with_std``, each a half of ``standard``, and the bounds at which values are cut off
before anything is computed: ``feat_lower`` and ``feat_upper``, for all columns or a list with one for each of the
table's. In the ``mode`` cap they are shares of the rows (0.05 and 0.95 cut a twentieth off on either side).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from partyd.algorithms.parameters import FateParams, lower
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import column, insist_on_columns, named, positioned
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
MOST = float(np.finfo(np.float64).max)
Vector = NDArray[np.float64]
Range = tuple[float, float]
Bound = FiniteFloat | tuple[FiniteFloat, ...] | None


class FeatureScaleParams(FateParams):
    """FATE 2.2's parameters; without ``scale_col`` every column is scaled, and ``feature_range`` may name columns.

    From ``mode`` on they are FATE 1.x's.
    """

    method: Annotated[Literal["standard", "min_max"], BeforeValidator(lower)] = "standard"
    feature_range: Range | dict[str, Range] = (0.0, 1.0)
    scale_col: tuple[str, ...] | None = None
    scale_idx: tuple[int, ...] | None = Field(default=None)
    strict_range: bool = True
    use_anonymous: bool = False
    mode: Annotated[Literal["normal", "cap"], BeforeValidator(lower)] = "normal"
    feat_lower: Bound = None
    feat_upper: Bound = None
    with_mean: bool = True
    with_std: bool = True

    @model_validator(mode="after")
    def _makes_sense(self) -> FeatureScaleParams:
        if self.scale_col is not None and self.scale_idx is not None:
            raise ValueError("give scale_col or scale_idx, not both")
        ranges = self.feature_range.values() if isinstance(self.feature_range, dict) else (self.feature_range,)
        if any(not low < high for low, high in ranges):
            raise ValueError("a feature_range is empty: give the lower end first, then the upper one")
        low, high = self.shares
        if self.mode == "cap" and not (isinstance(low, float) and isinstance(high, float) and 0 <= low < high <= 1):
            raise ValueError("in the mode cap feat_lower and feat_upper are shares of the rows, such as 0.05 and 0.95")
        return self

    @property
    def shares(self) -> tuple[Bound, Bound]:
        """The bounds as the mode cap reads them: where nothing is said, all rows."""
        return self.feat_lower or 0.0, 1.0 if self.feat_upper is None else self.feat_upper


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
    bounds = _bounds(table, params, columns)
    columns = {name: np.clip(known, *bounds[name]) for name, known in columns.items()} if bounds else columns
    ranges = _ranges(table, params, me, names)
    info: JsonObject = _standard(columns, params) if params.method == "standard" else _min_max(columns, ranges)
    numbers = {f"{name}_dtype": "float64" for name in info}
    if params.method == "min_max":
        info["strict_range"] = params.strict_range
    for i, end in enumerate(("lower", "upper")):
        info |= {f"column_{end}": {name: both[i] for name, both in bounds.items()}} if bounds else {}
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
    insist_on_columns(table, info["select_col"])
    features = np.array(table.features, dtype=np.float64)
    for name in info["select_col"]:
        j = table.schema.features.index(name)
        if "column_lower" in info:
            features[:, j] = np.clip(features[:, j], info["column_lower"][name], info["column_upper"][name])
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


def _standard(columns: Mapping[str, Vector], params: FeatureScaleParams) -> JsonObject:
    spreads = {name: _spread(known) if params.with_std else 1.0 for name, known in columns.items()}
    means = {name: float(known.mean()) if params.with_mean else 0.0 for name, known in columns.items()}
    return {"mean": means, "std": spreads}


def _spread(known: Vector) -> float:
    """Return the standard deviation, 1 where it is nothing but rounding; scikit-learn's bound."""
    variance, n, step = float(known.var()), len(known), float(np.finfo(np.float64).eps)
    constant = variance <= n * step * variance + (n * step * float(known.mean())) ** 2
    return 1.0 if constant else float(known.std())


def _bounds(table: Table, params: FeatureScaleParams, columns: Mapping[str, Vector]) -> dict[str, Range]:
    """Return where each column is cut off; empty when none is."""
    if params.mode == "cap":
        shares = np.array(params.shares, dtype=np.float64)
        cuts = {name: np.quantile(known, shares).tolist() for name, known in columns.items()}
        return {name: (low, high) for name, (low, high) in cuts.items()}
    if params.feat_lower is None and params.feat_upper is None:
        return {}
    low = _for_each(table, params.feat_lower, -MOST, "feat_lower")
    high = _for_each(table, params.feat_upper, MOST, "feat_upper")
    if any(low[name] > high[name] for name in columns):
        raise DataError("feat_lower is above feat_upper for a column; give the lower bound first")
    return {name: (low[name], high[name]) for name in columns}


def _for_each(table: Table, bound: Bound, otherwise: float, parameter: str) -> dict[str, float]:
    names = table.schema.features
    if not isinstance(bound, tuple):
        return dict.fromkeys(names, otherwise if bound is None else bound)
    if len(bound) != len(names):
        raise DataError(f"{parameter} has {len(bound)} values for {len(names)} columns; give one for each, or one")
    return dict(zip(names, bound, strict=True))


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
        return tuple(dict.fromkeys(positioned(table, params.scale_idx, "scale_idx")))
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
