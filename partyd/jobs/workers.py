"""The daemon's side of the workers: the fork-server kept alive, one pipe a worker, what a worker may ask for."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgpack
import structlog

from partyd.errors import PartydError, TaskFailed
from partyd.jobs.order import WorkOrder
from partyd.jobs.pipe import Pipe

log = structlog.get_logger()

Handler = Callable[[str, list[Any]], Awaitable[Any]]
"""Answers a worker's call: name and values in, value out; raises PartydError to refuse."""


@dataclass(frozen=True)
class Exit:
    """How a worker ended: what it said (``done``, ``failed``) or nothing, when it died."""

    verdict: str
    code: str = ""
    cause: str = ""
    cpu_s: float = 0.0
    peak_kib: int = 0


class Workers:
    """Starts workers through the fork-server; use as ``async with``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._running: set[int] = set()

    @property
    def count(self) -> int:
        """How many workers are at work."""
        return len(self._running)

    async def start(self) -> None:
        """Start the fork-server now, so that the first task finds it warm."""
        async with self._lock:
            await self._ensure()

    async def stop(self) -> None:
        """End the fork-server and every worker."""
        async with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def _ensure(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        self._drop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("NOTIFY_SOCKET", None)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "partyd.jobs.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._control = ours
        await self._hear("ready")
        return ours

    async def _hear(self, wanted: str) -> int:
        assert self._control is not None
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._control, 4096)
            if not data:
                raise TaskFailed("the fork-server ended; the next task starts another")
            what, pid, status = msgpack.unpackb(data)
            if what == "ended":
                log.debug("worker_exited", pid=pid, status=status)
            if what == wanted:
                return int(pid)

    async def _spawn(self, order: WorkOrder) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        async with self._lock:
            for _ in range(2):
                try:
                    control = await self._ensure()
                    socket.send_fds(control, [order.model_dump_json().encode()], [theirs.fileno()])
                    pid = await self._hear("started")
                    break
                except (OSError, TaskFailed) as error:
                    log.warning("fork_server_lost", error=str(error))
                    self._drop()
            else:
                ours.close()
                theirs.close()
                raise TaskFailed("no worker process could be started; see the daemon's log")
        theirs.close()
        return pid, ours

    async def run(self, order: WorkOrder, handler: Handler) -> Exit:
        """Run a task in a worker to its end; cancelling kills the worker."""
        pid, sock = await self._spawn(order)
        self._running.add(pid)
        pipe = await Pipe.open(sock)
        try:
            return await self._converse(pipe, handler)
        finally:
            self._running.discard(pid)
            pipe.close()
            with _ignoring_gone():
                os.kill(pid, signal.SIGKILL)

    async def _converse(self, pipe: Pipe, handler: Handler) -> Exit:
        calls: set[asyncio.Task[None]] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while (frame := await pipe.read()) is not None:
                    name, call, *values = frame
                    if name in ("done", "failed"):
                        await _answer(pipe, call, "", None)
                        for task in calls:
                            task.cancel()
                        return _exit(name, values)
                    if call == 0:
                        await handler(name, values)
                        continue
                    task = group.create_task(_serve(pipe, handler, name, call, values))
                    calls.add(task)
                    task.add_done_callback(calls.discard)
                for task in calls:
                    task.cancel()
        except* ConnectionError:
            pass
        return Exit("died", "worker_died", "the worker process died")


def _exit(name: str, values: list[Any]) -> Exit:
    if name == "done":
        return Exit("done", cpu_s=float(values[0]), peak_kib=int(values[1]))
    return Exit("failed", str(values[0])[:64], str(values[1])[:4000])


async def _serve(pipe: Pipe, handler: Handler, name: str, call: int, values: list[Any]) -> None:
    try:
        value = await handler(name, values)
    except PartydError as error:
        await _answer(pipe, call, error.code, str(error))
    else:
        await _answer(pipe, call, "", value)


async def _answer(pipe: Pipe, call: int, code: str, value: Any) -> None:
    await pipe.write(call, code, value)


class _ignoring_gone:
    """Ignore that a process has ended already."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, ProcessLookupError)
