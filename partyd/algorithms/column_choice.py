"""The guest chooses which of the hosts' columns stay, by what it knows of them: a filter of a feature selection.

Each host names the columns that are still in question, by the names that peers know, and the guest answers which of
them stay. What the guest decides by (information values, correlations) it learned in earlier tasks; its own choice of
its own columns is part of the same decision and stays with it.

=============  ===========  ============================================================
message        from, to     what the receiver learns
=============  ===========  ============================================================
Candidates     host, guest  which of the host's columns earlier filters have left over
ChosenColumns  guest, host  which of its columns the guest's filter leaves over
=============  ===========  ============================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from partyd.algorithms.parameters import FateParams
from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Octets

MOST_COLUMNS = 100_000
Choose = Callable[[Mapping[str, Sequence[str]]], Mapping[str, Sequence[bool]]]
"""From each host's columns, by its address, whether each of them stays."""


class ColumnChoiceParams(FateParams):
    """There are none: the filter's are the guest's own."""


@dataclass(frozen=True)
class Chooser:
    """The guest's filter."""

    choose: Choose


@dataclass(frozen=True)
class Offered:
    """A host's columns that are in question, by the names that peers know."""

    names: tuple[str, ...]


class Candidates(Message, sender=HOST, receiver=GUEST):
    """The host's columns that are in question."""

    names: list[str]


class ChosenColumns(Message, sender=GUEST, receiver=HOST):
    """A 1 for each of them that stays."""

    stays: Octets


class GuestChoice(State):
    """What was in question at each host, by address, and what stays."""

    candidates: dict[str, list[str]] = Field(default_factory=dict)
    stays: dict[str, list[bool]] = Field(default_factory=dict)


class HostChoice(State):
    """Whether each column stays."""

    stays: list[bool]


async def guest(party: Party, _params: ColumnChoiceParams, data: Chooser) -> GuestChoice:
    """Hear what is in question, decide, and tell each host about its own columns."""
    candidates = {}
    for peer, message in (await party.gather(Candidates)).items():
        if len(message.names) > MOST_COLUMNS or len(set(message.names)) != len(message.names):
            raise BadValue(f"{peer} offers {len(message.names)} columns, or one twice; check its version")
        candidates[str(peer)] = message.names
    chosen = {peer: list(stays) for peer, stays in data.choose(candidates).items()}
    for peer in party.peers(HOST):
        await party.send(ChosenColumns(stays=np.array(chosen[str(peer)], dtype=np.uint8)), to=peer)
    return GuestChoice(finished=True, candidates=candidates, stays=chosen)


async def host(party: Party, _params: ColumnChoiceParams, data: Offered) -> HostChoice:
    """Say what is in question and hear what stays."""
    await party.send(Candidates(names=list(data.names)))
    stays = (await party.recv(ChosenColumns)).stays
    if stays.shape != (len(data.names),) or bool(np.any(stays > 1)):
        raise BadValue(f"the guest chose among {stays.size} columns where {len(data.names)} were offered; check it")
    return HostChoice(finished=True, stays=(stays == 1).tolist())


column_choice = Algorithm(
    name="column_choice",
    version="1",
    params=ColumnChoiceParams,
    programs={GUEST: Program(GuestChoice, guest), HOST: Program(HostChoice, host)},
    messages=(Candidates, ChosenColumns),
    disclosures=(
        Disclosure(
            GUEST,
            "the anonymous names of the host's columns that the filters before this one have left over",
            Candidates,
        ),
        Disclosure(
            HOST,
            "which of its columns the guest's filter leaves over: with the job's thresholds, on which side of them the "
            "information value of each lies, or which of them resemble columns that are kept",
            ChosenColumns,
        ),
    ),
)
