"""Draw some rows of aligned tables: FATE 2.2's sample. With ``hetero_sync`` off each party draws from its own table.

A row that is drawn again gets its sample id with a number behind it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from partyd.algorithms.sample import Chosen, Drawable, SampleParams
from partyd.algorithms.sample import sample as drawing
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.rows import with_distinct_ids
from partyd.data.render import number
from partyd.data.table import Table
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST


async def run(context: TaskContext) -> None:
    """Draw, or follow the guest's draw."""
    assert isinstance(context.params, SampleParams)
    table, params = context.read_table("input_data"), context.params
    context.limits.insist_on_rows(len(table))
    draws = context.party.me.role == GUEST or not params.hetero_sync
    label = np.asarray(table.label) if draws and params.by_label is not None and table.label is not None else None
    state = await context.driver.run("sample", drawing, params, Drawable(len(table), label), Chosen)
    drawn, _ = with_distinct_ids(table.take(state.positions))
    context.write_table("output_data", drawn)
    context.write_document("metric", summary(table, drawn))
    context.party.report.info(f"drew {len(drawn)} rows of {len(table)}")


def summary(table: Table, drawn: Table) -> JsonObject:
    """Return how many rows there were and are, in all and of each label."""
    document: JsonObject = {"total": {"original_count": len(table), "sampled_count": len(drawn)}}
    if table.label is not None and drawn.label is not None:
        before, after = Counter(table.label.tolist()), Counter(drawn.label.tolist())
        if len(before) <= 100:
            for value in sorted(before):
                document[number(value)] = {"original_count": before[value], "sampled_count": after[value]}
    return document


sample = Component(
    "sample",
    BOTH,
    SampleParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
    alone_if=(("hetero_sync", False),),
    agreed=("hetero_sync", "replace"),
    algorithms=(drawing,),
)
