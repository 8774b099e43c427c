"""Operations a second of Paillier: phe with gmpy2, partyd on one core and on all, and other libraries where installed.

    python -m tests.bench.bench_paillier [--bits 2048] [--rounds 5] [--quick] [--only "encrypt,decrypt"]

All in one run and in turns (``interleaved``), so that ratios are fair on a machine that does other things too. Prints a
table of operations a second and, at 2048 bits, what was wanted beside what was measured. The other libraries are not
among partyd's dependencies; ``paillier_peers`` says how to install them, and a missing one is named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

import gmpy2
import numpy as np

from partyd.crypto.paillier import KEY_BITS, PublicKey
from partyd.engine.pool import Pool
from tests.bench.interleaved import Cell, Cores, time_in_turns
from tests.bench.paillier_ours import OBFUSCATIONS, all_cores, hiding, keypair, one_core, warm_pool
from tests.bench.paillier_peers import INSTALL, OTHERS, PHE, Peer, Size, floor_cells
from tests.bench.paillier_report import Results, in_order, rates_table, rows, targets_table

FULL = Size(
    0, 4, 600, many=4000, factors=200, heights=(512, 4096), columns=10, histogram_rows=20_000, features=6, warm=9000
)
QUICK = Size(0, 1, 40, many=100, factors=20, heights=(32, 64), columns=2, histogram_rows=200, features=2, warm=1)


def machine(cores: Cores) -> str:
    """Return the cores, their model and the versions that matter."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor() or "unknown",
    )
    return (
        f"machine: {cores.count} cores ({model}), load {os.getloadavg()[0]:.1f}, {platform.system()} "
        f"{platform.release()}, Python {platform.python_version()}, gmpy2 {gmpy2.version()} with {gmpy2.mp_version()}, "
        f"numpy {np.__version__}"
    )


def present(peers: Sequence[Peer], bits: int) -> Iterator[Peer]:
    """Yield the libraries that are installed, saying of each which it is or how to install it."""
    for peer in peers:
        try:
            print(f"{peer.name} {peer.version}: {peer.obfuscation(bits)}")
        except importlib.metadata.PackageNotFoundError:
            print(
                f"{peer.name} is not installed and is left out; beside partyd, in a throw-away environment: {INSTALL}"
            )
            continue
        yield peer


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, default=KEY_BITS, help="length of the keys (2048)")
    parser.add_argument("--rounds", type=int, help="how often each operation is timed (5; 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="do little of everything: to see that it runs")
    parser.add_argument("--only", default="", help="rows with one of these words in their name, parted by commas")
    parser.add_argument("--insecure-for-tests", action="store_true", help="allow short keys, without other libraries")
    options = parser.parse_args(words)
    if options.bits < KEY_BITS and not options.insecure_for_tests:
        parser.error(f"keys of {options.bits} bits are insecure; take {KEY_BITS} or more, or --insecure-for-tests")
    return options


def main(words: Sequence[str] | None = None) -> None:
    options, cores = arguments(words), Cores()
    size = dataclasses.replace(QUICK if options.quick else FULL, bits=options.bits)
    private = keypair(options.bits)
    print(machine(cores))
    for obfuscation in OBFUSCATIONS:
        print(f"partyd {obfuscation}: {hiding(PublicKey(int(private.public.n), obfuscation))}")
    peers = [PHE] if options.insecure_for_tests else list(present((PHE, *OTHERS), options.bits))
    wanted = [word.strip() for word in options.only.split(",")]
    listed = [row for row in rows(size) if any(word in row.label for word in wanted)]
    with asyncio.Runner() as loop:
        pool = Pool(cores.count)
        cores.one()
        cells: list[Cell] = [cell for peer in peers for cell in peer.cells(size)]
        cells += [*floor_cells(size), *one_core(size, private), *warm_pool(size, private.public, loop)]
        cores.all()
        cells += all_cores(size, private, pool, loop)
        cells = in_order(cells, listed)
        time_in_turns(cells, options.rounds or (1 if options.quick else 5), cores, print)
        loop.run(pool.close())
    results = Results(cells)
    print(f"\nOperations a second, {options.bits}-bit keys\n")
    print("\n".join(rates_table(results, listed, cores.count)))
    if options.bits == KEY_BITS and not options.quick:
        print("\n" + "\n".join(targets_table(results)))
    print(f"\nload at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
