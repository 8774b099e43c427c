"""Append columns of one value each: FATE 1.x's ColumnExpand. Nothing is exchanged.

``fill_value`` is one number for all columns of ``append_header``, or a list with one for each.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from partyd.algorithms.parameters import lower
from partyd.components.base import Component, TaskContext
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
MOST_COLUMNS = 10_000
Name = Annotated[str, Field(min_length=1, max_length=256)]


def _as_list(given: Any) -> Any:
    return given if isinstance(given, list | tuple) else [given]


class ColumnExpandParams(LocalParams):
    """FATE 1.x's parameters."""

    append_header: Annotated[tuple[Name, ...], BeforeValidator(_as_list), Field(max_length=MOST_COLUMNS)] = ()
    method: Annotated[Literal["manual"], BeforeValidator(lower)] = "manual"
    fill_value: Annotated[tuple[FiniteFloat, ...], BeforeValidator(_as_list)] = (1e-8,)

    @model_validator(mode="after")
    def _one_value_for_each(self) -> ColumnExpandParams:
        if len(set(self.append_header)) != len(self.append_header):
            raise ValueError("append_header names a column twice")
        if self.append_header and len(self.fill_value) not in (1, len(self.append_header)):
            raise ValueError("give one fill_value for all columns of append_header, or a list with one for each")
        return self


class Expansion(Learned):
    """The columns that are appended, with their values."""

    append_header: tuple[str, ...]
    fill_value: tuple[FiniteFloat, ...]


async def run(context: TaskContext) -> None:
    """Append the columns to the training table, or to another by the model."""
    params = context.params
    assert isinstance(params, ColumnExpandParams)
    expansion = carry_out(context, "column_expand", Expansion, lambda _: fit(params), transform)
    if expansion is not None:
        context.write_document("metric", expansion.model_dump(mode="json"))


def fit(params: ColumnExpandParams) -> Expansion:
    """Return each column's value."""
    names, values = params.append_header, params.fill_value
    filled = values * len(names) if len(values) == 1 else values[: len(names)]
    return Expansion(append_header=names, fill_value=filled)


def transform(table: Table, expansion: Expansion) -> Table:
    """Return the table with the columns behind its own; raises DataError when it has one of that name."""
    present = [name for name in expansion.append_header if name in table.schema.features]
    if present:
        raise DataError(f"append_header names {present[0]!r}, which the table has already; give it another name")
    values = np.tile(np.array(expansion.fill_value, dtype=np.float64), (len(table), 1))
    names = table.schema.features + expansion.append_header
    return table.with_features(names, np.concatenate([table.features, values], axis=1))


column_expand = Component("column_expand", BOTH, ColumnExpandParams, run, inputs(BOTH), outputs(BOTH))
