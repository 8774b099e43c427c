"""The life of a job at one party, sans-IO: events in, a new record and commands out.

The initiator (the guest that submitted) offers the job to every party; each answers; when all have agreed the
initiator says start. From then on every party runs its own tasks in the DAG's order: tasks of different parties meet
in their messages, not in the scheduler. Each change of a task is reported to all. The initiator alone decides how the
job ends, so that the state and the reason are the same everywhere; what another party knows better (its task failed,
its owner wants to stop) it tells.

The caller stores the record and the outgoing messages in one transaction and then carries out the other commands. Every
event may come twice, and a start or report may come after the end: those change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from partyd.components.base import Component
from partyd.jobs.control import JobAnswer, JobEnd, JobOffer, JobStart, StopRequest, TaskReport
from partyd.jobs.record import JOB_ENDS, JobRecord, JobStatus, Reason, TaskStatus
from partyd.types import Address
from partyd.wire.codec import Record

MAX_CAUSE = 2000


@dataclass(frozen=True)
class Tell:
    """Send a control message; ``scope`` makes it one of a kind."""

    to: Address
    scope: str
    message: Record


@dataclass(frozen=True)
class StartTask:
    """Run a task of this party in a worker (again after a restart: it resumes)."""

    task: str


@dataclass(frozen=True)
class KillTasks:
    """End this job's workers."""


@dataclass(frozen=True)
class Ended:
    """The job has ended: erase its secrets, tell whoever watches."""


Command = Tell | StartTask | KillTasks | Ended


