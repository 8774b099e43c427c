"""Mutate settings files, variables and command lines: each is read or refused in a sentence, in bounded time.

Run ``python tests/campaigns/fuzz_config.py --inputs 100000 [--first-seed 0]``. One JSON line says how it went.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from partyd.config import Settings
from partyd.config_example import render
from partyd.config_sources import flat, known_keys, load_settings, parse_toml
from partyd.errors import ConfigError

NAMED: dict[str, object] = {"party_id": "10000", "roles": ("guest",), "state_dir": "/s"}
PARTS = (
    b"[",
    b"]",
    b"=",
    b'"',
    b'"""',
    b"\n",
    b"#",
    b"{",
    b"}",
    b",",
    b".",
    b"1e999",
    b"-1",
    b"true",
    b"\xff",
    b"\0",
    b"1979-05-27",
)
WORDS = (
    "",
    "0",
    "-1",
    "99999999999999999999",
    "nan",
    "1e400",
    "true",
    "16 MiB",
    "mqtts://[",
    "mqtt://a:b@c",
    "/",
    "..",
    "\0",
    "\ud800",
)
SLOW_S = 1.0


def mutated(seed: random.Random, text: bytes) -> bytes:
    """Return ``text``, its comments opened, with a few bytes cut, doubled or replaced."""
    raw = bytearray(text)
    for _ in range(seed.randint(1, 8)):
        at = seed.randrange(len(raw) + 1)
        match seed.randrange(4):
            case 0:
                raw[at : at + seed.randint(1, 40)] = b""
            case 1:
                raw[at:at] = seed.choice(PARTS) * seed.choice((1, 1, 1, 2000))
            case 2:
                raw[at:at] = raw[at : at + seed.randint(1, 200)]
            case _:
                raw[at : at + 1] = bytes([seed.randrange(256)])
    return bytes(raw)


def key(seed: random.Random) -> str:
    """Return a key, often a known one, sometimes with a letter wrong."""
    chosen = seed.choice(sorted(known_keys()))
    return chosen if seed.random() < 0.7 else chosen.replace(seed.choice(chosen), seed.choice("aZ._\0é"), 1)


def read(seed: random.Random, text: bytes) -> str:
    """Read one mutated input; return what came of it."""
    overrides = dict(NAMED)
    try:
        if seed.random() < 0.5:
            overrides |= dict(flat(parse_toml(mutated(seed, text), Path("x.toml"))))
            overrides |= {"state_dir": "/s"}
        for _ in range(seed.randrange(3)):
            overrides[key(seed)] = seed.choice((*WORDS, None, 5, 1.5, True, [], {}, [[]], b"x"))
        environ = {"PARTYD_" + key(seed).upper().replace(".", "__"): seed.choice(WORDS)} if seed.random() < 0.3 else {}
        settings = load_settings([], environ, overrides)
    except ConfigError as error:
        return "refused" if 0 < len(str(error)) < 50_000 else "refused without a sentence"
    return "read" if isinstance(settings, Settings) else "read as something else"


def main() -> int:
    """Run the campaign; exit status 1 when anything but reading or refusing happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--first-seed", type=int, default=0)
    given = parser.parse_args()
    text = "\n".join(line.removeprefix("# ") if " = " in line else line for line in render().splitlines()).encode()
    outcomes: Counter[str] = Counter()
    began = time.monotonic()
    slowest = 0.0
    for number in range(given.first_seed, given.first_seed + given.inputs):
        start = time.process_time()
        try:
            outcomes[read(random.Random(number), text)] += 1
        except Exception as error:
            outcomes["crashed"] += 1
            print(f"seed {number}: {error!r}"[:300], file=sys.stderr)
        slowest = max(slowest, time.process_time() - start)
    took = round(time.monotonic() - began, 1)
    print(json.dumps({"inputs": given.inputs, **outcomes, "slowest_s": round(slowest, 3), "took_s": took}))
    return int(set(outcomes) - {"read", "refused"} != set() or slowest > SLOW_S)


if __name__ == "__main__":
    sys.exit(main())
