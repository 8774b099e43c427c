"""A job as an object of the asynchronous client: the same as `partyd.client.job.JobHandle`, awaited."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from partyd.client import calls, notebook
from partyd.client.call import ANY_PARTY, Party
from partyd.client.calls import MAX_WAIT_S
from partyd.client.errors import ClientError, Unreachable
from partyd.client.job import LIVE_WAIT_S, PAGE_ROWS
from partyd.client.replies import Job, LogLine, Metric, Why
from partyd.client.replies_data import Rows
from partyd.client.watch import PATIENCE_S, PAUSE_S, PlainLines, failure

if TYPE_CHECKING:
    from partyd.client.aio import AsyncClient


class AsyncJobs:
    """The jobs of one daemon."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def submit(self, dag: str | Mapping[str, object], party: Party = ANY_PARTY) -> AsyncJobHandle:
        """Start the job that a DAG describes (a YAML or JSON text, or the object)."""
        return self.get(await self._client.submit(dag, request_id=secrets.token_hex(16)), party)

    def get(self, job_id: str, party: Party = ANY_PARTY) -> AsyncJobHandle:
        """Return a job by its id, as ``party`` sees it where the daemon serves several."""
        return AsyncJobHandle(self._client, job_id, party)

    async def list(self, limit: int = 20, party: Party = ANY_PARTY) -> list[Job]:
        """Return the states of the newest jobs."""
        return await self._client.job_list(limit, party)


class AsyncJobHandle:
    """One job at one daemon; every method asks the daemon."""

    def __init__(self, client: AsyncClient, job_id: str, party: Party = ANY_PARTY) -> None:
        self.id = job_id
        self._client = client
        self._party = party
        self._last: Job | None = None
        self._curves: dict[str, dict[str, Metric]] = {}

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r}, {self._client.url!r})"

    # -- how it goes

    async def status(self) -> str:
        """Return the state it is in: waiting, running, success, failed, canceled or timeout."""
        return (await self.state()).status

    async def state(self) -> Job:
        """Return the job with all its tasks."""
        self._last = await self._client.job(self.id, self._party)
        return self._last

    async def changes(self, *, wait_s: int = MAX_WAIT_S) -> AsyncIterator[Job]:
        """Yield the job each time it changes, until it ends; a daemon that restarts is waited for."""
        job = await self.state()
        while True:
            yield job
            if job.is_ended:
                return
            self._last = job = await self._next(job, wait_s)

    async def wait(self, *, progress: bool = True, check: bool = True) -> Job:
        """Return the job when it has ended; raises JobFailed when it ended other than well.

        With ``progress``, a notebook shows a live table, and anything else a line for each change.
        """
        cell = notebook.cell() if progress else None
        say: Callable[[Job], None] | None = PlainLines(print) if progress and cell is None else None
        async for job in self.changes(wait_s=MAX_WAIT_S if cell is None else LIVE_WAIT_S):
            if cell is not None:
                await self._read_curves(job)
                cell(self._repr_html_() or "")
            elif say is not None:
                say(job)
        assert self._last is not None
        if check and not self._last.is_success:
            raise failure(self._last)
        return self._last

    async def why(self) -> Why:
        """Return what it waits for, or why it ended as it did, and what to do."""
        return await self._client.why(self.id, self._party)

    # -- what it gave

    async def metrics(self, task: str) -> dict[str, Metric]:
        """Return a task's metrics by name."""
        return await self._client.metrics(self.id, task, self._party)

    async def curve(self, task: str, name: str = "loss") -> tuple[list[int], list[float]]:
        """Return a metric's steps and values; raises ClientError naming the metrics that there are."""
        found = await self.metrics(task)
        if name not in found:
            known = ", ".join(found) or "none at this party"
            raise ClientError(f"task {task} has no metric {name!r}", where=f"job {self.id}", how=f"it has: {known}")
        return found[name].steps, found[name].values

    async def output(self, task: str, *, port: str = "", limit: int = 1000) -> Rows:
        """Return the first rows of a task's table at this party; ``.frame()`` makes a pandas DataFrame of them."""
        first = await self._rows(task, port, 0, min(PAGE_ROWS, limit))
        rows = list(first.rows)
        wanted = min(limit, first.count)
        while len(rows) < wanted:
            page = (await self._rows(task, port, len(rows), min(PAGE_ROWS, wanted - len(rows)))).rows
            if not page:
                break
            rows += page
        return Rows(first.count, first.header, tuple(rows))

    async def model(self, task: str) -> Mapping[str, object]:
        """Return this party's share of the model that a task wrote, and its other documents, by name."""
        return await self._client.documents(self.id, task, self._party)

    async def log(self, task: str, *, begin: int = 0) -> list[LogLine]:
        """Return a task's log lines at this party."""
        return await self._client.log(self.id, task, self._party, begin=begin)

    def follow(self, task: str = "") -> AsyncIterator[LogLine]:
        """Yield the log lines of a task, or of all tasks here, as they are written, until the job has ended."""
        return self._client.follow_log(self.id, task, self._party)

    async def contract(self) -> Mapping[str, object]:
        """Return the contract that the parties signed."""
        return await self._client.do(calls.contract(self.id, self._party))

    # -- what to do with it

    async def stop(self) -> None:
        """End it at every party."""
        await self._client.stop(self.id)

    async def rerun(self, tasks: Sequence[str] = ()) -> None:
        """Run it again from what failed, or from the named tasks on."""
        await self._client.do(calls.rerun(self.id, tasks))

    async def approve(self) -> None:
        """Say yes to it, where it waits for this party's owner."""
        await self._client.do(calls.approve(self.id, self._party))

    async def reject(self, cause: str) -> None:
        """Say no to it, where it waits for this party's owner."""
        await self._client.do(calls.reject(self.id, cause, self._party))

    # -- how it looks

    def _repr_html_(self) -> str | None:
        """Return the job as it was last seen; a representation cannot await."""
        if self._last is None:
            return None
        curves: dict[str, Metric] = {}
        for drawn in self._curves.values():
            curves |= drawn
        return notebook.job_html(self._last, curves)

    async def _read_curves(self, job: Job) -> None:
        for task in job.tasks:
            if task.status == "running" or (task.status == "success" and job.is_ended):
                self._curves[task.name] = notebook.curves_of(task.name, await self.metrics(task.name))

    async def _rows(self, task: str, port: str, begin: int, limit: int) -> Rows:
        return await self._client.rows(self.id, task, self._party, port=port, begin=begin, limit=limit)

    async def _next(self, job: Job, wait_s: int) -> Job:
        give_up_at, asked_at = 0.0, time.monotonic()
        while True:
            try:
                found = await self._client.job(self.id, self._party, seen=job.seen, wait_s=wait_s)
                break
            except Unreachable:
                now = time.monotonic()
                give_up_at = give_up_at or now + PATIENCE_S
                if now > give_up_at:
                    raise
                await asyncio.sleep(PAUSE_S)
        if found.seen == job.seen and time.monotonic() - asked_at < PAUSE_S:
            await asyncio.sleep(PAUSE_S)  # an upload's daemon answers at once, changed or not
        return found
