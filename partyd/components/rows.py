"""Rows that stand in a table more than once, and the sample ids that tell them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from partyd.data.table import Table

Ids = NDArray[np.bytes_]


def with_distinct_ids(table: Table) -> tuple[Table, int]:
    """Return the table with ``_1``, ``_2`` ... behind a sample id that came before, and how many those are."""
    ids = distinct(table.ids)
    changed = int(np.sum(ids != table.ids))
    return (replace(table, ids=ids), changed) if changed else (table, 0)


def distinct(ids: Ids) -> Ids:
    """Return ``ids`` with the number of the repetition behind those that came before, until none comes twice."""
    ids = np.asarray(ids)
    while True:
        turn = occurrence(ids)
        again = np.flatnonzero(turn)
        if not len(again):
            return ids
        named = [ids[i] + f"_{turn[i]}".encode() for i in again.tolist()]
        ids = ids.astype(f"S{max(ids.dtype.itemsize, max(map(len, named)))}")
        ids[again] = named


def occurrence(ids: Ids) -> NDArray[np.int64]:
    """Return for each row how many rows before it have the same id."""
    codes = np.unique(ids, return_inverse=True)[1]
    order, sizes = np.argsort(codes, kind="stable"), np.bincount(codes)
    turn = np.empty(len(ids), np.int64)
    turn[order] = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return turn
