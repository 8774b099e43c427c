"""Let hosts repeat their rows as often as the guest has rows of the same match id.

A guest may keep several samples of one person: rows that share a match id. The intersection (`partyd.algorithms.psi`)
finds each id once; afterwards the guest says how many rows of its own stand behind each common id, and every host
repeats its row as often, so that all tables are aligned row by row.

=======  ===========  ==========================================================================================
message  from, to     what the receiver learns
=======  ===========  ==========================================================================================
Repeats  guest, host  how many rows the guest has of each common id (nothing when it has one of each)
=======  ===========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Ints

MOST_REPEATS = 1 << 16
MOST_ROWS = 1 << 28


class RowRepeatsParams(Params):
    """None."""


@dataclass(frozen=True)
class Common:
    """How many ids are common, and at the guest how many rows stand behind each."""

    ids: int
    counts: NDArray[np.int64] | None = None


class Repeats(Message, sender=GUEST, receiver=HOST):
    """How often each row of the intersection is repeated; empty where none is."""

    counts: Ints


class Repeated(State):
    """How often each row of the intersection is repeated."""

    counts: Ints


async def guest(party: Party, _params: RowRepeatsParams, data: Common) -> Repeated:
    """Tell the hosts."""
    assert data.counts is not None
    told = data.counts if bool(np.any(data.counts != 1)) else np.zeros(0, np.int64)
    await party.send(Repeats(counts=told))
    return Repeated(finished=True, counts=data.counts)


async def host(party: Party, _params: RowRepeatsParams, data: Common) -> Repeated:
    """Take what the guest says."""
    counts = (await party.recv(Repeats)).counts
    if counts.shape == (0,):
        counts = np.ones(data.ids, np.int64)
    fits = counts.shape == (data.ids,) and bool(np.all((counts >= 1) & (counts <= MOST_REPEATS)))
    if not fits or int(counts.sum()) > MOST_ROWS:
        raise BadValue(
            f"the guest repeats rows otherwise than 1 to {MOST_REPEATS} times for each of {data.ids}; refuse it"
        )
    return Repeated(finished=True, counts=counts)


row_repeats = Algorithm(
    name="row_repeats",
    version="1",
    params=RowRepeatsParams,
    programs={GUEST: Program(Repeated, guest), HOST: Program(Repeated, host)},
    messages=(Repeats,),
    disclosures=(
        Disclosure(
            HOST,
            "how many rows the guest has of each common id, when its table has a match id that several rows share",
            Repeats,
        ),
    ),
)
