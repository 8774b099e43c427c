"""From a document to a job: `read_dag` answers with the checked job, or with every mistake at once.

What it returns has been checked against the registered components: names, references, roles, ports, parameters. A
`JobRejected` lists each mistake with its path (``dag.tasks.psi_0.inputs``) and, for a misspelt name, the nearest known.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from partyd.components.base import Component
from partyd.dag.checks import check
from partyd.dag.dag import TASK_NAME, Dag, JobSpec, PartyTask, PartyTasks, Task, remarks
from partyd.dag.document import MAX_DAG_BYTES, MAX_DEPTH, MAX_MISTAKES, parse_dag_text, plain
from partyd.dag.inputs import (
    Artifact,
    Inputs,
    ModelSource,
    Origin,
    Parties,
    Source,
    TableSource,
)
from partyd.dag.job_conf import Inheritance, JobConf, ModelWarehouse, TaskConf, TaskSettings
from partyd.dag.places import Places, describe
from partyd.errors import JobRejected, Mistake

__all__ = [
    "MAX_DAG_BYTES",
    "MAX_DEPTH",
    "TASK_NAME",
    "Artifact",
    "Dag",
    "Inheritance",
    "Inputs",
    "JobConf",
    "JobSpec",
    "Mistake",
    "ModelSource",
    "ModelWarehouse",
    "Origin",
    "Parties",
    "PartyTask",
    "PartyTasks",
    "Source",
    "TableSource",
    "Task",
    "TaskConf",
    "TaskSettings",
    "parse_dag_text",
    "read_dag",
    "remarks",
]


def read_dag(document: object, components: Mapping[str, Component]) -> JobSpec:
    """Return the checked job that a parsed JSON or YAML document describes; raises JobRejected with every mistake."""
    document = plain(document)
    places = Places(document)
    try:
        spec = JobSpec.model_validate(document)
    except ValidationError as error:
        found = list(describe(error, JobSpec, document))
        rest, unread = _without_the_broken(document, error)
        if rest is not None:
            found += check(rest.dag, components, places, unread)
        raise _rejected(found) from error
    mistakes = list(check(spec.dag, components, places))
    if mistakes:
        raise _rejected(mistakes)
    return spec


def _rejected(found: list[Mistake]) -> JobRejected:
    said = list(dict.fromkeys(found))
    if len(said) <= MAX_MISTAKES:
        return JobRejected.of(said)
    more = Mistake("dag", f"{len(said) - MAX_MISTAKES} more mistakes", "mend these first")
    return JobRejected.of([*said[:MAX_MISTAKES], more])


def _without_the_broken(document: object, error: ValidationError) -> tuple[JobSpec | None, frozenset[str]]:
    """Return the job without its unreadable parts, and the tasks about which nothing more can be said.

    So that one answer also holds the mistakes of the tasks that could be read. None where too little is left.
    """
    if not isinstance(document, dict) or not isinstance(document.get("dag"), dict):
        return None, frozenset()
    body, unread = dict(document["dag"]), set[str]()
    rest = {"dag": body}
    for detail in error.errors(include_url=False, include_input=False):
        match detail["loc"]:
            case ("dag", "tasks", str(name), *_):
                unread.add(name)
            case ("dag", "party_tasks", str(label), *_):
                groups = body.get("party_tasks")
                group = groups.get(label) if isinstance(groups, dict) else None
                tasks = group.get("tasks") if isinstance(group, dict) else None
                unread |= set(tasks) if isinstance(tasks, dict) else set()
                body["party_tasks"] = {k: v for k, v in groups.items() if k != label} if groups else None
            case ("dag", ("conf" | "stage") as field, *_):
                body.pop(field, None)
            case ("dag", str(field)) if detail["type"] == "extra_forbidden":
                body.pop(field, None)
            case ("dag", *_):
                return None, frozenset()
    tasks = body.get("tasks")
    if not isinstance(tasks, dict):
        return None, frozenset()
    body["tasks"] = {name: task for name, task in tasks.items() if name not in unread}
    try:
        return JobSpec.model_validate(rest), frozenset(unread)
    except ValidationError:
        return None, frozenset()
