"""What a message's body is to the delivery: something to read in pieces, and somewhere to write pieces to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol


class Body(Protocol):
    """Bytes that can be read in any order, more than once, whose length and digest are known beforehand."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def sha256(self) -> bytes:
        """SHA-256 over all of it, 32 bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; may raise OSError or StoreError."""


class BytesBody:
    """A body that is in memory already."""

    __slots__ = ("_data", "_sha256")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._sha256: bytes | None = None

    @property
    def data(self) -> bytes:
        """All of it."""
        return self._data

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def sha256(self) -> bytes:
        if self._sha256 is None:
            self._sha256 = hashlib.sha256(self._data).digest()
        return self._sha256

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Spool(Protocol):
    """Where the chunks of one arriving body are put, in order."""

    def write(self, data: bytes | memoryview) -> None:
        """Append ``data``; may raise StoreError or OSError, after which the spool is aborted."""

    def finish(self, sha256: bytes) -> Body:
        """Close the spool and return what was written; the digest has been checked."""

    def abort(self) -> None:
        """Throw away what was written."""


SpoolFactory = Callable[[int], Spool]
"""Opens a spool for a body of so many bytes; may raise StoreError or OSError."""


class MemorySpool:
    """Spool into memory, for tests and for daemons whose bodies are small."""

    def __init__(self, total: int) -> None:  # noqa: ARG002  the size is known to every spool; this one grows as it goes
        self._parts: list[bytes] = []

    def write(self, data: bytes | memoryview) -> None:
        self._parts.append(bytes(data))

    def finish(self, sha256: bytes) -> Body:  # noqa: ARG002  checked by the caller
        return BytesBody(b"".join(self._parts))

    def abort(self) -> None:
        self._parts.clear()
