"""Which tasks of a DAG may run, which are done, and which must begin anew: pure functions of a job's record."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from partyd.components.base import Component
from partyd.dag.spec import Dag
from partyd.errors import JobError
from partyd.jobs.record import TASK_DONE, TASK_OPEN, JobRecord, TaskState, TaskStatus
from partyd.types import Address

Components = Mapping[str, Component]
BEYOND = 1 << 62


def first_tasks(record: JobRecord, components: Components) -> dict[str, TaskState]:
    """Return the initial state of this party's tasks: waiting, or pass where it takes no part."""
    return {
        task: TaskState(status=TaskStatus.WAITING if takes_part(record, task, record.me, components) else _PASS)
        for task in record.spec.dag.tasks
    }


_PASS = TaskStatus.PASS


def takes_part(record: JobRecord, task: str, address: Address, components: Components) -> bool:
    """Return whether ``address`` runs ``task``."""
    dag = record.spec.dag
    return dag.takes_part(task, address, components[dag.tasks[task].component_ref])


def ready(record: JobRecord) -> list[str]:
    """Return this party's waiting tasks whose predecessors are done, in the DAG's order."""
    dag = record.spec.dag
    return [
        task
        for task in dag.order()
        if record.tasks[task].status is TaskStatus.WAITING
        and all(record.tasks[other].status in TASK_DONE for other in dag.dependencies(task))
    ]


def is_complete(record: JobRecord, components: Components) -> bool:
    """Return whether every task has succeeded at every party, as far as this one knows."""
    return all(is_good(record, task, components) for task in record.tasks)


def _has_succeeded(record: JobRecord, peer: Address, task: str) -> bool:
    state = record.remote.get(str(peer), {}).get(task)
    return state is not None and state.status is TaskStatus.SUCCESS and state.version == record.tasks[task].version


def downstream(dag: Dag, tasks: Iterable[str]) -> list[str]:
    """Return ``tasks`` and everything that depends on them, in the DAG's order."""
    found = set(tasks)
    for task in (order := dag.order()):
        if dag.dependencies(task) & found:
            found.add(task)
    return [task for task in order if task in found]


def to_run_again(record: JobRecord, named: Collection[str], components: Components) -> dict[str, int]:
    """Return the tasks of a rerun and their new versions.

    They are those named, those that have not succeeded everywhere, all of a job where neither are, and what depends on
    them. Raises JobError for a name that is none of the job's tasks.
    """
    dag = record.spec.dag
    unknown = [task for task in named if task not in dag.tasks]
    if unknown:
        raise JobError(f"job {record.job} has no task {unknown[0][:128]!r}; its tasks are {', '.join(dag.tasks)}")
    chosen = {*named, *(task for task in dag.tasks if not is_good(record, task, components))} or set(dag.tasks)
    return {task: record.tasks[task].version + 1 for task in downstream(dag, chosen)}


def is_good(record: JobRecord, task: str, components: Components) -> bool:
    """Return whether a task has succeeded at every party that runs it, as far as this one knows."""
    return record.tasks[task].status in TASK_DONE and all(
        _has_succeeded(record, peer, task) for peer in record.others if takes_part(record, task, peer, components)
    )


def may_retry(record: JobRecord, task: str, versions: Mapping[str, int]) -> bool:
    """Return whether the job allows these attempts: a task is tried again for its own failures and those before it."""
    dag = record.spec.dag
    if task not in dag.tasks or versions.keys() != set(downstream(dag, [task])):
        return False
    before: dict[str, set[str]] = {}
    for name in dag.order():
        before[name] = {name}.union(*(before[other] for other in dag.dependencies(name)))
    allowed = {
        name: max(dag.task_conf(name, party).auto_retries or 0 for party in record.parties)
        for name in set[str]().union(*(before[name] for name in versions))
    }
    return all(
        _first(record, name) < version <= _first(record, name) + sum(allowed[one] for one in before[name])
        for name, version in versions.items()
    )


def _first(record: JobRecord, task: str) -> int:
    """Return the first attempt of a task in this run; beyond all where it does not begin anew."""
    return record.anew.get(task, BEYOND) if record.run else 0


def renewed(tasks: Mapping[str, TaskState], versions: Mapping[str, int]) -> dict[str, TaskState]:
    """Return the states with those of ``versions`` back at the beginning of a new attempt; an older one is passed."""
    return {
        task: _renew(state, versions[task]) if versions.get(task, -1) > state.version else state
        for task, state in tasks.items()
    }


def _renew(state: TaskState, version: int) -> TaskState:
    status = TaskStatus.PASS if state.status is TaskStatus.PASS else TaskStatus.WAITING
    return TaskState(status=status, version=version, retries=state.retries)


def closed(tasks: Mapping[str, TaskState], status: TaskStatus, now: float) -> dict[str, TaskState]:
    """Return the states with every open task ended as ``status``."""
    end = {"status": status, "ended_at": now}
    return {t: state.model_copy(update=end) if state.status in TASK_OPEN else state for t, state in tasks.items()}
