"""A pool of processes on this machine, for one worker.

The children are started when the first map needs them, forked by a `Nursery` or as fresh interpreters, and end with
their owner. A child is told a function's name and a partition's bytes, and answers with bytes; only functions of
modules under ``partyd`` can be named, and nothing is pickled (`partyd.engine.child`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from partyd import errors
from partyd.engine.child import ANSWER, DIGEST_BYTES, NOTHING, REQUEST, Shelf, find
from partyd.engine.nursery import PID, Forked, Nursery
from partyd.errors import LocalProtocolError, PartydError, TaskFailed
from partyd.federation.engine import Inline, Partition

STREAM_LIMIT = 1 << 20


class Process(Protocol):
    """A child as a process."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None: ...

    async def wait(self) -> object: ...


class Pool:
    """Maps over ``parallelism`` child processes; `close` ends them."""

    def __init__(self, parallelism: int | None = None, nursery: Nursery | None = None) -> None:
        self.parallelism = parallelism or len(os.sched_getaffinity(0))
        self._nursery = nursery
        self._starting = asyncio.Lock()
        self._free: asyncio.Queue[_Child] = asyncio.Queue()
        self._children: list[_Child] = []
        self._ended: list[_Child] = []

    async def map(
        self, function: Callable[..., Partition], partitions: Sequence[Partition], shared: bytes = b""
    ) -> list[Partition]:
        """Return ``function`` of each partition, in their order.

        Raises the PartydError that a partition's function raised, TaskFailed when one cannot be computed.
        """
        name = name_of(function)
        if self.parallelism == 1 or len(partitions) <= 1:
            return await Inline().map(function, partitions, shared)
        async with self._starting:
            while len(self._children) < min(self.parallelism, len(partitions)):
                child = await _Child.start(self._nursery)
                self._children.append(child)
                self._free.put_nowait(child)
        digest = hashlib.sha256(shared).digest()[:DIGEST_BYTES] if shared else NOTHING
        failures: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as group:
                results = [group.create_task(self._one(name, partition, shared, digest)) for partition in partitions]
        except* PartydError as failed:
            failures += failed.exceptions
        if failures:
            raise failures[0]
        return [result.result() for result in results]

    async def _one(self, name: str, partition: Partition, shared: bytes, digest: bytes) -> Partition:
        child = await self._free.get()
        try:
            failed, result = await child.call(name, partition, shared, digest)
        except BaseException:
            self._children.remove(child)
            self._ended.append(child)  # its pipe may hold half of an answer: never use it again
            child.kill()
            raise
        self._free.put_nowait(child)
        if failed:
            raise _raised(name, result.decode("utf-8", "replace"))
        return result

    async def close(self) -> None:
        """End the children."""
        children = self._children + self._ended
        self._children, self._ended, self._free = [], [], asyncio.Queue()
        for child in children:
            child.kill()
        await asyncio.gather(*(child.process.wait() for child in children))
        if self._nursery is not None:
            self._nursery.close()


class _Child:
    """One process of the pool, and the pipe to it."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.process = process
        self._reader = reader
        self._writer = writer
        self._shelf = Shelf()

    @classmethod
    async def start(cls, nursery: Nursery | None) -> _Child:
        ours, theirs = socket.socketpair()
        if nursery is None:
            command = (sys.executable, "-m", "partyd.engine.child", str(theirs.fileno()))
            process = await asyncio.create_subprocess_exec(*command, pass_fds=[theirs.fileno()])
            theirs.close()
            return cls(process, *await asyncio.open_connection(sock=ours, limit=STREAM_LIMIT))
        reader, writer = await asyncio.open_connection(sock=ours, limit=STREAM_LIMIT)
        try:
            with theirs:
                nursery.ask(theirs)
            (pid,) = PID.unpack(await reader.readexactly(PID.size))
        except (OSError, asyncio.IncompleteReadError) as error:
            writer.close()
            raise TaskFailed("no process of the pool could be started; see the daemon's log") from error
        return cls(Forked(pid), reader, writer)

    async def call(self, name: str, partition: Partition, shared: bytes, digest: bytes) -> tuple[bool, bytes]:
        """Return whether the function raised, and its result or the reason; raises TaskFailed when the process died."""
        new = bool(shared) and digest not in self._shelf
        if new:
            self._shelf.put(digest, len(shared))
        if shared:
            self._shelf.use(digest)
        head = REQUEST.pack(len(name), digest, len(shared) * new, len(partition))
        self._writer.writelines((head, name.encode(), shared if new else b"", partition))
        try:
            await self._writer.drain()
            failed, length = ANSWER.unpack(await self._reader.readexactly(ANSWER.size))
            result = await self._reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise TaskFailed(f"a process of the pool died while computing {name}") from error
        return bool(failed), result

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


def name_of(function: Callable[..., Partition]) -> str:
    """Return the name under which a child finds ``function``; raises LocalProtocolError when it has none."""
    name = f"{function.__module__}:{function.__qualname__}"
    if find(name) is not function:
        raise LocalProtocolError(f"{name} is no function of a module and cannot run in another process")
    return name


def _raised(name: str, told: str) -> PartydError:
    """Return the error of `partyd.errors` that a child was told of, or TaskFailed for any other."""
    kind, _, sentence = told.partition(": ")
    found = getattr(errors, kind, None)
    if isinstance(found, type) and issubclass(found, PartydError):
        return found(sentence)
    return TaskFailed(f"{name}: {told}")
