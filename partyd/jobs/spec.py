"""A job as its user writes it: FATE 2.x's DAG, as pydantic models.

`read_dag` answers with every mistake at once, each with its path (``dag.tasks.psi_0.inputs``) and, for a misspelt name,
the nearest known one. What it returns has been checked against the registered components: references, roles,
parameters.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from partyd.components.base import Component, JsonObject, Kind, Port
from partyd.errors import JobRejected
from partyd.federation.algorithm import Params
from partyd.types import PARTY_ID_PATTERN, Address, Role

MAX_DAG_BYTES = 1 << 20
MAX_TASKS = 500
TASK_NAME = re.compile(r"[0-9A-Za-z_.-]{1,128}\Z")
"""It stands in the header of every message of the task, where an empty name would mean the job itself."""
MAX_PARTIES = 64
MAX_DEPTH = 100


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Parties(_Part):
    """The parties of one role."""

    role: Literal["guest", "host", "arbiter"]
    party_id: tuple[str, ...] = Field(min_length=1, max_length=MAX_PARTIES)

    @field_validator("party_id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        values = value if isinstance(value, list | tuple) else [value]
        return tuple(str(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in values)

    @field_validator("party_id")
    @classmethod
    def _well_formed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for party_id in value:
            if not PARTY_ID_PATTERN.match(party_id):
                raise ValueError(f"party id {party_id[:80]!r} may hold only 1 to 64 of 0-9 A-Z a-z _ -")
        return value

    def addresses(self) -> list[Address]:
        """Return the address of each party named here."""
        return [Address(party_id, Role.from_label(self.role)) for party_id in self.party_id]


class Source(_Part):
    """Which output of which task an input is connected to."""

    producer_task: str
    output_artifact_key: str
    roles: tuple[str, ...] | None = None
    parties: tuple[Parties, ...] | None = None
    output_artifact_type_alias: str | None = None


class Artifact(_Part):
    """One input of a task."""

    task_output_artifact: Source | tuple[Source, ...] | None = None

    def sources(self) -> tuple[Source, ...]:
        """Return the connected outputs, as a tuple whichever way it was written."""
        found = self.task_output_artifact
        return () if found is None else (found,) if isinstance(found, Source) else found


class Task(_Part):
    """One node of the DAG."""

    component_ref: str
    dependent_tasks: tuple[str, ...] = ()
    parameters: JsonObject = Field(default_factory=dict)
    inputs: dict[str, dict[str, Artifact]] = Field(default_factory=dict)
    parties: tuple[Parties, ...] | None = None
    stage: str | None = None
    conf: JsonObject = Field(default_factory=dict)

    def artifacts(self) -> dict[str, Artifact]:
        """Return the inputs by port name, whichever group (data, model) they were written under."""
        return {name: artifact for group in self.inputs.values() for name, artifact in group.items()}


class PartyTask(_Part):
    """What one group of parties sets differently in one task."""

    parameters: JsonObject = Field(default_factory=dict)
    inputs: dict[str, dict[str, Artifact]] = Field(default_factory=dict)
    conf: JsonObject = Field(default_factory=dict)


class PartyTasks(_Part):
    """What one group of parties sets differently."""

    parties: tuple[Parties, ...] = ()
    tasks: dict[str, PartyTask] = Field(default_factory=dict)
    conf: JsonObject = Field(default_factory=dict)


class Dag(_Part):
    """The body of a job."""

    parties: tuple[Parties, ...] = Field(min_length=1)
    tasks: dict[str, Task] = Field(min_length=1, max_length=MAX_TASKS)
    party_tasks: dict[str, PartyTasks] = Field(default_factory=dict)
    stage: Literal["train", "predict", "default", "cross_validation"] = "train"
    conf: JsonObject = Field(default_factory=dict)

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
        """Return the tasks that ``task`` waits for."""
        spec = self.tasks[task]
        named = {source.producer_task for artifact in spec.artifacts().values() for source in artifact.sources()}
        return named | set(spec.dependent_tasks)

    def takes_part(self, task: str, address: Address, component: Component) -> bool:
        """Return whether ``address`` runs ``task``."""
        named = self.tasks[task].parties
        listed = named is None or any(address in group.addresses() for group in named)
        return listed and bool(address.role & component.roles)

    def parameters(self, task: str, address: Address) -> JsonObject:
        """Return the parameters of ``task`` at ``address``: the common ones, then what its group sets."""
        merged = dict(self.tasks[task].parameters)
        for group in self.party_tasks.values():
            if any(address in parties.addresses() for parties in group.parties) and task in group.tasks:
                merged.update(group.tasks[task].parameters)
        return merged


class JobSpec(_Part):
    """A job as submitted."""

    dag: Dag
    schema_version: str = "2.2.0"
    kind: Literal["fate"] = "fate"


def read_dag(document: object, components: Mapping[str, Component]) -> JobSpec:
    """Return the checked job that a parsed JSON or YAML document describes; raises JobRejected with every mistake."""
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        raise JobRejected("; ".join(_sentence(detail) for detail in error.errors())) from error
    mistakes = list(_mistakes(spec.dag, components))
    if mistakes:
        raise JobRejected("; ".join(mistakes))
    spec.dag.order()
    return spec


def parse_dag_text(text: str, where: str) -> object:
    """Return the document in a YAML or JSON text; raises JobRejected saying where it is broken."""
    if len(text) > MAX_DAG_BYTES:
        raise JobRejected(f"{where} holds {len(text)} characters; at most {MAX_DAG_BYTES} are read")
    try:
        return json.loads(text) if text.lstrip().startswith("{") else _yaml(text)
    except json.JSONDecodeError:
        pass  # YAML's own way of writing a mapping
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobRejected(f"{where} is neither YAML nor JSON: {error}") from error
    try:
        return _yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobRejected(f"{where} is neither YAML nor JSON: {error}") from error


def _yaml(text: str) -> object:
    """Return a plain YAML document: no aliases (a few lines of them name a million nodes), no depth without bound."""
    depth = 0
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write out what they stand for")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} levels deep")
    return yaml.load(text, _LOADER)  # noqa: S506 - a SafeLoader, in C where that is there


_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_parameters(component: Component, parameters: JsonObject, where: str) -> Params:
    """Return the typed parameters of a component; raises JobRejected naming each mistake and the nearest known name."""
    try:
        return component.params.model_validate(parameters)
    except ValidationError as error:
        known = list(component.params.model_fields)
        raise JobRejected("; ".join(_sentence(d, where, known) for d in error.errors())) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or the list of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known) or 'none'}"


def _sentence(detail: Any, where: str = "", known: Iterable[str] = ()) -> str:
    place = ".".join([*([where] if where else []), *(str(part) for part in detail["loc"])])
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])
        return f"{place}: no such field; {nearest(name, known or _fields_near(detail['loc']))}"
    return f"{place}: {detail['msg']}"


def _fields_near(place: tuple[int | str, ...]) -> list[str]:
    models: tuple[type[BaseModel], ...] = (JobSpec, Dag, Task, PartyTasks, PartyTask, Parties, Artifact, Source)
    by_depth: dict[int, type[BaseModel]] = {1: JobSpec, 2: Dag}
    chosen = by_depth.get(len(place))
    return list(chosen.model_fields) if chosen else sorted({name for model in models for name in model.model_fields})


def _mistakes(dag: Dag, components: Mapping[str, Component]) -> Iterable[str]:
    addresses = dag.addresses()
    if len(set(addresses)) != len(addresses):
        yield "dag.parties: an address is named twice"
    if not any(address.role is Role.GUEST for address in addresses):
        yield "dag.parties: a job needs a guest"
    for name, task in dag.tasks.items():
        where = f"dag.tasks.{name}"
        if not TASK_NAME.match(name):
            yield f"{where[:200]}: a task's name is 1 to 128 of 0-9 A-Z a-z _ . -"
        component = components.get(task.component_ref)
        if component is None:
            hint = nearest(task.component_ref, components)
            yield f"{where}.component_ref: no component {task.component_ref!r}; {hint}"
            continue
        for other in task.dependent_tasks:
            if other not in dag.tasks:
                yield f"{where}.dependent_tasks: no task {other!r}; {nearest(other, dag.tasks)}"
        yield from _input_mistakes(dag, where, task, component, components)
        for address in addresses:
            if dag.takes_part(name, address, component):
                try:
                    read_parameters(component, dag.parameters(name, address), f"{where}.parameters ({address})")
                except JobRejected as error:
                    yield str(error)
    for group, settings in dag.party_tasks.items():
        for name in settings.tasks:
            if name not in dag.tasks:
                yield f"dag.party_tasks.{group}.tasks: no task {name!r}; {nearest(name, dag.tasks)}"


def _input_mistakes(
    dag: Dag, where: str, task: Task, component: Component, components: Mapping[str, Component]
) -> Iterable[str]:
    ports = {port.name: port for port in component.inputs}
    given = task.artifacts()
    for name, artifact in given.items():
        if name not in ports:
            yield f"{where}.inputs: {task.component_ref} has no input {name!r}; {nearest(name, ports)}"
            continue
        for source in artifact.sources():
            yield from _source_mistakes(dag, f"{where}.inputs.{name}", source, ports[name].kind, components)
    for port in component.inputs:
        if not port.optional and port.name not in given:
            yield f"{where}.inputs: the input {port.name!r} of {task.component_ref} is not connected"


def _source_mistakes(
    dag: Dag, where: str, source: Source, kind: Kind, components: Mapping[str, Component]
) -> Iterable[str]:
    producer = dag.tasks.get(source.producer_task)
    if producer is None:
        yield f"{where}: no task {source.producer_task!r}; {nearest(source.producer_task, dag.tasks)}"
        return
    component = components.get(producer.component_ref)
    if component is None:
        return
    outputs: dict[str, Port] = {port.name: port for port in component.outputs}
    key = source.output_artifact_key
    if key not in outputs:
        yield f"{where}: {producer.component_ref} has no output {key!r}; {nearest(key, outputs)}"
    elif outputs[key].kind is not kind:
        yield f"{where}: {key!r} is {outputs[key].kind.value}, the input wants {kind.value}"
