"""The messages of secure aggregation (`partyd.protocols.secure_aggregation`), and each side's part of a round.

The algorithm's ``start`` comes first, once. Where parties may drop out, one aggregation is two rounds of the driver,
for what the arbiter decides must be checkpointed before anybody hears of it: after a crash it must not decide
otherwise. Where it waits for everybody there is nothing to decide, and one round of the driver holds both halves,
without ``Survivors`` and ``Witness``.

=============  ===========================================================  ==========================================
in             members (guest and hosts)                                    the arbiter
=============  ===========================================================  ==========================================
``start``      `join`                                                       `enrol`
first half     `hear`; if it is to `take_part`: train, then `hand_in`       `announce`; `collect`
second half    `open_round`                                                 `reveal`
=============  ===========================================================  ==========================================

=============  ====================  ===================================================================================
message        from, to              what the receiver learns
=============  ====================  ===================================================================================
MemberKey      members, members      a random public key; whether the others aggregate the same thing
Enrolment      members, arbiter      how long the vectors are; keys and shares, of which it can open none
Participants   arbiter, members      who takes part in this round
MaskedVector   members, arbiter      a uniformly random vector: nothing
Survivors      arbiter, members      who has handed in a vector in this round
Witness        members, members      nothing: a digest of what both were told
Opened         members, arbiter      with the others' shares: the sum of the survivors' vectors
=============  ====================  ===================================================================================

Silence. Messages are durable here, so a party that restarts goes on where it was and nobody notices. With a patience
(seconds) the arbiter goes on without a member that says nothing for so long, as long as the threshold is kept; with
none it waits for everybody. A member that comes back reads what it missed and takes part again in the round after the
one in which its offer is in time. Below the threshold the arbiter waits, however long: nothing is opened, nothing
fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np
from pydantic import Field

from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.protocols.secure_aggregation import (
    KEY_BYTES,
    SEALED_BYTES,
    Member,
    Offer,
    Opening,
    Promise,
    Ring,
    Setting,
    lasting_key,
    opened_sum,
    public_of,
)
from partyd.types import ARBITER, GUEST, HOST, Address
from partyd.wire.arrays import Words
from partyd.wire.codec import Record, Secret

MEMBERS = GUEST | HOST
MOST_WORDS = 1 << 27
"""A gigabyte of vector."""
M = TypeVar("M", bound=Message)


class MemberKey(Message, sender=MEMBERS, receiver=MEMBERS):
    """The key under which the two ends seal shares, and a digest of what is aggregated (``subject``)."""

    public: bytes
    subject: bytes


class Enrolment(Message, sender=MEMBERS, receiver=ARBITER):
    """The first round's offer, how many words the vectors have, and by which rules the sender aggregates."""

    words: int
    threshold: int
    patient: bool
    offer: Offer


class Participants(Message, sender=ARBITER, receiver=MEMBERS):
    """Whose offers count in this round, and what they sealed for the receiver."""

    promises: dict[str, Promise]
    sealed: dict[str, bytes]


class MaskedVector(Message, sender=MEMBERS, receiver=ARBITER):
    """y_u."""

    y: Words


class Survivors(Message, sender=ARBITER, receiver=MEMBERS):
    """Whose vectors are in the sum."""

    names: list[str]


class Witness(Message, sender=MEMBERS, receiver=MEMBERS):
    """A digest of participants and survivors as the sender was told them."""

    told: bytes


class Opened(Message, sender=MEMBERS, receiver=ARBITER):
    """The shares that open this round, none from who did not take part, and the offer for the next."""

    opening: Opening
    offer: Offer


MESSAGES = (MemberKey, Enrolment, Participants, MaskedVector, Survivors, Witness, Opened)
_SAME = "nothing: a random key, and whether the parties would add up the same columns, classes and earlier model"
DISCLOSURES = (
    Disclosure(GUEST, _SAME, MemberKey),
    Disclosure(HOST, _SAME, MemberKey),
    Disclosure(ARBITER, "how many numbers a party's model has; shares of keys that it cannot open", Enrolment),
    Disclosure(GUEST, "which parties take part in a round", Participants),
    Disclosure(HOST, "which parties take part in a round", Participants),
    Disclosure(ARBITER, "nothing: each party's vector behind a uniformly random mask", MaskedVector),
    Disclosure(GUEST, "which parties were silent in a round", Survivors),
    Disclosure(HOST, "which parties were silent in a round", Survivors),
    Disclosure(GUEST, "nothing: a digest of what the arbiter told both", Witness),
    Disclosure(HOST, "nothing: a digest of what the arbiter told both", Witness),
)
"""All but that of ``Opened``, which says what is summed and so is the algorithm's."""


