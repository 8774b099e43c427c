"""What a party writes down about a job: one frozen document, replaced at each transition."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from partyd.jobs.spec import JobSpec
from partyd.types import Address

AddressText = Annotated[
    Address,
    BeforeValidator(lambda value: Address.parse(value) if isinstance(value, str) else value),
    PlainSerializer(str, return_type=str),
]


class JobStatus(StrEnum):
    """States of a job; FATE's words."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMEOUT = "timeout"


class TaskStatus(StrEnum):
    """States of a task at one party; FATE's words. ``pass`` is a task that this party takes no part in."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELED = "canceled"
    PASS = "pass"  # noqa: S105 - a state, not a password


JOB_ENDS = frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT})

JOB_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.WAITING: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT}),
    **{end: frozenset[JobStatus]() for end in JOB_ENDS},
}

TASK_TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.WAITING: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELED}),
    TaskStatus.SUCCESS: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCELED: frozenset(),
    TaskStatus.PASS: frozenset(),
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Part):
    """Why a job ended other than well: equal at every party."""

    party: AddressText
    task: str = ""
    code: str
    cause: str


class JobRecord(_Part):
    """One job as one party sees it."""

    job: str
    me: AddressText
    initiator: AddressText
    spec: JobSpec
    status: JobStatus = JobStatus.WAITING
    reason: Reason | None = None
    tasks: dict[str, TaskStatus]
    """This party's tasks."""
    remote: dict[str, dict[str, TaskStatus]] = {}
    """By address, the other parties' tasks as they reported them."""
    accepted: tuple[AddressText, ...] = ()
    """At the initiator: who has agreed to take part."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None

    @property
    def parties(self) -> list[Address]:
        """Every address of the job, this one among them."""
        return self.spec.dag.addresses()

    @property
    def others(self) -> list[Address]:
        """Every address of the job but this one."""
        return [address for address in self.parties if address != self.me]

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in JOB_ENDS

    def with_task(self, task: str, status: TaskStatus) -> JobRecord:
        """Return the record with one of this party's tasks in another state; the transition must be legal."""
        if status not in TASK_TRANSITIONS[self.tasks[task]]:
            raise ValueError(f"task {task} cannot go from {self.tasks[task]} to {status}")
        return self.change(tasks={**self.tasks, task: status})

    def with_status(self, status: JobStatus) -> JobRecord:
        """Return the record with the job in another state; the transition must be legal."""
        if status not in JOB_TRANSITIONS[self.status]:
            raise ValueError(f"a job cannot go from {self.status} to {status}")
        return self.change(status=status)

    def change(self, **updates: Any) -> JobRecord:
        """Return the record with fields replaced."""
        return self.model_copy(update=updates)
