"""Put tables of the same columns under each other: FATE 2.2's union. Nothing is exchanged.

The rows keep their order, table after table, so that aligned rows stay aligned where every party joins its tables in
the same order. A row whose sample id came before gets it with a number behind it, or with ``keep_duplicate`` off is
left out; each party goes by its own sample ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.parameters import FateParams
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.components.rows import occurrence, with_distinct_ids
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST


class UnionParams(FateParams):
    """FATE 2.2 has none; ``keep_duplicate`` is FATE 1.x's."""

    keep_duplicate: bool = True


async def run(context: TaskContext) -> None:
    """Join the tables."""
    assert isinstance(context.params, UnionParams)
    tables = context.read_tables("input_datas")
    joined, again = stacked(tables), 0
    if context.params.keep_duplicate:
        joined, again = with_distinct_ids(joined)
    else:
        joined = joined.take(np.flatnonzero(occurrence(joined.ids) == 0))
    context.write_table("output_data", joined)
    context.write_document("metric", {"counts": [len(table) for table in tables], "count": len(joined)})
    context.party.report.info(f"{len(tables)} tables give {len(joined)} rows")
    if again:
        context.party.report.info(f"{again} rows have a sample id that came before; a number was put behind it")


def stacked(tables: Sequence[Table]) -> Table:
    """Return the rows of every table; raises DataError unless all have the same columns."""
    first = tables[0]
    for i, table in enumerate(tables[1:], start=2):
        _insist_on_alike(first, table, i)
    ids = np.concatenate([table.ids for table in tables])
    order = [[table.schema.features.index(name) for name in first.schema.features] for table in tables]
    return Table(
        schema=first.schema.model_copy(update={"rows": len(ids), "missing": {}}),
        ids=ids,
        features=np.concatenate([table.features[:, o] for table, o in zip(tables, order, strict=True)]),
        match_ids=_joined([table.match_ids for table in tables]),
        label=_joined([table.label for table in tables]),
        weight=_joined([table.weight for table in tables]),
    )


def _insist_on_alike(first: Table, other: Table, position: int) -> None:
    for name in ("match_ids", "label", "weight"):
        if (getattr(first, name) is None) != (getattr(other, name) is None):
            raise DataError(
                f"table {position} of the union and the first differ: only one has {name.replace('_', ' ')}"
            )
    differing = sorted(set(first.schema.features) ^ set(other.schema.features))
    if differing:
        shown = ", ".join(differing[:10])
        raise DataError(f"table {position} of the union and the first differ in columns: {shown}; give both the same")


def _joined(columns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [column for column in columns if column is not None]
    return np.concatenate(present) if present else None


union = Component(
    "union",
    BOTH,
    UnionParams,
    run,
    inputs=(Port("input_datas", Kind.DATA, BOTH, several=True),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
)
