"""The embedded broker in this process: theft of ids, wills, limits, silence, and a clean end."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import aiomqtt
import pytest

from broker.certificates import utc_now
from broker.embedded import EmbeddedConfig, RunningBroker, TlsFiles, embedded_broker
from broker.errors import SettingsError, StartError
from broker.identity import Address, Credentials
from broker.layout import Plan, initialise, revoke
from broker.passwords import hash_password
from broker.settings import Limits

USERS = {"10000": hash_password("a"), "9999": hash_password("b")}
CONFIG = EmbeddedConfig(users=USERS, limits=Limits(max_packet_bytes=65536))
OWNER = Credentials("10000", username="10000", password="a")
OTHER = Credentials("9999", username="9999", password="b")


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()


def _connect(party: str, password: str, client_id: str, *, keepalive: int = 60, flags: int = 0x02) -> bytes:
    body = _text("MQTT") + bytes([4, 0xC0 | flags]) + struct.pack("!H", keepalive) + _text(client_id)
    body += _text(party) + _text(password)
    return bytes([0x10, len(body)]) + body


def _subscribe(topic_filter: str) -> bytes:
    body = b"\x00\x01" + _text(topic_filter) + b"\x01"
    return bytes([0x82, len(body)]) + body


def _publish(topic: str, payload: bytes, flags: int = 0) -> bytes:
    body = _text(topic) + payload
    return bytes([0x30 | flags, len(body)]) + body


class _Raw:
    """A client that sends what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def exchange(self, packet: bytes, answer_bytes: int) -> bytes:
        self.writer.write(packet)
        async with asyncio.timeout(10):
            return await self.reader.readexactly(answer_bytes)

    async def until_closed(self) -> bytes:
        async with asyncio.timeout(10):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def _raw(running: RunningBroker) -> AsyncIterator[_Raw]:
    reader, writer = await asyncio.open_connection(running.host, running.port)
    try:
        yield _Raw(reader, writer)
    finally:
        writer.close()


def _serve(scenario: Callable[[RunningBroker], Awaitable[None]], config: EmbeddedConfig = CONFIG) -> None:
    async def serve() -> None:
        async with embedded_broker(config) as running:
            await scenario(running)

    asyncio.run(serve())


def _client(running: RunningBroker, who: Credentials) -> aiomqtt.Client:
    return who.client(Address(running.host, running.port))


def test_another_party_with_the_same_client_id_takes_nothing() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as owner, _raw(running) as thief, _client(running, OWNER) as sender:
            assert await owner.exchange(_connect("10000", "a", "same"), 4) == b"\x20\x02\x00\x00"
            assert await owner.exchange(_subscribe("partyd/1/10000/#"), 5) == b"\x90\x03\x00\x01\x01"
            assert await thief.exchange(_connect("9999", "b", "same", flags=0), 4) == b"\x20\x02\x00\x00"
            await sender.publish("partyd/1/10000/10000/x/y", b"mail", qos=1)
            assert b"mail" in await owner.exchange(b"", 34)

    _serve(scenario)


def test_a_client_without_credentials_cannot_end_a_session_whose_id_it_knows() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as owner, _raw(running) as thief, _client(running, OWNER) as sender:
            await owner.exchange(_connect("10000", "a", "same"), 4)
            await owner.exchange(_subscribe("partyd/1/10000/#"), 5)
            assert await thief.exchange(_connect("10000", "wrong", "same"), 4) == b"\x20\x02\x00\x04"
            assert await thief.until_closed() == b""
            await sender.publish("partyd/1/10000/10000/x/y", b"mail", qos=1)
            assert b"mail" in await owner.exchange(b"", 34)

    _serve(scenario)


def test_the_same_partys_second_connection_takes_over() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as first, _raw(running) as second, _client(running, OWNER) as sender:
            await first.exchange(_connect("10000", "a", "same"), 4)
            await first.exchange(_subscribe("partyd/1/10000/#"), 5)
            assert await second.exchange(_connect("10000", "a", "same"), 4) == b"\x20\x02\x00\x00"
            assert await first.until_closed() == b""
            await second.exchange(_subscribe("partyd/1/10000/#"), 5)
            await sender.publish("partyd/1/10000/10000/x/y", b"mail", qos=1)
            assert b"mail" in await second.exchange(b"", 34)

    _serve(scenario)


def test_a_foreign_filter_is_refused_in_the_acknowledgement() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as client:
            await client.exchange(_connect("9999", "b", "x"), 4)
            for topic_filter in ("#", "partyd/1/10000/#", "partyd/1/+/9999/#"):
                assert await client.exchange(_subscribe(topic_filter), 5) == b"\x90\x03\x00\x01\x80"

    _serve(scenario)


def test_a_retained_will_and_message_are_delivered_once_and_forgotten() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as sender:
            await sender.exchange(_connect("9999", "b", "x"), 4)
            sender.writer.write(_publish("partyd/1/10000/9999/x/y", b"retained", flags=1))
            assert await sender.exchange(b"\xc0\x00", 2) == b"\xd0\x00"
        async with _client(running, OWNER) as late, _client(running, OTHER) as fence:
            await late.subscribe("partyd/1/10000/#", qos=1)
            await fence.publish("partyd/1/10000/9999/x/y", b"fence", qos=1)
            assert (await anext(late.messages)).payload == b"fence"

    _serve(scenario)


def test_what_was_acknowledged_before_a_disconnect_is_delivered() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _client(running, OWNER) as receiver:
            await receiver.subscribe("partyd/1/10000/#", qos=1)
            async with _client(running, OTHER) as sender:
                sender.pending_calls_threshold = 1000
                sends = (sender.publish("partyd/1/10000/9999/x/y", bytes([i]) * 10_000, qos=1) for i in range(100))
                await asyncio.gather(*sends)
            received = [(await anext(receiver.messages)).payload for _ in range(100)]
            assert received == [bytes([i]) * 10_000 for i in range(100)]

    _serve(scenario)


