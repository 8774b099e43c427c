"""How a job ends: the initiator decides and signs, everybody else hears it; part of the job machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from partyd.components.base import Component
from partyd.jobs.commands import Audit, AwaitEnd, Ended, KillTasks, ShowHead, Step, Tell
from partyd.jobs.control import JobCleaned, JobEnd, JobMessage, StopRequest
from partyd.jobs.record import TASK_DONE, JobRecord, JobStatus, Reason, TaskStatus
from partyd.jobs.schedule import closed
from partyd.types import Address

MAX_CAUSE = 2000
MAX_CODE = 64


@dataclass(frozen=True)
class Ending:
    """The last part of a job's life; ``sign`` signs a decision with this party's identity key."""

    components: Mapping[str, Component]
    sign: Callable[[bytes], bytes]

    def stop(self, record: JobRecord, code: str, cause: str, now: float) -> Step:
        """This party's owner, or a time-out, wants the job to end; every party's tasks end before it is decided."""
        reason = Reason(party=record.me, code=code, cause=cause[:MAX_CAUSE])
        if record.is_ended or (not record.leads and record.stopping is not None):
            return Step(record)
        if record.leads:
            return self.decide(record, status_for(code), reason, now)
        request = StopRequest(run=record.run, code=code, cause=reason.cause)
        return self._stopping(record, reason).after(*tell_all(record, f"stop/{record.run}/{record.me}", request))

    def stop_asked(self, record: JobRecord, sender: Address, request: StopRequest, now: float) -> Step:
        """Another party wants the job to end: the initiator decides, everybody else stops working and waits for it."""
        reason = Reason(party=sender, code=request.code[:MAX_CODE], cause=request.cause[:MAX_CAUSE])
        if record.leads:
            return self.decide(record, status_for(reason.code), reason, now)
        return self._stopping(record, reason)

    def _stopping(self, record: JobRecord, reason: Reason) -> Step:
        if record.stopping is not None:
            return Step(record)
        return Step(record.change(stopping=reason), (KillTasks(), AwaitEnd()))

    def stop_unheard(self, record: JobRecord, now: float) -> Step:
        """End a stopped job here although the initiator is silent; its word, when it comes, goes before ours."""
        if record.is_ended or record.stopping is None:
            return Step(record)
        step = self.ended(record, status_for(record.stopping.code), record.stopping, now)
        return Step(step.record.change(is_provisional=True), step.commands)

    def abandon(self, record: JobRecord, code: str, cause: str, now: float) -> Step:
        """End the job at this party alone: it will not hear the decision, for it speaks to the initiator no more."""
        return self.ended(record, JobStatus.FAILED, Reason(party=record.me, code=code, cause=cause[:MAX_CAUSE]), now)

    def end_heard(self, record: JobRecord, end: JobEnd, now: float) -> Step:
        """Take the initiator's decision; it corrects an end that this party chose while it heard nothing."""
        status = JobStatus(end.status)
        reason = Reason(party=Address.parse(end.party), task=end.task, code=end.code, cause=end.cause)
        if status is JobStatus.SUCCESS and not record.is_ended and not _is_done(record):
            cause = f"{record.initiator} calls the job a success before {record.me} has done its tasks"
            return self.ended(
                record, JobStatus.FAILED, Reason(party=record.initiator, code="protocol", cause=cause), now
            )
        if record.is_ended and record.is_provisional:
            told = None if status is JobStatus.SUCCESS else reason
            return Step(record.change(status=status, reason=told, is_provisional=False))
        return self.ended(record, status, reason, now)

    def decide(self, record: JobRecord, status: JobStatus, reason: Reason, now: float) -> Step:
        """End the job as its initiator and tell everybody."""
        if record.is_ended:
            return Step(record)
        step = self.ended(record, status, reason, now)
        end = JobEnd(
            run=record.run,
            status=status.value,
            party=str(reason.party),
            task=reason.task,
            code=reason.code,
            cause=reason.cause,
            signature=self.sign(decision_bytes(record.job, record.run, status, reason)),
        )
        return step.after(*tell_all(record, f"end/{record.run}", end))

    def ended(self, record: JobRecord, status: JobStatus, reason: Reason, now: float) -> Step:
        """End the job here."""
        if record.is_ended:
            return Step(record)
        is_good = status is JobStatus.SUCCESS
        remote = TaskStatus.SUCCESS if is_good else TaskStatus.CANCELED
        record = record.change(
            status=status,
            tasks=closed(record.tasks, TaskStatus.CANCELED, now),
            remote={party: closed(tasks, remote, now) for party, tasks in record.remote.items()},
            reason=None if is_good else reason,
            ended_at=now,
            waiting=None,
            is_parked=False,
            stopping=None,
        )
        detail = {"status": status.value, "reason": None if is_good else reason.model_dump(mode="json")}
        show = ShowHead(f"audit/{record.run}/ended", tuple(record.others))
        return Step(record, (Audit("job_ended", detail), show, KillTasks(), Ended()))

    def cleaned(self, record: JobRecord) -> Step:
        """This party has erased its outputs of an ended job: tell the others, who may want to go on from them."""
        if not record.is_ended or record.me in record.cleaned:
            return Step(record)
        notice = JobCleaned(run=record.run)
        record = record.change(cleaned=(*record.cleaned, record.me))
        return Step(record, (Audit("job_cleaned"), *tell_all(record, f"cleaned/{record.run}", notice)))

    def cleaned_elsewhere(self, record: JobRecord, sender: Address) -> Step:
        """Note that another party has erased its outputs."""
        if sender in record.cleaned:
            return Step(record)
        return Step(record.change(cleaned=(*record.cleaned, sender)))


def _is_done(record: JobRecord) -> bool:
    return all(state.status in TASK_DONE for state in record.tasks.values())


def tell_all(record: JobRecord, scope: str, message: JobMessage) -> tuple[Tell, ...]:
    """Return the same message to every other party of the job."""
    return tuple(Tell(peer, scope, message) for peer in record.others)


def decision_bytes(job: str, run: int, status: JobStatus, reason: Reason) -> bytes:
    """Return what the initiator signs when it ends a job."""
    about = (status.value, str(reason.party), reason.task, reason.code, reason.cause)
    parts = ("partyd-job-end/2", job, str(run), *about)
    return b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)


def status_for(code: str) -> JobStatus:
    """Return the state of a job that ends for a reason of this code."""
    return {"canceled": JobStatus.CANCELED, "timeout": JobStatus.TIMEOUT}.get(code, JobStatus.FAILED)
