"""Serve MQTT 3.1.1 inside this process with amqtt: the default where mosquitto is not installed.

    async with embedded_broker(EmbeddedConfig(users={"10000": hash_password(secret)})) as running:
        ...  # clients connect to 127.0.0.1:running.port

The rules are those of the mosquitto configuration that `partyd-broker init` writes. asyncio sets TCP_NODELAY on every
connection; the sockets are ours and amqtt gets them through its "external" listener, so sizes, identity and idleness
are settled before it is asked.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import ConnackPacket

from broker import log
from broker.admission import Admission, Door
from broker.errors import RefusedError, SettingsError, StartError
from broker.framing import PacketReader, PacketWriter
from broker.mailbox import LISTENER, MailboxBroker
from broker.passwords import PasswordHash
from broker.settings import Limits, is_loopback

_CONNECT_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 5.0
_BUFFER_BYTES = 1 << 20
_KEEPALIVE_FACTOR = 1.5  # MQTT 3.1.1 §3.1.2.10


@dataclass(frozen=True)
class TlsFiles:
    """The server's certificate and key, and the authority (with its revocations) that signs clients."""

    ca: Path
    certificate: Path
    key: Path
    revoked: Path | None = None


@dataclass(frozen=True)
class EmbeddedConfig:
    """What the embedded broker needs: ``users`` (passwords), or None for client certificates by ``tls``."""

    host: str = "127.0.0.1"
    port: int = 0
    users: Mapping[str, PasswordHash] | None = None
    tls: TlsFiles | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.tls is None and self.users is None:
            raise SettingsError("neither passwords nor certificates given", mend="Set users, or tls, or both.")
        if self.tls is None and not is_loopback(self.host):
            mend = "Give tls, or listen on 127.0.0.1."
            raise SettingsError("passwords would travel in clear", where=self.host, mend=mend)


@asynccontextmanager
async def embedded_broker(config: EmbeddedConfig) -> AsyncIterator[RunningBroker]:
    """Serve until the block ends.

    Raises StartError when the address cannot be used, SettingsError for bad TLS files.
    """
    _silence_amqtt()
    tls = _tls_context(config) if config.tls else None
    running = RunningBroker(config)
    await running.start(tls)
    try:
        yield running
    finally:
        await running.stop()


class RunningBroker:
    """A broker that listens on ``host`` and ``port``."""

    def __init__(self, config: EmbeddedConfig) -> None:
        self.host, self.port = config.host, config.port
        self._limits = config.limits
        self._door = Door(config.users, config.limits.max_keepalive_s)
        self._broker = MailboxBroker(config.limits)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[PacketWriter] = set()
        self._clients: dict[str, _Client] = {}
        self._server: asyncio.Server | None = None

    async def start(self, tls: ssl.SSLContext | None) -> None:
        """Listen."""
        await self._broker.start()
        timeout = _CONNECT_TIMEOUT_S if tls else None
        try:
            self._server = await asyncio.start_server(
                self._connected, self.host, self.port, ssl=tls, ssl_handshake_timeout=timeout, limit=_BUFFER_BYTES
            )
        except OSError as error:
            await self._broker.shutdown()
            mend = "Stop what listens there, or choose another with --port."
            raise StartError(f"cannot listen: {error}", where=f"{self.host}:{self.port}", mend=mend) from error
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_STOP_TIMEOUT_S)
        await self._broker.shutdown()
        await self._server.wait_closed()

    async def _connected(self, stream_in: asyncio.StreamReader, stream_out: asyncio.StreamWriter) -> None:
        reader, writer = PacketReader(stream_in, self._limits.max_packet_bytes), PacketWriter(stream_out)
        stream_out.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if len(self._tasks) <= self._limits.max_connections:
                await self._serve(reader, writer, task)
            else:
                log.warning("too_many_connections", allowed=self._limits.max_connections)
        except (AMQTTError, MQTTError, NoDataError, OSError, asyncio.IncompleteReadError) as error:
            log.info("connection_lost", error=type(error).__name__)
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            await writer.close()

    async def _serve(self, reader: PacketReader, writer: PacketWriter, task: asyncio.Task[None]) -> None:
        address = ":".join(map(str, writer.get_peer_info() or ()))
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                admission = await self._door.admit(await reader.packet(), writer.get_ssl_info())
        except RefusedError as refusal:
            log.warning("client_refused", address=address, why=refusal.what)
            await ConnackPacket.build(0, refusal.return_code).to_stream(writer)
            return
        client = _Client(admission, reader, writer, task)
        await self._take_over(client)
        log.info("client_connected", party=admission.party, address=address)
        try:
            await client.serve(self._broker)
        finally:
            if self._clients.get(admission.client_id) is client:
                del self._clients[admission.client_id]
            log.info("client_disconnected", party=admission.party, address=address)

    async def _take_over(self, client: _Client) -> None:
        """Disconnect an earlier connection with the same client id (MQTT 3.1.1 §3.1.4); it is the same party's."""
        client_id = client.admission.client_id
        earlier, self._clients[client_id] = self._clients.get(client_id), client
        if earlier is not None:
            earlier.writer.abort()
            await asyncio.wait({earlier.task}, timeout=_STOP_TIMEOUT_S)


class _Client:
    """One admitted connection."""

    def __init__(
        self, admission: Admission, reader: PacketReader, writer: PacketWriter, task: asyncio.Task[None]
    ) -> None:
        self.admission, self.writer, self.task = admission, writer, task
        self._reader = reader
        self._idle_s = admission.keepalive_s * _KEEPALIVE_FACTOR
        self._loop = asyncio.get_running_loop()

    async def serve(self, broker: MailboxBroker) -> None:
        """Let amqtt speak with the client until either ends, or the client is silent for too long."""
        self._reader.push_back(self.admission.packet)
        self._watch()
        try:
            await broker.external_connected(self._reader, self.writer, LISTENER)
        finally:
            self._timer.cancel()

    def _watch(self) -> None:
        left_s = self._reader.heard_at + self._idle_s - self._loop.time()
        if left_s <= 0:
            log.warning("client_silent", party=self.admission.party, idle_s=self._idle_s)
            self.writer.abort()
        self._timer = self._loop.call_later(max(left_s, self._idle_s / 10), self._watch)


def _tls_context(config: EmbeddedConfig) -> ssl.SSLContext:
    assert config.tls is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
        if config.users is None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(config.tls.ca)
            if config.tls.revoked is not None and config.tls.revoked.exists():
                context.load_verify_locations(config.tls.revoked)
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except OSError as error:
        mend = "Write the files with: partyd-broker init"
        raise SettingsError(f"TLS files: {error}", where=str(config.tls.certificate), mend=mend) from error
    return context


def _silence_amqtt() -> None:
    """Keep amqtt's warnings about every misbehaving client out of our log, unless its level was set on purpose."""
    for name in ("amqtt", "transitions"):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.CRITICAL)
