"""A job as its user writes it: FATE 2.x's DAG, as pydantic models.

They say what a document may hold; whether it makes sense (names, references, ports, parameters) is for
`partyd.dag.checks`. What differs by party is asked for with an address: `Dag.artifacts`, `Dag.parameters`,
`Dag.task_conf`. A field written as one value or as a list is always a tuple here, and null is the same as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from partyd.components.base import Component, JsonObject, Stage
from partyd.dag.inputs import (
    MAX_PARTIES,
    Artifact,
    Inputs,
    ModelSource,
    Origin,
    Outputs,
    PartyGroups,
    Source,
    among,
    several,
)
from partyd.dag.job_conf import JobConf, Part, TaskConf, TaskSettings, number_as_text, task_conf
from partyd.errors import JobRejected
from partyd.types import Address

MAX_TASKS = 500
TASK_NAME = re.compile(r"(?!\.{1,2}\Z)[0-9A-Za-z_.-]{1,128}\Z")
"""It stands in the header of every message of the task, where an empty name would mean the job itself, and in paths."""


class Task(Part):
    """One node of the DAG."""

    component_ref: str
    dependent_tasks: Annotated[tuple[str, ...], BeforeValidator(several), Field(max_length=MAX_TASKS)] = ()
    parameters: JsonObject = Field(default_factory=dict)
    inputs: Inputs = Inputs()
    outputs: Outputs = Outputs()
    parties: PartyGroups = ()
    stage: Stage | None = None
    conf: TaskSettings = TaskSettings()

    def artifacts(self) -> dict[str, Artifact]:
        """Return the common inputs by port, whichever group (data, model) they were written under."""
        return self.inputs.artifacts()


class PartyTask(Part):
    """What one group of parties sets differently in one task."""

    parameters: JsonObject = Field(default_factory=dict)
    inputs: Inputs = Inputs()
    conf: TaskSettings = TaskSettings()


class PartyTasks(Part):
    """What one group of parties sets differently."""

    parties: PartyGroups = ()
    tasks: dict[str, PartyTask] = Field(default_factory=dict, max_length=MAX_TASKS)
    conf: TaskSettings = TaskSettings()

    def names(self, address: Address) -> bool:
        """Return whether ``address`` is in the group."""
        return among(self.parties, address)


class Dag(Part):
    """The body of a job."""

    parties: PartyGroups = Field(min_length=1)
    tasks: dict[str, Task] = Field(min_length=1, max_length=MAX_TASKS)
    party_tasks: dict[str, PartyTasks] = Field(default_factory=dict, max_length=2 * MAX_PARTIES)
    stage: Stage = "train"
    conf: JobConf = JobConf()

    def addresses(self) -> list[Address]:
        """Return every address that takes part, in the order written."""
        return [address for group in self.parties for address in group.addresses()]

    def order(self) -> list[str]:
        """Return the tasks so that each comes after those it depends on; raises JobRejected for a cycle."""
        try:
            return list(TopologicalSorter({name: self.dependencies(name) for name in self.tasks}).static_order())
        except CycleError as error:
            raise JobRejected(
                f"dag.tasks: tasks wait for each other in a circle: {' -> '.join(error.args[1])}"
            ) from error

    def dependencies(self, task: str) -> set[str]:
        """Return the tasks that ``task`` waits for, at whichever party."""
        own = (group.tasks[task].inputs for group in self.party_tasks.values() if task in group.tasks)
        artifacts = [a for inputs in (self.tasks[task].inputs, *own) for a in inputs.artifacts().values()]
        named = {source.producer_task for artifact in artifacts for source in artifact.sources()}
        return named | set(self.tasks[task].dependent_tasks)

    def stage_of(self, task: str) -> Stage:
        """Return the stage of a task: its own, or the job's."""
        return self.tasks[task].stage or self.stage

    def names(self, task: str, address: Address) -> bool:
        """Return whether the job lists ``address`` for ``task``, whatever the component's roles."""
        named = self.tasks[task].parties
        return not named or among(named, address)

    def takes_part(self, task: str, address: Address, component: Component) -> bool:
        """Return whether ``address`` runs ``task``."""
        return self.names(task, address) and bool(address.role & component.roles)

    def parameters(self, task: str, address: Address) -> JsonObject:
        """Return the parameters of ``task`` at ``address``: the common ones, then what its groups set."""
        merged = dict(self.tasks[task].parameters)
        for group in self.groups_of(address):
            if task in group.tasks:
                merged.update(group.tasks[task].parameters)
        return merged

    def meant(self, task: str, address: Address) -> dict[str, tuple[Origin, ...]]:
        """Return, by port, what is written for ``task`` at ``address``: what its groups say, else what is said for all.

        A model's id and version are filled in from the job's conf. A port with nothing for this address is left out.
        """
        found = self.tasks[task].artifacts()
        for group in self.groups_of(address):
            if task in group.tasks:
                found |= group.tasks[task].inputs.artifacts()
        meant = {
            port: tuple(self._complete(origin) for origin in artifact.origins() if origin.names(address))
            for port, artifact in found.items()
        }
        return {port: origins for port, origins in meant.items() if origins}

    def artifacts(
        self, task: str, address: Address, components: Mapping[str, Component]
    ) -> dict[str, tuple[Origin, ...]]:
        """Return, by port, what ``task`` reads at ``address``: of what is meant for it, what it has.

        An output of a task that ``address`` does not run, or that the task does not give to its role, is left out.
        """
        had = {
            port: tuple(o for o in origins if not isinstance(o, Source) or self.gives(o, address, components))
            for port, origins in self.meant(task, address).items()
        }
        return {port: origins for port, origins in had.items() if origins}

    def gives(self, source: Source, address: Address, components: Mapping[str, Component]) -> bool:
        """Return whether ``source`` is an output that its task gives at ``address``."""
        producer = self.tasks.get(source.producer_task)
        component = components.get(producer.component_ref) if producer else None
        if component is None or not self.takes_part(source.producer_task, address, component):
            return False
        return any(p.name == source.output_artifact_key and p.roles & address.role for p in component.outputs)

    def _complete(self, origin: Origin) -> Origin:
        if not isinstance(origin, ModelSource) or origin.model_id is not None:
            return origin
        default = self.conf.model_warehouse
        version = origin.model_version or default.model_version or "0"
        return origin.model_copy(update={"model_id": default.model_id, "model_version": version})

    def groups_of(self, address: Address) -> tuple[PartyTasks, ...]:
        """Return the groups that set something for ``address``, later ones going first."""
        return self._groups.get(address, ())

    @cached_property
    def _groups(self) -> dict[Address, tuple[PartyTasks, ...]]:
        groups = self.party_tasks.values()
        return {a: tuple(group for group in groups if group.names(a)) for a in self.addresses()}

    def task_conf(self, task: str, address: Address) -> TaskConf:
        """Return how ``task`` is run at ``address``."""
        groups = self.groups_of(address)
        own = [group.tasks[task].conf for group in groups if task in group.tasks]
        return task_conf(self.conf, (self.tasks[task].conf, *(group.conf for group in groups), *own))

    def remarks(self) -> Iterator[str]:
        """Yield a sentence for each setting that was written and changes nothing here."""
        yield from self.conf.remarks("dag.conf")
        for name, task in self.tasks.items():
            yield from task.conf.remarks(f"dag.tasks.{name}.conf")
        for label, group in self.party_tasks.items():
            yield from group.conf.remarks(f"dag.party_tasks.{label}.conf")
            for name, own in group.tasks.items():
                yield from own.conf.remarks(f"dag.party_tasks.{label}.tasks.{name}.conf")


