"""Why a job failed or what it waits for, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator

from partyd.client import Job, Reason, Why

MENDS = {
    "canceled": "submit it again when all parties agree",
    "config": "mend the setting at that party, then submit the job again",
    "crypto": "check that all parties run the same version; look at that party's log",
    "data": "mend or upload the table at that party, then submit the job again",
    "equivocation": "a party sent two contents as one message: its owner must look before you work with it again",
    "internal": "look at that party's log; this is a fault of the program",
    "job_rejected": "mend the DAG as the sentence says, then submit it again",
    "peer_store_lost": "submit the job again; that party's owner should check its disk",
    "protocol": "check that all parties run the same version",
    "store": "that party's owner must check its disk",
    "store_full": "free some disk space at that party, then submit the job again",
    "task_failed": "look at the task's log at that party: flow log query {job} -tn {task}",
    "timeout": "see who was slow: flow job why {job}; then submit it again with a longer time-out",
    "worker_died": "check that party's memory and its daemon's log, then submit the job again",
}
"""What to do about a reason's code."""

WAITS = {
    "answer": "wait; when it lasts, check that party's daemon and its connection (partyd doctor)",
    "approval": "that party's owner says yes or no: flow job contract {job}, then flow job approve {job}",
    "contract": "wait; when it lasts, check that party's daemon and its connection (partyd doctor)",
    "cores": "wait for running jobs, or let that party's owner allow more cores (jobs.cores)",
    "peer_silent": "check that party's daemon and its connection (partyd doctor)",
}
"""What to do about what a job waits for."""


def mend(job: Job, reason: Reason) -> str:
    """Return what to do about a reason."""
    advice = MENDS.get(reason.code, "look at that party's log: flow log query {job} -tn {task}")
    return advice.format(job=job.job_id, task=reason.task or "TASK")


def explain(job: Job, told: Why | None = None) -> list[str]:
    """Return what a job waits for, or why it ended as it did; ``told`` is the daemon's own explanation."""
    return list(_ended(job, told) if job.is_ended else _open(job, told))


def sentence(job: Job) -> str:
    """Return one line on how a job ended other than well."""
    if job.reason is None:
        return f"job {job.job_id} is {job.status}"
    where = f"task {job.reason.task} at {job.reason.party}" if job.reason.task else f"party {job.reason.party}"
    return f"job {job.job_id} is {job.status}: {where}: {job.reason.cause or job.reason.code}; {mend(job, job.reason)}"


def _ended(job: Job, told: Why | None) -> Iterator[str]:
    yield f"job {job.job_id} is {job.status}"
    if job.reason is not None:
        advice = told.mend if told is not None and told.mend else mend(job, job.reason)
        yield f"  party  {job.reason.party}"
        yield f"  task   {job.reason.task or '(the job itself)'}"
        yield f"  cause  {job.reason.cause or job.reason.code} [{job.reason.code}]"
        yield f"  to do  {advice}"


def _open(job: Job, told: Why | None) -> Iterator[str]:
    yield f"job {job.job_id} is {job.status} at {job.me}"
    for party in job.stalled_by:
        yield f"  {party} is silent: check that its daemon runs and reaches the broker (partyd doctor)"
    if job.status == "waiting":
        yield from _waits(job, told)
        return
    for task in job.tasks:
        if task.status == "running":
            steps = f" ({task.done} of {task.total}{', ' + task.note if task.note else ''})" if task.total else ""
            yield f"  {task.name} runs at {job.me}{steps}"
    for party, tasks in job.remote.items():
        for name, status in tasks.items():
            if status == "running":
                yield f"  {name} runs at {party}"


def _waits(job: Job, told: Why | None) -> Iterator[str]:
    waiting = job.waiting
    if waiting is None:
        yield from _unanswered(job)
        return
    yield f"  waits  {waiting.cause} [{waiting.code}]"
    yield f"  party  {waiting.party}"
    advice = told.mend if told is not None and told.mend else WAITS.get(waiting.code, "")
    if advice:
        yield f"  to do  {advice.format(job=job.job_id)}"


def _unanswered(job: Job) -> Iterator[str]:
    if job.me != job.initiator:
        yield f"  {job.initiator} has yet to say start: it waits for the answers of all parties"
        return
    for party in job.parties:
        if party != job.me and party not in job.accepted:
            yield f"  {party} has yet to answer the offer"
