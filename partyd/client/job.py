"""A job as an object: wait for it, look at it, read what it gave. For scripts and notebooks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from partyd.client import calls, notebook
from partyd.client.call import ANY_PARTY, Party
from partyd.client.calls import MAX_WAIT_S
from partyd.client.errors import ClientError, Unreachable
from partyd.client.replies import Job, LogLine, Metric, Why
from partyd.client.replies_data import Rows
from partyd.client.watch import PATIENCE_S, PAUSE_S, PlainLines, failure

if TYPE_CHECKING:
    from partyd.client.sync import Client

PAGE_ROWS = 100
LIVE_WAIT_S = 1
"""Steps within a task are no change of the job's state: a live view asks for them once a second."""


class Jobs:
    """The jobs of one daemon."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, dag: str | Mapping[str, object], party: Party = ANY_PARTY) -> JobHandle:
        """Start the job that a DAG describes (a YAML or JSON text, or the object)."""
        return self.get(self._client.submit(dag, request_id=secrets.token_hex(16)), party)

    def get(self, job_id: str, party: Party = ANY_PARTY) -> JobHandle:
        """Return a job by its id, as ``party`` sees it where the daemon serves several."""
        return JobHandle(self._client, job_id, party)

    def list(self, limit: int = 20, party: Party = ANY_PARTY) -> list[Job]:
        """Return the states of the newest jobs."""
        return self._client.job_list(limit, party)


class JobHandle:
    """One job at one daemon; every method asks the daemon."""

    def __init__(self, client: Client, job_id: str, party: Party = ANY_PARTY) -> None:
        self.id = job_id
        self._client = client
        self._party = party
        self._ended_curves: dict[str, dict[str, Metric]] = {}

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r}, {self._client.url!r})"

    # -- how it goes

    @property
    def status(self) -> str:
        """The state it is in: waiting, running, success, failed, canceled or timeout."""
        return self.state().status

    def state(self) -> Job:
        """Return the job with all its tasks."""
        return self._client.job(self.id, self._party)

    def changes(self, *, wait_s: int = MAX_WAIT_S, timeout_s: float = 0.0) -> Iterator[Job]:
        """Yield the job each time it changes, until it ends or ``timeout_s`` has passed.

        A daemon that is away for less than a minute (a restart) is waited for; raises Unreachable after that.
        """
        until = time.monotonic() + timeout_s if timeout_s else 0.0
        job = self.state()
        while True:
            yield job
            left = until - time.monotonic() if until else float(wait_s)
            if job.is_ended or left <= 0:
                return
            job = self._next(job, max(1, min(wait_s, int(left + 0.999))))

    def wait(self, *, progress: bool = True, timeout_s: float = 0.0, check: bool = True) -> Job:
        """Return the job when it has ended (or after ``timeout_s``); raises JobFailed when it ended other than well.

        With ``progress``, a notebook shows a live table, and anything else a line for each change. An interrupt leaves
        the job running.
        """
        show = self._shows() if progress else _nothing
        live = LIVE_WAIT_S if progress and notebook.cell() is not None else MAX_WAIT_S
        changes = self.changes(wait_s=live, timeout_s=timeout_s)
        job = next(changes)
        show(job)
        for job in changes:
            show(job)
        if check and job.is_ended and not job.is_success:
            raise failure(job)
        return job

    def why(self) -> Why:
        """Return what it waits for, or why it ended as it did, and what to do."""
        return self._client.why(self.id, self._party)

    # -- what it gave

    def metrics(self, task: str) -> dict[str, Metric]:
        """Return a task's metrics by name."""
        return self._client.metrics(self.id, task, self._party)

    def curve(self, task: str, name: str = "loss") -> tuple[list[int], list[float]]:
        """Return a metric's steps and values; raises ClientError naming the metrics that there are."""
        found = self.metrics(task)
        if name not in found:
            known = ", ".join(found) or "none at this party"
            raise ClientError(f"task {task} has no metric {name!r}", where=f"job {self.id}", how=f"it has: {known}")
        return found[name].steps, found[name].values

    def output(self, task: str, *, port: str = "", limit: int = 1000) -> Rows:
        """Return the first rows of a task's table at this party; ``.frame()`` makes a pandas DataFrame of them."""
        first = self._rows(task, port, 0, min(PAGE_ROWS, limit))
        rows = list(first.rows)
        wanted = min(limit, first.count)
        while len(rows) < wanted:
            page = self._rows(task, port, len(rows), min(PAGE_ROWS, wanted - len(rows))).rows
            if not page:
                break
            rows += page
        return Rows(first.count, first.header, tuple(rows))

    def model(self, task: str) -> Mapping[str, object]:
        """Return this party's share of the model that a task wrote, and its other documents, by name."""
        return self._client.documents(self.id, task, self._party)

    def log(self, task: str, *, begin: int = 0) -> list[LogLine]:
        """Return a task's log lines at this party."""
        return self._client.log(self.id, task, self._party, begin=begin)

    def follow(self, task: str = "") -> Iterator[LogLine]:
        """Yield the log lines of a task, or of all tasks here, as they are written, until the job has ended."""
        return self._client.follow_log(self.id, task, self._party)

    def contract(self) -> Mapping[str, object]:
        """Return the contract that the parties signed."""
        return self._client.do(calls.contract(self.id, self._party))

    # -- what to do with it

    def stop(self) -> None:
        """End it at every party."""
        self._client.stop(self.id)

    def rerun(self, tasks: Sequence[str] = ()) -> None:
        """Run it again from what failed, or from the named tasks on."""
        self._client.do(calls.rerun(self.id, tasks))

    def approve(self) -> None:
        """Say yes to it, where it waits for this party's owner."""
        self._client.do(calls.approve(self.id, self._party))

    def reject(self, cause: str) -> None:
        """Say no to it, where it waits for this party's owner."""
        self._client.do(calls.reject(self.id, cause, self._party))

    # -- how it looks

    def _repr_html_(self) -> str:
        return self._html(self.state())

    def _html(self, job: Job) -> str:
        curves: dict[str, Metric] = {}
        for task in job.tasks:
            if task.status in ("running", "success"):
                found = self._ended_curves.get(task.name)
                found = notebook.curves_of(task.name, self.metrics(task.name)) if found is None else found
                if task.status == "success":
                    self._ended_curves[task.name] = found
                curves |= found
        return notebook.job_html(job, curves)

    def _shows(self) -> Callable[[Job], None]:
        cell = notebook.cell()
        if cell is None:
            return PlainLines(print)
        return lambda job: cell(self._html(job))

    def _rows(self, task: str, port: str, begin: int, limit: int) -> Rows:
        return self._client.rows(self.id, task, self._party, port=port, begin=begin, limit=limit)

    def _next(self, job: Job, wait_s: int) -> Job:
        give_up_at, asked_at = 0.0, time.monotonic()
        while True:
            try:
                found = self._client.job(self.id, self._party, seen=job.seen, wait_s=wait_s)
                break
            except Unreachable:
                now = time.monotonic()
                give_up_at = give_up_at or now + PATIENCE_S
                if now > give_up_at:
                    raise
                time.sleep(PAUSE_S)
        if found.seen == job.seen and time.monotonic() - asked_at < PAUSE_S:
            time.sleep(PAUSE_S)  # an upload's daemon answers at once, changed or not
        return found


def _nothing(_: Job) -> None:
    return None
