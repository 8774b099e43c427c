"""What the tests of components share: small tables, a task of all its parties, the documents that it wrote."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.table import Schema, Table
from partyd.types import ARBITER, GUEST, HOST, Address

G, H, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)


def table(
    ids: Sequence[str],
    features: Mapping[str, Sequence[float]],
    label: Sequence[float] | None = None,
    *,
    match: Sequence[str] | None = None,
    weight: Sequence[float] | None = None,
) -> Table:
    """Return a table of the given columns; the label is called ``y``, the match id ``uid``, the weight ``w``."""
    columns = np.array(list(features.values()), dtype=np.float64).T.reshape(len(ids), len(features))
    return Table(
        schema=Schema(
            rows=len(ids),
            features=tuple(features),
            label=None if label is None else "y",
            match_id=None if match is None else "uid",
            weight=None if weight is None else "w",
        ),
        ids=np.array([i.encode() for i in ids], dtype=None if ids else "S1"),
        features=columns,
        match_ids=None if match is None else np.array([i.encode() for i in match]),
        label=None if label is None else np.array(label, dtype=np.float64),
        weight=None if weight is None else np.array(weight, dtype=np.float64),
    )


def saved(folder: Path, name: str, rows: Table) -> Path:
    """Write a table and return where it lies."""
    rows.save(folder / name)
    return folder / name


def task(name: str, seats: Mapping[Address, Seat], folder: Path, stage: Stage = "default", **more: Any) -> TaskRun:
    """Run a component at every seat."""
    return asyncio.run(simulate_task(COMPONENTS[name], seats, folder, stage=stage, **more))


def document(done: TaskRun, address: Address, name: str = "metric") -> dict[str, Any]:
    """Return a document that the task wrote at ``address``."""
    loaded = json.loads((done.outputs[address] / f"{name}.json").read_bytes())
    assert isinstance(loaded, dict)
    return loaded


def output(done: TaskRun, address: Address, port: str = "output_data") -> Table:
    """Return the table that the task gave out at ``address``."""
    return Table.load(done.outputs[address] / port)
