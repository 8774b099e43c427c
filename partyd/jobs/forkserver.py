"""The warm fork-server: a process with numpy and every component loaded, which forks a worker in milliseconds.

The daemon starts it (``python -m partyd.jobs.forkserver FD``) and sends, over that socket, a word with the worker's end
of a pipe attached; the order comes through that pipe. It answers with the worker's pid, and later with how the worker
ended. When the daemon is gone the fork-server ends, and with it every worker: nothing computes on for a dead daemon.
"""

from __future__ import annotations

import ctypes
import gc
import os
import select
import signal
import socket
import sys
import traceback

import msgpack

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from partyd.components import COMPONENTS
from partyd.jobs import worker

PR_SET_PDEATHSIG = 1
MAX_WORD = 64


def serve(control: socket.socket) -> None:
    """Fork a worker for each order until the daemon closes the socket."""
    for name in COMPONENTS:
        _ = COMPONENTS[name]  # imported here once, not in every worker
    gc.freeze()
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon, which then ends this process
    orders = 0
    control.send(msgpack.packb(["ready", os.getpid(), 0]))
    while True:
        readable, _, _ = select.select([control.fileno(), wake_read], [], [])
        if wake_read in readable:
            _drain(wake_read)
            _reap(control)
        if control.fileno() in readable:
            try:
                data, fds, _, _ = socket.recv_fds(control, MAX_WORD, 1)
            except ConnectionError:
                return
            if not data:
                return
            orders += 1
            _fork(control, orders, fds[0], (wake_read, wake_write))


def _fork(control: socket.socket, number: int, fd: int, inherited: tuple[int, ...]) -> None:
    pid = os.fork()
    if pid:
        os.close(fd)
        control.send(msgpack.packb(["started", pid, number]))
        return
    status = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        control.close()
        for descriptor in inherited:
            os.close(descriptor)
        worker.main(socket.socket(fileno=fd))
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of this process: say why it ends, then end it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 512):
            pass
    except BlockingIOError:
        pass


def _reap(control: socket.socket) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(msgpack.packb(["ended", pid, os.waitstatus_to_exitcode(status)]))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
