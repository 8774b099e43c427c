"""Run one task of every party in this process, on files in a folder: how components are tested.

As `partyd.federation.simulate` runs algorithms: same network, same faults; a party that dies starts its task again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partyd.components.base import Component, Stage, TaskContext, Training
from partyd.components.limits import NO_LIMITS, Limits
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.federation.driver import Driver
from partyd.federation.party import Party
from partyd.federation.simulate import (
    Crash,
    Faults,
    MemoryJournal,
    MemoryNetwork,
    MemoryPost,
    MemoryReporter,
    Sent,
    Transcript,
)
from partyd.types import Address


@dataclass(frozen=True)
class Tables:
    """A data source of tables in memory, by (namespace, name)."""

    uploaded: Mapping[tuple[str, str], Table] = field(default_factory=dict)

    def open_table(self, namespace: str, name: str) -> Table:
        """Return the table; raises DataError when there is none."""
        if (namespace, name) not in self.uploaded:
            raise DataError(f"there is no table {namespace}.{name}; upload it first")
        return self.uploaded[namespace, name]


@dataclass(frozen=True)
class TaskRun:
    """What a simulated task gave: a folder of outputs per party, what crossed the wire, what was reported."""

    outputs: Mapping[Address, Path]
    transcript: Transcript
    reports: Mapping[Address, MemoryReporter]


@dataclass(frozen=True)
class Seat:
    """One party's side of a task: parameters (as written in a job), inputs, uploaded tables, its policy's floors."""

    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Path | tuple[Path, ...]] = field(default_factory=dict)
    source: Tables = field(default_factory=Tables)
    limits: Limits = NO_LIMITS
    producers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    trainings: Mapping[str, Training] = field(default_factory=dict)

    def sources(self) -> dict[str, tuple[Path, ...]]:
        """Return the inputs as a worker gets them: each port's sources, of which there may be several."""
        return {port: path if isinstance(path, tuple) else (path,) for port, path in self.inputs.items()}


async def simulate_task(
    component: Component,
    seats: Mapping[Address, Seat],
    folder: Path,
    *,
    stage: Stage = "train",
    faults: Faults | None = None,
    seed: bytes = b"s",
) -> TaskRun:
    """Run ``component`` at every seat to its end; raises what it raises."""
    network = MemoryNetwork(faults or Faults())
    reports = {address: MemoryReporter() for address in seats}
    outputs = {address: folder / f"{address.party_id}-{address.role.label}" for address in seats}

    async def live(address: Address, seat: Seat) -> None:
        journal = MemoryJournal()
        own_seed = hashlib.sha256(seed + str(address).encode()).digest()
        for life in range(2):
            crash = network.faults.crash
            post = MemoryPost(network, crash[1] if crash and crash[0] == address and life == 0 else None)
            party = Party(
                address, list(seats), post, reports[address], job="job", task="task", attempt=0, seed=own_seed
            )
            driver = await Driver.open(party, journal)
            params = component.params.model_validate(seat.params)
            context = TaskContext(
                party,
                driver,
                params,
                seat.sources(),
                outputs[address],
                seat.source,
                stage,
                seat.limits,
                seat.producers,
                seat.trainings,
            )
            try:
                await component.run(context)
            except Crash:
                continue
            return

    async with asyncio.TaskGroup() as group:
        for address, seat in seats.items():
            group.create_task(live(address, seat))
    classes = {kind.__name__: kind for algorithm in component.algorithms for kind in algorithm.messages}
    return TaskRun(outputs, Transcript([Sent(i, b) for i, b in network.sent.items()], classes), reports)
