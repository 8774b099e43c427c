"""The shell of a task: typed artifacts in, parameters, algorithms, artifacts and metrics out.

A component's name, parameters and ports are FATE 2.x's. It names the algorithms that it runs, which declare
what every role learns. ``run`` is called in a worker process with a `TaskContext` and may be called again after
a crash: the driver resumes its algorithms, and outputs are written whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from partyd.components.limits import NO_LIMITS, Limits
from partyd.errors import TaskFailed
from partyd.federation.algorithm import Algorithm, Params
from partyd.federation.driver import Driver
from partyd.federation.party import Party
from partyd.types import Role

if TYPE_CHECKING:
    from partyd.data.table import Table

JsonObject = dict[str, Any]
Stage = Literal["train", "predict", "cross_validation", "default"]


class Kind(Enum):
    """What a port carries."""

    DATA = "data"
    MODEL = "model"


@dataclass(frozen=True)
class Port:
    """A named input or output; ``roles`` says for whom it exists.

    An input that is not ``optional`` must be connected in every stage, an optional one in the stages of ``needed``.
    ``stages`` are those in which the port has a meaning (none named: in all); ``several`` says that an input takes a
    list of sources, and that an output is a list of artifacts.
    """

    name: str
    kind: Kind
    roles: Role
    optional: bool = False
    needed: tuple[Stage, ...] = ()
    stages: tuple[Stage, ...] = ()
    several: bool = False

    def needed_in(self, stage: str) -> bool:
        """Return whether a task of ``stage`` cannot do without this input."""
        return not self.optional or stage in self.needed


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
    metric: str = "summary"
    """What FATE calls the document ``metric`` that a task of this component writes."""
    alone_if: tuple[tuple[str, object], ...] = ()
    """Parameters and values with which a party needs no other for this task, although there are algorithms."""
    agreed: tuple[str, ...] = ()
    """Parameters (``outer.inner``, or properties of the parameters) that must be equal at all parties of the task: they
    decide which messages are exchanged, and of what form. A job whose parties differ in one is refused."""
    model_schema: int = 1
    """The version of the form of its model documents; raised when an older partyd could not read them."""


class DataSource(Protocol):
    """Where a task finds tables that were uploaded to this party."""

    def open_table(self, namespace: str, name: str) -> Table:
        """Return an uploaded table; raises DataError naming it when there is none."""


@dataclass(frozen=True)
class Training:
    """Which training a model comes from: a mark that all its parties share, and who they were."""

    mark: str
    parties: tuple[str, ...]


@dataclass(frozen=True)
class TaskContext:
    """Everything a component may touch."""

    party: Party
    driver: Driver
    params: Params
    inputs: Mapping[str, tuple[Path, ...]]
    outputs: Path
    source: DataSource
    stage: Stage = "train"
    limits: Limits = NO_LIMITS
    producers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For each input port the tasks that its sources come from, in the order of ``inputs``."""
    trainings: Mapping[str, Training] = field(default_factory=dict)
    """For each input port with one model the training it comes from, where that is known."""

    def producers_of(self, port: str) -> tuple[str, ...]:
        """Return the tasks that the sources of ``port`` come from; empty when that is not known."""
        return self.producers.get(port, ())

    def has_input(self, port: str) -> bool:
        """Return whether the job connects ``port`` at this party."""
        return bool(self.inputs.get(port))

    def read_table(self, port: str) -> Table:
        """Open the one table at an input port."""
        tables = self.read_tables(port)
        if len(tables) != 1:
            raise TaskFailed(f"the input {port} has {len(tables)} tables, not one; join them with union first")
        return tables[0]

    def read_tables(self, port: str) -> tuple[Table, ...]:
        """Open every table at an input port, in the order in which the job names their producers."""
        from partyd.data.table import Table  # here, for numpy comes with it and only workers read tables

        return tuple(Table.load(folder) for path in self._input(port) for folder in stored_tables(path))

    def write_table(self, port: str, table: Table) -> None:
        """Give a table out at an output port."""
        table.save(self.outputs / port)

    def write_tables(self, port: str, tables: Sequence[Table]) -> None:
        """Give several tables out at one output port: folders ``0``, ``1``, ... in the port's folder."""
        for i, table in enumerate(tables):
            table.save(self.outputs / port / str(i))

    def read_model(self, port: str) -> JsonObject:
        """Read the one model document at an input port."""
        models = self.read_models(port)
        if len(models) != 1:
            raise TaskFailed(f"the input {port} has {len(models)} models, not one; name one producer")
        return models[0]

    def read_models(self, port: str) -> tuple[JsonObject, ...]:
        """Read every model document at an input port, in the order in which the job names their producers."""
        documents = [json.loads(path.with_suffix(".json").read_bytes()) for path in self._input(port)]
        if not all(isinstance(document, dict) for document in documents):
            raise TaskFailed(f"the model at {port} is not a JSON object")
        return tuple(documents)

    def write_model(self, port: str, document: JsonObject) -> None:
        """Give a model out: a JSON object, written in one canonical form so that equal models have equal bytes."""
        self.write_document(port, document)

    def write_files(self, port: str, files: Mapping[str, bytes]) -> None:
        """Give files out at a model port: a folder of that name, which appears whole."""
        partial = self.outputs / f"{port}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        shutil.rmtree(self.outputs / port, ignore_errors=True)
        partial.rename(self.outputs / port)

    def write_document(self, name: str, document: JsonObject) -> None:
        """Keep a JSON document (metrics, summaries) with this task's outputs."""
        self.outputs.mkdir(parents=True, exist_ok=True)
        partial = self.outputs / f"{name}.json.partial"
        partial.write_text(json.dumps(document, sort_keys=True, allow_nan=False, indent=1))
        partial.rename(self.outputs / f"{name}.json")

    def _input(self, port: str) -> tuple[Path, ...]:
        if not self.has_input(port):
            raise TaskFailed(f"the input {port} is not connected; name its producer under inputs in the job's DAG")
        return self.inputs[port]


def stored_tables(path: Path) -> tuple[Path, ...]:
    """Return the folders of the tables that ``write_table`` (one) or ``write_tables`` (several) left at ``path``."""
    if (path / "schema.json").exists() or not path.is_dir():
        return (path,)
    return tuple(sorted((folder for folder in path.iterdir() if folder.name.isdecimal()), key=lambda f: int(f.name)))
