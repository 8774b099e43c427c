"""Private set intersection by commutative blinding on an elliptic curve: parties find the ids that all of them have.

Meadows 1986; Huberman, Franklin and Hogg, "Enhancing privacy and trust in electronic communities", EC 1999, section 3;
on Curve25519 (`partyd.crypto.blinding`). With H a hash onto the curve, a and b the guest's and a host's secret scalars,
new in every attempt: b (a H(x)) = a (b H(y)) exactly when x = y. Both sides send their blinded points in a random
order, so that a position says nothing about a row. What is compared is 16 bytes of each doubly blinded point.

A host may return the guest's points in *another* order, which the guest does not know: then the guest can count, but
not tell which of its ids a host has (De Cristofaro, Gasti and Tsudik, "Fast and private computation of cardinality of
set intersection and union", CANS 2012). That is done where the guest must not learn that: for a number only
(``cardinality_only``), for a result that goes to the host alone, and with several hosts, which share the order, so that
the guest finds the places that *all* hosts have, and one host puts just those back into the guest's order.

===========  ===========  =========================================================================================
message      from, to     what the receiver learns
===========  ===========  =========================================================================================
HostSize     host, guest  how many distinct ids the host has
Plan         guest, host  how many distinct ids the guest has
VeilSeed     host, host   the seed of the order in which hosts return points: nothing
GuestPoints  guest, host  a H(x), shuffled: nothing (decisional Diffie-Hellman)
HostPoints   host, guest  b H(y), shuffled: with a and Reblinded, which of its own ids this host has; in the hosts'
                          own order only how many, and how many each group of several hosts has
Reblinded    host, guest  16 bytes of each b a H(x): the other half of the same
CommonRows   guest, host  which of its own ids are common to *all* parties
Placed       guest, host  in a left join: which of its own ids the guest has
Cardinality  guest, host  how many ids are common
CommonMarks  guest, host  where in the hosts' order the common ids stand: nothing but their number
OwnMarks     host, guest  which of its own ids are common to *all* parties
===========  ===========  =========================================================================================

The first round exchanges the sizes. Rounds 0 to R - 1 each send a chunk of points, and multiply the chunk that arrived
in the round before, so that chunks are on their way while both sides compute; round R multiplies the last one. From
then on hosts return tags, and the last round tells the result. All that grows with the sets lies in files
(`partyd.algorithms.psi_files`).
"""

from __future__ import annotations

import numpy as np

from partyd.algorithms.psi_files import TAG_BYTES, Compared, Where, join
from partyd.algorithms.psi_parameters import PsiParams
from partyd.algorithms.psi_points import blind, tags_of
from partyd.algorithms.psi_result import (
    DISCLOSED,
    ENDINGS,
    Found,
    HostSize,
    Marks,
    Plan,
    chunk,
    chunk_count,
    expected,
    pack,
    plan_as_guest,
    plan_as_host,
    reordered,
    start,
    tell_hosts,
    told_by_guest,
    unpack,
)
from partyd.crypto import blinding
from partyd.crypto.prg import SEED_BYTES, Prg
from partyd.errors import BadValue
from partyd.federation.algorithm import Algorithm, Disclosure, Program
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.codec import Secret

TAG_ROWS = 1 << 17
"""Tags that a host returns in one message."""


class VeilSeed(Message, sender=HOST, receiver=HOST):
    """The seed of the order in which all hosts return the guest's points."""

    seed: bytes


class GuestPoints(Message, sender=GUEST, receiver=HOST):
    """A chunk of a H(x)."""

    points: bytes


class HostPoints(Message, sender=HOST, receiver=GUEST):
    """A chunk of b H(y)."""

    points: bytes


class Reblinded(Message, sender=HOST, receiver=GUEST):
    """Tags of b a H(x), in the guest's order or the hosts' own."""

    tags: bytes


class CommonMarks(Message, sender=GUEST, receiver=HOST):
    """Which places of the hosts' order are common, as bits; to the first host."""

    bits: bytes


class OwnMarks(Message, sender=HOST, receiver=GUEST):
    """The same bits in the guest's order."""

    bits: bytes


async def guest(party: Party, params: PsiParams, data: Compared, state: Found) -> Found:
    """Agree on the rounds, exchange a chunk with every host, take tags, and conclude in the last round."""
    if state.rounds < 0:
        counts = {host: m.count for host, m in (await party.gather(HostSize)).items()}
        rounds = await plan_as_guest(party, params, data, counts)
        told = {str(host): count for host, count in counts.items()}
        state = state.model_copy(update={"rounds": rounds, "guest_count": len(data), "host_counts": told})
    pending = await _exchange_as_guest(party, params, data, state) if state.taken <= state.rounds else {}
    if state.taken >= state.rounds:
        await _take_tags(party, data, state.taken - state.rounds)
    party.report.progress(state.taken + 1, _rounds(state), "comparing blinded ids")
    if state.taken + 1 < _rounds(state):
        return state.next(pending=pending)
    return await _conclude(party, params, data, state)


