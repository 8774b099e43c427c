"""Whether a job makes sense: every mistake in a readable DAG, each with its path.

Names (tasks, components, parties, ports), references between tasks, who gives what to whom, and parameters. All of it
follows from what the components declare; nothing here knows a component by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from partyd.components.base import Component, JsonObject, Kind, Port
from partyd.dag.agreement import disagreements
from partyd.dag.dag import TASK_NAME, Dag, Task
from partyd.dag.inputs import (
    MAX_PARTIES,
    Artifact,
    Inputs,
    ModelSource,
    Origin,
    Outputs,
    Parties,
    Source,
    TableSource,
)
from partyd.dag.job_conf import Conf
from partyd.dag.places import Places, Step, describe, near, nearest, shown
from partyd.errors import JobRejected, Mistake
from partyd.types import ARBITER, GUEST, HOST, Address, Role

SURE = 0.75
"""How near an unknown setting must be to a known one to be called a misspelling of it."""


def check(
    dag: Dag, components: Mapping[str, Component], places: Places, unread: frozenset[str] = frozenset()
) -> list[Mistake]:
    """Return every mistake in ``dag``; ``unread`` names tasks that exist and about which nothing can be said."""
    checks = _Checks(dag, components, places, unread)
    return list(dict.fromkeys(checks.all()))


def needed_roles(component: Component, stage: str) -> Role:
    """Return the roles without which a component's algorithms cannot run; prediction does without the arbiter."""
    roles = Role(0)
    for algorithm in component.algorithms:
        for role in algorithm.programs:
            roles |= role
    return roles & ~ARBITER if stage == "predict" else roles