@pytest.mark.parametrize("packet", [b"\x30" + b"\xff" * 4, b"\x30\xff\xff\x7f", b"\xf0\x00", b"\x00\x00"])
def test_broken_and_oversized_packets_end_their_connection_only(packet: bytes) -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as early, _raw(running) as late, _client(running, OWNER) as other:
            early.writer.write(packet)
            await late.exchange(_connect("9999", "b", "x"), 4)
            late.writer.write(packet)
            assert len(await late.until_closed()) == 0
            early.writer.write_eof()
            assert len(await early.until_closed()) in (0, 4)
            await other.subscribe("partyd/1/10000/#", qos=1)
            await other.publish("partyd/1/10000/10000/x/y", b"alive", qos=1)
            assert (await anext(other.messages)).payload == b"alive"

    _serve(scenario)


def test_a_session_holds_a_bounded_number_of_filters() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as client:
            await client.exchange(_connect("10000", "a", "x"), 4)
            codes = [(await client.exchange(_subscribe(f"partyd/1/10000/{i}/#"), 5))[-1] for i in range(102)]
            assert codes == [1] * 100 + [0x80] * 2
            filter_0 = _text("partyd/1/10000/0/#")
            assert (
                await client.exchange(bytes([0xA2, 2 + len(filter_0)]) + b"\x00\x02" + filter_0, 4)
                == b"\xb0\x02\x00\x02"
            )
            assert (await client.exchange(_subscribe("partyd/1/10000/x/#"), 5))[-1] == 1

    _serve(scenario)


def test_random_packets_end_at_most_their_own_connection() -> None:
    random = Random(1)  # a fixed seed: the same packets every time

    async def attack(running: RunningBroker) -> None:
        async with _raw(running) as client:
            client.writer.write(_connect("9999", "b", random.randbytes(4).hex()))
            for _ in range(5):
                body = random.randbytes(random.randrange(40))
                client.writer.write(bytes([random.randrange(256), len(body)]) + body)
            client.writer.write_eof()
            await client.until_closed()

    async def scenario(running: RunningBroker) -> None:
        for _ in range(200):
            await attack(running)
        async with _client(running, OWNER) as other:
            await other.subscribe("partyd/1/10000/#", qos=1)
            await other.publish("partyd/1/10000/10000/x/y", b"alive", qos=1)
            assert (await anext(other.messages)).payload == b"alive"

    _serve(scenario)


def test_a_slow_readers_surplus_is_dropped() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as stalled, _client(running, OTHER) as sender, _client(running, OWNER) as reader:
            await stalled.exchange(_connect("10000", "a", "x"), 4)
            await stalled.exchange(_subscribe("partyd/1/10000/9999/#"), 5)
            await reader.subscribe("partyd/1/10000/9999/#", qos=1)
            for _ in range(5):
                await sender.publish("partyd/1/10000/9999/x/y", b"x" * 100, qos=1)
                await anext(reader.messages)
            stalled.writer.write(b"\xe0\x00")
            delivered = await stalled.until_closed()
            assert delivered.count(b"x" * 100) == 3

    limits = replace(CONFIG, limits=Limits(max_packet_bytes=65536, max_queued_messages=3))
    _serve(scenario, limits)


def test_too_many_connections_are_turned_away() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as one, _raw(running) as two, _raw(running) as three:
            await one.exchange(_connect("10000", "a", "1"), 4)
            await two.exchange(_connect("10000", "a", "2"), 4)
            assert await three.until_closed() == b""

    _serve(scenario, replace(CONFIG, limits=Limits(max_connections=2)))


def test_a_silent_client_is_dropped() -> None:
    async def scenario(running: RunningBroker) -> None:
        async with _raw(running) as client:
            await client.exchange(_connect("10000", "a", "x", keepalive=1), 4)
            assert await client.until_closed() == b""

    _serve(scenario)


def test_a_revoked_certificate_is_refused(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000", "9999")), utc_now())
    revoked = revoke(tmp_path, "9999", utc_now())
    tls = TlsFiles(tmp_path / "ca.crt", tmp_path / "server.crt", tmp_path / "server.key", revoked)
    kept, refused = (Credentials.read(tmp_path / "parties" / party) for party in ("10000", "9999"))

    async def scenario(running: RunningBroker) -> None:
        address = Address(running.host, running.port, (tmp_path / "ca.crt").read_bytes())
        async with kept.client(address) as client:
            await client.publish("partyd/1/9999/10000/x/y", b"in", qos=1)
        with pytest.raises(aiomqtt.MqttError):
            await refused.client(address, timeout_s=2).__aenter__()

    _serve(scenario, EmbeddedConfig(tls=tls))


def test_an_address_in_use_is_named() -> None:
    async def scenario(running: RunningBroker) -> None:
        with pytest.raises(StartError, match="--port"):
            async with embedded_broker(replace(CONFIG, port=running.port)):
                raise AssertionError("two brokers on one port")

    _serve(scenario)


def test_unsafe_configurations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither"):
        EmbeddedConfig()
    with pytest.raises(SettingsError, match="clear"):
        EmbeddedConfig(host="0.0.0.0", users=USERS)
    missing = TlsFiles(tmp_path / "ca.crt", tmp_path / "server.crt", tmp_path / "server.key")
    with pytest.raises(SettingsError, match="init"):
        _serve(lambda running: asyncio.sleep(0), EmbeddedConfig(tls=missing))
