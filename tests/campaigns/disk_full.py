"""Fill a small disk under a working store, free it, and see that the job ends as if nothing had been (catalogue F10).

Run ``python tests/campaigns/disk_full.py [--runs 20] [--size-mib 16] [--results FILE]`` as root: it mounts a tmpfs in
a mount namespace of its own. Or name a small disk with ``--directory``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partyd.errors import StoreFull
from partyd.store import SpaceLimits, Store
from tests.store import samples

LIMITS = SpaceLimits(low_share=0.0, low_bytes=0, reserve_bytes=1 << 20)
ROUNDS = 60


def run(directory: Path, tally: Counter[str]) -> None:
    """Run the sample job while an alien file takes all space every few rounds; raises if anything is lost."""
    alien = directory / "alien"
    store = samples.open_store(directory / "state", limits=LIMITS)
    asyncio.run(store.write(samples.begin))
    for number in range(1, ROUNDS):
        if number % 6 == 3:
            fill(alien)
            asyncio.run(_suffer(store, number, tally))
            alien.unlink()
            tally["reserve renewed"] += store.renew_reserve()
        asyncio.run(_step(store, number))
    store.close_now()
    with samples.opened(directory / "state") as store:
        assert store.read_now(samples.rounds_in) == ROUNDS - 1
        assert [job.status for job in store.read_now(lambda reader: reader.jobs())] == ["running"]


async def _step(store: Store, number: int) -> None:
    await store.write(samples.arrive(number))
    await store.write(samples.finish_round(number))


async def _suffer(store: Store, number: int, tally: Counter[str]) -> None:
    """Try to write on a full disk until it is refused, then write something vital."""
    for filler in range(1, 400):
        try:
            await store.write(lambda transaction: transaction.put_document("filler", "one", os.urandom(60_000)))
        except StoreFull:
            tally["refused"] += 1
            break
        tally["fitted"] += 1
        assert filler < 399, "the disk never was full"
    try:
        await store.write(lambda transaction: transaction.save_job(samples.JOB, "failed", b"x" * 20_000), is_vital=True)
        await store.write(lambda transaction: transaction.save_job(samples.JOB, "running", b""), is_vital=True)
        tally["vital written"] += 1
    except StoreFull:
        tally["vital refused"] += 1
    assert await store.read(samples.rounds_in) == number - 1


def fill(alien: Path) -> None:
    """Take all space that is left."""
    with alien.open("wb", buffering=0) as out:
        for step in (1 << 20, 1 << 12):
            try:
                while True:
                    out.write(bytes(step))
            except OSError:
                continue


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--size-mib", type=int, default=16)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=None)
    arguments = parser.parse_args()
    if arguments.directory is None:
        sys.exit(_on_tmpfs(arguments.size_mib, sys.argv[1:]))
    tally: Counter[str] = Counter()
    for number in range(arguments.runs):
        place = arguments.directory / str(number)
        place.mkdir()
        run(place, tally)
        shutil.rmtree(place)
    line = json.dumps({"campaign": "disk_full", "runs": arguments.runs, **tally})
    if arguments.results:
        with arguments.results.open("a") as out:
            out.write(line + "\n")
    print(line)


def _on_tmpfs(size_mib: int, options: list[str]) -> int:
    script = 'mount -t tmpfs -o size="$1"m partyd-disk-full "$2" && shift 2 && exec "$@"'
    with tempfile.TemporaryDirectory() as place:
        again = [sys.executable, __file__, *options, "--directory", place]
        return subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", str(size_mib), place, *again], check=False
        ).returncode


if __name__ == "__main__":
    main()
