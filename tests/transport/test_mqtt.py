"""What only the MQTT transport does: versions, refusals, stalled brokers; over brokers that the test plays itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import islice

import pytest
from structlog.testing import capture_logs

from partyd.transport.base import OnFrame, OnPresence, TransportDown, open_transport
from partyd.transport.mqtt import MqttTransport, delays
from partyd.types import Address

GUEST, HOST = Address.parse("10000/guest"), Address.parse("9999/host")
CONNECT, PUBLISH, SUBSCRIBE, DISCONNECT = 1, 3, 8, 14
PATIENCE_S = 20.0


class ScriptedBroker:
    """Speaks just enough MQTT; the test sets what it answers."""

    def __init__(self) -> None:
        self.speaks_five = True
        self.connack_code = 0
        self.suback_code = 1
        self.puback: Callable[[], int | None] = lambda: 0
        self.versions: list[int] = []
        self.clients: list[bytes] = []
        self.wills = 0
        self.published: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.got = asyncio.Condition()

    def cut(self) -> None:
        """Drop every connection, as a killed broker does."""
        for writer in self.writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                kind, body = await self.packet(reader)
                if not await self.answer(kind, body, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readexactly(1))[0]
        length, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head, await reader.readexactly(length)

    async def answer(self, head: int, body: bytes, writer: asyncio.StreamWriter) -> bool:
        five = bool(self.versions) and self.versions[-1] == 5
        if head >> 4 == CONNECT:
            return await self.connect(body, writer)
        if head >> 4 == SUBSCRIBE:
            codes = bytes([self.suback_code]) * 2
            reply = body[:2] + (b"\0" if five else b"") + codes
            writer.write(bytes([0x90, len(reply)]) + reply)
        if head >> 4 == PUBLISH:
            await self.publish(head, body, writer, five)
        return head >> 4 != DISCONNECT

    async def connect(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        version, flags = body[6], body[7]
        async with self.got:
            self.versions.append(version)
            self.got.notify_all()
        self.wills += bool(flags & 4)
        start = 10 + (version == 5)
        self.clients.append(body[start + 2 : start + 2 + int.from_bytes(body[start : start + 2], "big")])
        if version == 5 and not self.speaks_five:
            writer.write(b"\x20\x02\x00\x01")
            return False
        writer.write(bytes([0x20, 3, 0, self.connack_code, 0] if version == 5 else [0x20, 2, 0, self.connack_code]))
        return self.connack_code == 0

    async def publish(self, head: int, body: bytes, writer: asyncio.StreamWriter, five: bool) -> None:
        length = int.from_bytes(body[:2], "big")
        if head & 6:
            code = self.puback()
            mid = body[2 + length : 4 + length]
            if code is not None:
                writer.write(b"\x40\x03" + mid + bytes([code]) if five else b"\x40\x02" + mid)
        async with self.got:
            self.published.append(body[2 : 2 + length])
            self.got.notify_all()

    async def until_connected(self, count: int) -> None:
        async with self.got:
            await self.got.wait_for(lambda: len(self.versions) >= count)

    async def until_published(self, count: int) -> None:
        async with self.got:
            await self.got.wait_for(lambda: len(self.published) >= count)


@asynccontextmanager
async def running(
    broker: ScriptedBroker,
    on_frame: OnFrame = lambda *_: None,
    on_presence: OnPresence = lambda *_: None,
    wait: bool = True,
) -> AsyncIterator[tuple[MqttTransport, asyncio.Server]]:
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = open_transport(f"mqtt://127.0.0.1:{port}", [GUEST])
    assert isinstance(transport, MqttTransport)
    transport.set_peers([HOST])
    connected = asyncio.Event()
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            task = group.create_task(
                transport.run(on_frame, lambda up: connected.set() if up else connected.clear(), on_presence)
            )
            if wait:
                await connected.wait()
            yield transport, server
            task.cancel()
    finally:
        server.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_mqtt_5_is_used_where_it_is_spoken_with_a_will_and_a_random_name() -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        async with running(broker):
            assert set(broker.versions) == {5}
            assert broker.wills == 1
            assert len(set(broker.clients)) == len(broker.clients)
            assert {len(client) for client in broker.clients} == {32}

    run(scenario)


def test_a_broker_of_3_1_1_is_found_and_remembered() -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.speaks_five = False
        async with running(broker) as (transport, _):
            await transport.publish(GUEST, HOST, b"x")
            assert broker.versions == [5, 4]

    run(scenario)


def test_publishes_in_flight_fail_when_the_connection_dies() -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.puback = lambda: None
        async with running(broker) as (transport, _):
            pending = [asyncio.ensure_future(transport.publish(GUEST, HOST, b"x")) for _ in range(80)]
            await broker.until_published(20)
            broker.cut()
            results = await asyncio.gather(*pending, return_exceptions=True)
            assert all(isinstance(result, TransportDown) for result in results[:64])

    run(scenario)


def test_nobody_listening_is_a_hint_that_the_peer_is_away() -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.puback = lambda: 0x10
        told: list[tuple[Address, bool]] = []
        async with running(broker, on_presence=lambda peer, here: told.append((peer, here))) as (transport, _):
            await transport.publish(GUEST, HOST, b"x")
            assert told == [(HOST, False)]

    run(scenario)


def test_a_publish_that_is_not_allowed_is_said_once_with_what_to_do() -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.puback = lambda: 0x87
        with capture_logs() as logs:
            async with running(broker) as (transport, _):
                for _ in range(5):
                    await transport.publish(GUEST, HOST, b"x")
        refusals = [entry for entry in logs if entry["event"] == "publish_refused"]
        assert len(refusals) == 1
        assert "partyd/1/+/10000/#" in refusals[0]["remedy"]

    run(scenario)


@pytest.mark.parametrize(("connack", "suback", "word"), [(0x87, 1, "credentials"), (0, 0x87, "mailbox")])
def test_refusals_say_what_to_check(connack: int, suback: int, word: str) -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.connack_code, broker.suback_code = connack, suback
        with capture_logs() as logs:
            async with running(broker, wait=False) as (transport, _):
                await broker.until_connected(3)
                with pytest.raises(TransportDown):
                    await transport.publish(GUEST, HOST, b"x")
        reasons = [entry["reason"] for entry in logs if entry["event"] == "broker_unreachable"]
        assert word in reasons[0]

    run(scenario)


@pytest.mark.parametrize("turns", range(12))
def test_leaving_while_connecting_leaves(turns: int) -> None:
    async def scenario() -> None:
        broker = ScriptedBroker()
        broker.connack_code = 0x87
        async with running(broker, wait=False):
            await broker.until_connected(1 + turns % 3)
            for _ in range(turns):
                await asyncio.sleep(0)
        assert broker.versions

    run(scenario)


def test_what_does_not_parse_is_dropped() -> None:
    frames: list[bytes] = []
    hints: list[bool] = []

    async def scenario() -> None:
        async with running(
            ScriptedBroker(), lambda *mail: frames.append(mail[2]), lambda _, here: hints.append(here)
        ) as (transport, _):
            for topic in ("x", "partyd/1/9999/10000/host/guest", "partyd/1/10000/9999/guest/host/else"):
                transport._receive(topic, b"dropped")
            transport._receive("partyd/1/10000/9999/guest/host/presence", b"2")
            transport._receive("partyd/1/10000/9999/guest/host", bytes(2 << 20))
            transport._receive("partyd/1/10000/9999/guest/host/presence", b"\x01")
            transport._receive("partyd/1/10000/9999/guest/host", b"taken")

    run(scenario)
    assert frames == [b"taken"]
    assert hints == [True]


def test_waiting_times_grow_from_a_twentieth_of_a_second_to_thirty() -> None:
    waits = list(islice(delays(random.Random(1).uniform), 40))
    assert 0.02 <= waits[0] <= 0.08
    assert all(0.5 <= wait <= 1.5 for wait in waits[3:18])
    assert all(15 <= wait <= 45 for wait in waits[22:])
