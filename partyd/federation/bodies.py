"""Message bodies that lie in files: read in pieces when they are sent, spooled when they arrive."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from partyd.errors import StoreError

MAX_QUEUED_BYTES = 32 << 20
SYNC_BYTES = 8 << 20


@dataclass(frozen=True)
class FileBody:
    """A body in a file, whose length and digest are known."""

    path: Path
    size: int
    sha256: bytes

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``."""
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def load(self) -> bytes:
        """Return the whole body; raises StoreError."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise StoreError(f"a body that arrived cannot be read: {error.strerror}") from error


class FileSpool:
    """Appends an arriving body to a temporary file, in the one thread of ``writer``, so that the loop never waits.

    What is queued for the disk is bounded: beyond that `write` waits for the disk, and the sender for both.
    """

    def __init__(self, path: Path, writer: Executor) -> None:
        self._path = path
        self._writer = writer
        self._size = 0
        self._unsynced = 0
        self._queued: deque[tuple[Future[None], int]] = deque()
        self._queued_bytes = 0
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``; raises OSError when the disk is full, then or at a later call."""
        while self._queued and (self._queued_bytes > MAX_QUEUED_BYTES or self._queued[0][0].done()):
            done, size = self._queued.popleft()
            self._queued_bytes -= size
            done.result()
        self._queued.append((self._writer.submit(self._append, data), len(data)))
        self._queued_bytes += len(data)
        self._size += len(data)

    def _append(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:  # or the one fsync at the end waits for all of it
            self._unsynced = 0
            os.fdatasync(self._file.fileno())

    def finish(self, sha256: bytes) -> FileBody:
        """Wait for what is still queued, a few megabytes, and return the file as a body; raises OSError.

        It is made durable when the store adopts it.
        """
        self._writer.submit(self._file.close).result()
        for done, _ in self._queued:
            done.result()
        return FileBody(self._path, self._size, sha256)

    def abort(self) -> None:
        """Throw the file away."""
        self._writer.submit(self._discard)

    def _discard(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
