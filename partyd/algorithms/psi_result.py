"""The end of an intersection, the same for every protocol: the guest has compared, and tells each host its part.

Positions of a host's ids are those in the random order in which it sent them, so what the guest knows of them is
nothing. Sets of positions travel as bitmaps: they can name nothing twice and nothing that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.psi_files import Compared, Positions, Where
from partyd.algorithms.psi_parameters import PsiParams
from partyd.crypto.prg import SEED_BYTES, Prg
from partyd.errors import BadValue
from partyd.federation.algorithm import Disclosure, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Ints
from partyd.wire.codec import Secret

Marks = NDArray[np.bool_]
MAX_IDS = 1 << 28


class HostSize(Message, sender=HOST, receiver=GUEST):
    """How many distinct ids the host has."""

    count: int


class Plan(Message, sender=GUEST, receiver=HOST):
    """How many distinct ids the guest has, and how many chunks the largest set of all takes."""

    count: int
    rounds: int


class CommonRows(Message, sender=GUEST, receiver=HOST):
    """Which of the host's ids are common, as bits in the order in which the host sent them."""

    bits: bytes


class Placed(Message, sender=GUEST, receiver=HOST):
    """Which id of the host stands beside each id of the guest, in the orders in which both were sent; -1 for none."""

    positions: Ints


class Cardinality(Message, sender=GUEST, receiver=HOST):
    """How many ids all parties have."""

    count: int


class Found(State):
    """Where a party stands in an intersection, and at last what it was told.

    ``common`` are bits over this party's distinct ids. ``placed`` is what a left join gives instead: for each row of
    the guest's, in one random order, the position of this party's id, -1 where it has none. ``count`` is how many ids
    are common, -1 where this party is not told.
    """

    seed: Secret
    rounds: int = -1
    taken: int = 0
    guest_count: int = 0
    host_counts: dict[str, int] = Field(default_factory=dict)
    pending: dict[str, bytes] = Field(default_factory=dict)
    veil: Secret | None = None
    common: bytes | None = None
    placed: Ints | None = None
    count: int = -1

    def prg(self, label: str) -> Prg:
        """Return the attempt's stream of random bytes for one purpose."""
        return Prg(self.seed.to_bytes(), label)

    def order(self, data: Compared) -> Where:
        """Return the random order in which this party sends its ids."""
        return data.order(lambda: self.prg("order"), "order", len(data))

    def next(self, **changes: object) -> Found:
        """Return this state one round later, with other values in some fields."""
        return self.model_copy(update={"taken": self.taken + 1, **changes})

    def positions(self, data: Compared) -> Positions:
        """Return which of its distinct ids this party was told to be common, in the order of the ids."""
        if self.common is None:
            return np.zeros(0, np.int64)
        return data.in_order_of_ids(np.flatnonzero(unpack(self.common, len(data))).astype(np.int64))


DISCLOSED = (
    Disclosure(GUEST, "how many distinct ids each host has", HostSize),
    Disclosure(HOST, "how many distinct ids the guest has, and the size of the largest set in chunks", Plan),
    Disclosure(HOST, "which of its own ids all parties have", CommonRows),
    Disclosure(
        HOST,
        "with join_method left_join, instead of the ids that all have: which of its own ids the guest has",
        Placed,
    ),
    Disclosure(HOST, "with cardinality_only and sync_cardinality: how many ids all parties have", Cardinality),
)
"""Who learns what from the messages of this file, where they are sent: the parameters may keep them back."""
ENDINGS: tuple[type[Message], ...] = (CommonRows, Placed, Cardinality)


async def start(party: Party, _params: PsiParams, _data: Compared) -> Found:
    """Draw the seed of everything that is random at this party."""
    return Found(seed=Secret(party.rng("seed").take(SEED_BYTES)))


async def plan_as_guest(party: Party, params: PsiParams, data: Compared, counts: Mapping[Address, int]) -> int:
    """Tell the hosts how many rounds of chunks there are, and return it; raises BadValue for an impossible count."""
    if not all(0 <= count <= MAX_IDS for count in counts.values()):
        raise BadValue(f"a host says that it has {max(counts.values())} ids; 0 to {MAX_IDS} are compared")
    rounds = chunk_count(max(len(data), *counts.values()), params.chunk_rows)
    await party.send(Plan(count=len(data), rounds=rounds))
    return rounds


