"""Fill missing values in: FATE 1.x's FeatureImputation. Nothing is exchanged.

``min``, ``max``, ``mean`` and ``median`` are those of the known values of the training; ``designated`` is
``default_value``, one for all columns or a list with one for each. A column takes its method from
``col_missing_fill_method``, else from ``missing_fill_method``; when only the former is given, the columns that it does
not name stay as they are, and when neither is, ``default_value`` is filled in everywhere. ``missing_impute`` names
numbers that stand for a missing value, besides the missing value itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, FiniteFloat

from partyd.algorithms.parameters import lower
from partyd.components.base import Component, TaskContext
from partyd.components.columns import column, insist_on_columns, named
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Method = Annotated[Literal["min", "max", "mean", "median", "designated"], BeforeValidator(lower)]
MISSING_WORDS = frozenset({"", "none", "null", "na", "nan"})
"""What FATE's users write for a missing value, which is missing here anyway."""
STATISTICS: Mapping[str, Callable[[Vector], float]] = {
    "min": lambda known: float(known.min()),
    "max": lambda known: float(known.max()),
    "mean": lambda known: float(known.mean()),
    "median": lambda known: float(np.median(known)),
}


def _numbers(given: Any) -> Any:
    """Return the values of a list that are not words (or a number) for a missing value."""
    if not isinstance(given, list | tuple):
        return given
    return [v for v in given if str(v).lower() not in MISSING_WORDS]


class FeatureImputationParams(LocalParams):
    """FATE 1.x's parameters."""

    default_value: FiniteFloat | tuple[FiniteFloat, ...] = 0.0
    missing_fill_method: Method | None = None
    col_missing_fill_method: dict[str, Method] | None = None
    missing_impute: Annotated[tuple[float, ...], BeforeValidator(_numbers), Field(max_length=1000)] = ()
    use_anonymous: bool = False

    def method_of(self, name: str, own: Mapping[str, str]) -> str | None:
        """Return how a column is filled, None when it stays as it is."""
        otherwise = self.missing_fill_method or (None if self.col_missing_fill_method else "designated")
        return own.get(name, otherwise)


class Imputation(Learned):
    """What each column is filled with, and how that was found."""

    missing_replace_value: dict[str, FiniteFloat]
    cols_replace_method: dict[str, str]
    missing_value_ratio: dict[str, FiniteFloat]
    skip_cols: tuple[str, ...]
    missing_value: tuple[float, ...]


async def run(context: TaskContext) -> None:
    """Fill the training table, or another by the model."""
    params, me = context.params, context.party.me
    assert isinstance(params, FeatureImputationParams)
    found = carry_out(context, "feature_imputation", Imputation, lambda table: fit(table, params, me), transform)
    if found is not None:
        summary = {
            "missing_value": list(found.missing_value),
            "missing_impute_value": found.missing_replace_value,
            "missing_impute_rate": found.missing_value_ratio,
            "skip_cols": list(found.skip_cols),
        }
        context.write_document("metric", summary)


def fit(table: Table, params: FeatureImputationParams, me: Address) -> Imputation:
    """Return what to fill in; raises DataError for a column without known values, and for a list of another length."""
    names = table.schema.features
    given = params.col_missing_fill_method or {}
    columns = named(table, list(given), me, "col_missing_fill_method", anonymous=params.use_anonymous)
    own = dict(zip(columns, given.values(), strict=True))
    designated = _designated(names, params.default_value)
    methods = {name: params.method_of(name, own) for name in names}
    fills, ratios = dict[str, float](), dict[str, float]()
    for name, method in methods.items():
        values = column(table, name)
        absent = missing(values, params.missing_impute)
        ratios[name] = float(absent.mean()) if len(values) else 0.0
        if method is not None:
            fills[name] = designated[name] if method == "designated" else _statistic(values[~absent], method, name)
    return Imputation(
        missing_replace_value=fills,
        cols_replace_method={name: method for name, method in methods.items() if method is not None},
        missing_value_ratio=ratios,
        skip_cols=tuple(name for name, method in methods.items() if method is None),
        missing_value=params.missing_impute,
    )


def transform(table: Table, found: Imputation) -> Table:
    """Return the table with its missing values filled in; raises DataError when it lacks a column of the training."""
    insist_on_columns(table, tuple(found.missing_replace_value))
    features = np.array(table.features, dtype=np.float64)
    for name, fill in found.missing_replace_value.items():
        j = table.schema.features.index(name)
        features[missing(features[:, j], found.missing_value), j] = fill
    return table.with_features(table.schema.features, features)


def missing(values: Vector, words: tuple[float, ...]) -> NDArray[np.bool_]:
    """Return which values are missing, or stand for that."""
    absent: NDArray[np.bool_] = np.isnan(values) | np.isin(values, np.array(words, dtype=np.float64))
    return absent


def _designated(names: tuple[str, ...], given: float | tuple[float, ...]) -> dict[str, float]:
    if isinstance(given, float):
        return dict.fromkeys(names, given)
    if len(given) != len(names):
        raise DataError(f"default_value has {len(given)} values for {len(names)} columns; give one for each, or one")
    return dict(zip(names, given, strict=True))


def _statistic(known: Vector, method: str, name: str) -> float:
    if not len(known) or not bool(np.all(np.isfinite(known))):
        raise DataError(f"the column {name!r} has no finite values to take the {method} of; designate a value for it")
    return STATISTICS[method](known)


feature_imputation = Component("feature_imputation", BOTH, FeatureImputationParams, run, inputs(BOTH), outputs(BOTH))
