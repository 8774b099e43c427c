"""Why a job waits or how it ended, in one answer: the party, the task, the code, the cause, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partyd.jobs.record import JobRecord, JobStatus, TaskStatus
from partyd.types import Address

MENDS: dict[str, str] = {
    # while it waits
    "answer": "wait, or look whether that party's daemon runs: partyd doctor",
    "approval": "that party's owner must agree: flow job approve JOB at {party}",
    "contract": "wait: the parties are signing the contract",
    "cores": "wait for the jobs before it, stop one of them, or raise jobs.cores at {party}",
    "peer_silent": "look at that party's daemon and at the broker: partyd doctor",
    "": "nothing: it is under way",
    # ends
    "success": "nothing: fetch its outputs",
    "canceled": "run it again when you wish: flow job rerun JOB",
    "timeout": "give it more time (conf.timeout, or timeout of the task, in seconds), then: flow job rerun JOB",
    "job_rejected": "correct the job as the cause says and submit it again",
    "policy_denied": "ask the owner of {party} to open it (partyd policy allow; partyd audit show --job JOB says what)",
    "policy_floor": "raise the parameters that the cause names, then submit again",
    "policy_quota": "submit again tomorrow, or ask the owner of {party} for more jobs a day",
    "policy_arbiter": "name an arbiter of a third organisation and submit again",
    "policy_unreadable": "the owner of {party} must mend its policy.toml; its daemon's log names the line",
    "too_many_jobs": "wait until jobs of yours at {party} have ended, or until tomorrow",
    "peer_version": "the operator of {party} must upgrade partyd; then submit again",
    "upgraded": "submit it again",
    "protocol": "ask the operator of {party}: its daemon did what none of ours does",
    "not_approved": "speak to the owner of {party}, who has refused it",
    "contract_refused": "compare the versions of partyd at all parties, then submit again",
    "nothing_to_go_on_from": "submit it anew, or run all of it again",
    "not_inheritable": "take the tasks that the cause names off inheritance.task_list",
    "below_floor": "use more data or larger parameters; whose floor it is says: flow job contract JOB",
    "data": "correct the table or the task's parameters at {party}, then: flow job rerun JOB",
    "store_full": "free some disk space at {party}, then: flow job rerun JOB",
    "store": "see the daemon's log at {party}; then: flow job rerun JOB",
    "store_corrupt": "the operator of {party} must look at its store: partyd doctor",
    "worker_died": "look for a lack of memory at {party} (dmesg), then: flow job rerun JOB",
    "peer_timeout": "see that party's daemon and the broker, then: flow job rerun JOB",
    "peer_store_lost": "submit the job again: {party} has lost its part",
    "peer_revoked": "pin the peer again if that is wanted, then submit again",
    "equivocation": "stop working with that party until its operator has explained it",
    "task_failed": "see the task's log: flow log query; then correct the job or the data",
    "overflow": "scale the features (feature_scale) or lower the learning rate, then submit again",
    "internal": "this is a bug or a broken machine: send the task's log to the developers",
}
DEFAULT_MEND = "see the task's log at {party}, correct what the cause names, then: flow job rerun JOB"


@dataclass(frozen=True)
class Why:
    """One answer to the question why."""

    status: str
    party: str
    task: str
    code: str
    cause: str
    mend: str


def why_of(record: JobRecord, silent: Sequence[Address] = ()) -> Why:
    """Return why a job is as it is; ``silent`` names the parties that are not heard now."""
    if record.status is JobStatus.SUCCESS:
        return _why(record, record.initiator, "", "success", "every task has succeeded at every party")
    if record.reason is not None:
        reason = record.reason
        return _why(record, reason.party, reason.task, reason.code, reason.cause)
    if record.stopping is not None:
        cause = f"{record.stopping.cause}; the initiator {record.initiator} has still to say so to everybody"
        return _why(record, record.stopping.party, "", "canceled", cause)
    if silent:
        return _why(record, silent[0], _running(record), "peer_silent", f"{silent[0]} has not been heard for a while")
    if record.waiting is not None:
        waiting = record.waiting
        return _why(record, waiting.party, "", waiting.code, waiting.cause)
    if record.status is JobStatus.WAITING:
        return _why(record, record.initiator, "", "answer", f"{record.initiator} has still to hear every party")
    task = _running(record)
    return _why(record, record.me, task, "", f"task {task} runs" if task else "other parties' tasks run")


def _why(record: JobRecord, party: Address, task: str, code: str, cause: str) -> Why:
    mend = MENDS.get(code, DEFAULT_MEND).replace("JOB", record.job).format(party=party)
    return Why(record.status.value, str(party), task, code, cause, mend)


def _running(record: JobRecord) -> str:
    return next((task for task, state in record.tasks.items() if state.status is TaskStatus.RUNNING), "")
