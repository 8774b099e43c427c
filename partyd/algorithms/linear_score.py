"""Score rows with a vertical linear model: the guest learns the sum of the parties' scores, hosts learn nothing.

Hosts put their scores X_h w_h into the ring of integers modulo 2^64 (`partyd.crypto.sharing`). With two or more hosts
each pair agrees on a seed; one adds the seed's stream and the other subtracts it, so that the streams vanish from the
sum of all hosts and nothing less than that sum can be read (Bonawitz et al., "Practical secure aggregation", CCS 2017,
section 4).

=========  ===========  ===========================================================================================
message    from, to     what the receiver learns
=========  ===========  ===========================================================================================
PairSeed   host, host   a random seed: nothing
HostScore  host, guest  with one host: its scores X_h w_h; with several: only the sum of all hosts' scores
=========  ===========  ===========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.linear_model import insist_on_finite, linear
from partyd.crypto.prg import SEED_BYTES, Prg
from partyd.crypto.sharing import FixedPoint, join
from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Floats, Words

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Ring = NDArray[np.uint64]
SCORES = FixedPoint(bits=32, terms=256)
"""Scores below 2^23 in magnitude, to 2^-33, from at most 256 hosts."""


class LinearScoreParams(Params):
    """None."""


@dataclass(frozen=True)
class Scored:
    """One party's rows and weights; the guest's intercept is already a column."""

    x: Matrix
    w: Vector


class Scores(State):
    """The rows' scores, at the guest."""

    z: Floats | None = None


class PairSeed(Message, sender=HOST, receiver=HOST):
    """What two hosts hide their scores with."""

    seed: bytes


class HostScore(Message, sender=HOST, receiver=GUEST):
    """One host's scores, behind the streams it shares with the other hosts."""

    z: Words


async def guest(party: Party, _params: LinearScoreParams, data: Scored) -> Scores:
    """Add what the hosts send to the guest's own scores."""
    insist_on_finite(data.x)
    parts = [message.z for message in (await party.gather(HostScore)).values()]
    if any(part.shape != (len(data.x),) for part in parts):
        raise BadValue(
            f"a host scored another number of rows than the guest's {len(data.x)}; align them with psi first"
        )
    return Scores(finished=True, z=linear(data.x, data.w) + SCORES.decode(join(*parts)))


async def host(party: Party, _params: LinearScoreParams, data: Scored) -> Scores:
    """Send the own scores, hidden from all but the sum."""
    insist_on_finite(data.x)
    z = SCORES.encode(linear(data.x, data.w))
    others = party.peers(HOST)
    seeds = {peer: party.rng(f"pair {peer}").take(SEED_BYTES) for peer in others if _leads(party.me, peer)}
    for peer, seed in seeds.items():
        await party.send(PairSeed(seed=seed), to=peer)
    for peer in others:
        leads = peer in seeds
        seed = seeds[peer] if leads else (await party.recv(PairSeed, peer)).seed
        stream = Prg(seed, "scores").uint64(len(z))
        z = z + stream if leads else z - stream
    await party.send(HostScore(z=z))
    return Scores(finished=True)


def _leads(one: Address, other: Address) -> bool:
    """Whether ``one`` draws the seed of the pair."""
    return str(one) < str(other)


linear_score = Algorithm(
    name="linear_score",
    version="1",
    params=LinearScoreParams,
    programs={GUEST: Program(Scores, guest), HOST: Program(Scores, host)},
    messages=(PairSeed, HostScore),
    disclosures=(
        Disclosure(HOST, "nothing: a random seed shared with another host", PairSeed),
        Disclosure(
            GUEST, "the sum of the hosts' scores of every row; with a single host, that host's scores", HostScore
        ),
    ),
    coalitions=(
        "The guest together with all hosts but one learns that one's scores. Scores of as many rows as that host has "
        "features give its weights to whoever knows the rows' features."
    ),
)
