"""Measure the store: durable 1 KiB posts a second from N concurrent writers, and what one commit costs.

Run ``python tests/bench/bench_store.py [--directory DIR]`` on the disk in question; prints one line for each N.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from partyd.store import SpaceLimits, Store, Transaction
from partyd.types import GUEST, HOST, Address, MessageId

BODY = 1024
HERE, THERE = Address("10000", GUEST), Address("9999", HOST)


def _post(transaction: Transaction, writer: int, number: int, body: bytes) -> int:
    message = MessageId("bench", "task", 1, f"writer/{writer}/{number}", "Load", HERE, THERE)
    return transaction.post(message, b"", body).seq


async def _write_some(store: Store, writer: int, count: int, latencies: list[float]) -> None:
    for number in range(count):
        body = os.urandom(BODY)
        started = time.perf_counter()
        await store.write(partial(_post, writer=writer, number=number, body=body))
        latencies.append(time.perf_counter() - started)


async def _measure(directory: Path, writers: int, total: int) -> str:
    store = Store.open(directory / f"writers-{writers}", limits=SpaceLimits(reserve_bytes=0))
    latencies: list[float] = []
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for writer in range(writers):
            group.create_task(_write_some(store, writer, total // writers, latencies))
    seconds = time.perf_counter() - started
    commits = (await store.read(lambda reader: reader.counter("commits"))) - 1
    await store.close()
    cuts = statistics.quantiles(latencies, n=100)
    return (
        f"{writers:4d} writers  {len(latencies) / seconds:8.0f} posts/s  {commits / seconds:6.0f} commits/s  "
        f"p50 {cuts[49] * 1e3:7.2f} ms  p99 {cuts[98] * 1e3:7.2f} ms"
    )


def main() -> None:
    """Measure 1, 8, 64 and 256 concurrent writers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=None, help="measure this disk instead of the temporary one")
    parser.add_argument("--posts", type=int, default=8192, help="posts for each number of writers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as place:
        for writers in (1, 8, 64, 256):
            print(asyncio.run(_measure(Path(place), writers, arguments.posts)))


if __name__ == "__main__":
    main()
