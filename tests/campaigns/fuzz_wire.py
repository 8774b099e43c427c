"""Fuzz every decoder of the wire; exit 1 when one raises anything but its refusal, or is slow, or the memory grows.

python tests/campaigns/fuzz_wire.py --inputs 100000 [--seed N]
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.wire.fuzz import DECODERS, run

SLOWEST_S = 0.5
GROWTH_MIB = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for each decoder")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    crashes, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for decoder in DECODERS:
        try:
            valid, slowest = run(decoder, arguments.inputs, random.Random(arguments.seed))
        except Exception:
            traceback.print_exc()
            crashes += 1
            continue
        crashes += slowest > SLOWEST_S
        print(f"{decoder.name:12} {arguments.inputs} inputs, {valid} valid, slowest {slowest * 1e3:.1f} ms")
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{crashes} crashes, memory grew by {growth:.0f} MiB")
    return 1 if crashes or growth > GROWTH_MIB else 0


if __name__ == "__main__":
    raise SystemExit(main())
