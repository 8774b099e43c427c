"""Write a column of categories as columns of 0 and 1: FATE 1.x's OneHotEncoder. Nothing is exchanged.

Categories are whole numbers, at most 1024 a column. The column ``x`` becomes ``x_0``, ``x_1`` ... in its place, one for
each value of the training in ascending order. A value that the training did not have is 0 everywhere, as in FATE, or
refused. ``drop`` leaves the first category out, of every column or of those with two, as scikit-learn's does: what the
others say already would make a linear model's columns depend on each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, NonNegativeInt

from partyd.algorithms.parameters import lower
from partyd.components.base import Component, TaskContext
from partyd.components.columns import column, insist_on_columns, named, positioned
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST, Address

BOTH = GUEST | HOST
Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
MOST_CATEGORIES = 1024


class OneHotEncoderParams(LocalParams):
    """FATE 1.x's parameters; columns by name, by position or by both, and every column where nothing is said."""

    transform_col_indexes: Literal[-1] | tuple[NonNegativeInt, ...] = -1
    transform_col_names: tuple[str, ...] = ()
    drop: Annotated[Literal["first", "if_binary"], BeforeValidator(lower)] | None = None
    handle_unknown: Annotated[Literal["ignore", "error"], BeforeValidator(lower)] = "ignore"
    use_anonymous: bool = False


class Categories(BaseModel):
    """The values of a column; the first ``dropped`` of them have no column of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[int, ...]
    transformed_headers: tuple[str, ...]
    dropped: int = 0

    @property
    def kept(self) -> tuple[int, ...]:
        """The values that have a column."""
        return self.values[self.dropped :]


class Encoding(Learned):
    """What becomes of each encoded column."""

    col_map: dict[str, Categories]
    result_header: tuple[str, ...]
    handle_unknown: Literal["ignore", "error"]


async def run(context: TaskContext) -> None:
    """Encode the training table, or another by the model."""
    params, me = context.params, context.party.me
    assert isinstance(params, OneHotEncoderParams)
    encoding = carry_out(context, "one_hot_encoder", Encoding, lambda table: fit(table, params, me), transform)
    if encoding is not None:
        more = sum(len(c.kept) - 1 for c in encoding.col_map.values())
        after = len(encoding.result_header)
        context.write_document("metric", {"original_dimension": after - more, "transferred_dimension": after})


def fit(table: Table, params: OneHotEncoderParams, me: Address) -> Encoding:
    """Return the categories of each column; raises DataError for one that holds no whole numbers, or too many."""
    names = _chosen(table, params, me)
    col_map = {name: _categories(column(table, name), name, params.drop) for name in names}
    header = _header(table.schema.features, col_map)
    return Encoding(col_map=col_map, result_header=header, handle_unknown=params.handle_unknown)


def transform(table: Table, encoding: Encoding) -> Table:
    """Return the table with its categories as columns; raises DataError when it lacks one of them."""
    insist_on_columns(table, tuple(encoding.col_map))
    header = _header(table.schema.features, encoding.col_map)
    features, first = np.zeros((len(table), len(header))), 0
    for name in table.schema.features:
        values, categories = column(table, name), encoding.col_map.get(name)
        if categories is None:
            features[:, first] = values
            first += 1
            continue
        rows, which = _found(values, name, categories, refuse=encoding.handle_unknown == "error")
        features[rows, first + which] = 1.0
        first += len(categories.kept)
    return table.with_features(header, features)


def _chosen(table: Table, params: OneHotEncoderParams, me: Address) -> tuple[str, ...]:
    by_name = named(table, params.transform_col_names, me, "transform_col_names", anonymous=params.use_anonymous)
    if params.transform_col_indexes == -1:
        return by_name or table.schema.features
    by_position = positioned(table, params.transform_col_indexes, "transform_col_indexes")
    return tuple(dict.fromkeys(by_position + by_name))


def _categories(values: Vector, name: str, drop: str | None) -> Categories:
    found = np.unique(values)
    if not bool(np.all(np.isfinite(found))) or not bool(np.all(found == np.floor(found))):
        raise DataError(
            f"the column {name!r} holds what is no whole number, so no category; fill missing values in first "
            "(feature_imputation), or cut numbers into bins"
        )
    if len(found) > MOST_CATEGORIES:
        raise DataError(f"the column {name!r} has more than {MOST_CATEGORIES} values; it is no category, leave it out")
    known = tuple(int(value) for value in found.tolist())
    dropped = int(drop == "first" or (drop == "if_binary" and len(known) == 2)) if known else 0
    headers = tuple(f"{name}_{value}" for value in known[dropped:])
    return Categories(values=known, transformed_headers=headers, dropped=dropped)


def _header(features: Sequence[str], col_map: dict[str, Categories]) -> tuple[str, ...]:
    """Return the names after the encoding; raises DataError when one of them is there already."""
    each = [col_map[name].transformed_headers if name in col_map else (name,) for name in features]
    names = tuple(name for some in each for name in some)
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"two columns would be called {twice!r}; give one of the table's columns another name")
    return names


def _found(values: Vector, name: str, categories: Categories, *, refuse: bool) -> tuple[Rows, Rows]:
    """Return the rows that have a category with a column, and which column that is."""
    if refuse and not bool(np.all(np.isin(values, categories.values))):
        raise DataError(
            f"the column {name!r} holds a category that the training did not have; set handle_unknown to ignore, or "
            "train with it"
        )
    kept = np.array(categories.kept, dtype=np.float64)
    if not len(kept):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(kept, values), len(kept) - 1)
    rows = np.flatnonzero(kept[at] == values)
    return rows, at[rows]


one_hot_encoder = Component("one_hot_encoder", BOTH, OneHotEncoderParams, run, inputs(BOTH), outputs(BOTH))
