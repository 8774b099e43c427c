"""The daemon's side of the workers: the fork-server kept alive, one pipe a worker, what a worker may ask for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack
import structlog

from partyd.errors import LocalProtocolError, PartydError, TaskFailed
from partyd.federation import costs
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
    first_at: float = 0.0
    """When the component's first instruction was (Unix seconds), as its worker says."""
    last_at: float = 0.0
    """When it had done its last."""
    costs: Mapping[str, float] = field(default_factory=dict)
    """What the time between them went into, and the bytes of messages (`partyd.federation.costs`)."""


class Workers:
    """Starts workers through the fork-server; use as ``async with``."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._running: set[int] = set()
        self._orders = 0

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
        self._orders = 0
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment.pop("NOTIFY_SOCKET", None)
        self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork and an exec, once
            [sys.executable, "-m", "partyd.jobs.forkserver", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._control = ours
        await self._hear("ready", 0)
        return ours

    async def _hear(self, wanted: str, number: int) -> int:
        """Return the pid that the fork-server says in ``wanted``; passes over an answer to a cancelled call."""
        assert self._control is not None
        while True:
            data = await asyncio.get_running_loop().sock_recv(self._control, 4096)
            if not data:
                raise TaskFailed("the fork-server ended; the next task starts another")
            what, pid, detail = msgpack.unpackb(data)
            if what == "ended":
                log.debug("worker_exited", pid=pid, status=detail)
            if (what, detail) == (wanted, number):
                return int(pid)

    async def _spawn(self) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            ours.setblocking(False)
            async with self._lock:
                pid = await self._fork(theirs)
            undo.pop_all()
        return pid, ours

    async def _fork(self, theirs: socket.socket) -> int:
        for _ in range(2):
            try:
                control = await self._ensure()
                self._orders += 1
                socket.send_fds(control, [b"fork"], [theirs.fileno()])
                return await self._hear("started", self._orders)
            except (OSError, TaskFailed) as error:
                log.warning("fork_server_lost", error=str(error))
                self._drop()
        raise TaskFailed("no worker process could be started; see the daemon's log")

    async def run(self, order: WorkOrder, handler: Handler) -> Exit:
        """Run a task in a worker to its end; cancelling kills the worker."""
        pid, sock = await self._spawn()
        self._running.add(pid)
        try:
            pipe = await Pipe.open(sock)
            try:
                return await self._converse(pipe, order, handler)
            finally:
                pipe.close()
        finally:
            sock.close()
            self._running.discard(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _converse(self, pipe: Pipe, order: WorkOrder, handler: Handler) -> Exit:
        calls: set[asyncio.Task[None]] = set()
        broken = ""
        try:
            await pipe.write(order.model_dump_json())
            async with asyncio.TaskGroup() as group:
                while (frame := await pipe.read()) is not None:
                    name, call, values = _call(frame)
                    if name in ("done", "failed"):
                        result = _exit(name, values)
                        await _answer(pipe, call, "", None)
                        for task in calls:
                            task.cancel()
                        return result
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
        except* LocalProtocolError as group:
            broken = "; ".join(map(str, group.exceptions))
        if broken:
            return Exit("failed", LocalProtocolError.code, f"the worker broke the rules of its pipe: {broken}"[:4000])
        return Exit("died", "worker_died", "the worker process died")


def _call(frame: list[Any]) -> tuple[str, int, list[Any]]:
    """Return a frame's name, number (0: no answer is wanted) and values; raises LocalProtocolError."""
    if len(frame) < 2 or type(frame[0]) is not str or type(frame[1]) is not int:
        raise LocalProtocolError("a frame from a worker does not begin with a name and a number")
    return frame[0], frame[1], frame[2:]


def _exit(name: str, values: list[Any]) -> Exit:
    match name, values:
        case "done", [
            int() | float() as cpu_s,
            int() as peak_kib,
            float() as first_at,
            float() as last_at,
            dict() as c,
        ]:
            return Exit("done", "", "", float(cpu_s), peak_kib, first_at, last_at, _costs(c))
        case "failed", [str() as code, str() as cause]:
            return Exit("failed", code[:64], cause[:4000])
    raise LocalProtocolError(f"a worker's {name!r} does not hold what it must")


def _costs(told: dict[Any, Any]) -> Mapping[str, float]:
    if not all(name in costs.NAMES and type(value) is float for name, value in told.items()):
        raise LocalProtocolError("a worker's costs are not those that a task has")
    return told


async def _serve(pipe: Pipe, handler: Handler, name: str, call: int, values: list[Any]) -> None:
    try:
        value = await handler(name, values)
    except PartydError as error:
        await _answer(pipe, call, error.code, str(error))
    else:
        await _answer(pipe, call, "", value)


async def _answer(pipe: Pipe, call: int, code: str, value: Any) -> None:
    await pipe.write(call, code, value)
