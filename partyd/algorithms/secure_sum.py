"""Secure sum: the toy of FATE 1.8, on shares in a ring.

Guest and host hold x and y, n numbers each. Both split their numbers into additive shares modulo 2**64 (FATE's own toy
splits floats, which hides them only statistically):  x = x1 + x2,  y = y1 + y2.

===========  =============  ==================================================
message      from, to       what the receiver learns
===========  =============  ==================================================
GuestShare   guest, host    x2, uniformly random: nothing
HostShare    host, guest    y1, uniformly random: nothing
HostSum      host, guest    sum(x2 + y2); with its own numbers the guest learns sum(y), which is the result
===========  =============  ==================================================

The guest ends with sum(x1 + y1) + sum(x2 + y2) = sum(x) + sum(y). Source: FATE v1.8.0 federatedml/toy_example.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.crypto.sharing import FixedPoint, split
from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Words

Shares = NDArray[np.uint64]
FRACTION_BITS = 24
MAX_NUMBERS = 1 << 20
RING = FixedPoint(FRACTION_BITS, terms=2 * MAX_NUMBERS)
"""Numbers below 2^18 in magnitude, so that the sum of all of both sides cannot wrap around."""


class SecureSumParams(Params):
    """How many numbers each side has."""

    data_num: int = Field(default=1000, ge=1, le=MAX_NUMBERS)
    partition: int = Field(default=4, ge=1, le=1 << 16)
    """FATE's split of the work; without effect here."""


class SecureSumState(State):
    """The result, at the guest; the host has none."""

    total: float | None = None


class GuestShare(Message, sender=GUEST, receiver=HOST):
    """One random part of the guest's numbers."""

    x2: Words


class HostShare(Message, sender=HOST, receiver=GUEST):
    """One random part of the host's numbers."""

    y1: Words


class HostSum(Message, sender=HOST, receiver=GUEST):
    """The ring sum of the two parts that the host holds."""

    total: Words


async def guest(party: Party, _params: SecureSumParams, x: NDArray[np.float64]) -> SecureSumState:
    """Share, add what came back, and open the sum."""
    party.report.info("begin to init parameters of secure add example guest")
    party.report.info("begin to make guest data")
    party.report.info("split data into two random parts")
    x1, x2 = split(RING.encode(x), party.rng("shares"))
    party.report.info("share one random part data to host")
    await party.send(GuestShare(x2=x2))
    y1 = _checked((await party.recv(HostShare)).y1, x1.shape)
    party.report.info("get share of one random part data from host")
    party.report.info("begin to get sum of guest and host")
    guest_sum = ring_sum(x1, y1)
    host_sum = _checked((await party.recv(HostSum)).total, (1,))
    party.report.info("receive host sum from guest")
    total = float(RING.decode(guest_sum + host_sum)[0])
    party.report.info(f"success to calculate secure_sum, it is {total}")
    return SecureSumState(finished=True, total=total)


async def host(party: Party, _params: SecureSumParams, y: NDArray[np.float64]) -> SecureSumState:
    """Share, add what came, and hand the partial sum to the guest."""
    party.report.info("begin to init parameters of secure add example host")
    y1, y2 = split(RING.encode(y), party.rng("shares"))
    x2 = _checked((await party.recv(GuestShare)).x2, y2.shape)
    party.report.info("share one random part data to guest")
    await party.send(HostShare(y1=y1))
    await party.send(HostSum(total=ring_sum(x2, y2)))
    party.report.info("send host sum to guest")
    return SecureSumState(finished=True)


def _checked(shares: Shares, shape: tuple[int, ...]) -> Shares:
    """Return ``shares``; raises BadValue when there are not as many as this party's own."""
    if shares.shape != shape:
        raise BadValue(f"the peer's shares have the shape {shares.shape}, not {shape}; give both sides equal data_num")
    return shares


def ring_sum(a: Shares, b: Shares) -> Shares:
    """Return sum(a + b) modulo 2**64 as an array of one word."""
    with np.errstate(over="ignore"):
        return np.array([a.sum(dtype=np.uint64) + b.sum(dtype=np.uint64)], dtype=np.uint64)


secure_sum = Algorithm(
    name="secure_sum",
    version="1",
    params=SecureSumParams,
    programs={GUEST: Program(SecureSumState, guest), HOST: Program(SecureSumState, host)},
    messages=(GuestShare, HostShare, HostSum),
    disclosures=(
        Disclosure(HOST, "nothing: one of two random shares of the guest's numbers", GuestShare),
        Disclosure(GUEST, "nothing: one of two random shares of the host's numbers", HostShare),
        Disclosure(GUEST, "the sum of all numbers, and so the sum of the host's numbers", HostSum),
    ),
)
