"""The smallest algorithm under secure aggregation: the sum of a few vectors, round by round."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.protocols import aggregation
from partyd.protocols.aggregation import MEMBERS, Membership, Opened, Tally
from partyd.protocols.secure_aggregation import Ring
from partyd.types import ARBITER, GUEST, HOST
from partyd.wire.arrays import Words

ROUNDS = 3
ODD_SUBJECT, ODD_LENGTH = 666, 777
"""Data of a party that would add up something else, or something longer."""


class SumParams(Params):
    """How long the arbiter waits, and how many must answer."""

    patience_s: float | None = None
    threshold: int | None = None
    words: int = 2


@dataclass(frozen=True)
class OddRules:
    """Data of a party that was given parameters of its own."""

    data: int
    params: SumParams


class Total(Message, sender=ARBITER, receiver=MEMBERS):
    """The sum of a round, and who is in it."""

    total: Words
    names: list[str]


class Summand(State):
    membership: Membership
    opening: bool = False
    totals: list[bytes] = Field(default_factory=list)
    """Of each round's sum the digest."""


class Summing(State):
    tally: Tally
    collected: bool = False
    total: Words = Field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    names: list[str] = Field(default_factory=list)


def of_round(data: int, round_: int, words: int = 2) -> Ring:
    """Return a party's vector; vectors of parties and rounds are told apart in any sum of them."""
    pair = np.array([data * 1000**round_, 2**64 - data], dtype=np.uint64)
    return np.tile(pair, -(-words // 2))[:words]


def digest(vector: Ring) -> bytes:
    """Return what a member keeps of a sum."""
    return hashlib.sha256(vector.tobytes()).digest()


async def start_member(party: Party, params: SumParams, data: int | OddRules) -> Summand:
    number, rules = (data.data, data.params) if isinstance(data, OddRules) else (data, params)
    setting = aggregation.setting_of(party, rules.threshold)
    subject, words = b"odd" if number == ODD_SUBJECT else b"sums", rules.words + (number == ODD_LENGTH)
    return Summand(membership=await aggregation.join(party, setting, subject, words, rules.patience_s))


async def start_arbiter(party: Party, params: SumParams, _data: object) -> Summing:
    return Summing(
        tally=await aggregation.enrol(party, aggregation.setting_of(party, params.threshold), params.patience_s)
    )


async def member(party: Party, params: SumParams, data: int, state: Summand) -> Summand:
    setting = aggregation.setting_of(party, params.threshold)
    if not state.opening:
        totals = state.totals
        if state.membership.round:
            totals = [*totals, digest((await party.recv(Total)).total)]
            if state.membership.round == ROUNDS:
                return state.model_copy(update={"totals": totals, "finished": True})
        heard = await aggregation.hear(party, setting, state.membership)
        if heard.takes_part(party):
            await aggregation.hand_in(party, setting, heard, of_round(data, heard.round, params.words))
        state = Summand(membership=heard, opening=True, totals=totals)
        if params.patience_s is not None:
            return state
    following = await aggregation.open_round(party, setting, state.membership, params.patience_s)
    return Summand(membership=following, totals=state.totals)


async def arbiter(party: Party, params: SumParams, _data: object, state: Summing) -> Summing:
    setting = aggregation.setting_of(party, params.threshold)
    if not state.collected:
        if state.tally.round:
            await party.send(Total(total=state.total, names=state.names))
            if state.tally.round == ROUNDS:
                return state.model_copy(update={"finished": True})
        await aggregation.announce(party, state.tally)
        state = Summing(tally=await aggregation.collect(party, setting, state.tally, params.patience_s), collected=True)
        if params.patience_s is not None:
            return state
    total, tally = await aggregation.reveal(party, setting, state.tally, params.patience_s)
    return Summing(tally=tally, total=total, names=state.tally.survivors)


sums = Algorithm(
    name="sums",
    version="1",
    params=SumParams,
    programs={
        GUEST: Program(Summand, start_member, member),
        HOST: Program(Summand, start_member, member),
        ARBITER: Program(Summing, start_arbiter, arbiter),
    },
    messages=(*aggregation.MESSAGES, Total),
    disclosures=(
        *aggregation.DISCLOSURES,
        Disclosure(ARBITER, "the sum", Opened),
        Disclosure(GUEST, "the sum", Total),
        Disclosure(HOST, "the sum", Total),
    ),
)
