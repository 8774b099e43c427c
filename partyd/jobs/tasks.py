"""Runs one party's tasks in workers, and answers what they ask: mail, checkpoints, tables.

A worker that dies is started again and goes on from the last checkpoint; when it dies without getting any further,
several times in a row, the task fails.
"""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from partyd.components.base import Component, JsonObject, Kind
from partyd.dag.spec import ModelSource, Origin, Source, TableSource
from partyd.errors import DataError, LocalProtocolError
from partyd.federation.office import INLINE_BYTES, PostOffice
from partyd.federation.rows import BlobRef, Body
from partyd.governance.datasets import Resolve, resolved, tables_of
from partyd.governance.policy_rules import DatasetName
from partyd.jobs.diary import LOG_FILE, Diary, Progress, schedule_log
from partyd.jobs.order import WorkOrder
from partyd.jobs.ports import JobStore, Models, Tables, Transaction
from partyd.jobs.record import JobRecord
from partyd.jobs.workers import Exit, Workers
from partyd.layout import Layout
from partyd.types import Address, MessageId

if TYPE_CHECKING:
    from partyd.data.table import Table

log = structlog.get_logger()

DEATHS_ALLOWED = 5
RESTART_DELAY_S = 0.2


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
    """Where the job says nothing; counted from the task's start in this life of the daemon."""
    models: Models | None = None
    tables: Tables | None = None
    resolve: Resolve = lambda name: name
    """From the name that the policy gives a table to its own."""
    progressed: Callable[[JobRecord, str, Progress], None] = lambda *_: None
    """Told whenever a running task says how far it is."""
    diaries: dict[tuple[str, str], Diary] = field(default_factory=dict)

    def forget(self, job: str) -> None:
        """Drop what is kept in memory of a job that has ended; its diaries are on the disk."""
        for key in [key for key in self.diaries if key[0] == job]:
            del self.diaries[key]

    def diary(self, job: str, task: str) -> Diary:
        """Return the diary of a task, running or long done."""
        return self.diaries.get((job, task)) or Diary(self.folder(job, task))

    def schedule_log(self, job: str) -> Diary:
        """Return the diary of a job as a whole."""
        return schedule_log(self.layout, job, self.office.me)

    def folder(self, job: str, task: str) -> Path:
        """Return where the outputs of a task at this address lie."""
        return self.layout.task_dir(job, task) / self.office.me.role.label

    async def run(self, record: JobRecord, task: str) -> Exit:
        """Run a task's attempt to its end, or for as long as it may; cancelling kills the worker."""
        said_s = record.spec.dag.task_conf(task, record.me).timeout_s
        limit_s = self.task_timeout_s if said_s is None else said_s
        try:
            async with asyncio.timeout(None if math.isinf(limit_s) else limit_s):
                result = await self._run(record, task)
        except TimeoutError:
            whose = "jobs.task_timeout_s" if said_s is None else "timeout in the task's conf"
            return Exit("failed", "timeout", f"the task ran longer than {limit_s:g} s; allow more with {whose}")
        if result.verdict == "done" and self.models is not None:
            component = self.components[record.spec.dag.tasks[task].component_ref]
            await self.models.keep(record, task, component, self.folder(record.job, task))
        return result

    async def _run(self, record: JobRecord, task: str) -> Exit:
        """Run a task to its end, through as many workers as it takes."""
        diary = self.diaries.setdefault((record.job, task), Diary(self.folder(record.job, task)))
        run = TaskRun(record, task, diary, record.tasks[task].version)
        await self._clear_for(record, task)
        order = await self.order(record, task)
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

    async def _clear_for(self, record: JobRecord, task: str) -> None:
        """Erase what an earlier attempt left, before a new one begins; its log stays."""
        if record.tasks[task].version == 0:
            return
        begun = await self.store.read(lambda store: store.attempt(record.job, task))
        if begun is None or begun.attempt < record.tasks[task].version:
            await asyncio.to_thread(_clear, self.folder(record.job, task))

    async def order(self, record: JobRecord, task: str) -> WorkOrder:
        """Return what a worker is told about a task; raises DataError for an input that is not here."""
        dag = record.spec.dag
        spec = dag.tasks[task]
        component = self.components[spec.component_ref]
        ports = {port.name for port in component.inputs if port.roles & record.me.role}
        names, parameters = await asyncio.to_thread(self._resolved, record, task)
        folders = {own: await self._table(record, task, own, said) for said, own in names.items()}
        tables = {name: folders[own] for name, own in names.items()}
        artifacts = dag.artifacts(task, record.me, self.components)
        origins = {port: found for port, found in artifacts.items() if port in ports}
        inputs = {
            port: tuple([str(await self._input(record, origin, tables)) for origin in found])
            for port, found in origins.items()
        }
        processors = len(os.sched_getaffinity(0))
        asked = dag.task_conf(task, record.me).cores or record.slot.cores or processors
        return WorkOrder(
            job=record.job,
            task=task,
            attempt=record.tasks[task].version,
            component=spec.component_ref,
            stage=dag.stage_of(task),
            parameters=parameters,
            me=record.me,
            parties=tuple(a for a in record.parties if dag.takes_part(task, a, component)),
            inputs=inputs,
            producers={port: tuple(map(_producer, found)) for port, found in origins.items()},
            tables={str(name): str(folder) for name, folder in folders.items()},
            outputs=str(self.folder(record.job, task)),
            limits=record.limits,
            contract=record.contract,
            cores=min(asked, record.slot.cores or processors, processors),
        )

    def _resolved(self, record: JobRecord, task: str) -> tuple[dict[DatasetName, DatasetName], JsonObject]:
        """Return our tables that a task names, and its parameters with the tables' own names."""
        dag = record.spec.dag
        names = {name: self.resolve(name) for name in tables_of(dag, task, record.me)}
        return names, resolved(dag.parameters(task, record.me), lambda name: names.get(name, name))

    async def _table(self, record: JobRecord, task: str, name: DatasetName, said: DatasetName) -> Path:
        """Open a table that the job calls ``said``; the others are not told the name that stands behind it."""
        if self.tables is None:
            raise DataError(f"there is no table {said} here; upload it with: flow data upload")
        try:
            return await self.tables.open(name.namespace, name.name, record.job, task)
        except DataError as error:
            if name == said:
                raise
            self.diary(record.job, task).log("ERROR", str(error))
            raise DataError(f"the data set {said} cannot be read at {record.me}; its owner's log says why") from error

    async def _input(self, record: JobRecord, origin: Origin, tables: Mapping[DatasetName, Path]) -> Path:
        """Return where an input lies; raises DataError when it cannot be known."""
        match origin:
            case Source():
                return self.folder(record.job, origin.producer_task) / origin.output_artifact_key
            case ModelSource():
                if self.models is None or not origin.model_id:
                    raise DataError(
                        "no model_id is given for an input from the model warehouse; see conf.model_warehouse"
                    )
                return await self.models.checked(
                    origin.model_id, origin.model_version or "0", origin.producer_task, origin.output_artifact_key
                )
            case TableSource(job_id=str(job), producer_task=str(producer), output_artifact_key=str(key)):
                return self.folder(job, producer) / key
            case TableSource(namespace=str(namespace), name=str(name)):
                return tables[DatasetName(namespace, name)]
        raise DataError("an input from the data warehouse names neither a table nor an earlier job's output")

    def link(self, older: str, job: str, task: str) -> None:
        """Give a job the outputs of an earlier job's task: links to the same files."""
        source, target = self.folder(older, task), self.folder(job, task)
        shutil.rmtree(target, ignore_errors=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=_link)

    async def erase(self, job: str, tasks: Sequence[str]) -> None:
        """Erase a job's outputs and diaries at this address."""
        for task in tasks:
            await asyncio.to_thread(shutil.rmtree, self.folder(job, task), ignore_errors=True)
        await asyncio.to_thread(shutil.rmtree, self.schedule_log(job).folder, ignore_errors=True)

    async def release(self, job: str) -> None:
        """Let go of what a job that has ended used of ours."""
        if self.tables is not None:
            await self.tables.release(job)

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
            "send": self._send,
            "receive": self._receive,
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

    async def _begin(self, pin: bytes) -> list[Any]:
        """Begin the attempt or find it again: its seed and its newest checkpoint."""
        if type(pin) is not bytes:
            raise TypeError("the pin is not bytes")
        job, task, attempt = self._where
        seed = secrets.token_bytes(32)

        def begin(store: Transaction) -> tuple[bytes, tuple[int, bytes] | None]:
            row = store.begin_attempt(job, task, attempt, seed, pin)
            saved = store.latest_checkpoint(job, task, attempt)
            return row.seed, None if saved is None else (saved.round, store.read_body(saved.state))

        kept, found = await self._runner.store.write(begin)
        if found is not None:
            self._run.rounds = found[0]
        return [kept, found[1] if found is not None else None]

    async def _send(self, scope: str, kind: str, destination: str, body: bytes) -> None:
        to = Address.parse(destination)
        if to not in self._run.record.others or type(body) is not bytes:
            raise LocalProtocolError(f"{to} is no other party of this job, or what it is sent is not bytes")
        await self._runner.office.send(self._message(scope, kind, self._run.record.me, to), body)

    async def _receive(self, scope: str, kind: str, source: str) -> bytes:
        return await self._runner.office.receive(self._message(scope, kind, Address.parse(source), self._run.record.me))

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
        self._runner.progressed(self._run.record, self._run.task, progress)

    async def _metric(self, name: str, step: int, value: float) -> None:
        self._run.diary.metric(str(name), int(step), float(value))

    async def _log(self, level: str, line: str) -> None:
        self._run.diary.log(str(level)[:16], str(line))


def _producer(origin: Origin) -> str:
    return origin.producer_task if isinstance(origin, Source | ModelSource) else ""


def _clear(folder: Path) -> None:
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != LOG_FILE:
            path.unlink(missing_ok=True)


def _link(source: str, target: str) -> str:
    if Path(source).name == LOG_FILE:
        return shutil.copy2(source, target)  # a log may still grow
    os.link(source, target)
    return target
