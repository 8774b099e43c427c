"""Private set intersection by commutative blinding on an elliptic curve: parties find the ids that all of them have.

Meadows 1986; Huberman, Franklin and Hogg, "Enhancing privacy and trust in electronic communities", EC 1999, section 3;
on Curve25519 (`partyd.crypto.blinding`). With H a hash onto the curve, a and b the guest's and a host's secret scalars,
new in every attempt: b (a H(x)) = a (b H(y)) exactly when x = y. Both sides send their blinded points in a random
order, so that a position says nothing about a row.

===========  ===========  =========================================================================================
message      from, to     what the receiver learns
===========  ===========  =========================================================================================
HostSize     host, guest  how many distinct ids the host has
Plan         guest, host  how many distinct ids the guest has
GuestPoints  guest, host  a H(x), shuffled: nothing (decisional Diffie-Hellman)
HostPoints   host, guest  b H(y), shuffled: with a, which of its own ids this host has
Reblinded    host, guest  b a H(x), in the order of GuestPoints: the other half of the same
CommonRows   guest, host  which of its own ids are common to *all* parties
===========  ===========  =========================================================================================

Round 0 exchanges the sizes, rounds 1 to R a chunk of points each, the last round the result. The common rows are put in
the order of their ids, which every party knows already: it tells nothing more, and is the same in every attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgpack
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.parameters import FateParams
from partyd.crypto import blinding
from partyd.crypto.prg import SEED_BYTES, Prg
from partyd.errors import BadValue, CryptoError, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.engine import Engine
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Ints
from partyd.wire.codec import Secret

Ids = NDArray[np.bytes_]
Rows = NDArray[np.int64]
DOMAIN = b"partyd psi 1"
TAG_BYTES = 16
"""What is kept of a doubly blinded point: 128 bits, so that a million ids collide with probability 2^-88."""
MAX_IDS = 1 << 28
SCALAR_BYTES = 32
MANY = 20_000
"""From so many ids of a chunk on, processes pay."""
PART_ROWS = 1 << 12


class PsiParams(FateParams):
    """FATE 2.2's parameters; ``chunk_rows`` points are sent, and at most so many are computed again after a crash."""

    protocol: Literal["ecdh_psi"] = "ecdh_psi"
    curve_type: Literal["curve25519"] = "curve25519"
    chunk_rows: int = Field(default=1 << 15, ge=1, le=1 << 20)


class HostSize(Message, sender=HOST, receiver=GUEST):
    """How many distinct ids the host has."""

    count: int


class Plan(Message, sender=GUEST, receiver=HOST):
    """How many distinct ids the guest has, and how many rounds of chunks all take part in."""

    count: int
    rounds: int


class GuestPoints(Message, sender=GUEST, receiver=HOST):
    """A chunk of a H(x)."""

    points: bytes


class HostPoints(Message, sender=HOST, receiver=GUEST):
    """A chunk of b H(y)."""

    points: bytes


class Reblinded(Message, sender=HOST, receiver=GUEST):
    """b a H(x) for the guest's chunk of this round, in its order."""

    points: bytes


class CommonRows(Message, sender=GUEST, receiver=HOST):
    """Where the common ids stand in the order in which the host sent its points; in the common order."""

    positions: Ints


class Found(State):
    """Where a party stands; ``rows`` is the result, indices into its ids in the common order."""

    seed: Secret
    rounds: int = -1
    taken: int = 0
    guest_count: int = 0
    host_counts: dict[str, int] = Field(default_factory=dict)
    own: dict[str, bytes] = Field(default_factory=dict)
    theirs: dict[str, bytes] = Field(default_factory=dict)
    rows: Ints | None = None

    def order(self, count: int) -> Rows:
        """Return the random order in which this party sends its points."""
        return Prg(self.seed.to_bytes(), "order").permutation(count)

    def scalar(self) -> bytes:
        """Return this party's secret scalar."""
        return blinding.random_scalar(Prg(self.seed.to_bytes(), "scalar"))

    def evolve(self, **changes: object) -> Found:
        """Return this state with other values in some fields."""
        return self.model_copy(update=changes)


async def start(party: Party, _params: PsiParams, ids: Ids) -> Found:
    """Draw the seed of scalar and order."""
    if len(np.unique(ids)) != len(ids):
        raise DataError("an id occurs twice; keep one row of each before the intersection")
    return Found(seed=Secret(party.rng("seed").take(SEED_BYTES)))


