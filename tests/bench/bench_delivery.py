"""Measure durable, encrypted delivery between two daemons' post offices through a real broker.

    python -m tests.bench.bench_delivery [--broker embedded|mosquitto] [--mib 256] [--small 4000] [--chunk-kib 960]

Two processes (sender and receiver), each with its own store on disk, keys and sessions, and a broker between them.
Prints goodput of one large message (from `send` to the receiver's acknowledgement after fsync), durable 1 KiB messages
a second, and the time from `send` to acknowledgement of single messages (p50, p99).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from partyd import log as logs
from partyd.config import DeliverySettings, Settings
from partyd.jobs.workers import Workers
from partyd.node import Node
from partyd.standalone import Member, introduce
from partyd.transport.base import TransportSecurity, open_transport
from partyd.types import GUEST, HOST, Address, MessageId

SENDER, RECEIVER = Address("10000", GUEST), Address("9999", HOST)


def members(folder: Path) -> list[Member]:
    return [Member(a, folder / f"{a.role.label}-{a.party_id}", 0) for a in (SENDER, RECEIVER)]


async def office(folder: Path, me: Address, port: int, chunk_kib: int, work) -> None:  # type: ignore[no-untyped-def]
    """Run one daemon's post office and ``work`` beside it."""
    password = (folder / "broker" / "parties" / me.party_id / "password").read_text().strip()
    security = TransportSecurity(username=me.party_id, password=password)
    transport = open_transport(f"mqtt://127.0.0.1:{port}", [me], security)
    state = next(m.state_dir for m in members(folder) if m.address == me)
    delivery = DeliverySettings(chunk_bytes=chunk_kib << 10)
    settings = Settings(party_id=me.party_id, roles=(me.role,), state_dir=state, delivery=delivery)
    node = await Node.open(me, settings, transport, Workers())
    node.office._watch.admit = lambda message: True
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(node.office.run()),
            group.create_task(
                transport.run(
                    lambda s, _, f: node.office.frame_arrived(s, f), node.office.transport_changed, lambda *_: None
                )
            ),
        ]
        await work(node)
        for task in tasks:
            task.cancel()
    await node.store.close()


async def send(node: Node, mib: int, small: int) -> None:
    peer = RECEIVER
    link = node.office.links[peer]
    while not link.session.established:
        await asyncio.sleep(0.01)

    def message(scope: str) -> MessageId:
        return MessageId("bench", "task", 0, scope, "Bench", SENDER, peer)

    async def delivered(seconds: float = 300) -> None:
        async with asyncio.timeout(seconds):
            while link.waiting:
                await asyncio.sleep(0.001)

    await node.office.send(message("warm"), b"x" * 100)
    await delivered()
    body = os.urandom(mib << 20)
    started = time.perf_counter()
    await node.office.send(message("large"), body)
    sent = time.perf_counter()
    await delivered()
    took = time.perf_counter() - started
    print(
        f"one message of {mib} MiB: {mib * 1.048576 / took:.1f} MB/s "
        f"({sent - started:.2f} s to be durable here, {took:.2f} s in all)"
    )
    payload = os.urandom(1024)
    started = time.perf_counter()
    room = asyncio.Semaphore(256)

    async def one(i: int) -> None:
        async with room:
            await node.office.send(message(f"small/{i}"), payload)

    async with asyncio.TaskGroup() as group:
        for i in range(small):
            group.create_task(one(i))
    await delivered()
    took = time.perf_counter() - started
    print(f"{small} durable messages of 1 KiB: {small / took:.0f}/s")
    times = []
    for i in range(300):
        started = time.perf_counter()
        await node.office.send(message(f"single/{i}"), payload)
        while link.waiting:
            await asyncio.sleep(0)
        times.append((time.perf_counter() - started) * 1000)
    times.sort()
    print(
        f"send to acknowledgement, 1 KiB, one at a time: p50 {statistics.median(times):.1f} ms, "
        f"p99 {times[int(len(times) * 0.99)]:.1f} ms"
    )


async def forever(_: Node) -> None:
    await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", choices=["embedded", "mosquitto"], default="embedded")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--small", type=int, default=4000)
    parser.add_argument("--chunk-kib", type=int, default=960)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--receive", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logs.configure("warning")
    if options.receive:
        asyncio.run(office(options.dir, RECEIVER, options.receive, options.chunk_kib, forever))
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        introduce(members(folder))
        base = [sys.executable, "-m", "broker"]
        parties = ["--party", "10000", "--party", "9999"]
        subprocess.run(
            [*base, "init", "--dir", str(folder / "broker"), "--passwords", "--plain", *parties],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        reading, writing = os.pipe()
        embedded = ["--embedded"] if options.broker == "embedded" else []
        run = [*base, "run", "--dir", str(folder / "broker"), "--port", "0", "--ready-fd", str(writing), *embedded]
        broker = subprocess.Popen(run, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(writing)
        port = int(os.read(reading, 16))
        receive = [sys.executable, "-m", "tests.bench.bench_delivery", "--receive", str(port), "--dir", str(folder)]
        receiver = subprocess.Popen([*receive, "--chunk-kib", str(options.chunk_kib)])
        try:
            asyncio.run(
                office(folder, SENDER, port, options.chunk_kib, lambda node: send(node, options.mib, options.small))
            )
        finally:
            receiver.terminate()
            receiver.wait()
            broker.terminate()
            broker.wait()


if __name__ == "__main__":
    main()
