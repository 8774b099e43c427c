"""Offer mutated ciphertext vectors to their reader; print what got through, and exit 1 if anything did.

python tests/campaigns/mutate_vectors.py --count 100000 [--bits N] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partyd.crypto.paillier import PrivateKey, generate_keypair
from partyd.crypto.prg import Prg
from tests.crypto.hostile_vectors import run


def main() -> int:
    """Mutate, print a line a kind, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="mutated vectors")
    parser.add_argument("--bits", type=int, default=512, help="length of the insecure test key")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    tally = run(
        _key(arguments.bits, "own"), _key(arguments.bits, "other"), arguments.count, random.Random(arguments.seed)
    )
    for kind, tried in sorted(tally.kinds.items()):
        print(f"{kind:24} {tried}")
    print(f"{tally.accepted} accepted, {tally.unhandled} unhandled exceptions of {tally.tried}")
    print(f"{tally.lost} honest vectors refused; {time.perf_counter() - begun:.0f} s, seed {arguments.seed}")
    for example in tally.examples:
        print(example)
    return 0 if tally.clean else 1


def _key(bits: int, label: str) -> PrivateKey:
    return generate_keypair(bits, Prg(bytes(32), label), insecure_for_tests=True)[1]


if __name__ == "__main__":
    raise SystemExit(main())
