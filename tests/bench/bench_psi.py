"""Seconds of compute for psi and for millionaires, both roles in one process on one core.

Run: python tests/bench/bench_psi.py [--rows 20000] [--pairs 4096]
"""

from __future__ import annotations

import argparse
import asyncio
import time

import numpy as np

from partyd.algorithms.millionaires import MillionairesParams, millionaires
from partyd.algorithms.psi import PsiParams, psi
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H = Address("10000", GUEST), Address("9999", HOST)


def report(what: str, begun: float, done: Run) -> None:
    """Print seconds of CPU, messages and bytes."""
    sent = sum(len(s.body) for s in done.transcript.sent)
    seconds = time.process_time() - begun
    print(f"{what}: {seconds:.2f} s of CPU, {len(done.transcript.sent)} messages, {sent / 1e6:.1f} MB")


def main() -> None:
    """Run both and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=4096)
    arguments = parser.parse_args()
    ids = [np.array([f"u{i}".encode() for i in range(at, at + arguments.rows)]) for at in (0, arguments.rows // 2)]
    begun = time.process_time()
    done = asyncio.run(simulate(psi, PsiParams(), {G: ids[0], H: ids[1]}))
    report(f"psi, {arguments.rows} ids a side, {len(done.states[G].rows)} common", begun, done)
    random = np.random.default_rng(1)
    x, y = random.integers(0, 2**64, (2, arguments.pairs), dtype=np.uint64)
    begun = time.process_time()
    report(
        f"millionaires, {arguments.pairs} pairs",
        begun,
        asyncio.run(simulate(millionaires, MillionairesParams(), {G: x, H: y})),
    )


if __name__ == "__main__":
    main()
