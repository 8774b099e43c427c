"""Runs one party's tasks in workers, and answers what they ask: mail, checkpoints, tables.

A worker that dies is started again and goes on from the last checkpoint; when it dies without getting any further,
several times in a row, the task fails.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from partyd.components.base import Component, Kind
from partyd.errors import DataError, LocalProtocolError
from partyd.federation.office import INLINE_BYTES, PostOffice
from partyd.federation.rows import BlobRef, Body
from partyd.jobs.diary import Diary
from partyd.jobs.order import WorkOrder
from partyd.jobs.ports import JobStore
from partyd.jobs.record import JobRecord
from partyd.jobs.workers import Exit, Workers
from partyd.layout import Layout
from partyd.types import Address, MessageId

if TYPE_CHECKING:
    from partyd.data.table import Table

log = structlog.get_logger()

DEATHS_ALLOWED = 5
RESTART_DELAY_S = 0.2
TABLES = "table"


@dataclass
class TaskRun:
    """One task of one job, running here."""

    record: JobRecord
    task: str
    diary: Diary
    attempt: int = 0
    rounds: int = 0


@dataclass
class TaskRunner:
    """Starts workers for tasks; one for each address of the daemon."""

    office: PostOffice
    store: JobStore
    workers: Workers
    layout: Layout
    components: Mapping[str, Component]
    task_timeout_s: float = math.inf
    """Counted from the task's start in this life of the daemon."""
    diaries: dict[tuple[str, str], Diary] = field(default_factory=dict)

    def forget(self, job: str) -> None:
        """Drop what is kept in memory of a job that has ended; its diaries are on the disk."""
        for key in [key for key in self.diaries if key[0] == job]:
            del self.diaries[key]

    def diary(self, job: str, task: str) -> Diary:
        """Return the diary of a task, running or long done."""
        return self.diaries.get((job, task)) or Diary(self.folder(job, task))

    def folder(self, job: str, task: str) -> Any:
        """Return where the outputs of a task at this address lie."""
        return self.layout.task_dir(job, task) / self.office.me.role.label

    async def run(self, record: JobRecord, task: str) -> Exit:
        """Run a task to its end or for ``task_timeout_s``; cancelling kills the worker."""
        limit_s = self.task_timeout_s
        try:
            async with asyncio.timeout(None if math.isinf(limit_s) else limit_s):
                return await self._run(record, task)
        except TimeoutError:
            cause = f"the task ran longer than {limit_s:g} s; allow more with jobs.task_timeout_s"
            return Exit("failed", "timeout", cause)

    async def _run(self, record: JobRecord, task: str) -> Exit:
        """Run a task to its end, through as many workers as it takes."""
        diary = self.diaries.setdefault((record.job, task), Diary(self.folder(record.job, task)))
        run = TaskRun(record, task, diary)
        order = self.order(record, task)
        handler = _Handler(self, run)
        deaths, rounds = 0, -1
        while True:
            result = await self.workers.run(order, handler)
            if result.verdict != "died":
                return result
            deaths = 1 if run.rounds > rounds else deaths + 1
            rounds = run.rounds
            log.warning("worker_died", job=record.job, task=task, deaths=deaths)
            diary.log("WARNING", "the worker process died; another one goes on from the last checkpoint")
            if deaths > DEATHS_ALLOWED:
                return Exit(
                    "failed", "worker_died", f"the worker process died {deaths} times without getting any further"
                )
            await asyncio.sleep(RESTART_DELAY_S)

    def order(self, record: JobRecord, task: str) -> WorkOrder:
        """Return what a worker is told about a task."""
        dag = record.spec.dag
        spec = dag.tasks[task]
        component = self.components[spec.component_ref]
        inputs = {}
        for port in component.inputs:
            artifact = spec.artifacts().get(port.name)
            if artifact is None or not port.roles & record.me.role:
                continue
            for source in artifact.sources()[:1]:
                inputs[port.name] = str(self.folder(record.job, source.producer_task) / source.output_artifact_key)
        stage = spec.stage or dag.stage
        return WorkOrder(
            job=record.job,
            task=task,
            attempt=0,
            component=spec.component_ref,
            stage="train" if stage == "train" else "predict" if stage == "predict" else "default",
            parameters=dag.parameters(task, record.me),
            me=record.me,
            parties=tuple(a for a in record.parties if dag.takes_part(task, a, component)),
            inputs=inputs,
            outputs=str(self.folder(record.job, task)),
        )

    async def tables(self) -> dict[str, str]:
        """Return every uploaded table's folder by ``namespace/name``."""
        rows = await self.store.read(lambda store: store.documents(TABLES, limit=100_000))
        return {row.key: str(self.layout.tables_dir(*row.key.split("/", 1))) for row in rows}

    def has_output(self, record: JobRecord, task: str, port: str, kind: Kind) -> bool:
        """Return whether a task has written an output."""
        path = self.folder(record.job, task) / port
        return bool(path.is_dir() if kind is Kind.DATA else path.with_suffix(".json").exists())

    def read_output(self, job: str, task: str, port: str) -> Table:
        """Open an output table; raises DataError when there is none."""
        from partyd.data.table import Table  # here, for numpy comes with it and a daemon seldom shows a table

        folder = self.folder(job, task) / port
        if not port.isidentifier() or not folder.is_dir():
            raise DataError(f"task {task} of job {job} has no output {port!r} here")
        return Table.load(folder)


