"""What a party writes down about a job: one frozen document, replaced at each transition."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from partyd.components.base import JsonObject
from partyd.components.limits import Limits
from partyd.dag.spec import JobSpec
from partyd.layout import encoded
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
    TIMEOUT = "timeout"
    PASS = "pass"  # noqa: S105 - a state, not a password


JOB_ENDS = frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT})

JOB_TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.WAITING: frozenset({JobStatus.RUNNING, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT}),
    JobStatus.RUNNING: frozenset({JobStatus.SUCCESS, JobStatus.FAILED, JobStatus.CANCELED, JobStatus.TIMEOUT}),
    **{end: frozenset[JobStatus]() for end in JOB_ENDS},
}

TASK_TRANSITIONS: dict[TaskStatus, frozenset[TaskStatus]] = {
    TaskStatus.WAITING: frozenset({TaskStatus.RUNNING, TaskStatus.CANCELED}),
    TaskStatus.RUNNING: frozenset({TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELED, TaskStatus.TIMEOUT}),
    TaskStatus.SUCCESS: frozenset(),
    TaskStatus.FAILED: frozenset(),
    TaskStatus.CANCELED: frozenset(),
    TaskStatus.TIMEOUT: frozenset(),
    TaskStatus.PASS: frozenset(),
}
"""Within one attempt; a new attempt (`JobRecord.renew`) begins again at waiting."""

TASK_OPEN = frozenset({TaskStatus.WAITING, TaskStatus.RUNNING})
TASK_DONE = frozenset({TaskStatus.SUCCESS, TaskStatus.PASS})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Part):
    """Why a job ended other than well: equal at every party."""

    party: AddressText
    task: str = ""
    code: str
    cause: str


class Waiting(_Part):
    """What a job that has not begun waits for."""

    party: AddressText
    code: str
    """``answer``, ``approval``, ``contract``, ``cores`` or ``peer_silent``."""
    cause: str
    number: int = 0
    """Rises with each change within a run of the job, so that a late message does not undo a newer one."""


class TaskState(_Part):
    """One task at one party: its newest attempt."""

    status: TaskStatus
    version: int = 0
    """The attempt, FATE's task version; higher after each retry or rerun."""
    started_at: float | None = None
    ended_at: float | None = None
    code: str = ""
    cause: str = ""
    cores: int = 0
    retries: int = 0
    """How many of the attempts of this run were automatic retries."""


def _task_state(value: object) -> object:
    """Read the bare status that records held before tasks had versions."""
    return {"status": value} if isinstance(value, str) else value


StoredTask = Annotated[TaskState, BeforeValidator(_task_state)]


class Slot(_Part):
    """The cores that the initiator asked of this address, and whether they are given."""

    ask: int = 0
    """Which asking it was; an older one changes nothing any more."""
    cores: int = 0
    priority: int = 0
    asked_at: float = 0.0
    """When the initiator created the job: with priority and job id the same order at every party."""
    state: Literal["none", "waiting", "granted"] = "none"


class PeerSlot(_Part):
    """At the initiator: what became of the newest asking of one address."""

    ask: int
    state: Literal["asked", "waiting", "granted", "released"] = "asked"
    cause: str = ""


class JobRecord(_Part):
    """One job as one party sees it."""

    job: str
    me: AddressText
    initiator: AddressText
    spec: JobSpec
    status: JobStatus = JobStatus.WAITING
    reason: Reason | None = None
    tasks: dict[str, StoredTask]
    """This party's tasks."""
    remote: dict[str, dict[str, StoredTask]] = {}
    """By address, the other parties' tasks as they reported them."""
    accepted: tuple[AddressText, ...] = ()
    """At the initiator: which other parties have agreed to take part."""
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    run: int = 0
    """Rises with each rerun of the job; a message of an earlier run changes nothing."""
    anew: dict[str, int] = {}
    """In a rerun, the tasks that begin anew and their attempts, as the contract has them."""
    waiting: Waiting | None = None
    """What keeps a job from beginning."""
    notes: str = ""
    request_id: str = ""
    """Under which the job was submitted, so that submitting again finds it."""
    is_parked: bool = False
    """Whether this party's owner has still to approve the job."""
    limits: Limits = Limits()
    """The floors of this party's policy; once the contract is signed, the highest of all parties."""
    datasets: tuple[str, ...] = ()
    """This party's data sets that the job names."""
    terms: str = ""
    """This party's own terms (JSON) once it has accepted."""
    contract: str = ""
    """The SHA-256 of the contract that this party has signed, in hex."""
    answers: dict[str, str] = {}
    """At the initiator, by address: the terms under which each party takes part, itself among them."""
    signatures: dict[str, str] = {}
    """By address, in hex: who has signed the contract; all of them once the job has started."""
    slot: Slot = Slot()
    slots: dict[str, PeerSlot] = {}
    """At the initiator, by address."""
    rollbacks: int = 0
    """At the initiator: how often cores were given back because another party had none."""
    stopping: Reason | None = None
    """Who wants the job to end, while the initiator's decision is under way; its tasks run no more."""
    is_provisional: bool = False
    """Whether this party has ended the job without the initiator, which could not be heard."""
    cleaned: tuple[AddressText, ...] = ()
    """Who has erased its outputs of this job."""

    @property
    def parties(self) -> list[Address]:
        """Every address of the job, this one among them."""
        return self.spec.dag.addresses()

    @property
    def others(self) -> list[Address]:
        """Every address of the job but this one."""
        return [address for address in self.parties if address != self.me]

    @property
    def leads(self) -> bool:
        """Whether this party is the initiator."""
        return self.me == self.initiator

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more, unless the job is run again."""
        return self.status in JOB_ENDS

    def with_task(self, task: str, status: TaskStatus, now: float, code: str = "", cause: str = "") -> JobRecord:
        """Return the record with one of this party's tasks in another state; the transition must be legal."""
        state = self.tasks[task]
        if status not in TASK_TRANSITIONS[state.status]:
            raise ValueError(f"task {task} cannot go from {state.status} to {status}")
        times = {"started_at": now} if status is TaskStatus.RUNNING else {"ended_at": now}
        changed = state.model_copy(update={"status": status, "code": code, "cause": cause, **times})
        return self.change(tasks={**self.tasks, task: changed})

    def with_status(self, status: JobStatus) -> JobRecord:
        """Return the record with the job in another state; the transition must be legal."""
        if status not in JOB_TRANSITIONS[self.status]:
            raise ValueError(f"a job cannot go from {self.status} to {status}")
        return self.change(status=status)

    def change(self, **updates: Any) -> JobRecord:
        """Return the record with fields replaced."""
        return self.model_copy(update=updates)


MODEL_JOBS = "model_job"
"""Where the store keeps which job made a model."""


class ModelJob(_Part):
    """The job that made a model, as far as deploying the model needs it."""

    model_id: str
    model_version: str
    role: str
    party_id: str
    job_id: str
    created_at: float
    spec: JsonObject
    """The job as submitted."""


def model_job_key(model_id: str, model_version: str, me: Address) -> str:
    """Return under which key `MODEL_JOBS` holds the job that made a model of ``me``."""
    return f"{encoded(model_id)}/{encoded(model_version)}/{me.role.label}/{me.party_id}"
