"""Runs of every registered algorithm on its example, and what two runs are compared by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache

import pytest

from partyd.algorithms import ALGORITHMS
from partyd.federation.simulate import Faults, Run, simulate
from partyd.types import Address
from tests.conformance.examples import EXAMPLES

NAMES = [algorithm.name for algorithm in ALGORITHMS]
BY_NAME = {algorithm.name: algorithm for algorithm in ALGORITHMS}
MOST_CRASHES = 60
each = pytest.mark.parametrize("name", NAMES)


def run(name: str, faults: Faults | None = None, seed: bytes = b"s") -> Run:
    example, algorithm = EXAMPLES[name](), BY_NAME[name]
    return asyncio.run(simulate(algorithm, example.params, example.data, faults=faults, seed=seed))


@cache
def undisturbed(name: str) -> Run:
    return run(name)


def outcome(done: Run) -> dict[Address, dict[str, object]]:
    """Final states without what is drawn afresh from the operating system: keys, which no result depends on."""
    return {
        address: {field: repr(value) for field, value in state if field not in ("key", "n")}
        for address, state in done.states.items()
    }


def shape(done: Run) -> list[tuple[str, str, str, str]]:
    return sorted((s.id.scope, s.id.kind, str(s.id.source), str(s.id.destination)) for s in done.transcript.sent)


def steps(name: str) -> Iterator[tuple[Address, int]]:
    """Every send and receive of every party, or an even sample of them."""
    for address in EXAMPLES[name]().data:
        transcript = undisturbed(name).transcript
        count = len(transcript.select(by=address)) + len(transcript.select(to=address))
        stride = max(1, -(-count // (MOST_CRASHES // 3)))
        yield from ((address, n) for n in range(0, count, stride))