async def host(party: Party, params: PsiParams, data: Compared, state: Found) -> Found:
    """Agree on the rounds, exchange a chunk with the guest, return tags, and take the result in the last round."""
    if state.rounds < 0:
        await party.send(HostSize(count=len(data)))
        plan = await plan_as_host(party, params, data)
        veil = await _agree_on_veil(party, params, state)
        state = state.model_copy(update={"rounds": plan.rounds, "guest_count": plan.count, "veil": veil})
    pending = await _exchange_as_host(party, params, data, state) if state.taken <= state.rounds else {}
    if state.taken >= state.rounds:
        await _return_tags(party, data, state)
    party.report.progress(state.taken + 1, _rounds(state), "comparing blinded ids")
    if state.taken + 1 < _rounds(state):
        return state.next(pending=pending)
    told = await told_by_guest(party, params, data, state)
    if state.veil is not None and params.guest_learns_rows and _is_first(party):
        await _unveil(party, data, told)
    return told


async def _exchange_as_guest(party: Party, params: PsiParams, data: Compared, state: Found) -> dict[str, bytes]:
    """Send a chunk to every host, multiply those of the round before, and return the next."""
    rows, secret = params.chunk_rows, blinding.random_scalar(state.prg("scalar"))
    mine = state.order(data)[chunk(state.taken, rows)].astype(np.int64)
    if len(mine):
        await party.send(GuestPoints(points=await blind(party.engine, data.take(mine), secret)))
    for peer in party.peers(HOST):
        count = state.host_counts[str(peer)]
        if before := expected(count, state.taken - 1, rows):
            tags = await tags_of(party.engine, state.pending[str(peer)], secret, before)
            data.tags(f"theirs {_name(peer)}", count).write((state.taken - 1) * rows, tags)
    arrived = dict[str, bytes]()
    for peer in party.peers(HOST):
        if wanted := expected(state.host_counts[str(peer)], state.taken, rows):
            arrived[str(peer)] = _sized((await party.recv(HostPoints, peer)).points, wanted, peer)
    return arrived


async def _exchange_as_host(party: Party, params: PsiParams, data: Compared, state: Found) -> dict[str, bytes]:
    """Send a chunk to the guest, multiply the one of the round before, and return the next."""
    rows, secret = params.chunk_rows, blinding.random_scalar(state.prg("scalar"))
    mine = state.order(data)[chunk(state.taken, rows)].astype(np.int64)
    if len(mine):
        await party.send(HostPoints(points=await blind(party.engine, data.take(mine), secret)))
    (peer,) = party.peers(GUEST)
    if before := expected(state.guest_count, state.taken - 1, rows):
        tags = await tags_of(party.engine, state.pending[str(peer)], secret, before)
        data.tags("guest", state.guest_count).write((state.taken - 1) * rows, tags)
    if wanted := expected(state.guest_count, state.taken, rows):
        return {str(peer): _sized((await party.recv(GuestPoints)).points, wanted, peer)}
    return {}


async def _return_tags(party: Party, data: Compared, state: Found) -> None:
    """Send a part of the tags of the guest's points, in its order or the hosts' own."""
    part = chunk(state.taken - state.rounds, TAG_ROWS)
    if expected(state.guest_count, state.taken - state.rounds, TAG_ROWS):
        words = data.tags("guest", state.guest_count).words()
        returned = words[part] if state.veil is None else words[_veil(data, state)[part]]
        await party.send(Reblinded(tags=returned.tobytes()))


async def _take_tags(party: Party, data: Compared, part: int) -> None:
    """Keep a part of the tags that each host returns."""
    if wanted := expected(len(data), part, TAG_ROWS):
        for host, message in (await party.gather(Reblinded)).items():
            if len(message.tags) != TAG_BYTES * wanted:
                raise BadValue(f"{host} returned another number of points than it was sent; refuse its result")
            data.tags(f"own {_name(host)}", len(data)).write(part * TAG_ROWS, message.tags)


async def _agree_on_veil(party: Party, params: PsiParams, state: Found) -> Secret | None:
    """Return the seed of the order in which hosts return points, None where the guest's own is kept."""
    others = party.peers(HOST)
    if not params.hides_order(1 + len(others)):
        return None
    if not _is_first(party):
        return Secret((await party.recv(VeilSeed, min(others, key=str))).seed)
    seed = state.prg("veil").take(SEED_BYTES)
    if others:
        await party.send(VeilSeed(seed=seed))
    return Secret(seed)


