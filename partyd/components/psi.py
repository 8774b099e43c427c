"""Keep the rows whose ids all parties have, in one order everywhere: FATE 2.2's psi.

Parties intersect on the match ids, or on the sample ids of a table without. Of a host's rows that share an id, and of
a guest's without a match id, the first is kept. A guest's rows that share a *match id* are all kept, as samples of one
person, and the hosts repeat their rows to stand beside them (`partyd.algorithms.row_repeats`); the hosts' sample ids
remain their own, with a number behind those that are repeated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.psi import Found, PsiParams, unique_ids
from partyd.algorithms.psi import psi as intersection
from partyd.algorithms.row_repeats import Common, Repeated, RowRepeatsParams, row_repeats
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.rows import with_distinct_ids
from partyd.data.table import Table
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
Rows = NDArray[np.int64]


async def run(context: TaskContext) -> None:
    """Intersect and align."""
    assert isinstance(context.params, PsiParams)
    table, is_guest = context.read_table("input_data"), context.party.me.role == GUEST
    context.limits.insist_on_rows(len(table))
    ids = np.asarray(table.matching)
    first = unique_ids(ids)
    state = await context.driver.run("psi", intersection, context.params, ids[first], Found)
    assert state.rows is not None
    common = first[state.rows]
    context.limits.insist_on_intersection(len(common))
    keeps_all = is_guest and table.match_ids is not None
    rows, counts = samples(ids, common) if keeps_all else (common, np.ones(len(common), np.int64))
    mine = Common(len(common), counts if is_guest else None)
    repeats = await context.driver.run("repeats", row_repeats, RowRepeatsParams(), mine, Repeated)
    if not is_guest:
        rows = np.repeat(common, repeats.counts)
    left_out = 0 if keeps_all else len(table) - len(first)
    aligned, _ = with_distinct_ids(table.take(rows))
    context.write_table("output_data", aligned)
    _tell(context, table, len(common), len(rows), left_out)


def samples(ids: NDArray[np.bytes_], common: Rows) -> tuple[Rows, Rows]:
    """Return every row that has the id of one of ``common``, id by id, and how many rows each id has."""
    codes = np.unique(ids, return_inverse=True)[1]
    order, sizes = np.argsort(codes, kind="stable").astype(np.int64), np.bincount(codes)
    starts, counts = (np.cumsum(sizes) - sizes)[codes[common]], sizes[codes[common]]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(starts, counts) + within], counts.astype(np.int64)


def _tell(context: TaskContext, table: Table, common: int, rows: int, left_out: int) -> None:
    report = context.party.report
    rate = rows / len(table) if len(table) and context.party.me.role == GUEST else common / max(len(table), 1)
    if left_out:
        report.info(f"{left_out} rows repeat an id and are left out")
    report.info(f"{common} ids are common; the table has {rows} rows now, of {len(table)}")
    report.metric("intersect_count", 0, float(rows))
    report.metric("intersect_rate", 0, rate)
    summary: JsonObject = {
        "input_count": len(table),
        "intersect_count": rows,
        "intersect_rate": rate,
        "method": "curve25519",
        "duplicate_count": left_out,
        "id_count": common,
    }
    context.write_document("metric", summary)


psi = Component(
    "psi",
    BOTH,
    PsiParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
    algorithms=(intersection, row_repeats),
)
