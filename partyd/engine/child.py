"""A process of the pool: it is told a function's name and bytes, and answers with bytes.

A request is the function's name, the partition, and the digest of what the function shares with other partitions;
the shared bytes themselves come with the first request that names them. Owner and child keep a `Shelf` each, which are
told the same and so forget the same: the owner knows what the child still has without asking. An answer is a flag, a
length, and the result or, for a function that raised, the error's class and sentence.
"""

from __future__ import annotations

import ctypes
import importlib
import signal
import socket
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable

from partyd.errors import LocalProtocolError
from partyd.federation.engine import Partition

REQUEST = struct.Struct(">I16sQQ")
"""Length of the name, digest of what is shared (zeros for none), its length (0 if it is there), the partition's."""
ANSWER = struct.Struct(">BQ")
DIGEST_BYTES = 16
NOTHING = bytes(DIGEST_BYTES)
SHELF_ITEMS = 8
SHELF_BYTES = 256 << 20
PR_SET_PDEATHSIG = 1


class Shelf:
    """Shared bytes by digest, the least recently used forgotten first; the owner's has lengths and no bytes."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, tuple[int, bytes]] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._kept

    def put(self, digest: bytes, length: int, data: bytes = b"") -> None:
        """Keep ``data``; the oldest go until no more than eight and 256 MiB are left, or this one alone."""
        self._kept[digest] = length, data
        while len(self._kept) > 1 and (len(self._kept) > SHELF_ITEMS or self._bytes() > SHELF_BYTES):
            self._kept.popitem(last=False)

    def use(self, digest: bytes) -> bytes:
        """Return what is kept and hold it for the most recently used."""
        self._kept.move_to_end(digest)
        return self._kept[digest][1]

    def _bytes(self) -> int:
        return sum(length for length, _ in self._kept.values())


def find(name: str) -> Callable[..., Partition]:
    """Return the function of that name; raises LocalProtocolError unless it is one of a module under ``partyd``."""
    module, _, attribute = name.partition(":")
    if not module.startswith("partyd.") or not attribute.isidentifier():
        raise LocalProtocolError(f"{name!r} is not a function of partyd")
    function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise LocalProtocolError(f"{name!r} does not exist")
    found: Callable[..., Partition] = function
    return found


def serve(sock: socket.socket) -> None:
    """Compute what the owner asks until it closes the pipe."""
    stream, shelf = sock.makefile("rwb"), Shelf()
    while head := stream.read(REQUEST.size):
        name_length, digest, shared_length, length = REQUEST.unpack(head)
        name = stream.read(name_length).decode()
        if shared_length:
            shelf.put(digest, shared_length, stream.read(shared_length))
        shared = () if digest == NOTHING else (shelf.use(digest),)
        partition = stream.read(length)
        try:
            failed, result = 0, find(name)(*shared, partition)
        except Exception as error:  # noqa: BLE001 - whatever a function raises is its caller's, who is told
            failed, result = 1, f"{type(error).__name__}: {error}".encode()
        stream.write(ANSWER.pack(failed, len(result)))
        stream.write(result)
        stream.flush()


def end_with_the_parent() -> None:
    """Let the kernel end this process when the one that started it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    end_with_the_parent()
    serve(socket.socket(fileno=int(sys.argv[1])))
