"""A worker: one process, one task. Its one door is the pipe to the daemon.

It is forked from the warm fork-server, builds the `Party` over the pipe, runs the component and says how it ended. A
crash or a cancel is a dead process; the daemon starts another, which goes on from the last checkpoint.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import resource
import socket
import time
from pathlib import Path
from typing import Any

from partyd import __version__
from partyd.components import COMPONENTS
from partyd.components.base import Component, TaskContext
from partyd.data.table import Table
from partyd.engine.nursery import Nursery
from partyd.engine.pool import Pool
from partyd.errors import BelowFloor, DataError, LocalProtocolError, PartydError, TaskFailed
from partyd.federation.costs import Costs
from partyd.federation.driver import Driver
from partyd.federation.party import Party
from partyd.jobs.lineage import trainings_of, write_lineage
from partyd.jobs.order import WorkOrder
from partyd.jobs.pipe import Pipe, first_frame
from partyd.types import MessageId

PROGRESS_INTERVAL_S = 0.1
Ran = tuple[float, float, dict[str, float]]


class DaemonGone(BaseException):
    """The daemon closed the pipe: end at once, whatever is under way."""


class Refused(TaskFailed):
    """The daemon has refused what this task asked for; ``code`` is the daemon's own."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Door:
    """Calls to the daemon, and the answers that come back."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}

    async def listen(self) -> None:
        """Hand each answer to its call until the daemon is gone."""
        while (frame := await self._pipe.read()) is not None:
            call, code, value = frame
            answer = self._answers.pop(call)
            if answer.cancelled():
                continue
            if code:
                answer.set_exception(Refused(code, str(value)))
            else:
                answer.set_result(value)
        raise DaemonGone

    async def call(self, name: str, *values: Any) -> Any:
        """Ask the daemon for something and return its answer; raises Refused."""
        call = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[call] = answer
        await self._pipe.write(name, call, *values)
        return await answer

    def tell(self, name: str, *values: Any) -> None:
        """Tell the daemon something that needs no answer."""
        self._pipe.post(name, 0, *values)

    async def flush(self, name: str, *values: Any) -> None:
        """Tell the daemon the last thing and let it be read."""
        await self.call(name, *values)


class PipePost:
    """The durable mailbox, behind the door."""

    def __init__(self, door: Door, costs: Costs) -> None:
        self._door = door
        self._costs = costs

    async def send(self, message: MessageId, body: bytes) -> None:
        with self._costs.spent("transfer"):
            await self._door.call("send", message.scope, message.kind, str(message.destination), body)
        self._costs.sent(len(body))

    async def receive(self, message: MessageId) -> bytes:
        with self._costs.spent("wait"):
            answer = await self._door.call("receive", message.scope, message.kind, str(message.source))
        if not isinstance(answer, bytes):
            raise LocalProtocolError("the daemon answered a receive with something that is not bytes")
        self._costs.received(len(answer))
        return answer


class PipeJournal:
    """Checkpoints, behind the door; the newest of an earlier worker came with the beginning."""

    def __init__(self, door: Door, newest: bytes | None) -> None:
        self._door = door
        self._newest = newest

    async def load(self) -> bytes | None:
        return self._newest

    async def save(self, round_: int, scope: str, checkpoint: bytes, consumed: list[MessageId]) -> None:
        read = [[m.scope, m.kind, str(m.source)] for m in consumed]
        await self._door.call("save", round_, scope, checkpoint, read)


class PipeReporter:
    """Progress, metrics and log lines, behind the door; progress is thinned out."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._last = 0.0

    def progress(self, done: int, total: int, note: str = "") -> None:
        now = time.monotonic()
        if done >= total or now - self._last >= PROGRESS_INTERVAL_S:
            self._last = now
            self._door.tell("progress", done, total, note)

    def metric(self, name: str, step: int, value: float) -> None:
        self._door.tell("metric", name, step, float(value))

    def info(self, line: str) -> None:
        self._door.tell("log", "INFO", line)


class PipeSource:
    """This party's tables, those that the task names."""

    def __init__(self, tables: dict[str, str]) -> None:
        self._tables = tables

    def open_table(self, namespace: str, name: str) -> Table:
        path = self._tables.get(f"{namespace}/{name}")
        if path is None:
            options = f"--namespace {namespace} --name {name}"
            raise DataError(f"no table {namespace}/{name} here; upload it with: flow data upload {options}")
        return Table.load(Path(path))