class Membership(Record):
    """What a member carries from one half of a round to the next."""

    root: Secret
    agreed: dict[str, bytes]
    round: int = 0
    promises: dict[str, Promise] = Field(default_factory=dict)
    sealed: dict[str, bytes] = Field(default_factory=dict)

    def member(self, party: Party, setting: Setting) -> Member:
        """Return this round's `Member`."""
        return Member(setting, str(party.me), self.root.to_bytes(), self.agreed, self.round)

    def takes_part(self, party: Party) -> bool:
        """Return whether the arbiter counts on this member in this round."""
        return str(party.me) in self.promises


class Tally(Record):
    """What the arbiter carries: the offers of the participants, then who survived and the sum of what they sent."""

    words: int
    offers: dict[str, Offer]
    round: int = 0
    survivors: list[str] = Field(default_factory=list)
    masked: Words = Field(default_factory=lambda: np.zeros(0, dtype=np.uint64))

    @property
    def promises(self) -> dict[str, Promise]:
        """What everybody may see of the participants' offers."""
        return {name: self.offers[name].promise for name in sorted(self.offers)}


def setting_of(party: Party, threshold: int | None) -> Setting:
    """Return the setting of all parties of the task that have data, the same at each of them and at the arbiter."""
    data = [peer for peer in (party.me, *party.peers(MEMBERS)) if peer.role & MEMBERS]
    return Setting.of([str(peer) for peer in data], threshold, party.context)


async def join(party: Party, setting: Setting, subject: bytes, words: int, patience_s: float | None) -> Membership:
    """Agree on keys with all other members and make the first offer; raises DataError unless ``subject`` is theirs."""
    root, patient = party.rng("aggregation").take(KEY_BYTES), patience_s is None
    await party.send(MemberKey(public=public_of(lasting_key(root)), subject=subject))
    met = await party.gather(MemberKey)
    for peer, message in met.items():
        if message.subject != subject:
            raise DataError(
                f"{peer} has other feature columns, classes or an earlier model than this party; bring tables with the "
                "same columns at all parties, and one and the same earlier model or none"
            )
    membership = Membership(root=Secret(root), agreed={str(peer): message.public for peer, message in met.items()})
    offer = membership.member(party, setting).offer()
    await party.send(Enrolment(words=words, threshold=setting.threshold, patient=patient, offer=offer))
    return membership


async def enrol(party: Party, setting: Setting, patience_s: float | None) -> Tally:
    """Take every member's first offer; raises DataError when one aggregates by other rules than the arbiter."""
    enrolled = {str(peer): message for peer, message in (await party.gather(Enrolment)).items()}
    lengths = sorted({message.words for message in enrolled.values()})
    if len(lengths) != 1 or not 1 <= lengths[0] <= MOST_WORDS:
        raise BadValue(f"the parties' vectors have {lengths} words, not one number from 1 to {MOST_WORDS}")
    for name, message in enrolled.items():
        if (message.threshold, message.patient) != (setting.threshold, patience_s is None):
            raise DataError(f"{name} has another threshold, or other rules for silent parties; give all the same ones")
    offers = {name: _checked(setting, name, message.offer) for name, message in enrolled.items()}
    return Tally(words=lengths[0], offers=offers)


async def hear(party: Party, setting: Setting, membership: Membership) -> Membership:
    """Learn who takes part in this round; raises BadValue when the arbiter's word does not hold together."""
    message = await party.recv(Participants)
    heard = membership.model_copy(update={"promises": message.promises, "sealed": message.sealed})
    _accepted(party, setting, heard)
    return heard


async def announce(party: Party, tally: Tally) -> None:
    """Tell every member who takes part, and hand on what was sealed for it."""
    for peer in party.peers(MEMBERS):
        me = str(peer)
        sealed = {name: offer.sealed[me] for name, offer in tally.offers.items() if name != me}
        await party.send(Participants(promises=tally.promises, sealed=sealed if me in tally.offers else {}), to=peer)


async def hand_in(party: Party, setting: Setting, membership: Membership, vector: Ring) -> None:
    """Send the masked vector."""
    await party.send(MaskedVector(y=_accepted(party, setting, membership).mask(vector)))


