"""A process that forks the pool's children: they find every module loaded and start in milliseconds.

A worker with threads and a running loop is no process to fork. So it forks the nursery before it has either; the
nursery does nothing but fork on request, and what it forks has one thread. It ends with its worker, and the children
with it. Pools that have no nursery start fresh interpreters.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from partyd.engine.child import end_with_the_parent, serve

WORD = b"fork"
PID = struct.Struct(">I")


@dataclass
class Forked:
    """A process that somebody else started, held by a descriptor: its number cannot come to mean another."""

    pid: int
    _descriptor: int = field(init=False)

    def __post_init__(self) -> None:
        self._descriptor = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    async def wait(self) -> None:
        """Return when the process has ended, and let go of it."""
        if self._descriptor < 0:
            return
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1


class Nursery:
    """The worker's end; make it with `Nursery.fork` before there are threads or a loop."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self._control, self._pid = control, pid

    @classmethod
    def fork(cls, close: Iterable[socket.socket] = ()) -> Nursery:
        """Fork the nursery; it closes the sockets that belong to the caller alone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pid = os.fork()
        if pid == 0:
            _last(lambda: _tend(theirs, (ours, *close)))
        theirs.close()
        return cls(ours, pid)

    def ask(self, end: socket.socket) -> None:
        """Have a child forked that serves ``end`` and first writes its process id there; raises OSError."""
        socket.send_fds(self._control, [WORD], [end.fileno()])

    def close(self) -> None:
        """End the nursery, and with it the children that are left."""
        self._control.close()
        os.waitpid(self._pid, 0)


def _tend(control: socket.socket, others: Iterable[socket.socket]) -> None:
    """Fork a child for each request until the worker closes the socket."""
    end_with_the_parent()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for sock in others:
        sock.close()
    children: list[int] = []
    while True:
        data, descriptors, _, _ = socket.recv_fds(control, len(WORD), 1)
        if not data:
            break
        end = socket.socket(fileno=descriptors[0])
        pid = os.fork()
        if pid == 0:
            _last(lambda: _begin(control, end))  # noqa: B023 - it runs at once
        children.append(pid)
        end.close()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # so that their time counts as the worker's


def _begin(control: socket.socket, end: socket.socket) -> None:
    end_with_the_parent()
    control.close()
    end.sendall(PID.pack(os.getpid()))
    serve(end)


def _last(work: Callable[[], None]) -> None:
    """Do ``work`` and end this process: the caller's frames below belong to its parent."""
    status = 1
    try:
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of this process: say why it ends, then end it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
