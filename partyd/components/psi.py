"""Keep the rows whose ids all parties have, in one order everywhere: FATE 2.2's psi, with the options of FATE 1.x.

Parties intersect on the match ids, or on the sample ids of a table without; ids are compared byte by byte, as UTF-8
text. Of a host's rows that share an id, and of a guest's without a match id, the first is kept (or the task refuses:
``repeated_ids``). A guest's rows that share a *match id* are all kept, as samples of one person, and the hosts repeat
their rows to stand beside them (`partyd.algorithms.row_repeats`); the hosts' sample ids remain their own, with a number
behind those that are repeated.

A left join keeps every row of the guest, in a random order; a host has a row of missing values, with ids that begin
with ``absent_``, beside each of which it has none. A party that is not to learn the common ids (``cardinality_only``,
``sync_intersect_ids`` false) gives out an empty table.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.psi import psi as intersection
from partyd.algorithms.psi_files import Compared
from partyd.algorithms.psi_parameters import PsiParams
from partyd.algorithms.psi_result import Found
from partyd.algorithms.row_repeats import Common, Repeated, RowRepeatsParams, row_repeats
from partyd.algorithms.rsa_psi import RsaFound, rsa_psi
from partyd.components.alignment import aligned, keys_only
from partyd.components.base import Component, JsonObject, Kind, Port, TaskContext
from partyd.components.rows import with_distinct_ids
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
Rows = NDArray[np.int64]


async def run(context: TaskContext) -> None:
    """Intersect and align."""
    params = context.params
    assert isinstance(params, PsiParams)
    table, is_guest = context.read_table("input_data"), context.party.me.role == GUEST
    context.limits.insist_on_rows(len(table))
    _insist_on_being_told(context, params)
    working = context.outputs / "working"
    data = Compared.of(table.matching, working / "psi", params.memory_bytes)
    keeps_all = is_guest and table.match_ids is not None
    if data.repeats and params.repeated_ids == "refuse" and not keeps_all:
        raise DataError(f"{data.repeats} rows repeat an id; remove them, or set repeated_ids to keep_first")
    found = await _intersect(context, params, data)
    if found.count >= 0:
        context.limits.insist_on_intersection(found.count)
    rows = await _rows(context, params, data, found, keeps_all)
    context.write_table("output_data", _output(keys_only(table) if params.only_output_key else table, rows, working))
    _tell(context, params, found, len(table), len(rows), 0 if keeps_all else data.repeats)
    shutil.rmtree(working, ignore_errors=True)


async def _intersect(context: TaskContext, params: PsiParams, data: Compared) -> Found:
    if params.protocol == "rsa_psi":
        return await context.driver.run("psi", rsa_psi, params, data, RsaFound)
    return await context.driver.run("psi", intersection, params, data, Found)


async def _rows(context: TaskContext, params: PsiParams, data: Compared, found: Found, keeps_all: bool) -> Rows:
    """Return the rows of this party's output, -1 for one that it has not."""
    is_guest = context.party.me.role == GUEST
    if found.placed is None:
        kept = data.rows_of(found.positions(data))
    else:
        kept = np.where(found.placed >= 0, data.rows_of(np.maximum(found.placed, 0)), -1) if len(data) else found.placed
    counts = np.ones(len(kept), np.int64)
    if keeps_all:
        kept, counts = samples(np.asarray(data.ids), kept)
    if params.guest_learns_rows and params.hosts_learn_rows:
        mine = Common(len(counts), counts if is_guest else None)
        counts = (await context.driver.run("repeats", row_repeats, RowRepeatsParams(), mine, Repeated)).counts
    return kept if is_guest else np.repeat(kept, counts)


def samples(ids: NDArray[np.bytes_], common: Rows) -> tuple[Rows, Rows]:
    """Return every row that has the id of one of ``common``, id by id, and how many rows each id has."""
    codes = np.unique(ids, return_inverse=True)[1]
    order, sizes = np.argsort(codes, kind="stable").astype(np.int64), np.bincount(codes)
    starts, counts = (np.cumsum(sizes) - sizes)[codes[common]], sizes[codes[common]]
    within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[np.repeat(starts, counts) + within], counts.astype(np.int64)


def _output(table: Table, rows: Rows, working: Path) -> Table:
    """Return the aligned table, whose sample ids differ."""
    return with_distinct_ids(aligned(table, rows, working))[0]


def _insist_on_being_told(context: TaskContext, params: PsiParams) -> None:
    """Raise BelowFloor when a policy asks for a size of the intersection that this party would not be told."""
    is_told = context.party.me.role == GUEST or params.hosts_learn_rows or params.sync_cardinality
    if context.limits.min_intersection and not is_told:
        raise BelowFloor(
            "a policy asks for a smallest intersection, and with these parameters this party is not told how large it "
            "is; set sync_intersect_ids (or, with cardinality_only, sync_cardinality) to true"
        )


def _tell(context: TaskContext, params: PsiParams, found: Found, before: int, rows: int, left_out: int) -> None:
    report = context.party.report
    if left_out:
        report.info(f"{left_out} rows repeat an id and are left out")
    summary: JsonObject = {
        "input_count": before,
        "method": params.curve_type if params.protocol == "ecdh_psi" else "rsa",
        "duplicate_count": left_out,
    }
    if found.count < 0:
        report.info("which ids are common, and how many, is told to the other party alone")
    else:
        learns_rows = found.common is not None or found.placed is not None
        is_counted = learns_rows and context.party.me.role == GUEST and not params.is_left_join
        count = rows if learns_rows and not params.is_left_join else found.count
        rate = (rows if is_counted else found.count) / max(before, 1)
        report.info(f"{found.count} ids are common; the table has {rows} rows now, of {before}")
        report.metric("intersect_count", 0, float(count))
        report.metric("intersect_rate", 0, rate)
        summary |= {"intersect_count": count, "intersect_rate": rate, "id_count": found.count}
    context.write_document("metric", summary)


psi = Component(
    "psi",
    BOTH,
    PsiParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=(Port("output_data", Kind.DATA, BOTH),),
    algorithms=(intersection, rsa_psi, row_repeats),
    agreed=(
        "protocol",
        "curve_type",
        "rsa_params",
        "join_method",
        "join_role",
        "sync_intersect_ids",
        "cardinality_only",
        "sync_cardinality",
        "chunk_rows",
    ),
)
