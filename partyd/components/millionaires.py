"""Who is richer: compare a column of each side's table, row by row, exactly.

A column of a table holds float64 numbers, which are exact as integers up to 2^53. Larger values come as two columns,
``<column>_hi`` and ``<column>_lo`` of 32 bits each: value = hi * 2^32 + lo. What is no exact unsigned 64-bit integer is
refused, never rounded. Each party names its own table, or connects ``input_data``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.millionaires import Compared, MillionairesParams
from partyd.algorithms.millionaires import millionaires as comparison
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.federation.algorithm import Params
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
EXACT = float(1 << 53)
ANSWERS = {1: "guest is richer", 0: "equal", -1: "host is richer"}
SHOWN = 100


class FortuneParams(Params):
    """The column to compare; ``namespace`` and ``name`` of an uploaded table, unless ``input_data`` is connected."""

    column: str = Field(default="value", min_length=1)
    namespace: str | None = None
    name: str | None = None


async def run(context: TaskContext) -> None:
    """Compare, and give both sides the order: 1 guest is richer, 0 equal, -1 host is richer."""
    assert isinstance(context.params, FortuneParams)
    table = _table(context, context.params)
    context.limits.insist_on_rows(len(table))
    numbers = exact_values(table, context.params.column)
    state = await context.driver.run("compare", comparison, MillionairesParams(), numbers, Compared)
    order = state.order
    context.write_table("output_data", table.with_features(("comparison",), order.astype(np.float64)[:, None]))
    answers = [ANSWERS[sign] for sign in order[:SHOWN].tolist()]
    counts = {answer: int(np.sum(order == sign)) for sign, answer in ANSWERS.items()}
    context.write_document("metric", {"count": len(order), "results": answers, **counts})
    for answer in answers[:1]:
        context.party.report.info(f"compared {len(order)} numbers; the first: {answer}")


def _table(context: TaskContext, params: FortuneParams) -> Table:
    if context.has_input("input_data"):
        return context.read_table("input_data")
    if params.namespace is None or params.name is None:
        raise DataError(
            "millionaires has no numbers; connect input_data or give namespace and name of an uploaded table"
        )
    return context.source.open_table(params.namespace, params.name)


def exact_values(table: Table, column: str) -> NDArray[np.uint64]:
    """Return the column as unsigned 64-bit integers; raises DataError for a value that is not exactly one."""
    names = table.schema.features
    if column in names:
        return _integers(table, column, EXACT)
    if f"{column}_hi" in names and f"{column}_lo" in names:
        half = float(1 << 32) - 1
        high, low = (_integers(table, f"{column}_{part}", half) for part in ("hi", "lo"))
        return (high << np.uint64(32)) | low
    raise DataError(f"the table has neither a column {column!r} nor {column}_hi and {column}_lo")


def _integers(table: Table, column: str, largest: float) -> NDArray[np.uint64]:
    values = np.asarray(table.features[:, table.schema.features.index(column)])
    good = (values >= 0) & (values <= largest) & (np.floor(values) == values)
    if not bool(np.all(good)):
        row = int(np.argmin(good))
        raise DataError(
            f"{column} in row {row} is {values[row]}, which is no whole number from 0 to {largest:.0f}; give larger "
            f"ones as two columns of 32 bits, {column}_hi and {column}_lo"
        )
    return values.astype(np.uint64)


millionaires = Component(
    "millionaires",
    BOTH,
    FortuneParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH, optional=True),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
    algorithms=(comparison,),
)