async def guest(party: Party, params: PsiParams, ids: Ids, state: Found) -> Found:
    """Agree on the rounds, exchange a chunk with every host, or conclude."""
    if state.rounds < 0:
        counts = {str(host): m.count for host, m in (await party.gather(HostSize)).items()}
        if not all(0 <= count <= MAX_IDS for count in counts.values()):
            raise BadValue(f"a host says that it has {max(counts.values())} ids; at most {MAX_IDS} are compared")
        rounds = chunk_count(max(len(ids), *counts.values()), params.chunk_rows)
        await party.send(Plan(count=len(ids), rounds=rounds))
        empty = dict.fromkeys(counts, b"")
        return state.evolve(rounds=rounds, host_counts=counts, own=empty, theirs=empty)
    if state.taken == state.rounds:
        return await _conclude(party, ids, state)
    mine = state.order(len(ids))[chunk(state.taken, params)]
    if len(mine):
        await party.send(GuestPoints(points=await blind(party.engine, ids[mine].tolist(), state.scalar())))
    own, theirs = dict(state.own), dict(state.theirs)
    for host in party.peers(HOST):
        expected = len(range(state.host_counts[str(host)])[chunk(state.taken, params)])
        if expected:
            points = (await party.recv(HostPoints, host)).points
            theirs[str(host)] += tags(await reblind(party.engine, points, state.scalar(), expected))
        if len(mine):
            own[str(host)] += tags(_checked((await party.recv(Reblinded, host)).points, len(mine)))
    party.report.progress(state.taken + 1, state.rounds, "comparing blinded ids")
    return state.evolve(own=own, theirs=theirs, taken=state.taken + 1)


async def host(party: Party, params: PsiParams, ids: Ids, state: Found) -> Found:
    """Agree on the rounds, exchange a chunk with the guest, or take the result."""
    if state.rounds < 0:
        await party.send(HostSize(count=len(ids)))
        plan = await party.recv(Plan)
        least, most = (chunk_count(n, params.chunk_rows) for n in (max(plan.count, len(ids)), MAX_IDS))
        if not 0 <= plan.count <= MAX_IDS or not least <= plan.rounds <= most:
            raise BadValue(f"the guest plans {plan.rounds} rounds for {plan.count} ids of its own; check its version")
        return state.evolve(rounds=plan.rounds, guest_count=plan.count)
    order = state.order(len(ids))
    if state.taken == state.rounds:
        positions = (await party.recv(CommonRows)).positions
        insist_on_positions(positions, len(ids))
        return state.evolve(finished=True, rows=order[positions])
    mine = order[chunk(state.taken, params)]
    if len(mine):
        await party.send(HostPoints(points=await blind(party.engine, ids[mine].tolist(), state.scalar())))
    expected = len(range(state.guest_count)[chunk(state.taken, params)])
    if expected:
        points = (await party.recv(GuestPoints)).points
        await party.send(Reblinded(points=await reblind(party.engine, points, state.scalar(), expected)))
    party.report.progress(state.taken + 1, state.rounds, "comparing blinded ids")
    return state.evolve(taken=state.taken + 1)


async def _conclude(party: Party, ids: Ids, state: Found) -> Found:
    """Find the ids that every host has, and tell each host its own positions of them."""
    hosts = party.peers(HOST)
    found = {host: matches(state.own[str(host)], state.theirs[str(host)]) for host in hosts}
    common = np.flatnonzero(np.all([positions >= 0 for positions in found.values()], axis=0))
    rows = state.order(len(ids))[common]
    by_id = np.argsort(ids[rows], kind="stable")
    for host in hosts:
        await party.send(CommonRows(positions=found[host][common][by_id]), to=host)
    return state.evolve(finished=True, rows=rows[by_id], own={}, theirs={})


async def blind(engine: Engine, ids: Sequence[bytes], scalar: bytes) -> bytes:
    """Return the blinded element of each id, in order; many are computed on all cores."""
    if len(ids) < MANY:
        return blinding.blind(ids, scalar, DOMAIN)
    parts = (ids[at : at + PART_ROWS] for at in range(0, len(ids), PART_ROWS))
    return b"".join(await engine.map(blind_part, [msgpack.packb([scalar, *part]) for part in parts]))