async def plan_as_host(party: Party, params: PsiParams, data: Compared) -> Plan:
    """Return the guest's plan; raises BadValue for one that cannot be."""
    plan = await party.recv(Plan)
    least, most = (chunk_count(n, params.chunk_rows) for n in (max(plan.count, len(data)), MAX_IDS))
    if not 0 <= plan.count <= MAX_IDS or not least <= plan.rounds <= most:
        raise BadValue(
            f"the guest plans {plan.rounds} rounds for {plan.count} ids of its own; give chunk_rows the same value at "
            "every party"
        )
    return plan


async def tell_hosts(party: Party, params: PsiParams, state: Found, places: Mapping[Address, Where]) -> Marks:
    """Tell each host what it is to learn, and return which of the guest's compared places are common to all."""
    common = shared(list(places.values()))
    for host, found in places.items():
        if params.is_left_join:
            await party.send(Placed(positions=found.astype(np.int64)), to=host)
        elif params.hosts_learn_rows:
            marks = np.zeros(state.host_counts[str(host)], np.bool_)
            marks[found[common]] = True
            await party.send(CommonRows(bits=pack(marks)), to=host)
        elif params.sync_cardinality:
            await party.send(Cardinality(count=int(common.sum())), to=host)
    return common


async def told_by_guest(party: Party, params: PsiParams, data: Compared, state: Found) -> Found:
    """Return the last state of a host, with what the guest tells it."""
    order = state.order(data)
    if params.is_left_join:
        placed = placed_rows((await party.recv(Placed)).positions, state.guest_count, order)
        return state.next(finished=True, pending={}, placed=placed, count=int(np.sum(placed >= 0)))
    if params.hosts_learn_rows:
        marks = unpack((await party.recv(CommonRows)).bits, len(data))
        insist_on_count(int(marks.sum()), state, data)
        return state.next(finished=True, pending={}, common=reordered(marks, order), count=int(marks.sum()))
    count = -1
    if params.sync_cardinality:
        count = (await party.recv(Cardinality)).count
        insist_on_count(count, state, data)
    return state.next(finished=True, pending={}, count=count)


def shared(places: Sequence[Where]) -> Marks:
    """Return which of the guest's ids every host has."""
    common = np.ones(len(places[0]), np.bool_)
    for found in places:
        common &= found >= 0
    return common


def placed_rows(positions: Positions, guest_count: int, order: Where) -> Positions:
    """Return a host's ids by the guest's rows; raises BadValue for positions that are not there or stand twice."""
    is_shaped = positions.shape == (guest_count,) and bool(np.all((positions >= -1) & (positions < len(order))))
    named = positions[positions >= 0] if is_shaped else positions
    if not is_shaped or len(np.unique(named)) != len(named):
        raise BadValue("the guest placed rows that this party has not, or one twice; refuse its result")
    placed = np.full(guest_count, -1, np.int64)
    placed[positions >= 0] = order[named]
    return placed


def insist_on_count(count: int, state: Found, data: Compared) -> None:
    """Raise BadValue when the guest says that more ids are common than it or this party has."""
    if not 0 <= count <= min(state.guest_count, len(data)):
        raise BadValue(f"the guest says that {count} ids are common, which is more than a party has; refuse its result")


def reordered(marks: Marks, order: Where) -> bytes:
    """Return as bits over ids the marks that stand in the order of sending."""
    moved = np.zeros(len(marks), np.bool_)
    moved[order[np.flatnonzero(marks)]] = True
    return pack(moved)


def pack(marks: Marks) -> bytes:
    """Return marks as bits."""
    return np.packbits(marks).tobytes()


def unpack(bits: bytes, count: int) -> Marks:
    """Return ``count`` marks; raises BadValue unless ``bits`` are just as many."""
    if len(bits) != -(-count // 8):
        raise BadValue(f"{len(bits)} bytes are not the marks of {count} ids; refuse the sender's result")
    marks = np.unpackbits(np.frombuffer(bits, np.uint8))
    if np.any(marks[count:]):
        raise BadValue(f"a mark beyond the last of {count} ids; refuse the sender's result")
    return marks[:count].astype(np.bool_)


def chunk_count(count: int, chunk_rows: int) -> int:
    """Return how many chunks hold ``count`` ids."""
    return -(-count // chunk_rows)


def chunk(number: int, rows: int) -> slice:
    """Return the positions of a chunk of ``rows``, counted from 0; none before the first."""
    return slice(max(number, 0) * rows, max(number + 1, 0) * rows)


def expected(count: int, number: int, rows: int) -> int:
    """Return how many of ``count`` ids are in a chunk."""
    return len(range(count)[chunk(number, rows)])
