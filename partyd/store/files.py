"""File operations whose durability is spelled out, one method a system call.

A file is on disk after ``sync_file``; a name (created, renamed, removed) is on disk after ``sync_dir`` of its
directory. Tests replace this class to cut the power or to fail at any of these calls.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

_STEP = 1 << 20


class Files:
    """The operating system's files."""

    def create(self, path: Path, data: bytes) -> None:
        """Write a new file for its owner alone; not durable yet."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(data)

    def sync_file(self, path: Path) -> None:
        """Force a file's content to disk."""
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def sync_dir(self, directory: Path) -> None:
        """Force a directory's names to disk."""
        self.sync_file(directory)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file its final name, replacing what was there; not durable yet."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Remove a name if it exists; not durable yet."""
        path.unlink(missing_ok=True)

    def make_dir(self, directory: Path) -> None:
        """Make a directory and those above it; the name in its parent is not durable yet."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def overwrite(self, path: Path, data: bytes) -> None:
        """Replace a small file's first bytes in place; survives the death of the process, not of the power."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(handle, data, 0)
        finally:
            os.close(handle)

    def publish(self, path: Path, data: bytes) -> None:
        """Write a file so that after a power cut it is there whole or not at all; durable on return."""
        temporary = path.with_name(path.name + ".new")
        self.unlink(temporary)
        self.create(temporary, data)
        self.sync_file(temporary)
        self.rename(temporary, path)
        self.sync_dir(path.parent)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, read in steps."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while step := source.read(_STEP):
            digest.update(step)
    return digest.hexdigest()