@dataclass(frozen=True)
class _Checks:
    dag: Dag
    components: Mapping[str, Component]
    places: Places
    unread: frozenset[str]
    addresses: list[Address] = field(init=False)
    names: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "addresses", self.dag.addresses())
        object.__setattr__(self, "names", frozenset(self.dag.tasks) | self.unread)

    def at(self, *steps: Step) -> str:
        return self.places.path("dag", *steps)

    def all(self) -> Iterator[Mistake]:
        yield from self.job_parties()
        yield from self.job_conf()
        for name, task in self.dag.tasks.items():
            yield from self.task(name, task)
        yield from self.groups()
        try:
            self.dag.order()
        except JobRejected as error:
            yield Mistake("dag.tasks", str(error).removeprefix("dag.tasks: "), "take one of these inputs away")

    def job_parties(self) -> Iterator[Mistake]:
        if len(set(self.addresses)) != len(self.addresses):
            twice = next(a for a in self.addresses if self.addresses.count(a) > 1)
            yield Mistake("dag.parties", f"{twice} is named twice", "name each party of a role once")
        if len(self.addresses) > MAX_PARTIES:
            yield Mistake("dag.parties", f"there are {len(self.addresses)} parties", f"at most {MAX_PARTIES} take part")
        if not any(address.role is GUEST for address in self.addresses):
            yield Mistake("dag.parties", "a job needs a guest", "name the party that has the labels as the guest")

    def job_conf(self) -> Iterator[Mistake]:
        yield from self.misspelt(self.dag.conf, "conf")
        yield from self.misspelt(self.dag.conf.task, "conf", "task")
        inheritance = self.dag.conf.inheritance
        for i, name in enumerate(inheritance.task_list if inheritance else ()):
            yield from self.known_task(name, "conf", "inheritance", "task_list", i)

    def misspelt(self, conf: Conf, *steps: Step) -> Iterator[Mistake]:
        for name in conf.model_extra or {}:
            meant = near(name, type(conf).model_fields, SURE)
            if meant:
                yield Mistake(self.at(*steps, name), "no such setting", f"did you mean {meant!r}?")

    def known_task(self, name: str, *steps: Step) -> Iterator[Mistake]:
        if name not in self.names:
            yield Mistake(self.at(*steps), f"no task {shown(name)}", nearest(name, self.names))

    def known_parties(self, groups: Iterable[Parties], *steps: Step) -> Iterator[Mistake]:
        for i, group in enumerate(groups):
            for address in group.addresses():
                if address not in self.addresses:
                    hint = nearest(str(address), map(str, self.addresses))
                    yield Mistake(self.at(*steps, i), f"{address} is not among the job's parties", hint)

    def task(self, name: str, task: Task) -> Iterator[Mistake]:
        where: tuple[Step, ...] = ("tasks", name)
        if not TASK_NAME.match(name):
            yield Mistake(self.at(*where), "a task's name is 1 to 128 of 0-9 A-Z a-z _ . -", "give it another name")
        yield from self.misspelt(task.conf, *where, "conf")
        yield from self.known_parties(task.parties, *where, "parties")
        for i, other in enumerate(task.dependent_tasks):
            yield from self.known_task(other, *where, "dependent_tasks", i)
        component = self.components.get(task.component_ref)
        if component is None:
            message = f"no component {shown(task.component_ref)}"
            yield Mistake(self.at(*where, "component_ref"), message, nearest(task.component_ref, self.components))
            return
        yield from self.inputs(task.inputs, component, self.dag.stage_of(name), *where, "inputs")
        yield from self.outputs(task.outputs, component, *where, "outputs")
        yield from self.roles(name, component)
        yield from self.parameters(name, component)
        if not self.is_alone(name, component):
            yield from disagreements(self.dag, name, component, self.taking_part(name, component), self.at)
        yield from self.connections(name, component)

    def taking_part(self, name: str, component: Component) -> list[Address]:
        return [address for address in self.addresses if self.dag.takes_part(name, address, component)]

    def roles(self, name: str, component: Component) -> Iterator[Mistake]:
        present = Role(0)
        for address in self.taking_part(name, component):
            present |= address.role
        needed = Role(0) if self.is_alone(name, component) else needed_roles(component, self.dag.stage_of(name))
        for role in (GUEST, HOST, ARBITER):
            if role & needed and not role & present:
                listed = any(address.role is role for address in self.addresses)
                where = self.at("tasks", name, "parties") if listed else "dag.parties"
                hint = f"add the {role.label} to the {'task' if listed else 'job'}'s parties"
                yield Mistake(where, f"{component.name} ({shown(name)}) needs the role {role.label}", hint)
        if not present and not needed:
            yield Mistake(self.at("tasks", name), f"no party runs {component.name}", "name parties of its roles")

    def is_alone(self, name: str, component: Component) -> bool:
        """Return whether each party does this task by itself, by what its parameters say."""
        wanted = component.alone_if
        given = [self.dag.parameters(name, address) for address in self.taking_part(name, component)]
        return bool(wanted) and all(own.get(key) == value for own in given for key, value in wanted)

    def outputs(self, outputs: Outputs, component: Component, *steps: Step) -> Iterator[Mistake]:
        for kind, keys in ((Kind.DATA, outputs.data), (Kind.MODEL, outputs.model)):
            known = [port.name for port in component.outputs if port.kind is kind]
            for key in keys:
                if key not in known:
                    message = f"{component.name} has no {kind.value} output {shown(key)}"
                    yield Mistake(self.at(*steps, kind.value, key), message, nearest(key, known))

    def inputs(self, inputs: Inputs, component: Component, stage: str, *steps: Step) -> Iterator[Mistake]:
        ports = {port.name: port for port in component.inputs}
        for kind, name, artifact in inputs.groups():
            where = (*steps, kind.value, name)
            port = ports.get(name)
            if port is None:
                yield Mistake(self.at(*where), f"{component.name} has no input {shown(name)}", nearest(name, ports))
                continue
            if port.kind is not kind:
                hint = f"write it under inputs.{port.kind.value}"
                yield Mistake(self.at(*where), f"{name} is {port.kind.value}, not {kind.value}", hint)
            if port.stages and stage not in port.stages:
                hint = f"set the task's stage to {' or '.join(port.stages)}, or take the input away"
                yield Mistake(self.at(*where), f"{component.name} has no input {name!r} in the stage {stage}", hint)
            yield from self.artifact(artifact, port, *where)

    def artifact(self, artifact: Artifact, port: Port, *steps: Step) -> Iterator[Mistake]:
        if not artifact.origins():
            hint = "name a task_output_artifact, a data_warehouse or a model_warehouse"
            yield Mistake(self.at(*steps), "it is connected to nothing", hint)
        for way, origins in (
            ("task_output_artifact", artifact.task_output_artifact),
            ("data_warehouse", artifact.data_warehouse),
            ("model_warehouse", artifact.model_warehouse),
        ):
            for i, origin in enumerate(origins):
                yield from self.known_parties(origin.parties, *steps, way, i, "parties")
                yield from self.origin(origin, port, *steps, way, i)

    def origin(self, origin: Origin, port: Port, *steps: Step) -> Iterator[Mistake]:
        match origin:
            case Source():
                yield from self.source(origin, port, *steps)
            case TableSource():
                if port.kind is not Kind.DATA:
                    yield Mistake(self.at(*steps), f"{port.name} wants a model, not a table", "use model_warehouse")
                if origin.job_id or origin.producer_task or origin.output_artifact_key:
                    hint = "take the task over with dag.conf.inheritance, or name a table by namespace and name"
                    yield Mistake(self.at(*steps), "an earlier job's output is not read by its name", hint)
                elif not (origin.namespace and origin.name):
                    yield Mistake(self.at(*steps), "which table is meant?", "name it by namespace and name")
            case ModelSource():
                if port.kind is not Kind.MODEL:
                    yield Mistake(self.at(*steps), f"{port.name} wants a table, not a model", "use data_warehouse")
                if origin.model_id is None and self.dag.conf.model_warehouse.model_id is None:
                    hint = "name it in dag.conf.model_warehouse: model_id and model_version"
                    yield Mistake(self.at(*steps), "which model is meant?", hint)

    def source(self, source: Source, port: Port, *steps: Step) -> Iterator[Mistake]:
        name, key = source.producer_task, source.output_artifact_key
        yield from self.known_task(name, *steps, "producer_task")
        producer = self.dag.tasks.get(name)
        component = self.components.get(producer.component_ref) if producer else None
        if component is None:
            return
        outputs = {output.name: output for output in component.outputs}
        if key not in outputs:
            message = f"{component.name} ({name}) has no output {shown(key)}"
            yield Mistake(self.at(*steps, "output_artifact_key"), message, nearest(key, outputs))
        elif outputs[key].kind is not port.kind:
            message = f"{shown(key)} is {outputs[key].kind.value}, the input wants {port.kind.value}"
            known = [output.name for output in component.outputs if output.kind is port.kind]
            yield Mistake(self.at(*steps, "output_artifact_key"), message, nearest(key, known))

    def connections(self, name: str, component: Component) -> Iterator[Mistake]:
        """Check, party by party, that each input has what it needs; parties with the same mistake share one."""
        found: dict[Mistake, list[Address]] = {}
        present = self.taking_part(name, component)
        for address in present:
            for mistake in self.connections_at(name, component, address):
                found.setdefault(mistake, []).append(address)
        yield from (_said_of(mistake, where, present) for mistake, where in found.items())

    def connections_at(self, name: str, component: Component, address: Address) -> Iterator[Mistake]:
        meant = self.dag.meant(name, address)
        for port in component.inputs:
            if not port.roles & address.role:
                continue
            written = meant.get(port.name, ())
            given = [o for o in written if not isinstance(o, Source) or self.dag.gives(o, address, self.components)]
            if not written and port.needed_in(self.dag.stage_of(name)):
                hint = f"name where it comes from under inputs.{port.kind.value}"
                message = f"the input {port.name!r} of {component.name} is not connected"
                yield Mistake(self.at("tasks", name, "inputs"), message, hint)
            if len(given) > 1 and not port.several:
                hint = "name one, or say by parties which is whose"
                message = f"{len(given)} sources for one {port.kind.value} input"
                yield Mistake(self.at("tasks", name, "inputs", port.kind.value, port.name), message, hint)
            for origin in written:
                if isinstance(origin, Source) and origin not in given and (origin.parties or not given):
                    where = self.at("tasks", name, "inputs", port.kind.value, port.name)
                    yield from self.not_given(origin, address, where)

    def not_given(self, source: Source, address: Address, where: str) -> Iterator[Mistake]:
        """Say why ``address`` does not have an output that exists; one that does not is said elsewhere."""
        producer = self.dag.tasks.get(source.producer_task)
        component = self.components.get(producer.component_ref) if producer else None
        outputs = {port.name: port for port in component.outputs} if component else {}
        if component is None or source.output_artifact_key not in outputs:
            return
        runs = self.dag.takes_part(source.producer_task, address, component)
        does = f"gives no {source.output_artifact_key} to a {address.role.label}" if runs else "does not run there"
        yield Mistake(where, f"its producer {source.producer_task!r} {does}", "restrict the task's or input's parties")

    def groups(self) -> Iterator[Mistake]:
        for label, group in self.dag.party_tasks.items():
            where: tuple[Step, ...] = ("party_tasks", label)
            if not group.parties and (group.tasks or group.conf != type(group.conf)()):
                yield Mistake(self.at(*where), "it names no parties", "say whom it is for under parties")
            yield from self.known_parties(group.parties, *where, "parties")
            yield from self.misspelt(group.conf, *where, "conf")
            for name, own in group.tasks.items():
                place: tuple[Step, ...] = (*where, "tasks", name)
                yield from self.known_task(name, *place)
                yield from self.misspelt(own.conf, *place, "conf")
                component = self.components.get(self.dag.tasks[name].component_ref) if name in self.dag.tasks else None
                if component is not None:
                    yield from self.inputs(own.inputs, component, self.dag.stage_of(name), *place, "inputs")

    def parameters(self, name: str, component: Component) -> Iterator[Mistake]:
        """Check the parameters at each party that sets its own, and once for those that do not."""
        present = self.taking_part(name, component)
        found: dict[Mistake, list[Address]] = {}
        common: list[Address] = []
        for address in present:
            groups = [
                label
                for label, group in self.dag.party_tasks.items()
                if group.names(address) and name in group.tasks and group.tasks[name].parameters
            ]
            if groups:
                for mistake in self.parameters_at(name, component, self.dag.parameters(name, address), groups):
                    found.setdefault(mistake, []).append(address)
            else:
                common.append(address)
        if common:
            for mistake in self.parameters_at(name, component, self.dag.tasks[name].parameters, []):
                found.setdefault(mistake, []).extend(common)
        yield from (_said_of(mistake, where, present) for mistake, where in found.items())

    def parameters_at(
        self, name: str, component: Component, parameters: JsonObject, groups: list[str]
    ) -> Iterator[Mistake]:
        try:
            component.params.model_validate(parameters)
        except ValidationError as error:
            for mistake in describe(error, component.params, parameters):
                where: tuple[Step, ...] = ("tasks", name)
                for label in groups:
                    if mistake.path.split(".")[0] in self.dag.party_tasks[label].tasks[name].parameters:
                        where = ("party_tasks", label, "tasks", name)
                inside = "" if mistake.path == "the document" else f".{mistake.path}"
                yield Mistake(f"{self.at(*where, 'parameters')}{inside}", mistake.message, mistake.hint)


def _said_of(mistake: Mistake, where: list[Address], present: list[Address]) -> Mistake:
    """Return the mistake with the parties that it concerns, when these are not all."""
    if len(set(where)) == len(present):
        return mistake
    return Mistake(mistake.path, f"{mistake.message} (at {', '.join(map(str, where[:5]))})", mistake.hint)
