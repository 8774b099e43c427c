"""Measure delivery between two processes through a broker: one large body, and many small messages.

    python tests/bench/bench_delivery.py [--mib 256] [--small 20000] [--chunk-kib 511] [--broker mosquitto] [--profile]

Bodies are spooled in memory: no disk is measured. Prints one line per figure. ``--profile`` prints where each process
spent its time.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import functools
import hashlib
import itertools
import pstats
import random
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.crypto.identity import LocalIdentity
from partyd.transport.base import TransportDown, open_transport
from partyd.types import Address
from partyd.wire.bodies import BytesBody, MemorySpool
from partyd.wire.card import Card, issue
from partyd.wire.channel import Channel
from partyd.wire.delivery import WINDOW, Delivery
from partyd.wire.delivery_events import Arrived, Delivered
from partyd.wire.events import Rejected
from partyd.wire.hello import Hello
from partyd.wire.session import Session, SessionEvent

GUEST, HOST = Address.parse("10000/guest"), Address.parse("9999/host")
EPOCH = 1_800_000_000
FLYING_BYTES = 8 << 20
AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    await Broker({"listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}}).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def insecure_identity(address: Address) -> LocalIdentity:
    """Keys anybody can compute: for this bench only."""
    keys = [hashlib.sha256(f"{kind} {address}".encode()).digest() for kind in ("id", "kx")]
    return LocalIdentity(
        address=address,
        id_key=Ed25519PrivateKey.from_private_bytes(keys[0]),
        kx_key=X25519PrivateKey.from_private_bytes(keys[1]),
        kx_created=EPOCH,
    )


def card_of(address: Address) -> Card:
    identity = insecure_identity(address)
    return issue(identity, org="Bench", serial=1, not_before=EPOCH, not_after=EPOCH + 90 * 86_400)


class Pump:
    """Move one session's frames through a transport: what a daemon does for each peer."""

    def __init__(self, url: str, local: Address, peer: Address, chunk: int, on_event: Callable[[SessionEvent], None]):
        epochs = itertools.count(time.time_ns())
        boot_id, now = secrets.token_bytes(16), time.monotonic()
        channel = Channel(
            insecure_identity(local),
            card_of(local),
            card_of(peer),
            hello=Hello(boot_id, bytes(16), WINDOW, 1 << 20),
            next_epoch=lambda: next(epochs),
            last_seen_epoch=0,
        )
        delivery = Delivery(boot_id, MemorySpool, random.Random().uniform, now, chunk=chunk)
        self.session = Session(channel, delivery, random.Random().uniform, now)
        self.transport = open_transport(url, [local])
        self.transport.set_peers([peer])
        self.local, self.peer = local, peer
        self.on_event = on_event
        self.wake = asyncio.Event()
        self.flying = 0
        self.connected = False

    def take(self, events: list[SessionEvent]) -> None:
        for event in events:
            if isinstance(event, Arrived):
                self.session.stored(event.seq, time.monotonic())
            self.on_event(event)

    def on_frame(self, _source: Address, _destination: Address, frame: bytes) -> None:
        self.take(self.session.receive_frame(frame, time.monotonic()))
        self.wake.set()

    def on_state(self, connected: bool) -> None:
        self.connected = connected
        if connected:
            self.session.transport_restored(time.monotonic())
        self.wake.set()

    def on_presence(self, _peer: Address, here: bool) -> None:
        if here:
            self.session.nudge(time.monotonic())
            self.wake.set()

    async def publish(self, frame: bytes) -> None:
        try:
            await self.transport.publish(self.local, self.peer, frame)
        except TransportDown:
            return
        finally:
            self.flying -= len(frame)
            self.wake.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.transport.run(self.on_frame, self.on_state, self.on_presence))
            while True:
                self.wake.clear()
                now = time.monotonic()
                self.take(self.session.tick(now))
                for frame in self.session.frames_to_send(now, FLYING_BYTES - self.flying) if self.connected else []:
                    self.flying += len(frame)
                    group.create_task(self.publish(frame))
                deadline = self.session.next_deadline()
                try:
                    async with asyncio.timeout(None if deadline is None else max(0.0, deadline - now)):
                        await self.wake.wait()
                except TimeoutError:
                    continue


