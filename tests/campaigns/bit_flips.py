"""Flip a bit or cut the end of any file of a store: it is noticed, or it did no harm (catalogue F11).

Run ``python tests/campaigns/bit_flips.py --flips 1000 [--first-seed 0] [--results FILE]``. One JSON line says how it
went.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partyd.errors import ConfigError, StoreCorrupt, StoreError
from partyd.store import GroupCommit, PeerRow, Reader, Store
from tests.store import samples

ROUNDS = 30
Dump = dict[str, object]


def make(directory: Path) -> tuple[Path, Path, Dump]:
    """Make a store and return a copy after a kill, one after a clean stop, and what both must say."""
    killed, stopped = directory / "killed", directory / "stopped"
    store = samples.open_store(directory / "live", group=GroupCommit(checkpoint_pages=60))
    store.write_now(samples.begin)
    store.write_now(lambda transaction: transaction.save_peer(PeerRow(samples.THERE, "ab:cd", b"card", False, 1.0)))
    for number in range(1, ROUNDS):
        store.write_now(samples.arrive(number))
        store.write_now(samples.finish_round(number))
    store.write_now(lambda transaction: transaction.acknowledge(samples.THERE, range(1, 6)))
    store.write_now(lambda transaction: transaction.put_document("tables", "a", b"d" * 500))
    store.write_now(samples.arrive(ROUNDS))
    expected = store.read_now(dump)
    shutil.copytree(directory / "live", killed)
    store.close_now()
    shutil.copytree(directory / "live", stopped)
    return killed, stopped, expected


def dump(reader: Reader) -> Dump:
    """Return everything that the store says through its methods."""
    checkpoint = reader.latest_checkpoint(samples.JOB, samples.TASK, 1)
    return {
        "outbox": [(row, reader.read_body(row.body)) for row in reader.unacknowledged(samples.THERE, limit=10_000)],
        "depth": reader.outbox_depth(),
        "inbox": [samples.content(reader, reader.take(samples.incoming(number))) for number in range(ROUNDS + 2)],
        "waiting": reader.inbox_bytes(samples.THERE),
        "attempt": reader.attempt(samples.JOB, samples.TASK),
        "checkpoint": checkpoint and (checkpoint, reader.read_body(checkpoint.state)),
        "jobs": reader.jobs(),
        "peers": reader.peers(),
        "documents": reader.documents("tables"),
        "events": reader.events(limit=1000),
        "seq": reader.counter(f"seq:{samples.THERE}"),
    }


def damage(directory: Path, seed: int) -> str:
    """Damage one file and say how; files are drawn by kind first, so that small ones are met too."""
    chance = random.Random(seed)
    groups = [[directory / "partyd.db"], [directory / "partyd.db-wal"], sorted(directory.glob("blobs/??/*"))]
    groups += [[directory / "partyd.db"], [directory / "commits"], [directory / "clean"]]
    present = [
        paths for group in groups if (paths := [path for path in group if path.exists() and path.stat().st_size])
    ]
    path = chance.choice(chance.choice(present))
    content = bytearray(path.read_bytes())
    place = chance.randrange(len(content))
    if chance.random() < 0.1:
        path.write_bytes(content[:place])
        return f"{path.name} cut at {place}"
    content[place] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return f"bit flipped in byte {place} of {path.name}"


def outcome(source: Path, expected: Dump, seed: int, directory: Path) -> str:
    """Return ``detected`` or ``harmless``, or what else was told; AssertionError if the store says anything wrong."""
    shutil.copytree(source, directory)
    what = damage(directory, seed)
    try:
        store = samples.open_store(directory)
    except (StoreCorrupt, ConfigError):
        return "detected"
    try:
        return _compare(store, expected, what)
    finally:
        store.close_now()


def _compare(store: Store, expected: Dump, what: str) -> str:
    try:
        found = store.read_now(dump)
    except StoreError as error:
        return "detected" if isinstance(error, StoreCorrupt) else f"{what}: {error}"
    wrong = [name for name, value in expected.items() if found[name] != value]
    assert not wrong, f"{what}: {wrong} differ"
    return "harmless"


def main() -> None:
    """Run the campaign."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=None)
    arguments = parser.parse_args()
    tally: Counter[str] = Counter()
    wrong: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as place:
        killed, stopped, expected = make(Path(place))
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.flips):
            with tempfile.TemporaryDirectory(dir=place) as after:
                try:
                    tally[outcome((killed, stopped)[seed % 2], expected, seed, Path(after) / "state")] += 1
                except Exception as error:
                    wrong.append({"seed": seed, "error": f"{type(error).__name__}: {error}"[:300]})
    line = json.dumps({"campaign": "bit_flips", "flips": arguments.flips, **tally, "wrong": wrong})
    if arguments.results:
        with arguments.results.open("a") as out:
            out.write(line + "\n")
    print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
