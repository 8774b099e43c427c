"""Where things lie in a state directory, and the lock that keeps a second daemon out."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from partyd.errors import ConfigError


@dataclass(frozen=True)
class Layout:
    """The paths of one state directory."""

    directory: Path

    @property
    def database(self) -> Path:
        return self.directory / "partyd.db"

    @property
    def log(self) -> Path:
        return self.directory / "partyd.db-wal"

    @property
    def blobs(self) -> Path:
        return self.directory / "blobs"

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def clean(self) -> Path:
        """Present only while no daemon runs and the last one stopped in order."""
        return self.directory / "clean"

    @property
    def commits(self) -> Path:
        return self.directory / "commits"

    @property
    def reserve(self) -> Path:
        return self.directory / "reserve"

    @property
    def quarantine(self) -> Path:
        return self.directory / "quarantine"


class Lock:
    """Exclusive use of a state directory, given up by ``release`` or by the death of the process."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            raise ConfigError(
                f"another partyd (pid {holder}) uses the state directory {path.parent}: "
                "stop it, or give this one a directory of its own"
            ) from error
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)

    def release(self) -> None:
        """Let another daemon have the directory."""
        os.close(self._handle)
