"""Hold a state directory for one daemon, and tell commands which process that is.

The lock is a POSIX record lock: the kernel drops it with the process, workers do not inherit it, and ``F_GETLK`` names
its holder without taking it. So a daemon that was killed leaves nothing behind, and no signal ever reaches a stranger
that got an old process id.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

from partyd.errors import ConfigError
from partyd.layout import make_private_dir

_FLOCK = struct.Struct("@hhqqi4x")
"""Linux's ``struct flock``, 64 bit: type, whence, start, length, process id."""


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the directory while inside; raises ConfigError when another daemon does."""
    make_private_dir(path.parent)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ConfigError(
                f"{path.parent}: process {_holder(handle) or '?'} runs this daemon already; "
                "stop it, or give this one another --state-dir"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
        os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def running_pid(path: Path) -> int | None:
    """Return the process id of the daemon that holds ``path`` now, if one does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise ConfigError(f"{path.parent}: belongs to another user; run this as its owner or as root") from error
    try:
        return _holder(handle)
    finally:
        os.close(handle)


def ask_to_reload(path: Path) -> bool:
    """Send SIGHUP to the daemon that holds ``path``; say whether there was one."""
    pid = running_pid(path)
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGHUP)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise ConfigError(f"process {pid} runs as another user; tell it yourself: sudo kill -HUP {pid}") from error
    return True


def _holder(handle: int) -> int | None:
    question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(handle, fcntl.F_GETLK, question))
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None