class JobSpec(Part):
    """A job as submitted."""

    dag: Dag
    schema_version: str = Field(default="2.2.0", max_length=64)
    kind: str = Field(default="fate", max_length=64)

    def to_json(self) -> str:
        """Return the job as text without what is default: what a peer is offered, read with `read_dag`."""
        return self.model_dump_json(exclude_defaults=True)

    @field_validator("schema_version", mode="before")
    @classmethod
    def _version_as_text(cls, value: object) -> object:
        return str(value) if isinstance(value, float) else number_as_text(value)

    @field_validator("schema_version")
    @classmethod
    def _version_is_two(cls, value: str) -> str:
        if value != "2" and not value.startswith("2."):
            raise ValueError(f"version {value!r} is not read; write the job for schema_version 2.x, such as 2.2.0")
        return value

    @field_validator("kind")
    @classmethod
    def _kind_is_fate(cls, value: str) -> str:
        if value == "bfia":
            raise ValueError("jobs of the kind bfia are not run; write the job with FATE's components and kind fate")
        if value != "fate":
            raise ValueError(f"there is no kind {value!r}; leave it out or write fate")
        return value


def remarks(spec: JobSpec) -> list[str]:
    """Return a sentence for each field of a job that is accepted and changes nothing here."""
    return list(spec.dag.remarks())
