"""Bring a table's rows into another order, block by block, in files: what comes out may be larger than the memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partyd.data.table import Table

Rows = NDArray[np.int64]
C = TypeVar("C", bound=np.generic)
BLOCK_BYTES = 8 << 20
ABSENT = "absent_"
"""Before a number, the id of a row that this table has not."""


def aligned(table: Table, rows: Rows, folder: Path) -> Table:
    """Return the table of ``rows`` in that order, its columns in files of ``folder``; -1 is a row of missing values."""
    names = _names(rows)

    def spread(name: str, column: NDArray[C] | None, missing: NDArray[C] | None = None) -> NDArray[C] | None:
        return None if column is None else _spread(column, rows, folder / f"{name}.npy", missing)

    features = spread("features", table.features)
    ids = spread("ids", table.ids, names)
    assert ids is not None
    assert features is not None
    return Table(
        schema=table.schema.model_copy(update={"rows": len(rows), "missing": {}}),
        ids=ids,
        features=features,
        match_ids=spread("match_ids", table.match_ids, names),
        label=spread("label", table.label),
        weight=spread("weight", table.weight),
    )


def keys_only(table: Table) -> Table:
    """Return the table without features, label and weight."""
    bare = replace(table, label=None, weight=None)
    schema = bare.schema.model_copy(update={"label": None, "weight": None})
    return replace(bare, schema=schema).with_features((), np.zeros((len(table), 0)))


def _names(rows: Rows) -> NDArray[np.bytes_]:
    """Return an id for every row, which the rows take that are absent; as narrow as can be where none is."""
    if not np.any(rows < 0):
        return np.zeros(len(rows), "S1")
    return np.array([f"{ABSENT}{i}".encode() if row < 0 else b"" for i, row in enumerate(rows.tolist())])


def _spread(column: NDArray[C], rows: Rows, path: Path, missing: NDArray[C] | None) -> NDArray[C]:
    """Write ``column[rows]`` to ``path``; rows below 0 take what is ``missing``, a number per row or NaN."""
    dtype = column.dtype if missing is None else np.promote_types(column.dtype, missing.dtype)
    shape = (len(rows), *column.shape[1:])
    if 0 in shape:
        return np.zeros(shape, dtype)
    target = np.lib.format.open_memmap(path, "w+", dtype, shape)
    step = max(1, BLOCK_BYTES // max(1, column[:1].nbytes))
    for at in range(0, len(rows), step):
        block = rows[at : at + step]
        here = np.flatnonzero(block >= 0)
        target[at + here] = column[block[here]]
        absent = np.flatnonzero(block < 0)
        target[at + absent] = np.nan if missing is None else missing[at + absent]
    target.flush()
    del target
    spread: NDArray[C] = np.load(path, mmap_mode="r", allow_pickle=False)
    return spread
