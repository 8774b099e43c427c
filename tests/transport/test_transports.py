"""One suite for every transport, over real brokers where it needs one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from partyd.transport.base import Transport, TransportDown, open_transport
from partyd.transport.memory import hub_named
from partyd.types import Address

GUEST, HOST, ABSENT = Address.parse("10000/guest"), Address.parse("9999/host"), Address.parse("5/arbiter")
PATIENCE_S = 30.0

AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
config = {
    "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
    "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
}
async def main():
    await Broker(config).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Station(Protocol):
    """The thing in the middle, which can be stopped and started."""

    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...


class MemoryStation:
    url = "memory://suite"

    def __init__(self) -> None:
        self.hub = hub_named("suite")

    def start(self) -> None:
        self.hub.start()

    def stop(self) -> None:
        self.hub.stop()


class ProcessStation:
    """A broker in a process of its own, killed without mercy."""

    def __init__(self, command: list[str], port: int) -> None:
        self.command, self.port = command, port
        self.url = f"mqtt://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def mosquitto_command(port: int, directory: Path) -> list[str]:
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "max_queued_messages 1000000\n"
    )
    return [shutil.which("mosquitto", path="/usr/sbin:/sbin:/usr/bin:/usr/local/bin") or "mosquitto", "-c", str(config)]


@pytest.fixture(params=["memory", pytest.param("mosquitto", marks=pytest.mark.needs("mosquitto")), "amqtt"])
def station(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Station]:
    made: MemoryStation | ProcessStation
    port = free_port()
    if request.param == "memory":
        made = MemoryStation()
    elif request.param == "mosquitto":
        made = ProcessStation(mosquitto_command(port, tmp_path), port)
    else:
        made = ProcessStation([sys.executable, "-c", AMQTT, str(port)], port)
    made.start()
    yield made
    made.stop()


@dataclass
class Member:
    """One party at the transport, and what it saw."""

    transport: Transport
    seen: list[tuple[Address, Address, bytes]] = field(default_factory=list)
    presence: list[tuple[Address, bool]] = field(default_factory=list)
    connected: bool = False
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    wakes: set[asyncio.Task[None]] = field(default_factory=set)

    def wake(self) -> None:
        async def notify() -> None:
            async with self.changed:
                self.changed.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self.wakes.add(task)
        task.add_done_callback(self.wakes.discard)

    def on_frame(self, source: Address, destination: Address, frame: bytes) -> None:
        self.seen.append((source, destination, frame))
        self.wake()

    def on_state(self, connected: bool) -> None:
        self.connected = connected
        self.wake()

    def on_presence(self, peer: Address, here: bool) -> None:
        self.presence.append((peer, here))
        self.wake()

    async def until(self, what: str) -> None:
        """Wait until ``what``, an expression over this member, holds."""
        conditions = {
            "connected": lambda: self.connected,
            "down": lambda: not self.connected,
            "frame": lambda: bool(self.seen),
            "presence": lambda: bool(self.presence),
        }
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(conditions[what])


@contextlib.asynccontextmanager
async def member(url: str, address: Address, *peers: Address) -> AsyncIterator[Member]:
    joined = Member(open_transport(url, [address]))
    joined.transport.set_peers(peers)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(joined.transport.run(joined.on_frame, joined.on_state, joined.on_presence))
        await joined.until("connected")
        try:
            yield joined
        finally:
            task.cancel()


def test_frames_arrive_with_their_addresses(station: Station) -> None:
    async def scenario() -> None:
        async with member(station.url, GUEST) as guest, member(station.url, HOST) as host:
            await guest.transport.publish(GUEST, HOST, b"hello")
            await host.until("frame")
            assert host.seen == [(GUEST, HOST, b"hello")]
            await host.transport.publish(HOST, GUEST, b"")
            await guest.until("frame")
            assert guest.seen == [(HOST, GUEST, b"")]

    asyncio.run(scenario())


def test_large_frames_arrive_unchanged_and_in_number(station: Station) -> None:
    frames = [bytes([number]) * 600 * 1024 for number in range(40)]

    async def scenario() -> None:
        async with member(station.url, GUEST) as guest, member(station.url, HOST) as host:
            async with asyncio.TaskGroup() as group:
                for frame in frames:
                    group.create_task(guest.transport.publish(GUEST, HOST, frame))
            while len(host.seen) < len(frames):
                async with asyncio.timeout(PATIENCE_S), host.changed:
                    await host.changed.wait()
            assert sorted(frame for _, _, frame in host.seen) == frames

    asyncio.run(scenario())


def test_it_reconnects_after_the_middle_was_killed(station: Station) -> None:
    async def scenario() -> None:
        async with member(station.url, GUEST) as guest, member(station.url, HOST) as host:
            station.stop()
            await guest.until("down")
            await host.until("down")
            with pytest.raises(TransportDown):
                await guest.transport.publish(GUEST, HOST, b"lost")
            station.start()
            await guest.until("connected")
            await host.until("connected")
            await guest.transport.publish(GUEST, HOST, b"again")
            await host.until("frame")
            assert host.seen == [(GUEST, HOST, b"again")]

    asyncio.run(scenario())


def test_publishing_to_nobody_is_no_error(station: Station) -> None:
    async def scenario() -> None:
        async with member(station.url, GUEST) as guest:
            await guest.transport.publish(GUEST, ABSENT, b"anybody there?")
            assert guest.connected

    asyncio.run(scenario())


def test_peers_are_told_that_we_came_and_left(station: Station) -> None:
    async def scenario() -> None:
        async with member(station.url, HOST) as host:
            async with member(station.url, GUEST, ABSENT, HOST):
                await host.until("presence")
                assert host.presence == [(GUEST, True)]
                host.presence.clear()
            await host.until("presence")
            assert host.presence == [(GUEST, False)]

    asyncio.run(scenario())


def test_a_new_peer_is_told_while_connected(station: Station) -> None:
    async def scenario() -> None:
        async with member(station.url, HOST) as host, member(station.url, GUEST) as guest:
            guest.transport.set_peers([HOST])
            await host.until("presence")
            assert host.presence == [(GUEST, True)]

    asyncio.run(scenario())
