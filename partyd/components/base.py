"""The shell of a task: typed artifacts in, parameters, algorithms, artifacts and metrics out.

A component's name, parameters and ports are FATE 2.x's. It names the algorithms that it runs, which declare
what every role learns. ``run`` is called in a worker process with a `TaskContext` and may be called again after
a crash: the driver resumes its algorithms, and outputs are written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from partyd.errors import TaskFailed
from partyd.federation.algorithm import Algorithm, Params
from partyd.federation.driver import Driver
from partyd.federation.party import Party
from partyd.types import Role

if TYPE_CHECKING:
    from partyd.data.table import Table

JsonObject = dict[str, Any]


class Kind(Enum):
    """What a port carries."""

    DATA = "data"
    MODEL = "model"


@dataclass(frozen=True)
class Port:
    """A named input or output; ``roles`` says for whom it exists."""

    name: str
    kind: Kind
    roles: Role
    optional: bool = False


@dataclass(frozen=True)
class Component:
    """What a task can be; registered once in `partyd.components`."""

    name: str
    roles: Role
    params: type[Params]
    run: Callable[[TaskContext], Awaitable[None]]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()
    algorithms: tuple[Algorithm[Any], ...] = ()


class DataSource(Protocol):
    """Where a task finds tables that were uploaded to this party."""

    def open_table(self, namespace: str, name: str) -> Table:
        """Return an uploaded table; raises DataError naming it when there is none."""


@dataclass(frozen=True)
class TaskContext:
    """Everything a component may touch."""

    party: Party
    driver: Driver
    params: Params
    inputs: Mapping[str, Path]
    outputs: Path
    source: DataSource
    stage: Literal["train", "predict", "default"] = "train"

    def has_input(self, port: str) -> bool:
        """Return whether the job connects ``port`` at this party."""
        return port in self.inputs

    def read_table(self, port: str) -> Table:
        """Open the table at an input port."""
        from partyd.data.table import Table  # here, for numpy comes with it and only workers read tables

        return Table.load(self._input(port))

    def write_table(self, port: str, table: Table) -> None:
        """Give a table out at an output port."""
        table.save(self.outputs / port)

    def read_model(self, port: str) -> JsonObject:
        """Read the model document at an input port."""
        document = json.loads(self._input(port).with_suffix(".json").read_bytes())
        if not isinstance(document, dict):
            raise TaskFailed(f"the model at {port} is not a JSON object")
        return document

    def write_model(self, port: str, document: JsonObject) -> None:
        """Give a model out: a JSON object, written in one canonical form so that equal models have equal bytes."""
        self.write_document(port, document)

    def write_document(self, name: str, document: JsonObject) -> None:
        """Keep a JSON document (metrics, summaries) with this task's outputs."""
        self.outputs.mkdir(parents=True, exist_ok=True)
        partial = self.outputs / f"{name}.json.partial"
        partial.write_text(json.dumps(document, sort_keys=True, allow_nan=False, indent=1))
        partial.rename(self.outputs / f"{name}.json")

    def _input(self, port: str) -> Path:
        if port not in self.inputs:
            raise TaskFailed(f"the input {port} is not connected; name its producer under inputs in the job's DAG")
        return self.inputs[port]
