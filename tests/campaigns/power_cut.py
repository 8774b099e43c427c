"""Cut the power after every operation of a store's trace and see that nothing acknowledged is lost (catalogue F8).

Run ``python tests/campaigns/power_cut.py --cuts 2000 [--first-seed 0] [--results FILE]``. One JSON line says how it
went.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partyd.store import Store
from tests.store import samples
from tests.store.disk import Op, PowerCut, Watch, watched

ROUNDS = 24


@dataclass(frozen=True)
class Trace:
    """A recorded life of a store."""

    directory: Path
    ops: list[Op]


def record(directory: Path) -> Trace:
    """Run the sample job on a watched disk, with one restart in its middle."""
    with watched() as (watch, files, vfs):
        for first in (1, ROUNDS // 2):
            store = samples.open_store(directory, files=files, vfs=vfs.name, group=samples.QUICK_CHECKPOINTS)
            asyncio.run(_live(store, watch, first, first + ROUNDS // 2 - 1))
            store.close_now()
    return Trace(directory, watch.ops)


async def _live(store: Store, watch: Watch, first: int, last: int) -> None:
    await store.write(samples.begin)
    for number in range(first, last):
        await store.write(samples.arrive(number))
        watch.note(Op("ack", "arrived", number))
        await asyncio.gather(store.write(samples.finish_round(number)), store.ping())
        watch.note(Op("ack", "round", number))


def promised(ops: list[Op], what: str) -> int:
    """Return the last round that was acknowledged."""
    return max((op.offset for op in ops if op.kind == "ack" and op.path == what), default=0)


def survive(trace: Trace, cut: int, seed: int, directory: Path) -> None:
    """Cut after ``cut`` operations, open what is left, check it and write on; raises if anything is lost."""
    ops = trace.ops[:cut]
    disk = PowerCut(seed)
    disk.run(ops)
    disk.leave(trace.directory, directory)
    with samples.opened(directory) as store:
        rounds = store.read_now(samples.rounds_in)
        arrived = store.read_now(lambda reader: samples.arrived_in(reader, rounds))
        assert rounds >= promised(ops, "round"), f"round {promised(ops, 'round')} was acknowledged, {rounds} is there"
        assert arrived >= promised(ops, "arrived"), f"message {promised(ops, 'arrived')} was acknowledged"
        store.write_now(samples.begin)
        if arrived == rounds:
            store.write_now(samples.arrive(rounds + 1))
        store.write_now(samples.finish_round(rounds + 1))


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=2000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None)
    arguments = parser.parse_args()
    lost: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        trace = record(Path(place) / "trace")
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.cuts):
            cut = seed * 7919 % (len(trace.ops) + 1)
            with tempfile.TemporaryDirectory(dir=place) as after:
                try:
                    survive(trace, cut, seed, Path(after) / "state")
                except Exception as error:
                    lost.append({"seed": seed, "cut": cut, "error": f"{type(error).__name__}: {error}"[:300]})
    line = json.dumps({"campaign": "power_cut", "cuts": arguments.cuts, "ops": len(trace.ops), "failed": lost})
    if arguments.results:
        with arguments.results.open("a") as out:
            out.write(line + "\n")
    print(line)
    sys.exit(bool(lost))


if __name__ == "__main__":
    main()
