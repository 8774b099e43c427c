"""Yao's millionaires: who is richer, and nothing else, for as many pairs of fortunes as there are.

Yao, "Protocols for secure computations", FOCS 1982. Guest and host bring vectors of equally many unsigned 64-bit
integers; each round compares a chunk of them by `partyd.protocols.secure_compare`, whose table of messages is this
algorithm's.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.federation.algorithm import Algorithm, Params, Program, State
from partyd.federation.party import Party
from partyd.protocols.secure_compare import DISCLOSURES, MESSAGES, compare_as_guest, compare_as_host
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Ints

Numbers = NDArray[np.uint64]


class MillionairesParams(Params):
    """``chunk_rows`` pairs are compared in a round: about 5 KiB of messages each."""

    chunk_rows: int = Field(default=4096, ge=1, le=1 << 14)


class Compared(State):
    """The order of the pairs compared so far: -1 where the guest's number is less, 0 equal, 1 greater."""

    order: Ints


async def start(_party: Party, _params: MillionairesParams, _numbers: Numbers) -> Compared:
    """Begin with nothing compared."""
    return Compared(order=np.zeros(0, dtype=np.int64))


async def guest(party: Party, params: MillionairesParams, numbers: Numbers, state: Compared) -> Compared:
    """Compare the next chunk as the garbler."""
    order = await compare_as_guest(party, _next(params, numbers, state), len(numbers))
    return _extended(party, state, order, len(numbers))


async def host(party: Party, params: MillionairesParams, numbers: Numbers, state: Compared) -> Compared:
    """Compare the next chunk as the evaluator."""
    order = await compare_as_host(party, _next(params, numbers, state), len(numbers))
    return _extended(party, state, order, len(numbers))


def _next(params: MillionairesParams, numbers: Numbers, state: Compared) -> Numbers:
    return numbers[len(state.order) : len(state.order) + params.chunk_rows]


def _extended(party: Party, state: Compared, order: NDArray[np.int8], count: int) -> Compared:
    joined = np.concatenate([state.order, order.astype(np.int64)])
    party.report.progress(len(joined), count, "comparing")
    return Compared(order=joined, finished=len(joined) >= count)


millionaires = Algorithm(
    name="millionaires",
    version="1",
    params=MillionairesParams,
    programs={GUEST: Program(Compared, start, guest), HOST: Program(Compared, start, host)},
    messages=MESSAGES,
    disclosures=DISCLOSURES,
    coalitions=(
        "There are two parties. Whoever may ask again with other numbers finds the other's number by bisection. "
        "A party that breaks the protocol can learn more than the order: the guest by a false circuit (two bits of its "
        "choice about each of the host's numbers), the host by false transfers (the guest's numbers)."
    ),
)
