"""Pearson correlation within each party and across parties, and variance inflation: FATE 2.2's component of this name.

Correlations and VIF of a party's own columns stay with it. Across parties the guest's columns are compared with every
host's by `partyd.algorithms.cross_correlation`; ``local_only`` leaves that out and exchanges nothing. The model holds
own columns by name and peers' columns by the names that peers know (``host_9999_x0``), as FATE's does; selection of
features reads it. A constant column correlates with nothing, and its VIF is not defined (null).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.cross_correlation import Columns, Correlations, CrossCorrelationParams, cross_correlation, unit
from partyd.algorithms.linear_model import insist_on_finite
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.columns import named
from partyd.data.schema import anonymous_names
from partyd.errors import DataError
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
Matrix = NDArray[np.float64]
MODEL_TYPE = "feature_correlation"
SINGULAR = 1e-10
"""Below this share of the largest, an eigenvalue of a correlation matrix counts as none."""


class FeatureCorrelationParams(CrossCorrelationParams):
    """FATE 2.2's parameters, and the encryption's."""

    local_only: bool = False
    calc_local_vif: bool = True
    skip_col: tuple[str, ...] | None = None
    use_anonymous: bool = False


async def run(context: TaskContext) -> None:
    """Correlate, and give the numbers out as the model."""
    assert isinstance(context.params, FeatureCorrelationParams)
    table, params, me = context.read_table("input_data"), context.params, context.party.me
    context.limits.insist_on_rows(len(table))
    skipped = named(table, params.skip_col or (), me, "skip_col", anonymous=params.use_anonymous)
    chosen = [i for i, name in enumerate(table.schema.features) if name not in skipped]
    if not chosen:
        raise DataError("no column is left to correlate; name fewer in skip_col")
    x = np.asarray(table.features[:, chosen], dtype=np.float64)
    names = [table.schema.features[i] for i in chosen]
    insist_on_finite(x)
    local = correlated(x)
    remote = Correlations()
    if not params.local_only:
        context.limits.insist_on_key(params.key_bits)
        known = anonymous_names(table.schema, me)
        columns = Columns(x, tuple(known[i] for i in chosen))
        remote = await context.driver.run("cross", cross_correlation, params, columns, Correlations)
    document: JsonObject = {
        "data": {
            "column": names,
            "local_corr": _named(local, names, names),
            "remote_corr": {peer: _named(remote.values[peer], names, remote.names[peer]) for peer in remote.names},
            "vif": dict(zip(names, inflation(local), strict=True)) if params.calc_local_vif else None,
            "column_anonymous_map": dict(zip(table.schema.features, anonymous_names(table.schema, me), strict=True)),
        },
        "meta": {
            "model_type": MODEL_TYPE,
            "local_only": params.local_only,
            "calc_local_vif": params.calc_local_vif,
            "rows": len(table),
        },
    }
    context.write_model("output_model", document)
    context.write_document("metric", document["data"])
    compared = sum(len(theirs) for theirs in remote.names.values())
    context.party.report.info(f"correlated {len(names)} columns with each other and with {compared} of other parties")


def correlated(x: Matrix) -> Matrix:
    """Return the correlations of the columns, 1 on the diagonal."""
    u = unit(x)
    local = np.clip(u.T @ u, -1.0, 1.0)
    np.fill_diagonal(local, 1.0)
    return local


def inflation(local: Matrix) -> list[float | None]:
    """Return each column's 1 / (1 - R^2) against all others, the diagonal of the inverse; null where not defined.

    A column that depends on others has none, nor has one that is constant. A single one has 1.
    """
    constant = [not np.any(np.delete(row, i)) and len(row) > 1 for i, row in enumerate(local)]
    values, vectors = np.linalg.eigh(local)
    small = values <= SINGULAR * values.max()
    dependent = np.sum(vectors[:, small] ** 2, axis=1) > SINGULAR
    inverse = np.sum(vectors[:, ~small] ** 2 / values[~small], axis=1)
    undefined = dependent | np.array(constant)
    return [None if none else float(v) for none, v in zip(undefined.tolist(), inverse.tolist(), strict=True)]


def _named(values: Matrix, rows: list[str], columns: list[str]) -> dict[str, dict[str, float]]:
    return {
        row: {column: value for column, value in zip(columns, line, strict=True) if math.isfinite(value)}
        for row, line in zip(rows, values.tolist(), strict=True)
    }


feature_correlation = Component(
    "feature_correlation",
    BOTH,
    FeatureCorrelationParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_model", Kind.MODEL, BOTH),),
    algorithms=(cross_correlation,),
    alone_if=(("local_only", True),),
    agreed=("local_only", "he_param"),
)
