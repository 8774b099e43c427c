"""Inheritance: a job takes tasks over from an earlier one instead of running them again.

Each party checks for itself that it has the outputs of the same task with the same component, parameters and inputs;
the files are linked, so that cleaning the older job takes nothing from the newer one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from partyd.components.base import Component
from partyd.errors import JobRejected
from partyd.jobs.ports import JobStore
from partyd.jobs.record import JobRecord, TaskState, TaskStatus
from partyd.jobs.schedule import takes_part
from partyd.jobs.tasks import TaskRunner
from partyd.types import Address


class NotInheritable(JobRejected):
    code = "not_inheritable"


@dataclass(frozen=True)
class Inheritances:
    """Takes tasks over at one address."""

    store: JobStore
    runner: TaskRunner
    components: Mapping[str, Component]
    me: Address

    async def taken_over(self, record: JobRecord) -> JobRecord:
        """Return the record with the tasks that it inherits done and their outputs in its folder.

        Raises JobRejected when one of them is not here as the job wants it.
        """
        wanted = record.spec.dag.conf.inheritance
        if wanted is None:
            return record
        older = await self._record(wanted.job_id)
        for task in wanted.task_list:
            if record.tasks[task].status is not TaskStatus.PASS:
                self._check(record, older, task)
        tasks = dict(record.tasks)
        for task in wanted.task_list:
            if tasks[task].status is not TaskStatus.PASS:
                await asyncio.to_thread(self.runner.link, older.job, record.job, task)
                tasks[task] = _done(older, record.created_at)
        return record.change(tasks=tasks, remote=self._remote(record, older, wanted.task_list))

    async def _record(self, job: str) -> JobRecord:
        row = await self.store.read(lambda store: store.job(job))
        try:
            if row is not None:
                return JobRecord.model_validate_json(row.document)
        except ValidationError:
            pass
        raise NotInheritable(f"dag.conf.inheritance.job_id: {self.me} knows no job {job!r} to inherit from")

    def _check(self, record: JobRecord, older: JobRecord, task: str) -> None:
        new, old = record.spec.dag, older.spec.dag
        where = f"dag.conf.inheritance.task_list: task {task} of job {older.job} at {self.me}"
        if task not in old.tasks or older.tasks[task].status is not TaskStatus.SUCCESS:
            raise NotInheritable(f"{where} has not succeeded; leave it out")
        if self.me in older.cleaned:
            raise NotInheritable(f"{where} was cleaned; leave it out")
        one, other = new.tasks[task], old.tasks[task]
        is_same = one.component_ref == other.component_ref and new.stage_of(task) == old.stage_of(task)
        is_same = is_same and new.parameters(task, self.me) == old.parameters(task, self.me)
        inputs = [dag.artifacts(task, self.me, self.components) for dag in (new, old)]
        if not is_same or inputs[0] != inputs[1]:
            raise NotInheritable(f"{where} has another component, other parameters or inputs; leave it out")

    def _remote(self, record: JobRecord, older: JobRecord, tasks: tuple[str, ...]) -> dict[str, dict[str, TaskState]]:
        """Return the others' states: whoever cannot inherit a task says so and the job does not begin."""
        done = _done(older, record.created_at)
        return {
            str(peer): {task: done for task in tasks if takes_part(record, task, peer, self.components)}
            for peer in record.others
        }


def _done(older: JobRecord, at: float) -> TaskState:
    return TaskState(status=TaskStatus.SUCCESS, started_at=at, ended_at=at, cause=f"taken over from job {older.job}")
