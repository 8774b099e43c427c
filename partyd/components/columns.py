"""Which columns a parameter names: by name, by position, or by the names that other parties see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partyd.data.schema import anonymous_names
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import Address


def named(table: Table, names: Sequence[str], me: Address, parameter: str, *, anonymous: bool) -> tuple[str, ...]:
    """Return the features that ``names`` mean; raises DataError for one that the table lacks."""
    features = table.schema.features
    known = dict(zip(anonymous_names(table.schema, me) if anonymous else features, features, strict=True))
    for name in names:
        if name not in known:
            has = ", ".join(list(known)[:20]) or "none"
            raise DataError(f"{parameter} names {name!r}, which {me}'s table lacks; it has {has}")
    return tuple(known[name] for name in names)


def column(table: Table, name: str) -> NDArray[np.float64]:
    """Return a feature's values, NaN where one is missing."""
    return np.asarray(table.features[:, table.schema.features.index(name)], dtype=np.float64)


def positioned(table: Table, positions: Sequence[int], parameter: str) -> tuple[str, ...]:
    """Return the features at ``positions``, which count from 0; raises DataError for one beyond the table."""
    names = table.schema.features
    if any(not 0 <= i < len(names) for i in positions):
        raise DataError(f"{parameter} names a column beyond the table's {len(names)}; count from 0")
    return tuple(names[i] for i in positions)


def insist_on_columns(table: Table, names: Sequence[str]) -> None:
    """Raise DataError when a table lacks a feature that a model was trained on."""
    for name in names:
        if name not in table.schema.features:
            raise DataError(f"the table lacks the model's feature {name!r}; use the columns of the training")
