"""Describe the columns of each party's own table: FATE 2.2's statistics. Nothing is exchanged.

Missing values count for ``missing_count`` and ``missing_ratio`` alone. Skewness is m3 / m2^1.5 and kurtosis
m4 / m2^2 - 3 of the central moments, as Fisher defined them; with ``bias`` false both are corrected for the sample's
size. Quantiles are exact, so that ``relative_error`` changes nothing. What is not defined (a kurtosis of equal values)
is null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BeforeValidator, Field

from partyd.algorithms.parameters import FateParams
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import column, named
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
PERCENTILE = re.compile(r"(100|\d{1,2})%\Z")
NAMES = (
    "count", "sum", "min", "max", "mean", "median", "std", "var", "coefficient_of_variation",
    "missing_count", "missing_ratio", "skewness", "kurtosis",
)  # fmt: skip
MOST_METRICS = 200


def _metric(name: str) -> str:
    if name not in NAMES and not PERCENTILE.match(name):
        raise ValueError(f"there is no statistic {name!r}; known are {', '.join(NAMES)} and percentiles such as 25%")
    return name


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Metric = Annotated[str, AfterValidator(_metric)]
Metrics = Annotated[tuple[Metric, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=MOST_METRICS)]


class StatisticsParams(FateParams):
    """FATE 2.2's parameters."""

    metrics: Metrics = ("mean", "std", "min", "max")
    ddof: int = Field(default=1, ge=0, le=1000)
    bias: bool = True
    relative_error: float = Field(default=0.001, gt=0, le=1)
    skip_col: tuple[str, ...] | None = None
    use_anonymous: bool = False


async def run(context: TaskContext) -> None:
    """Compute, and give the statistics out as the model."""
    assert isinstance(context.params, StatisticsParams)
    table, params = context.read_table("input_data"), context.params
    skipped = named(table, params.skip_col or (), context.party.me, "skip_col", anonymous=params.use_anonymous)
    metrics = tuple(dict.fromkeys(params.metrics))
    summary: JsonObject = {}
    columns = [name for name in table.schema.features if name not in skipped]
    for done, name in enumerate(columns, start=1):
        summary[name] = describe(column(table, name), metrics, params)
        context.party.report.progress(done, len(columns), "columns")
    context.write_model(
        "output_model",
        {
            "data": {"inner_metric_names": list(metrics), "metrics_summary": summary},
            "meta": {"metrics": list(metrics), "model_type": "statistics"},
        },
    )
    context.write_document("metric", {"count": len(table), "columns": columns})
    context.party.report.info(f"{len(metrics)} statistics of {len(columns)} columns")
    if params.relative_error != StatisticsParams().relative_error:
        context.party.report.info("quantiles are exact here: relative_error changes nothing")


def describe(values: Vector, metrics: tuple[str, ...], params: StatisticsParams) -> dict[str, float | None]:
    """Return each statistic of ``values``, None for one that is not defined."""
    known = values[~np.isnan(values)]
    found = {name: _statistic(name, values, known, params) for name in metrics}
    return {name: value if value is not None and np.isfinite(value) else None for name, value in found.items()}


def _statistic(name: str, values: Vector, known: Vector, params: StatisticsParams) -> float | None:
    missing = len(values) - len(known)
    if name in ("count", "missing_count"):
        return len(known) if name == "count" else missing
    if name == "missing_ratio":
        return missing / len(values) if len(values) else None
    if not len(known):
        return None
    if PERCENTILE.match(name):
        return float(np.percentile(known, int(name[:-1])))
    if name in SIMPLE:
        return SIMPLE[name](known)
    if name in ("skewness", "kurtosis"):
        return shape(known, name, bias=params.bias)
    if len(known) <= params.ddof:
        return None
    variance = float(known.var(ddof=params.ddof))
    mean = float(known.mean())
    deviation = math.sqrt(variance)
    if name == "coefficient_of_variation":
        return deviation / mean if mean else None
    return variance if name == "var" else deviation


SIMPLE: dict[str, Callable[[Vector], float]] = {
    "sum": lambda known: float(known.sum()),
    "min": lambda known: float(known.min()),
    "max": lambda known: float(known.max()),
    "mean": lambda known: float(known.mean()),
    "median": lambda known: float(np.median(known)),
}


def shape(known: Vector, name: str, *, bias: bool) -> float | None:
    """Return skewness or kurtosis; None for equal values, and where the correction needs more of them."""
    n, centred = len(known), known - known.mean()
    m2 = float(np.mean(centred**2))
    if m2 <= (float(np.finfo(np.float64).eps) * float(np.abs(known).max())) ** 2:
        return None
    if name == "skewness":
        skewness = float(np.mean(centred**3)) / math.pow(m2, 1.5)
        if bias:
            return skewness
        return skewness * math.sqrt(n * (n - 1)) / (n - 2) if n > 2 else None
    kurtosis = float(np.mean(centred**4)) / m2**2 - 3
    if bias:
        return kurtosis
    return ((n + 1) * kurtosis + 6) * (n - 1) / ((n - 2) * (n - 3)) if n > 3 else None


statistics = Component(
    "statistics",
    BOTH,
    StatisticsParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_model", Kind.MODEL, BOTH),),
)
