"""Flip every bit of small frames and mutate larger ones; print what got through, and exit 1 if anything did.

python tests/campaigns/mutate_frames.py --frames 1000 --mutations 100000 [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.wire.hostile import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="small frames whose every bit is flipped")
    parser.add_argument("--mutations", type=int, default=100_000, help="random mutations of larger frames")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    begun = time.perf_counter()
    tally = run(arguments.frames, arguments.mutations, random.Random(arguments.seed))
    print(f"{tally.accepted} accepted, {tally.unhandled} unhandled exceptions of {tally.tried}")
    print(f"{tally.lost} honest frames refused afterwards; {time.perf_counter() - begun:.0f} s, seed {arguments.seed}")
    for example in tally.examples[:10]:
        print(example)
    return 0 if tally.clean else 1


if __name__ == "__main__":
    raise SystemExit(main())
