"""What a job reads of a party: tables by name, outputs of earlier jobs, models. All of it stands in the DAG."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from partyd.components.base import Component, JsonObject
from partyd.dag.dag import Dag, JobSpec
from partyd.dag.inputs import ModelSource, TableSource
from partyd.governance.policy_rules import DatasetName
from partyd.types import Address

Resolve = Callable[[DatasetName], DatasetName]
MAKER = "dataframe_transformer"
"""Its parameters name the table that it makes; what it reads is connected to it."""


@dataclass(frozen=True)
class Needs:
    """What a job reads at one party, each named as the job names it."""

    tables: tuple[DatasetName, ...] = ()
    jobs: tuple[str, ...] = ()
    """Earlier jobs whose outputs it goes on from."""
    models: tuple[tuple[str, str], ...] = ()
    """Models by id and version."""


def needs_of(spec: JobSpec, me: Address, components: Mapping[str, Component]) -> Needs:
    """Return what the tasks that ``me`` runs read."""
    dag = spec.dag
    mine = tasks_of(dag, me, components)
    tables, jobs, models = set[DatasetName](), set[str](), set[tuple[str, str]]()
    if dag.conf.inheritance is not None:
        jobs.add(dag.conf.inheritance.job_id)
    for name in mine:
        tables |= set(tables_of(dag, name, me))
        for origin in _origins(dag, name, me):
            if isinstance(origin, TableSource) and origin.job_id is not None:
                jobs.add(origin.job_id)
            elif isinstance(origin, ModelSource):
                models.add((origin.model_id or "", origin.model_version or ""))
    return Needs(tuple(sorted(tables)), tuple(sorted(jobs)), tuple(sorted(models)))


def tasks_of(dag: Dag, me: Address, components: Mapping[str, Component]) -> Sequence[str]:
    """Return the tasks that ``me`` runs; of an old job also one whose component is gone."""
    found = ((name, components.get(task.component_ref)) for name, task in dag.tasks.items())
    return [name for name, component in found if component is None or dag.takes_part(name, me, component)]


def resolved(parameters: JsonObject, resolve: Resolve) -> JsonObject:
    """Return a task's parameters with the table's own name in place of its alias; others as they are."""
    named = _named_in(parameters)
    if named is None:
        return parameters
    table = resolve(named)
    return {**parameters, "namespace": table.namespace, "name": table.name}


def tables_of(dag: Dag, task: str, me: Address) -> Iterator[DatasetName]:
    """Yield the tables that one task names at ``me``."""
    named = _named_in(dag.parameters(task, me))
    if named is not None and dag.tasks[task].component_ref != MAKER:
        yield named
    for origin in _origins(dag, task, me):
        if isinstance(origin, TableSource) and origin.namespace is not None and origin.name is not None:
            yield DatasetName(origin.namespace, origin.name)


def _origins(dag: Dag, task: str, me: Address) -> Iterator[object]:
    for origins in dag.meant(task, me).values():
        yield from origins


def _named_in(parameters: JsonObject) -> DatasetName | None:
    """Return the table that a reader's parameters name, or those of whatever else names tables so."""
    namespace, name = parameters.get("namespace"), parameters.get("name")
    if isinstance(namespace, str) and isinstance(name, str):
        return DatasetName(namespace, name)
    return None
