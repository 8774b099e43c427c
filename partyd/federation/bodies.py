"""Message bodies that lie in files: read in pieces when they are sent, spooled when they arrive."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from partyd.errors import StoreError


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
    """Appends an arriving body to a temporary file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._file = path.open("wb", buffering=0)

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``; raises OSError when the disk is full."""
        self._file.write(data)
        self._size += len(data)

    def finish(self, sha256: bytes) -> FileBody:
        """Close the file and return it as a body; it is made durable when the store adopts it."""
        self._file.close()
        return FileBody(self._path, self._size, sha256)

    def abort(self) -> None:
        """Throw the file away."""
        self._file.close()
        self._path.unlink(missing_ok=True)