async def work(order: WorkOrder, pipe: Pipe, nursery: Nursery | None = None) -> None:
    """Run one task to its end and tell the daemon how it ended."""
    door = Door(pipe)
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(door.listen())
        reporter = PipeReporter(door)
        try:
            first_at, last_at, costs = await _run(order, door, reporter, nursery)
        except PartydError as error:
            if isinstance(error, BelowFloor) and error.detail:
                reporter.info(error.detail)
            await door.flush("failed", error.code, str(error))
        except (ArithmeticError, ValueError, TypeError, LookupError, OSError, MemoryError, AssertionError) as error:
            await door.flush("failed", "internal", f"{type(error).__name__}: {error}")
            raise
        else:
            usage, pool = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            cpu_s = round(usage.ru_utime + usage.ru_stime + pool.ru_utime + pool.ru_stime, 3)
            await door.flush("done", cpu_s, usage.ru_maxrss, first_at, last_at, costs)
        listener.cancel()


async def _run(order: WorkOrder, door: Door, reporter: PipeReporter, nursery: Nursery | None) -> Ran:
    pool = Pool(parallelism(order), nursery)
    try:
        return await _run_with(order, door, reporter, pool)
    finally:
        await pool.close()


async def _run_with(order: WorkOrder, door: Door, reporter: PipeReporter, pool: Pool) -> Ran:
    """Run the component and return when its first and after its last instruction were (Unix seconds), and its costs."""
    component, costs = COMPONENTS[order.component], Costs()
    pin = await asyncio.to_thread(pin_of_order, order) if order.inputs else pin_of_order(order)
    seed, newest = await door.call("begin", pin)
    party = Party(
        order.me,
        _taking_part(order, component),
        PipePost(door, costs),
        reporter,
        job=order.job,
        task=order.task,
        attempt=order.attempt,
        seed=seed,
        engine=pool,
        costs=costs,
    )
    context = TaskContext(
        party=party,
        driver=await Driver.open(party, PipeJournal(door, newest)),
        params=component.params.model_validate(order.parameters),
        inputs={port: tuple(map(Path, paths)) for port, paths in order.inputs.items()},
        outputs=Path(order.outputs),
        source=PipeSource(order.tables),
        stage=order.stage,
        limits=order.limits,
        producers=order.producers,
        trainings=trainings_of(order, component),
    )
    first_at = time.time()
    await component.run(context)
    await asyncio.to_thread(write_lineage, order, component)
    return first_at, time.time(), costs.summary()


def parallelism(order: WorkOrder) -> int:
    """Return how many processes may compute for this task."""
    processors = len(os.sched_getaffinity(0))
    return min(order.cores or processors, processors)


def pin_of_order(order: WorkOrder) -> bytes:
    """Return the digest of what the attempt's randomness may be used with: code, parameters, parties, inputs."""
    told = order.model_dump_json(exclude={"outputs", "cores", "contract"})
    digest = hashlib.sha256(f"{__version__}/{told}".encode())
    for _, paths in sorted(order.inputs.items()):
        for path in map(Path, paths):
            files = sorted(path.rglob("*")) if path.is_dir() else [path.with_suffix(".json")]
            for file in files:
                if not file.is_dir():
                    with file.open("rb") as stream:
                        digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.digest()


def _taking_part(order: WorkOrder, component: Component) -> list[Any]:
    return [address for address in order.parties if address.role & component.roles]


def main(sock: socket.socket) -> None:
    """Run in the forked child: read the order, work until the task has ended or the daemon has gone."""
    frame = first_frame(sock)
    if frame is None:
        return
    order = WorkOrder.model_validate_json(frame[0])

    async def run(nursery: Nursery | None) -> None:
        pipe = await Pipe.open(sock)
        await work(order, pipe, nursery)
        pipe.close()

    alone = parallelism(order) == 1 or not COMPONENTS[order.component].algorithms
    try:
        asyncio.run(run(None if alone else Nursery.fork(close=[sock])))
    except BaseExceptionGroup as group:
        if group.subgroup(DaemonGone) is None:
            raise
