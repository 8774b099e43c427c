"""How good federated models are beside a model of the pooled data, on rows trained on and on rows held out.

Run: python -m tests.bench.bench_quality [--only NAME] [--bits 2048] [--markdown]

Every role's component runs in this process, as a job would run it, on the tables that FATE publishes, where they are
there, and on scikit-learn's. The numbers are exact integers of fixed scale, so a model does not depend on the length of
the key: without ``--bits`` keys are short, which takes a tenth of the time, and the same digits come out with 2048.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from partyd.algorithms.he_parameters import HeParam
from tests.bench.quality_cases import CASES, Row, carried_out

TOLERANCE = 0.01


def main() -> int:
    """Run the cases and print a line for each; return 1 if one is worse than its rule allows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="cases whose name contains this")
    parser.add_argument("--bits", type=int, default=512, help="the key's length (default 512, for measuring alone)")
    parser.add_argument("--markdown", action="store_true", help="print the rows of a table")
    arguments = parser.parse_args()
    bar, failed = " | " if arguments.markdown else "  ", False
    print(f"keys of {arguments.bits} bits, obfuscation {HeParam().obfuscation}")
    print(bar.join(("", *Row.HEADS, "")).strip())
    for case in CASES:
        if arguments.only and arguments.only not in case.name:
            continue
        data = case.data()
        if data is None:
            print(f"{case.name}: skipped, its table is not on this machine")
            continue
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            rows = carried_out(case, data, Path(folder), arguments.bits)
        for row in rows:
            failed |= row.worse_by > TOLERANCE
            print(bar.join(("", *row.cells(), "")).strip(), flush=True)
        print(f"  ({case.name}: {time.perf_counter() - begun:.0f} s)", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
