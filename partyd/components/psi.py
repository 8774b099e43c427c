"""Keep the rows whose ids all parties have, in one order everywhere: FATE 2.2's psi."""

from __future__ import annotations

import numpy as np

from partyd.algorithms.psi import Found, PsiParams, unique_ids
from partyd.algorithms.psi import psi as intersection
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST


async def run(context: TaskContext) -> None:
    """Intersect on the match ids; of rows that share an id the first is kept."""
    assert isinstance(context.params, PsiParams)
    table = context.read_table("input_data")
    ids = np.asarray(table.matching)
    first = unique_ids(ids)
    repeated = len(table) - len(first)
    if repeated:
        context.party.report.info(f"{repeated} rows repeat an id and are left out")
    state = await context.driver.run("psi", intersection, context.params, ids[first], Found)
    assert state.rows is not None
    common = len(state.rows)
    context.write_table("output_data", table.take(first[state.rows]))
    rate = common / len(first) if len(first) else 0.0
    context.party.report.info(f"{common} of {len(first)} ids are common")
    context.party.report.metric("intersect_count", 0, float(common))
    context.party.report.metric("intersect_rate", 0, rate)
    summary = {
        "input_count": len(table),
        "duplicate_count": repeated,
        "intersect_count": common,
        "intersect_rate": rate,
        "method": "curve25519",
    }
    context.write_document("metric", summary)


psi = Component(
    "psi",
    BOTH,
    PsiParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
    algorithms=(intersection,),
)