class _Handler:
    """Answers one worker; every name it may call is listed in ``_calls``."""

    def __init__(self, runner: TaskRunner, run: TaskRun) -> None:
        self._runner = runner
        self._run = run
        self._calls: dict[str, Callable[..., Awaitable[Any]]] = {
            "begin": self._begin,
            "tables": self._tables,
            "send": self._send,
            "receive": self._receive,
            "load": self._load,
            "save": self._save,
            "progress": self._progress,
            "metric": self._metric,
            "log": self._log,
        }

    async def __call__(self, name: str, values: list[Any]) -> Any:
        call = self._calls.get(name) if isinstance(name, str) else None
        if call is None:
            raise LocalProtocolError(f"a worker asked for {name!r}, which does not exist")
        try:
            return await call(*values)
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            raise LocalProtocolError(f"what a worker sent with {name!r} cannot be used: {error}") from error

    @property
    def _where(self) -> tuple[str, str, int]:
        return self._run.record.job, self._run.task, self._run.attempt

    def _message(self, scope: str, kind: str, source: Address, destination: Address) -> MessageId:
        job, task, attempt = self._where
        return MessageId(job, task, attempt, scope, kind, source, destination)

    async def _begin(self, pin: bytes) -> bytes:
        if type(pin) is not bytes:
            raise TypeError("the pin is not bytes")
        job, task, attempt = self._where
        seed = secrets.token_bytes(32)
        row = await self._runner.store.write(lambda store: store.begin_attempt(job, task, attempt, seed, pin))
        return row.seed

    async def _tables(self) -> str:
        return json.dumps(await self._runner.tables())

    async def _send(self, scope: str, kind: str, destination: str, body: bytes) -> None:
        to = Address.parse(destination)
        if to not in self._run.record.others or type(body) is not bytes:
            raise LocalProtocolError(f"{to} is no other party of this job, or what it is sent is not bytes")
        await self._runner.office.send(self._message(scope, kind, self._run.record.me, to), body)

    async def _receive(self, scope: str, kind: str, source: str) -> bytes:
        return await self._runner.office.receive(self._message(scope, kind, Address.parse(source), self._run.record.me))

    async def _load(self) -> bytes | None:
        def load(store: Any) -> tuple[int, bytes] | None:
            row = store.latest_checkpoint(*self._where)
            return None if row is None else (row.round, store.read_body(row.state))

        found = await self._runner.store.read(load)
        if found is None:
            return None
        self._run.rounds = found[0]
        return found[1]

    async def _save(self, round_: int, scope: str, checkpoint: bytes, consumed: list[list[str]]) -> None:
        job, task, attempt = self._where
        me = self._run.record.me
        read = [self._message(s, kind, Address.parse(source), me) for s, kind, source in consumed]
        state: Body = checkpoint
        if len(checkpoint) > INLINE_BYTES:
            digest = await asyncio.to_thread(self._runner.store.blobs.write, checkpoint)
            state = BlobRef(digest, len(checkpoint))
        await self._runner.store.write(lambda store: store.checkpoint(job, task, attempt, round_, scope, state, read))
        self._run.rounds = round_
        for source in {message.source for message in read}:
            await self._runner.office.consumed(source)

    async def _progress(self, done: int, total: int, note: str) -> None:
        progress = self._run.diary.progress
        progress.done, progress.total, progress.note = int(done), int(total), str(note)[:200]

    async def _metric(self, name: str, step: int, value: float) -> None:
        self._run.diary.metric(str(name), int(step), float(value))

    async def _log(self, level: str, line: str) -> None:
        self._run.diary.log(str(level)[:16], str(line))
