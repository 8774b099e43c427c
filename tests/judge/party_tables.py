"""Tables for the judge's scripts: scikit-learn's breast cancer data, cut between a guest and a host as FATE cuts it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from partyd.cli import example_tables

GUEST_FEATURES = 10
HOMO_ROWS = 227
"""Rows of each party where both have all columns."""
EXTRA_ROWS = 20
"""Rows that only one party has, so that an intersection is smaller than either table."""


def write_tables(folder: Path) -> None:
    """Write breast_hetero_{guest,host}.csv, their halves for unions, breast_homo_*.csv, and our examples' tables."""
    example_tables.write_tables(folder)
    data = load_breast_cancer()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    ids = np.arange(len(x))
    guest = [f"{i},{y},{_row(v[:GUEST_FEATURES])}" for i, y, v in zip(ids, data.target, x, strict=True)]
    host = [f"{i},{_row(v[GUEST_FEATURES:])}" for i, v in zip(ids, x, strict=True)]
    guest_head = "id,y," + ",".join(f"x{i}" for i in range(GUEST_FEATURES))
    host_head = "id," + ",".join(f"x{i}" for i in range(x.shape[1] - GUEST_FEATURES))
    _write(folder / "breast_hetero_guest.csv", guest_head, guest[:-EXTRA_ROWS])
    _write(folder / "breast_hetero_host.csv", host_head, host[EXTRA_ROWS:])
    _write(folder / "guest_part_1.csv", guest_head, guest[:200])
    _write(folder / "guest_part_2.csv", guest_head, guest[200:500])
    _write(folder / "host_part_1.csv", host_head, host[:200])
    _write(folder / "host_part_2.csv", host_head, host[200:500])
    whole = [f"{i},{y},{_row(v)}" for i, y, v in zip(ids, data.target, x, strict=True)]
    whole_head = "id,y," + ",".join(f"x{i}" for i in range(x.shape[1]))
    _write(folder / "breast_homo_guest.csv", whole_head, whole[:HOMO_ROWS])
    _write(folder / "breast_homo_host.csv", whole_head, whole[HOMO_ROWS : 2 * HOMO_ROWS])


COMMON_ROWS = 569 - 2 * EXTRA_ROWS


def _row(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return ",".join(f"{value:.6f}" for value in values)


def _write(path: Path, head: str, lines: list[str]) -> None:
    path.write_text("\n".join([head, *lines]) + "\n")
