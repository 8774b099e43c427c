"""The running part of the job machine: tasks begin when what they wait for is done, report, fail, are tried again.

Every party runs its own tasks in the DAG's order; tasks of different parties meet in their messages, not here. A task
that failed is tried again as a new attempt at every party at once, and with it everything that depends on it: some
party may already have gone on from outputs of the attempt that failed elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from partyd.jobs.commands import Audit, AwaitEnd, AwaitTimeout, Command, FixSlots, KillTasks, StartTask, Step, Tell
from partyd.jobs.control import TaskReport, TaskRetry
from partyd.jobs.ending import MAX_CAUSE, MAX_CODE, Ending, status_for, tell_all
from partyd.jobs.record import TASK_OPEN, JobRecord, JobStatus, Reason, TaskState, TaskStatus
from partyd.jobs.schedule import downstream, is_complete, may_retry, ready, renewed
from partyd.types import Address

FINAL_CODES = frozenset({"canceled", "policy_denied", "below_floor", "store_full", "contract_refused"})
"""Failures that another attempt would only repeat."""
MAX_VERSION = 10_000


@dataclass(frozen=True)
class Running(Ending):
    """The middle part of a job's life."""

    def begin(self, record: JobRecord, now: float) -> Step:
        """Let this party's tasks begin."""
        record = record.change(status=JobStatus.RUNNING, started_at=now, waiting=None, is_parked=False)
        audit = Audit("job_started", {"contract": record.contract})
        step = self._schedule(record, (FixSlots(), audit, *_time_limit(record)), now)
        return self._decide_if_complete(step, now)

    def resumed(self, record: JobRecord, now: float) -> Step:
        """Go on after this daemon's restart: running tasks resume."""
        if record.stopping is not None:
            return Step(record, (FixSlots(), AwaitEnd()))
        limits = _time_limit(record)
        running = (StartTask(t, s.version) for t, s in record.tasks.items() if s.status is TaskStatus.RUNNING)
        return self._decide_if_complete(self._schedule(record, (FixSlots(), *limits, *running), now), now)

    def task_succeeded(self, record: JobRecord, task: str, version: int, now: float) -> Step:
        """This party's task is done: report it, start what waited for it, decide if it was the last."""
        if not _is_current(record, task, version):
            return Step(record)
        record = record.with_task(task, TaskStatus.SUCCESS, now)
        return self._decide_if_complete(self._schedule(record, self._report(record, task), now), now)

    def task_failed(self, record: JobRecord, task: str, version: int, code: str, cause: str, now: float) -> Step:
        """This party's task cannot go on: the initiator tries it again or ends the job, another party tells it."""
        if not _is_current(record, task, version):
            return Step(record)
        status = TaskStatus.TIMEOUT if code == "timeout" else TaskStatus.FAILED
        record = record.with_task(task, status, now, code[:MAX_CODE], cause[:MAX_CAUSE])
        reports = self._report(record, task)
        if not record.leads:
            return Step(record, reports)
        reason = Reason(party=record.me, task=task, code=code[:MAX_CODE], cause=cause[:MAX_CAUSE])
        return self._failed(record, reason, now).after(*reports)

    def reported(self, record: JobRecord, sender: Address, report: TaskReport, now: float) -> Step:
        """Note the state of another party's task; a word about an older attempt changes nothing."""
        if report.task not in record.tasks or report.status not in set(TaskStatus):
            return Step(record)
        status = TaskStatus(report.status)
        known = record.remote.get(str(sender), {})
        old = known.get(report.task)
        if not 0 <= report.version <= MAX_VERSION or (record.leads and report.version != _version(record, report.task)):
            return Step(record)
        if old is not None and (old.version, old.status not in TASK_OPEN) > (report.version, status not in TASK_OPEN):
            return Step(record)
        state = _heard(old, status, report, now)
        record = record.change(remote={**record.remote, str(sender): {**known, report.task: state}})
        if record.leads and status in (TaskStatus.FAILED, TaskStatus.TIMEOUT):
            reason = Reason(party=sender, task=report.task, code=state.code, cause=state.cause)
            return self._failed(record, reason, now)
        return self._decide_if_complete(Step(record), now)

    def retried(self, record: JobRecord, retry: TaskRetry, now: float) -> Step:
        """Begin anew what the initiator says, if this party has not done so."""
        if not may_retry(record, retry.task, retry.versions):
            cause = f"{record.initiator} tries task {retry.task[:128]} again more often than the job says"
            return self.stop(record, "contract_refused", cause, now)
        return self._renew(record, retry.task, retry.versions, now)

    def _failed(self, record: JobRecord, reason: Reason, now: float) -> Step:
        """As the initiator: try a failed task again, or end the job."""
        task = reason.task
        allowed = record.spec.dag.task_conf(task, reason.party).auto_retries or 0
        if reason.code in FINAL_CODES or record.status is not JobStatus.RUNNING:
            allowed = 0
        if record.tasks[task].retries >= allowed:
            return self.decide(record, status_for(reason.code), reason, now)
        versions = {t: record.tasks[t].version + 1 for t in downstream(record.spec.dag, [task])}
        retry = TaskRetry(run=record.run, task=task, versions=versions)
        detail = {"version": versions[task], **reason.model_dump(mode="json")}
        step = self._renew(record, task, versions, now)
        scope = f"retry/{record.run}/{task}/{versions[task]}"
        return step.after(Audit("task_retried", detail), *tell_all(record, scope, retry))

    def _renew(self, record: JobRecord, task: str, versions: dict[str, int], now: float) -> Step:
        behind = frozenset(t for t, version in versions.items() if version > record.tasks[t].version)
        if not behind:
            return Step(record)
        tasks = renewed(record.tasks, versions)
        if task in behind:
            tasks[task] = tasks[task].model_copy(update={"retries": tasks[task].retries + 1})
        remote = {party: renewed(known, versions) for party, known in record.remote.items()}
        record = record.change(tasks=tasks, remote=remote)
        return self._schedule(record, (KillTasks(behind),), now)

    def _schedule(self, record: JobRecord, commands: tuple[Command, ...], now: float) -> Step:
        if record.status is not JobStatus.RUNNING or record.stopping is not None:
            return Step(record, commands)
        for task in ready(record):
            record = record.with_task(task, TaskStatus.RUNNING, now)
            record = record.change(
                tasks={**record.tasks, task: record.tasks[task].model_copy(update={"cores": record.slot.cores})}
            )
            commands += (StartTask(task, record.tasks[task].version), *self._report(record, task))
        return Step(record, commands)

    def _decide_if_complete(self, step: Step, now: float) -> Step:
        record = step.record
        if not record.leads or record.status is not JobStatus.RUNNING or not is_complete(record, self.components):
            return step
        reason = Reason(party=record.me, code="success", cause="")
        return self.decide(record, JobStatus.SUCCESS, reason, now).after(*step.commands)

    def _report(self, record: JobRecord, task: str) -> tuple[Tell, ...]:
        state = record.tasks[task]
        report = TaskReport(
            run=record.run,
            task=task,
            version=state.version,
            status=state.status.value,
            code=state.code,
            cause=state.cause,
        )
        return tell_all(record, f"report/{record.run}/{task}/{state.version}/{state.status.value}", report)


def _is_current(record: JobRecord, task: str, version: int) -> bool:
    state = record.tasks[task]
    is_running = state.status is TaskStatus.RUNNING and state.version == version
    return is_running and not record.is_ended and record.stopping is None


def _time_limit(record: JobRecord) -> tuple[AwaitTimeout, ...]:
    limit_s = record.spec.dag.conf.timeout
    if not record.leads or limit_s is None or record.started_at is None:
        return ()
    return (AwaitTimeout(record.started_at + limit_s),)


def _version(record: JobRecord, task: str) -> int:
    return record.tasks[task].version


def _heard(old: TaskState | None, status: TaskStatus, report: TaskReport, now: float) -> TaskState:
    started_at = old.started_at if old is not None and old.version == report.version else None
    is_open = status in TASK_OPEN
    return TaskState(
        status=status,
        version=report.version,
        started_at=started_at or (now if status is TaskStatus.RUNNING else None),
        ended_at=None if is_open else now,
        code=report.code[:MAX_CODE],
        cause=report.cause[:MAX_CAUSE],
    )
