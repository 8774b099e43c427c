"""Stand between a socket and amqtt: whole packets in, bounded by size; writes out that never wait for ever.

amqtt reads a packet field by field and believes its length (up to 256 MiB). `PacketReader` takes each packet off the
socket as one piece, after its announced length (MQTT 3.1.1 §2.2.3) was compared with the limit and before memory is
given to it, and serves amqtt's small reads from there. A packet that breaks the limit ends the connection.
"""

from __future__ import annotations

import asyncio
import ssl

from amqtt.mqtt.packet import PUBLISH

from broker import log

_MAX_CONTROL_BYTES = 64 * 1024
_MAX_LENGTH_BYTES = 4
_FLUSH_S = 5.0


class PacketReader:
    """Read one client's packets, each no larger than allowed; has the methods of amqtt's ``ReaderAdapter``."""

    def __init__(self, stream: asyncio.StreamReader, max_packet_bytes: int) -> None:
        self._stream = stream
        self._max_packet_bytes = max_packet_bytes
        self._header = self._body = b""
        self._at = 0
        self._loop = asyncio.get_running_loop()
        self.heard_at = self._loop.time()

    async def read(self, n: int = -1) -> bytes:
        """Return the next n bytes of the present packet, or of the next one when it is used up."""
        if not self._header and self._at == len(self._body):
            await self._fill()
        if self._header:
            part, self._header = self._header[:n], self._header[n:]
        else:
            part = self._body[self._at : self._at + n]
            self._at += len(part)
        if n > len(part):
            raise ConnectionResetError("a field reaches beyond its packet")
        return part

    async def packet(self) -> bytes:
        """Return the next packet whole."""
        await self._fill()
        whole, self._header, self._body = self._header + self._body, b"", b""
        return whole

    def push_back(self, packet: bytes) -> None:
        """Let the next reads return this packet."""
        self._header, self._body, self._at = b"", packet, 0

    def feed_eof(self) -> None:
        """Let further reads end as if the client had closed."""
        self._stream.feed_eof()

    async def _fill(self) -> None:
        await asyncio.sleep(0)  # amqtt handles each packet in a task of its own: let it run before the next packet
        self._header = b""
        header = await self._stream.readexactly(2)
        while header[-1] & 0x80:
            if len(header) > _MAX_LENGTH_BYTES:
                raise ConnectionResetError("a packet length of more than four bytes")
            header += await self._stream.readexactly(1)
        size = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(header[1:]))
        allowed = self._max_packet_bytes if header[0] >> 4 == PUBLISH else _MAX_CONTROL_BYTES
        if size + len(header) > allowed:
            log.warning("packet_too_large", bytes=size, allowed=allowed)
            raise ConnectionResetError("a packet larger than allowed")
        self._body, self._at = await self._stream.readexactly(size), 0
        self._header = header
        self.heard_at = self._loop.time()


class PacketWriter:
    """Write packets to one client; has the methods of amqtt's ``WriterAdapter``."""

    def __init__(self, stream: asyncio.StreamWriter) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        """Send the bytes, or drop them when the connection has ended."""
        if not self._stream.transport.is_closing():
            self._stream.write(data)

    async def drain(self) -> None:
        """Wait while the client reads more slowly than we write."""
        if not self._stream.transport.is_closing():
            await self._stream.drain()

    def get_peer_info(self) -> tuple[str, int] | None:
        """Return the client's address and port."""
        peer = self._stream.get_extra_info("peername")
        return (str(peer[0]), int(peer[1])) if peer else None

    def get_ssl_info(self) -> ssl.SSLObject | None:
        """Return the TLS session if there is one."""
        session = self._stream.get_extra_info("ssl_object")
        return session if isinstance(session, ssl.SSLObject) else None

    async def close(self) -> None:
        """End the connection: what is written is sent if the client takes it within seconds."""
        transport = self._stream.transport
        if not transport.is_closing():
            transport.close()
            asyncio.get_running_loop().call_later(_FLUSH_S, transport.abort)

    def abort(self) -> None:
        """End the connection at once."""
        self._stream.transport.abort()
