"""The life of a job at one party, sans-IO: events in, a new record and commands out.

The initiator (the guest that submitted) offers the job; when all have agreed, signed and granted cores it says start.
From then on every party runs its own tasks. Each change of a task is reported to all. The initiator alone decides how
the job ends, so that the state and the reason are the same everywhere; what another party knows better (its task
failed, its owner wants to stop) it tells.

`partyd.jobs.agreement`, `asking`, `running` and `ending` hold the parts of that life, in its order; this module says
which message may change what. The caller stores the record and the outgoing messages in one transaction and then
carries out the other commands. Every event may come twice, late or in another order: what is out of place changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partyd.jobs.agreement import Agreement
from partyd.jobs.commands import AwaitEnd, MakeContract, Step
from partyd.jobs.control import (
    ContractSigned,
    JobAnswer,
    JobCleaned,
    JobEnd,
    JobMessage,
    JobParked,
    JobStart,
    JobWaiting,
    SlotAnswer,
    SlotRelease,
    SlotRequest,
    SlotRevoke,
    StopRequest,
    TaskReport,
    TaskRetry,
)
from partyd.jobs.record import JobRecord, JobStatus, Slot
from partyd.jobs.schedule import renewed
from partyd.types import Address


@dataclass(frozen=True)
class JobMachine(Agreement):
    """Applies events to a job's record."""

    def told(self, record: JobRecord, sender: Address, message: JobMessage, now: float) -> Step:
        """Apply a control message of a party of this job; one that is out of place changes nothing."""
        if message.run != record.run:
            return Step(record)
        if isinstance(message, JobEnd) and sender == record.initiator:
            return self.end_heard(record, message, now)
        if isinstance(message, JobCleaned):
            return self.cleaned_elsewhere(record, sender)
        if record.is_ended:
            return Step(record)
        if isinstance(message, TaskReport):
            return self.reported(record, sender, message, now)
        if isinstance(message, StopRequest):
            return self.stop_asked(record, sender, message, now)
        if record.leads:
            return self._told_by_a_party(record, sender, message, now)
        return self._told_by_the_initiator(record, message, now) if sender == record.initiator else Step(record)

    def _told_by_a_party(self, record: JobRecord, sender: Address, message: JobMessage, now: float) -> Step:
        match message:
            case JobAnswer():
                return self.answered(record, sender, message, now)
            case JobParked():
                return self.parked(record, sender, message)
            case ContractSigned():
                return self.contract_signed(record, sender, message)
            case SlotAnswer():
                return self.slot_answered(record, sender, message, now)
            case SlotRevoke():
                return self.slot_revoked(record, sender, message.ask)
        return Step(record)

    def _told_by_the_initiator(self, record: JobRecord, message: JobMessage, now: float) -> Step:
        match message:
            case SlotRequest():
                return self.slot_requested(record, message)
            case SlotRelease():
                return self.slot_released(record, message.ask)
            case JobWaiting():
                return self.told_why(record, message)
            case JobStart():
                return self.started(record, message, now)
            case TaskRetry():
                return self.retried(record, message, now)
        return Step(record)

    def recovered(self, record: JobRecord, now: float) -> Step:
        """Go on after this daemon's restart."""
        if record.is_ended:
            return Step(record)
        if record.stopping is None and _is_of_an_earlier_version(record):
            return self.stop(record, "upgraded", f"partyd was upgraded at {record.me} while the job was open", now)
        if record.status is JobStatus.RUNNING:
            return self.resumed(record, now)
        if record.stopping is not None:
            return Step(record, (AwaitEnd(),))
        if record.leads and not record.contract and len(record.answers) == len(record.parties):
            return Step(record, (MakeContract(),))
        return self.queue_again(record)


def again(record: JobRecord, run: int, versions: Mapping[str, int]) -> JobRecord:
    """Return an ended job's record as it is before another run, with the tasks of ``versions`` to be done anew."""
    tasks = renewed(record.tasks, versions)
    fresh = {task: state.model_copy(update={"retries": 0}) for task, state in tasks.items()}
    return record.change(
        run=run,
        anew=dict(versions),
        status=JobStatus.WAITING,
        reason=None,
        tasks=fresh,
        remote={party: renewed(known, versions) for party, known in record.remote.items()},
        accepted=(),
        started_at=None,
        ended_at=None,
        waiting=None,
        is_parked=False,
        terms="",
        contract="",
        answers={},
        signatures={},
        slot=Slot(),
        slots={},
        rollbacks=0,
        stopping=None,
        is_provisional=False,
        cleaned=() if versions.keys() >= record.tasks.keys() else record.cleaned,
    )


def _is_of_an_earlier_version(record: JobRecord) -> bool:
    """Return whether a version without contracts left this open job: no other party would ever bring it on."""
    if record.status is JobStatus.RUNNING:
        return not record.contract
    return not record.terms and not record.is_parked
