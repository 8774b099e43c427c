"""Where hetero_feature_binning cuts one party's columns, and in which bins their values lie.

Bin i of a column holds cut i-1 < x <= cut i, the last what is above every cut; missing values have a bin after it.
A category column has a cut at each of its values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.binning_parameters import MOST_BINS
from partyd.algorithms.quantiles import MISSING, bins_of, cuts
from partyd.components.binning_parameters import HeteroFeatureBinningParams
from partyd.components.columns import column, positioned
from partyd.components.own_columns import own, own_named
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import Address

Vector = NDArray[np.float64]
Codes = NDArray[np.int16]


@dataclass(frozen=True)
class Chosen:
    """The columns that are binned, and those that are categories already."""

    bin_col: tuple[str, ...]
    category_col: tuple[str, ...]


def chosen(table: Table, params: HeteroFeatureBinningParams, me: Address) -> Chosen:
    """Return which of the table's columns are binned; raises DataError for names that it lacks."""
    anonymous, category, binned = params.use_anonymous, tuple[str, ...](), table.schema.features
    if params.category_col is not None:
        category = own_named(table, params.category_col, me, "category_col", anonymous=anonymous)
    if params.category_idx is not None:
        category = tuple(dict.fromkeys(positioned(table, params.category_idx, "category_idx")))
    if params.bin_col is not None:
        binned = own_named(table, params.bin_col, me, "bin_col", anonymous=anonymous)
    if params.bin_idx is not None:
        binned = tuple(dict.fromkeys(positioned(table, params.bin_idx, "bin_idx")))
    return Chosen(tuple(name for name in binned if name not in category), category)


def cut(table: Table, which: Chosen, params: HeteroFeatureBinningParams, me: Address) -> dict[str, Vector]:
    """Return the cuts of every column, the fine ones where they are to be joined; raises DataError for none."""
    given = _given(table, params, me) if params.method == "manual" else {}
    found = {}
    for name in which.bin_col:
        if params.method == "manual" and name not in given:
            raise DataError(f"split_pt_dict has no cuts for the column {name!r}; add them or leave it out of bin_col")
        found[name] = given[name] if params.method == "manual" else _computed(column(table, name), name, params)
    for name in which.category_col:
        values = column(table, name)
        different = np.unique(values[~np.isnan(values)])
        if len(different) > MOST_BINS:
            raise DataError(f"the column {name!r} has more than {MOST_BINS} values; it is no category, let it be cut")
        found[name] = different[:-1]
    return found


def codes(table: Table, split_points: Mapping[str, Vector]) -> Codes:
    """Return each row's bin in each column (rows x columns), the missing last."""
    found = np.zeros((len(table), len(split_points)), dtype=np.int16)
    for j, (name, points) in enumerate(split_points.items()):
        found[:, j] = numbered(column(table, name), points)
    return found


def numbered(values: Vector, points: Vector) -> NDArray[np.int64]:
    """Return the bin of each value, ``len(points) + 1`` for a missing one."""
    bins = bins_of(values, points)
    return np.where(bins == MISSING, len(points) + 1, bins)


def _computed(values: Vector, name: str, params: HeteroFeatureBinningParams) -> Vector:
    known = values[~np.isnan(values)]
    if not bool(np.all(np.isfinite(known))):
        raise DataError(f"the column {name!r} holds an infinite value; mend the table before it is binned")
    optimal = params.optimal_binning_param
    is_fine = params.method == "optimal"
    n_bins = optimal.init_bin_nums if is_fine else params.n_bins
    if (optimal.init_bucket_method if is_fine else params.method) == "quantile":
        return cuts(known, n_bins)
    if not len(known) or known.min() == known.max():
        return np.zeros(0)
    return np.unique(np.linspace(known.min(), known.max(), n_bins + 1)[1:-1])


def _given(table: Table, params: HeteroFeatureBinningParams, me: Address) -> dict[str, Vector]:
    """Return the cuts that the job gives for this party's columns, in order."""
    names = tuple(params.split_pt_dict)
    names = own(names, me) if params.use_anonymous else names
    columns = own_named(table, names, me, "split_pt_dict", anonymous=params.use_anonymous)
    found = {}
    for name, of in zip(names, columns, strict=True):
        points = params.split_pt_dict[name]
        listed = points.values() if isinstance(points, dict) else points
        found[of] = np.unique(np.array(list(listed), dtype=np.float64))
    return found
