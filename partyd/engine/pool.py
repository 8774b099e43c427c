"""A pool of processes on this machine, for one worker.

The children are started when the first map needs them (``python -m partyd.engine.pool``) and end with their owner. A
child is told a function's name and a partition's bytes, and answers with bytes; only functions of modules under
``partyd`` can be named, and nothing is pickled.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import os
import signal
import socket
import struct
import sys
from collections.abc import Sequence

from partyd.errors import LocalProtocolError, TaskFailed
from partyd.federation.engine import Function, Inline, Partition

PREFIX = struct.Struct(">IQ")
PR_SET_PDEATHSIG = 1


class Pool:
    """Maps over ``parallelism`` child processes; `close` ends them."""

    def __init__(self, parallelism: int | None = None) -> None:
        self.parallelism = parallelism or len(os.sched_getaffinity(0))
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        self._children: list[_Child] = []
        self._ended: list[_Child] = []

    async def map(self, function: Function, partitions: Sequence[Partition]) -> list[Partition]:
        """Return ``function`` of each partition, in their order; raises TaskFailed when one cannot be computed."""
        name = name_of(function)
        if self.parallelism == 1 or len(partitions) <= 1:
            return await Inline().map(function, partitions)
        while len(self._children) < min(self.parallelism, len(partitions)):
            child = await _Child.start()
            self._children.append(child)
            self._free.put_nowait(child)
        failures: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as group:
                results = [group.create_task(self._one(name, partition)) for partition in partitions]
        except* TaskFailed as failed:
            failures += failed.exceptions
        if failures:
            raise failures[0]
        return [result.result() for result in results]

    async def _one(self, name: str, partition: Partition) -> Partition:
        child = await self._free.get()
        try:
            failed, result = await child.call(name, partition)
        except BaseException:
            self._children.remove(child)
            self._ended.append(child)  # its pipe may hold half of an answer: never use it again
            child.kill()
            raise
        self._free.put_nowait(child)
        if failed:
            raise TaskFailed(f"{name}: {result.decode('utf-8', 'replace')}")
        return result

    async def close(self) -> None:
        """End the children."""
        children = self._children + self._ended
        self._children, self._ended, self._free = [], [], asyncio.Queue()
        for child in children:
            child.kill()
        await asyncio.gather(*(child.process.wait() for child in children))


class _Child:
    """One process of the pool, and the pipe to it."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls) -> _Child:
        ours, theirs = socket.socketpair()
        command = (sys.executable, "-m", "partyd.engine.pool", str(theirs.fileno()))
        process = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()])
        theirs.close()
        return cls(process, *await asyncio.open_connection(sock=ours))

    async def call(self, name: str, partition: Partition) -> tuple[bool, bytes]:
        """Return whether the function raised, and its result or the reason; raises TaskFailed when the process died."""
        self._writer.writelines((PREFIX.pack(len(name), len(partition)), name.encode(), partition))
        try:
            await self._writer.drain()
            failed, length = PREFIX.unpack(await self._reader.readexactly(PREFIX.size))
            result = await self._reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise TaskFailed(f"a process of the pool died while computing {name}") from error
        return bool(failed), result

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._writer.close()
        if self.process.returncode is None:
            self.process.kill()


def name_of(function: Function) -> str:
    """Return the name under which a child finds ``function``; raises LocalProtocolError when it has none."""
    name = f"{function.__module__}:{function.__qualname__}"
    if find(name) is not function:
        raise LocalProtocolError(f"{name} is no function of a module and cannot run in another process")
    return name


def find(name: str) -> Function:
    """Return the function of that name; raises LocalProtocolError unless it is one of a module under ``partyd``."""
    module, _, attribute = name.partition(":")
    if not module.startswith("partyd.") or not attribute.isidentifier():
        raise LocalProtocolError(f"{name!r} is not a function of partyd")
    function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise LocalProtocolError(f"{name!r} does not exist")
    found: Function = function
    return found


def serve(sock: socket.socket) -> None:
    """Compute what the owner asks until it closes the pipe."""
    stream = sock.makefile("rwb")
    while head := stream.read(PREFIX.size):
        name_length, length = PREFIX.unpack(head)
        name = stream.read(name_length).decode()
        partition = stream.read(length)
        try:
            failed, result = 0, find(name)(partition)
        except Exception as error:  # noqa: BLE001 - whatever a function raises is its caller's, who is told
            failed, result = 1, f"{type(error).__name__}: {error}".encode()
        stream.write(PREFIX.pack(failed, len(result)) + result)
        stream.flush()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    serve(socket.socket(fileno=int(sys.argv[1])))