async def reblind(engine: Engine, points: bytes, scalar: bytes, count: int) -> bytes:
    """Return a peer's ``count`` elements multiplied by ``scalar``; raises CryptoError or TaskFailed for bad ones."""
    if count < MANY:
        return blinding.reblind(points, scalar, count)
    width = blinding.ELEMENT_BYTES
    if len(points) != count * width or len({points[at : at + width] for at in range(0, len(points), width)}) != count:
        raise CryptoError(f"these are not {count} distinct elements of {width} bytes; refuse the sender's message")
    parts = (points[at : at + PART_ROWS * width] for at in range(0, len(points), PART_ROWS * width))
    return b"".join(await engine.map(reblind_part, [scalar + part for part in parts]))


def blind_part(partition: bytes) -> bytes:
    """Blind a partition: a list of the scalar and the ids."""
    scalar, *ids = msgpack.unpackb(partition)
    return blinding.blind(ids, scalar, DOMAIN)


def reblind_part(partition: bytes) -> bytes:
    """Multiply a partition: the scalar, then the elements."""
    return blinding.reblind(partition[SCALAR_BYTES:], partition[:SCALAR_BYTES])


def chunk_count(count: int, chunk_rows: int) -> int:
    """Return how many chunks hold ``count`` points."""
    return -(-count // chunk_rows)


def chunk(taken: int, params: PsiParams) -> slice:
    """Return the positions of the chunk after ``taken`` others."""
    return slice(taken * params.chunk_rows, (taken + 1) * params.chunk_rows)


def tags(points: bytes) -> bytes:
    """Return the first bytes of each point, which are as random as the rest."""
    width = blinding.ELEMENT_BYTES
    return np.frombuffer(points, np.uint8).reshape(-1, width)[:, :TAG_BYTES].tobytes()


def matches(own: bytes, theirs: bytes) -> Rows:
    """Return for each own tag the position of the equal one among theirs, -1 where there is none."""
    position = {theirs[i : i + TAG_BYTES]: i // TAG_BYTES for i in range(0, len(theirs), TAG_BYTES)}
    each = [own[i : i + TAG_BYTES] for i in range(0, len(own), TAG_BYTES)]
    if len(position) != len(theirs) // TAG_BYTES or len(set(each)) != len(each):
        raise BadValue("a host sent the same point in two chunks; refuse its result")
    return np.array([position.get(tag, -1) for tag in each], dtype=np.int64)


def insist_on_positions(positions: Rows, count: int) -> None:
    """Raise BadValue unless ``positions`` are distinct and within the host's ids."""
    inside = positions.ndim == 1 and bool(np.all((positions >= 0) & (positions < count)))
    if not inside or len(np.unique(positions)) != len(positions):
        raise BadValue("the guest named rows that this party has not, or one twice; refuse its result")


def _checked(points: bytes, count: int) -> bytes:
    blinding.check_elements(points, count)
    return points


def unique_ids(ids: Ids) -> Rows:
    """Return the rows on which each id occurs first, in the order of rows."""
    return np.sort(np.unique(ids, return_index=True)[1]).astype(np.int64)


psi = Algorithm(
    name="psi",
    version="1",
    params=PsiParams,
    programs={GUEST: Program(Found, start, guest), HOST: Program(Found, start, host)},
    messages=(HostSize, Plan, GuestPoints, HostPoints, Reblinded, CommonRows),
    disclosures=(
        Disclosure(GUEST, "how many distinct ids each host has", HostSize),
        Disclosure(HOST, "how many distinct ids the guest has, and the size of the largest set in chunks", Plan),
        Disclosure(HOST, "nothing: the guest's ids as points under the guest's secret scalar, shuffled", GuestPoints),
        Disclosure(
            GUEST,
            "which of its own ids each host has (with several hosts: of each host apart, beyond the common result)",
            HostPoints,
        ),
        Disclosure(GUEST, "the other half of the comparison with each host: nothing beyond it", Reblinded),
        Disclosure(HOST, "which of its own ids all parties have", CommonRows),
    ),
    coalitions=(
        "Several hosts together learn no more than each of them: all get the same ids. The guest could name fewer rows "
        "than there are, and a party that puts in ids it does not have learns whether the others have them: sizes are "
        "shown to all for that reason."
    ),
)