@dataclass(frozen=True)
class Step:
    """What an event leads to."""

    record: JobRecord
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True)
class JobMachine:
    """Applies events to a job's record; ``sign`` signs a decision with this party's identity key."""

    components: Mapping[str, Component]
    sign: Callable[[bytes], bytes]

    def submitted(self, record: JobRecord) -> Step:
        """Begin as the initiator: offer the job to the others, or start at once when there are none."""
        offer = JobOffer(spec=record.spec.model_dump_json().encode(), created_at=record.created_at)
        if not record.others:
            return self._begin(record, record.created_at)
        return Step(record, tuple(Tell(peer, "offer", offer) for peer in record.others))

    def offered(self, record: JobRecord, refusal: Reason | None) -> Step:
        """Answer an offer; a refused job ends here at once."""
        answer = JobAnswer(
            accepted=refusal is None, code=refusal.code if refusal else "", cause=refusal.cause if refusal else ""
        )
        tell = Tell(record.initiator, "answer", answer)
        if refusal is None:
            return Step(record, (tell,))
        return Step(
            record.with_status(JobStatus.FAILED).change(reason=refusal, ended_at=record.created_at), (tell, Ended())
        )

    def told(self, record: JobRecord, sender: Address, message: Record, now: float) -> Step:
        """Apply a control message of a party of this job; one that is out of place changes nothing."""
        if isinstance(message, JobEnd) and sender == record.initiator:
            reason = Reason(
                party=Address.parse(message.party), task=message.task, code=message.code, cause=message.cause
            )
            return self._ended(record, JobStatus(message.status), reason, now)
        if record.is_ended:
            return Step(record)
        if isinstance(message, JobAnswer) and record.me == record.initiator:
            return self._answered(record, sender, message, now)
        if isinstance(message, JobStart) and sender == record.initiator and record.status is JobStatus.WAITING:
            return self._begin(record, now)
        if isinstance(message, TaskReport):
            return self._reported(record, sender, message, now)
        if isinstance(message, StopRequest) and record.me == record.initiator:
            reason = Reason(party=sender, code=message.code, cause=message.cause)
            return self._decide(record, _status_for(message.code), reason, now)
        return Step(record)

    def task_succeeded(self, record: JobRecord, task: str, now: float) -> Step:
        """This party's task is done: report it, start what waited for it, decide if it was the last."""
        if record.is_ended or record.tasks[task] is not TaskStatus.RUNNING:
            return Step(record)
        record = record.with_task(task, TaskStatus.SUCCESS)
        step = self._schedule(record, self._report(record, task))
        return self._decide_if_complete(step, now)

    def task_failed(self, record: JobRecord, task: str, code: str, cause: str, now: float) -> Step:
        """This party's task cannot go on: the initiator ends the job, another party asks it to."""
        if record.is_ended or record.tasks[task] is not TaskStatus.RUNNING:
            return Step(record)
        record = record.with_task(task, TaskStatus.FAILED)
        reason = Reason(party=record.me, task=task, code=code, cause=cause[:MAX_CAUSE])
        if record.me == record.initiator:
            step = self._decide(record, JobStatus.FAILED, reason, now)
            return Step(step.record, (*self._report(record, task, reason), *step.commands))
        return Step(record, self._report(record, task, reason))

    def stop(self, record: JobRecord, code: str, cause: str, now: float) -> Step:
        """This party's owner, or a time-out, wants the job to end."""
        if record.is_ended:
            return Step(record)
        if record.me == record.initiator:
            return self._decide(
                record, _status_for(code), Reason(party=record.me, code=code, cause=cause[:MAX_CAUSE]), now
            )
        request = StopRequest(code=code, cause=cause[:MAX_CAUSE])
        return Step(record, (Tell(record.initiator, f"stop/{record.me}", request), KillTasks()))

    def abandon(self, record: JobRecord, code: str, cause: str, now: float) -> Step:
        """End the job at this party alone: it will not hear the decision, for it speaks to the initiator no more."""
        if record.is_ended:
            return Step(record)
        return self._ended(record, JobStatus.FAILED, Reason(party=record.me, code=code, cause=cause[:MAX_CAUSE]), now)

    def recovered(self, record: JobRecord) -> Step:
        """Go on after this daemon's restart: running tasks resume."""
        if record.status is not JobStatus.RUNNING:
            return Step(record)
        running = [task for task, status in record.tasks.items() if status is TaskStatus.RUNNING]
        return self._schedule(record, tuple(StartTask(task) for task in running))

    def _answered(self, record: JobRecord, sender: Address, answer: JobAnswer, now: float) -> Step:
        if not answer.accepted:
            reason = Reason(party=sender, code=answer.code[:64], cause=answer.cause[:MAX_CAUSE])
            return self._decide(record, JobStatus.FAILED, reason, now)
        accepted = tuple(sorted({*record.accepted, sender}, key=str))
        record = record.change(accepted=accepted)
        if set(accepted) != set(record.others) or record.status is not JobStatus.WAITING:
            return Step(record)
        step = self._begin(record, now)
        starts = tuple(Tell(peer, "start", JobStart(started_at=now)) for peer in record.others)
        return Step(step.record, (*starts, *step.commands))

    def _begin(self, record: JobRecord, now: float) -> Step:
        step = self._schedule(record.with_status(JobStatus.RUNNING).change(started_at=now), ())
        return self._decide_if_complete(step, now)

    def _schedule(self, record: JobRecord, commands: tuple[Command, ...]) -> Step:
        done = {TaskStatus.SUCCESS, TaskStatus.PASS}
        for task in record.spec.dag.order():
            ready = all(record.tasks[other] in done for other in record.spec.dag.dependencies(task))
            if record.tasks[task] is TaskStatus.WAITING and ready:
                record = record.with_task(task, TaskStatus.RUNNING)
                commands += (StartTask(task), *self._report(record, task))
        return Step(record, commands)

    def _reported(self, record: JobRecord, sender: Address, report: TaskReport, now: float) -> Step:
        if report.task not in record.tasks or report.status not in set(TaskStatus):
            return Step(record)
        known = record.remote.get(str(sender), {})
        status = TaskStatus(report.status)
        if known.get(report.task) in (TaskStatus.SUCCESS, TaskStatus.FAILED) and status is TaskStatus.RUNNING:
            return Step(record)
        record = record.change(remote={**record.remote, str(sender): {**known, report.task: status}})
        if status is TaskStatus.FAILED and record.me == record.initiator:
            reason = Reason(party=sender, task=report.task, code=report.code[:64], cause=report.cause[:MAX_CAUSE])
            return self._decide(record, JobStatus.FAILED, reason, now)
        return self._decide_if_complete(Step(record), now)

    def _decide_if_complete(self, step: Step, now: float) -> Step:
        record = step.record
        if record.me != record.initiator or record.status is not JobStatus.RUNNING or not self._complete(record):
            return step
        reason = Reason(party=record.me, code="success", cause="")
        decision = self._decide(record, JobStatus.SUCCESS, reason, now)
        return Step(decision.record, (*step.commands, *decision.commands))

    def _complete(self, record: JobRecord) -> bool:
        own = all(status in (TaskStatus.SUCCESS, TaskStatus.PASS) for status in record.tasks.values())
        return own and all(
            record.remote.get(str(peer), {}).get(task) is TaskStatus.SUCCESS
            for peer in record.others
            for task, spec in record.spec.dag.tasks.items()
            if record.spec.dag.takes_part(task, peer, self.components[spec.component_ref])
        )

    def _decide(self, record: JobRecord, status: JobStatus, reason: Reason, now: float) -> Step:
        step = self._ended(record, status, reason, now)
        end = JobEnd(
            status=status.value,
            party=str(reason.party),
            task=reason.task,
            code=reason.code,
            cause=reason.cause,
            signature=self.sign(decision_bytes(record.job, status, reason)),
        )
        return Step(step.record, (*(Tell(peer, "end", end) for peer in record.others), *step.commands))

    def _ended(self, record: JobRecord, status: JobStatus, reason: Reason, now: float) -> Step:
        if record.is_ended:
            return Step(record)
        open_states = (TaskStatus.WAITING, TaskStatus.RUNNING)
        tasks = {t: TaskStatus.CANCELED if s in open_states else s for t, s in record.tasks.items()}
        if record.status is JobStatus.WAITING and status is JobStatus.SUCCESS:
            record = record.with_status(JobStatus.RUNNING)
        told = None if status is JobStatus.SUCCESS else reason
        record = record.with_status(status).change(tasks=tasks, reason=told, ended_at=now)
        return Step(record, (KillTasks(), Ended()))

    def _report(self, record: JobRecord, task: str, reason: Reason | None = None) -> tuple[Command, ...]:
        status = record.tasks[task]
        report = TaskReport(
            task=task, status=status.value, code=reason.code if reason else "", cause=reason.cause if reason else ""
        )
        return tuple(Tell(peer, f"report/{task}/{status.value}", report) for peer in record.others)


def decision_bytes(job: str, status: JobStatus, reason: Reason) -> bytes:
    """Return what the initiator signs when it ends a job."""
    parts = ("partyd-job-end/1", job, status.value, str(reason.party), reason.task, reason.code, reason.cause)
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def first_tasks(record_parties: JobRecord, components: Mapping[str, Component]) -> dict[str, TaskStatus]:
    """Return the initial state of this party's tasks: waiting, or pass where it takes no part."""
    dag, me = record_parties.spec.dag, record_parties.me
    return {
        task: TaskStatus.WAITING if dag.takes_part(task, me, components[spec.component_ref]) else TaskStatus.PASS
        for task, spec in dag.tasks.items()
    }


def _status_for(code: str) -> JobStatus:
    return {"canceled": JobStatus.CANCELED, "timeout": JobStatus.TIMEOUT}.get(code, JobStatus.FAILED)


assert set(JobStatus) - JOB_ENDS == {JobStatus.WAITING, JobStatus.RUNNING}