async def host(url: str, chunk: int) -> None:
    """Receive for ever; print what strange things happen."""

    def on_event(event: SessionEvent) -> None:
        if isinstance(event, Rejected):
            print("host rejected", event.reason, file=sys.stderr)

    pump = Pump(url, HOST, GUEST, chunk, on_event)
    await asyncio.wait_for(pump.run(), None)


async def guest(url: str, chunk: int, mib: int, small: int) -> None:
    """Send, wait until all is delivered, print the rates."""
    delivered = asyncio.Queue[int]()
    pump = Pump(url, GUEST, HOST, chunk, lambda e: delivered.put_nowait(e.seq) if isinstance(e, Delivered) else None)
    pump.session.submit(0, b"warm up", BytesBody(b"x"))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(pump.run())
        await delivered.get()
        body = BytesBody(random.Random(1).randbytes(1 << 20) * mib)
        assert body.sha256
        cpu, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        pump.session.submit(1, b"large", body)
        pump.wake.set()
        await delivered.get()
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
        print(f"large: {mib} MiB in {took:.2f} s: {mib * 1.048576 / took:.0f} MB/s, sender's CPU {used:.2f} s")
        began = time.monotonic()
        for seq in range(2, small + 2):
            pump.session.submit(seq, b"small", BytesBody(bytes(1024)))
        pump.wake.set()
        for _ in range(small):
            await delivered.get()
        took = time.monotonic() - began
        print(f"small: {small} x 1 KiB in {took:.2f} s: {small / took:.0f}/s")
        times = []
        for seq in range(small + 2, small + 302):
            began = time.monotonic()
            pump.session.submit(seq, b"one", BytesBody(bytes(1024)))
            pump.wake.set()
            await delivered.get()
            times.append(time.monotonic() - began)
        times.sort()
        print(f"one at a time: acknowledged after p50 {times[150] * 1e3:.1f} ms, p99 {times[297] * 1e3:.1f} ms")
        print(pump.session.stats)
        running.cancel()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def broker_command(kind: str, port: int, directory: str) -> list[str]:
    if kind == "amqtt":
        return [sys.executable, "-c", AMQTT, str(port)]
    config = Path(directory) / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "max_queued_messages 1000000\nmax_inflight_messages 100\n"
    )
    return ["/usr/sbin/mosquitto", "-c", str(config)]


def profiled(main: Callable[[], None]) -> None:
    profile = cProfile.Profile()
    try:
        profile.runcall(main)
    finally:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(22)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--chunk-kib", type=float, default=511)
    parser.add_argument("--broker", choices=["mosquitto", "amqtt"], default="mosquitto")
    parser.add_argument("--profile", choices=["guest", "host"])
    parser.add_argument("--host-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    chunk = int(arguments.chunk_kib * 1024)
    if arguments.host_of:
        receive = functools.partial(asyncio.run, host(arguments.host_of, chunk))
        try:
            (profiled if arguments.profile == "host" else lambda run: run())(receive)
        except KeyboardInterrupt:
            return
    else:
        federation(arguments, chunk)


def federation(arguments: argparse.Namespace, chunk: int) -> None:
    """Start broker and host, be the guest, stop them."""
    port = free_port()
    url = f"mqtt://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as directory:
        broker = subprocess.Popen(broker_command(arguments.broker, port, directory), stderr=subprocess.DEVNULL)
        peer = subprocess.Popen([sys.executable, *sys.argv, "--host-of", url])
        try:
            send = functools.partial(asyncio.run, guest(url, chunk, arguments.mib, arguments.small))
            (profiled if arguments.profile == "guest" else lambda run: run())(send)
        finally:
            peer.send_signal(2)
            peer.wait()
            broker.kill()
            broker.wait()


if __name__ == "__main__":
    main()
