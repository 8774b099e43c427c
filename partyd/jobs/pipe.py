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
        try:
            value = msgpack.unpackb(frame, raw=False, max_bin_len=len(frame), max_str_len=len(frame))
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise LocalProtocolError("a frame between processes is not msgpack") from error
        if not isinstance(value, list) or not value:
            raise LocalProtocolError("a frame between processes is not a list")
        return value

    def close(self) -> None:
        """Close this end; the other one reads None."""
        self._writer.close()