async def collect(party: Party, setting: Setting, tally: Tally, patience_s: float | None) -> Tally:
    """Take the participants' vectors and decide who has survived; `reveal` tells them once that is checkpointed."""
    expected = _named(party, tally.offers)
    found = await arrivals(party, MaskedVector, expected, expected, setting.threshold, patience_s)
    if any(message.y.shape != (tally.words,) for message in found.values()):
        raise BadValue(f"a party's masked vector has not the {tally.words} words that all enrolled with")
    masked = np.zeros(tally.words, dtype=np.uint64)
    for message in found.values():
        masked += message.y
    _tell_of_silence(party, tally.offers, {str(peer) for peer in found}, "is not in the sum")
    return tally.model_copy(update={"survivors": [str(peer) for peer in found], "masked": masked})


async def open_round(party: Party, setting: Setting, membership: Membership, patience_s: float | None) -> Membership:
    """Open the survivors' sum and make the next round's offer."""
    opening = await _opening(party, setting, membership, patience_s)
    following = Membership(root=membership.root, agreed=membership.agreed, round=membership.round + 1)
    await party.send(Opened(opening=opening, offer=following.member(party, setting).offer()))
    return following


async def _opening(party: Party, setting: Setting, membership: Membership, patience_s: float | None) -> Opening:
    """Return this member's shares: of all where everybody is waited for, else as t members were told."""
    member = _accepted(party, setting, membership)
    if patience_s is None:
        return member.open_all()
    names = (await party.recv(Survivors)).names
    if not membership.takes_part(party):
        return Opening(seeds={}, keys={})
    others = _named(party, membership.promises)
    for peer in others:
        await party.send(Witness(told=member.witness(names)), to=peer)
    heard = await arrivals(party, Witness, others, others, setting.threshold - 1, 0.0)
    opening = member.open(names, {str(peer): message.told for peer, message in heard.items()})
    _tell_of_silence(party, membership.promises, set(names), "is not in the sum")
    return opening


async def reveal(party: Party, setting: Setting, tally: Tally, patience_s: float | None) -> tuple[Ring, Tally]:
    """Name the survivors, open their sum, and take the offers for the next round."""
    if patience_s is not None:
        await party.send(Survivors(names=tally.survivors))
    expected = _named(party, tally.offers)
    found = await arrivals(party, Opened, party.peers(MEMBERS), expected, setting.threshold, patience_s)
    openings = {str(peer): message.opening for peer, message in found.items()}
    total = opened_sum(setting, tally.round, tally.promises, tally.survivors, tally.masked, openings)
    offers = {str(peer): _checked(setting, str(peer), message.offer) for peer, message in found.items()}
    _tell_of_silence(party, tally.offers, set(offers), "is out of the next round")
    return total, Tally(words=tally.words, offers=offers, round=tally.round + 1)


async def arrivals(
    party: Party,
    kind: type[M],
    peers: Collection[Address],
    expected: Collection[Address],
    needed: int,
    patience_s: float | None,
) -> dict[Address, M]:
    """Return the ``kind`` of all ``expected``, or when patience ends of ``needed`` of them; others' if it is there.

    Not a TaskGroup: what a message's decoding raises must reach the driver as itself, and cancelling is the rule here.
    """
    loop, found, late = asyncio.get_running_loop(), dict[Address, M](), False
    deadline = None if patience_s is None else loop.time() + patience_s
    waiting = {loop.create_task(party.recv(kind, peer)): peer for peer in peers}
    try:
        while len(found.keys() & set(expected)) < (needed if late else len(expected)):
            left = None if late or deadline is None else max(0.0, deadline - loop.time())
            done, _ = await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            late = late or not done
            found |= {waiting.pop(task): task.result() for task in done}
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return {peer: found[peer] for peer in sorted(found, key=str)}


def _accepted(party: Party, setting: Setting, membership: Membership) -> Member:
    member = membership.member(party, setting)
    if membership.takes_part(party):
        member.accept(membership.promises, membership.sealed)
    return member


def _named(party: Party, names: Collection[str]) -> list[Address]:
    return [peer for peer in party.peers(MEMBERS) if str(peer) in names]


def _checked(setting: Setting, name: str, offer: Offer) -> Offer:
    """Return an offer; raises BadValue unless it has one sealed share for each other member."""
    others = set(setting.members) - {name}
    if offer.sealed.keys() != others or any(len(sealed) != SEALED_BYTES for sealed in offer.sealed.values()):
        raise BadValue(f"{name} did not seal one share for each of {', '.join(sorted(others))}; check its version")
    return offer


def _tell_of_silence(party: Party, expected: Mapping[str, object], heard: set[str], so: str) -> None:
    for name in sorted(expected.keys() - heard):
        party.report.info(f"{name} was silent; it {so}")
