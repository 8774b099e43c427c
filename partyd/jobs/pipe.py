"""The pipe between the daemon and its children: length-prefixed msgpack over a socket pair.

Both ends are this organisation's own processes, but the frame is bounded and strict all the same: a worker computes
on what peers sent, and what it says is data, never code.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import msgpack

from partyd.errors import LocalProtocolError

PREFIX = struct.Struct(">I")
MAX_FRAME = (1 << 32) - 1
STREAM_LIMIT = 1 << 20


class Pipe:
    """One end; ``read`` returns None at the end of the stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, sock: socket.socket) -> Pipe:
        """Take over a connected socket."""
        return cls(*await asyncio.open_connection(sock=sock, limit=STREAM_LIMIT))

    async def write(self, *values: Any) -> None:
        """Send one frame; raises ConnectionError when the other end is gone."""
        self.post(*values)
        await self._writer.drain()

    def post(self, *values: Any) -> None:
        """Send one small frame without waiting for room."""
        frame = msgpack.packb(values, use_bin_type=True)
        if len(frame) > MAX_FRAME:
            raise LocalProtocolError(f"a frame of {len(frame)} bytes exceeds {MAX_FRAME}; send it in parts")
        self._writer.writelines((PREFIX.pack(len(frame)), frame))

    async def read(self) -> list[Any] | None:
        """Return the next frame, or None when the other end has closed or died.

        Raises LocalProtocolError for bytes that are no frame.
        """
        try:
            (length,) = PREFIX.unpack(await self._reader.readexactly(PREFIX.size))
            frame = await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return _decoded(frame)

    def close(self) -> None:
        """Close this end; the other one reads None."""
        self._writer.close()


def first_frame(sock: socket.socket) -> list[Any] | None:
    """Return the first frame of a pipe before there is a loop, or None as ``Pipe.read`` does; it blocks."""
    head = _exactly(sock, PREFIX.size)
    if head is None:
        return None
    (length,) = PREFIX.unpack(head)
    frame = _exactly(sock, length)
    return None if frame is None else _decoded(frame)


def _exactly(sock: socket.socket, length: int) -> bytes | None:
    """Return the next ``length`` bytes, None when the stream ends before."""
    data = bytearray()
    while len(data) < length:
        try:
            some = sock.recv(min(length - len(data), STREAM_LIMIT))
        except ConnectionError:
            return None
        if not some:
            return None
        data += some
    return bytes(data)


def _decoded(frame: bytes) -> list[Any]:
    try:
        value = msgpack.unpackb(frame, raw=False, max_bin_len=len(frame), max_str_len=len(frame))
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise LocalProtocolError("a frame between processes is not msgpack") from error
    if not isinstance(value, list) or not value:
        raise LocalProtocolError("a frame between processes is not a list")
    return value
