"""Seconds of a round of secure aggregation, every party and the arbiter in one process on one core.

Run: python -m tests.bench.bench_aggregation [--words 1000000] [--parties 3] [--repeat 5]

First the protocol's own work, step by step: sealing shares, encoding and masking the vectors, opening the sum, with
everybody there and with one party gone. Then whole rounds through the driver, messages encoded and decoded.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from partyd.crypto.sharing import FixedPoint
from partyd.federation.simulate import simulate
from partyd.protocols.secure_aggregation import Member, Setting, lasting_key, opened_sum, public_of
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.protocols.sums import ROUNDS, SumParams, sums

T = TypeVar("T")


class Watch:
    """Keeps the least time of each step."""

    def __init__(self) -> None:
        self.least: dict[str, float] = {}

    def of(self, step: str, work: Callable[[], T]) -> T:
        """Return what ``work`` returns."""
        begun = time.perf_counter()
        result = work()
        took = time.perf_counter() - begun
        self.least[step] = min(took, self.least.get(step, took))
        return result


def one_round(names: Sequence[str], words: NDArray[np.float64], number: int, gone: int, watch: Watch) -> None:
    """Perform a round in which the last ``gone`` parties drop out, and check its sum."""
    setting, ring = Setting.of(names, None, b"bench"), FixedPoint(24, terms=len(names))
    roots = {name: bytes([i] * 32) for i, name in enumerate(names)}
    public = {name: public_of(lasting_key(root)) for name, root in roots.items()}
    members = {n: Member(setting, n, roots[n], {o: p for o, p in public.items() if o != n}, number) for n in names}

    def promise() -> None:
        for name in names:
            sealed = {other: offers[other].sealed[name] for other in names if other != name}
            members[name].accept({other: offer.promise for other, offer in offers.items()}, sealed)

    offers = watch.of("offer", lambda: {name: member.offer() for name, member in members.items()})
    watch.of("accept", promise)
    left = names[: len(names) - gone]
    encoded = watch.of("encode", lambda: {name: ring.encode(words) for name in left})
    masked = watch.of("mask", lambda: [members[name].mask(encoded[name]) for name in left])

    def total() -> NDArray[np.float64]:
        told = {name: members[name].witness(left) for name in left}
        openings = {name: members[name].open(left, told) for name in left}
        promises = {name: offer.promise for name, offer in offers.items()}
        summed = masked[0]
        for vector in masked[1:]:
            summed = summed + vector
        return ring.decode(opened_sum(setting, number, promises, left, summed, openings))

    found = watch.of("open", total)
    assert np.allclose(found, len(left) * words, atol=1e-6)


def protocol(names: Sequence[str], words: NDArray[np.float64], repeat: int, gone: int) -> None:
    """Print the least time of each step of ``repeat`` rounds."""
    watch = Watch()
    for number in range(repeat):
        watch.of("all", lambda number=number: one_round(names, words, number, gone, watch))  # type: ignore[misc]
    steps = ", ".join(f"{step} {took:.3f}" for step, took in watch.least.items() if step != "all")
    print(f"{len(names)} parties, {gone} gone, {len(words)} numbers: {watch.least['all']:.3f} s a round ({steps})")


async def rounds(parties: int, words: int) -> None:
    """Print the time of a round with driver, messages and checkpoints.

    It returns nothing: ``asyncio.run`` makes a text of what its coroutine returns, which takes longer than the rounds.
    """
    hosts = [Address(str(9999 - i), HOST) for i in range(parties - 1)]
    data: dict[Address, object] = {p: i + 1 for i, p in enumerate([Address("10000", GUEST), *hosts])}
    begun = time.perf_counter()
    await simulate(sums, SumParams(words=words), data | {Address("1", ARBITER): None})
    print(f"through the driver: {(time.perf_counter() - begun) / ROUNDS:.3f} s a round (mean of {ROUNDS})")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=1_000_000)
    parser.add_argument("--parties", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    names = sorted(f"{i}/host" for i in range(arguments.parties))
    words = np.linspace(-1, 1, arguments.words)
    for gone in range(1 + (arguments.parties > 2)):
        protocol(names, words, arguments.repeat, gone)
    asyncio.run(rounds(arguments.parties, arguments.words))


if __name__ == "__main__":
    main()