async def _conclude(party: Party, params: PsiParams, data: Compared, state: Found) -> Found:
    """Find the places that every host has, tell the hosts, and learn which of the own ids they are."""
    hosts = party.peers(HOST)
    places = {peer: _compare(data, state, peer) for peer in hosts}
    common = await tell_hosts(party, params, state, places)
    last = state.next(finished=True, pending={}, count=int(common.sum()))
    if params.is_left_join:
        return last.model_copy(update={"placed": state.order(data).astype(np.int64)})
    if not params.guest_learns_rows:
        return last
    if params.hides_order(len(hosts)):
        common = await _ask_for_own(party, common, hosts[0])
    return last.model_copy(update={"common": reordered(common, state.order(data))})


def _compare(data: Compared, state: Found, peer: Address) -> Where:
    name = _name(peer)
    own, theirs = data.tags(f"own {name}", len(data)), data.tags(f"theirs {name}", state.host_counts[str(peer)])
    return join(own, theirs, data.folder / f"places {name}.npy", data.memory_bytes)


async def _ask_for_own(party: Party, common: Marks, first: Address) -> Marks:
    """Let the first host put the common places into the guest's order."""
    await party.send(CommonMarks(bits=pack(common)), to=first)
    own = unpack((await party.recv(OwnMarks, first)).bits, len(common))
    if own.sum() != common.sum():
        raise BadValue(f"{first} named {own.sum()} of the {common.sum()} common ids; refuse its result")
    return own


async def _unveil(party: Party, data: Compared, state: Found) -> None:
    """Put the guest's marks from the hosts' order into the guest's; no more of them than ids are common."""
    marks = unpack((await party.recv(CommonMarks)).bits, state.guest_count)
    if state.count >= 0 and int(marks.sum()) != state.count:
        raise BadValue(f"the guest asks after {marks.sum()} ids of which {state.count} are common; refuse it")
    await party.send(OwnMarks(bits=reordered(marks, _veil(data, state))))


def _veil(data: Compared, state: Found) -> Where:
    """Return at which of the guest's places the point stands that is returned first, second, ..."""
    assert state.veil is not None
    seed = state.veil.to_bytes()
    return data.order(lambda: Prg(seed, "veil"), "veil", state.guest_count)


def _is_first(party: Party) -> bool:
    return all(str(party.me) < str(peer) for peer in party.peers(HOST))


def _rounds(state: Found) -> int:
    """Return how many rounds there are: those that send chunks, and those that return tags, one at least."""
    return state.rounds + max(1, chunk_count(state.guest_count, TAG_ROWS))


def _name(peer: Address) -> str:
    """Return the name of a peer's files."""
    return str(peer).replace("/", "-")


def _sized(points: bytes, count: int, peer: Address) -> bytes:
    if len(points) != count * blinding.ELEMENT_BYTES:
        raise BadValue(f"{peer} sent {len(points)} bytes for {count} points; refuse its message")
    return points


psi = Algorithm(
    name="psi",
    version="2",
    params=PsiParams,
    programs={GUEST: Program(Found, start, guest), HOST: Program(Found, start, host)},
    messages=(HostSize, Plan, VeilSeed, GuestPoints, HostPoints, Reblinded, *ENDINGS, CommonMarks, OwnMarks),
    disclosures=(
        *DISCLOSED,
        Disclosure(HOST, "nothing: a random seed shared by the hosts; sent where there are several", VeilSeed),
        Disclosure(HOST, "nothing: the guest's ids as points under the guest's secret scalar, shuffled", GuestPoints),
        Disclosure(
            GUEST,
            "with one host: which of its own ids the host has. With several hosts, with cardinality_only, or with a "
            "result for the host alone: only how many each host has, and how many each group of hosts has. In a left "
            "join: which of its own ids each host has",
            HostPoints,
        ),
        Disclosure(GUEST, "the other half of the comparison with each host: nothing beyond it", Reblinded),
        Disclosure(HOST, "nothing beyond how many ids are common; sent to one of several hosts", CommonMarks),
        Disclosure(GUEST, "which of its own ids all parties have; with several hosts", OwnMarks),
    ),
    coalitions=(
        "Several hosts together learn no more than each of them: all get the same ids (in a left join, each its own). "
        "The guest and one of several hosts together learn which of the guest's ids each other host has. The guest "
        "could name fewer rows than there are, and, with several hosts, ask the first host after other ids than the "
        "common ones: as many as are common, or as it likes where the result is for the guest alone. A party that puts "
        "in ids it does not have learns whether the others have them: sizes are shown to all for that reason."
    ),
)
