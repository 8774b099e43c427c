"""The core of secure aggregation, without I/O: every drop-out that may be survived, and what may not pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.crypto.prg import Prg
from partyd.errors import BadValue, LocalProtocolError, TaskFailed
from partyd.protocols.secure_aggregation import (
    FIELD_PRIME,
    Member,
    Offer,
    Opening,
    Promise,
    Ring,
    Setting,
    agree,
    lasting_key,
    opened_sum,
    public_of,
)

NAMES = ("10000/guest", "9996/host", "9997/host", "9998/host", "9999/host")
LENGTH = 5


@dataclass
class Round:
    """Members of a setting after their offers; the arbiter's part is played by the tests."""

    setting: Setting
    members: dict[str, Member]
    offers: dict[str, Offer]

    @property
    def promises(self) -> dict[str, Promise]:
        return {name: offer.promise for name, offer in self.offers.items()}

    def begin(self, participants: Sequence[str]) -> None:
        for name in participants:
            self.members[name].accept(*self.heard(name, participants))

    def heard(self, name: str, participants: Sequence[str]) -> tuple[dict[str, Promise], dict[str, bytes]]:
        sealed = {other: self.offers[other].sealed[name] for other in participants if other != name}
        return {other: self.promises[other] for other in participants}, sealed

    def masked(self, survivors: Sequence[str], vectors: Mapping[str, Ring]) -> dict[str, Ring]:
        return {name: self.members[name].mask(vectors[name]) for name in survivors}

    def openings(self, survivors: Sequence[str], openers: Sequence[str]) -> dict[str, Opening]:
        told = {name: self.members[name].witness(survivors) for name in openers}
        return {name: self.members[name].open(survivors, told) for name in openers}


def new_round(n: int = 3, threshold: int | None = None, number: int = 0, salt: int = 0) -> Round:
    names = NAMES[:n]
    setting = Setting.of(names[::-1], threshold, b"job")
    roots = {name: Prg(bytes([salt] * 32), name).take(32) for name in names}
    public = {name: public_of(lasting_key(root)) for name, root in roots.items()}
    members = {name: Member(setting, name, roots[name], _without(public, name), number) for name in names}
    return Round(setting, members, {name: member.offer() for name, member in members.items()})


def _without(values: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    return {other: value for other, value in values.items() if other != name}


def vectors(seed: int = 1) -> dict[str, Ring]:
    random = np.random.default_rng(seed)
    return {name: random.integers(0, 2**64, LENGTH, dtype=np.uint64) for name in NAMES}


def plain_sum(values: Mapping[str, Ring], names: Sequence[str]) -> Ring:
    total = np.zeros(LENGTH, dtype=np.uint64)
    for name in names:
        total += values[name]
    return total


def subsets(names: Sequence[str], least: int) -> Iterator[tuple[str, ...]]:
    for size in range(least, len(names) + 1):
        yield from combinations(names, size)


def run(made: Round, participants: Sequence[str], survivors: Sequence[str], openers: Sequence[str]) -> Ring:
    values = vectors()
    made.begin(participants)
    sent = made.masked(survivors, values)
    openings = made.openings(survivors, openers)
    promises = {name: made.promises[name] for name in participants}
    return opened_sum(made.setting, 0, promises, survivors, plain_sum(sent, survivors), openings)


@pytest.mark.parametrize(("n", "threshold"), [(2, 2), (3, 2), (3, 3), (4, 3), (4, 4)])
def test_any_drop_outs_that_leave_the_threshold_leave_the_survivors_sum(n: int, threshold: int) -> None:
    """Every set of participants, of survivors among them, and of those who still answer at the end."""
    tried = 0
    for participants in subsets(NAMES[:n], threshold):
        for survivors in subsets(participants, threshold):
            for openers in subsets(participants, threshold):
                got = run(new_round(n, threshold), participants, survivors, openers)
                np.testing.assert_array_equal(got, plain_sum(vectors(), survivors))
                tried += 1
    assert tried >= 1 if n == threshold else tried > 4


def test_five_parties_lose_two_in_every_way() -> None:
    for survivors in combinations(NAMES, 3):
        for openers in [survivors, tuple(sorted({*survivors[:2], *set(NAMES) - set(survivors)}))[:3]]:
            got = run(new_round(5), NAMES, survivors, openers)
            np.testing.assert_array_equal(got, plain_sum(vectors(), survivors))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_below_the_threshold_nobody_takes_part_nobody_opens_and_nothing_is_opened(n: int) -> None:
    made, names = new_round(n), NAMES[:n]
    few = names[: made.setting.threshold - 1]
    with pytest.raises(BadValue, match="are named where"):
        made.members[names[0]].accept(*made.heard(names[0], few))
    made.begin(names)
    sent = made.masked(names, vectors())
    with pytest.raises(BadValue, match="are named where"):
        made.openings(few, names)
    openings = made.openings(names, names)
    with pytest.raises(BadValue, match="nothing is opened"):
        opened_sum(
            made.setting, 0, made.promises, names, plain_sum(sent, names), {name: openings[name] for name in few}
        )
    with pytest.raises(BadValue, match="are named where"):
        opened_sum(made.setting, 0, made.promises, few, plain_sum(sent, few), openings)


def test_a_member_gives_one_secrets_share_of_each_participant_and_never_both() -> None:
    for survivors in subsets(NAMES[:4], 3):
        made = new_round(4)
        made.begin(NAMES[:4])
        for opening in made.openings(survivors, NAMES[:4]).values():
            assert set(opening.seeds) == set(survivors)
            assert set(opening.keys) == set(NAMES[:4]) - set(survivors)


def test_a_second_set_of_survivors_in_one_round_is_refused() -> None:
    made = new_round(3)
    made.begin(NAMES[:3])
    first = made.openings(NAMES[:2], NAMES[:3])
    assert made.openings(NAMES[:2][::-1], NAMES[:3]) == first
    with pytest.raises(BadValue, match="other survivors than before"):
        made.openings(NAMES[1:3], NAMES[:3])


def test_where_nobody_may_drop_out_seeds_alone_are_opened_and_only_when_all_are_there() -> None:
    made = new_round(4)
    made.begin(NAMES[:4])
    sent = made.masked(NAMES[:4], vectors())
    openings = {name: made.members[name].open_all() for name in NAMES[:4]}
    assert all(set(opening.seeds) == set(NAMES[:4]) and not opening.keys for opening in openings.values())
    found = opened_sum(made.setting, 0, made.promises, NAMES[:4], plain_sum(sent, NAMES[:4]), openings)
    np.testing.assert_array_equal(found, plain_sum(vectors(), NAMES[:4]))
    with pytest.raises(BadValue, match="gave no share"):
        opened_sum(made.setting, 0, made.promises, NAMES[:3], plain_sum(sent, NAMES[:3]), openings)
    few = new_round(4)
    few.begin(NAMES[:3])
    with pytest.raises(BadValue, match="goes on without 9998/host"):
        few.members[NAMES[0]].open_all()
    told = new_round(4)
    told.begin(NAMES[:4])
    told.openings(NAMES[:3], NAMES[:4])
    with pytest.raises(BadValue, match="and now that nobody has"):
        told.members[NAMES[0]].open_all()


@pytest.mark.parametrize(
    "survivors",
    [NAMES[:1], (NAMES[0], NAMES[0]), (NAMES[0], NAMES[4]), NAMES[:4], ()],
    ids=["few", "repeated", "stranger", "more", "none"],
)
def test_survivors_that_make_no_sense_open_nothing(survivors: tuple[str, ...]) -> None:
    made = new_round(3)
    made.begin(NAMES[:3])
    with pytest.raises(BadValue, match="do not go on with this arbiter"):
        made.openings(survivors, NAMES[:3])


def test_an_arbiter_that_tells_two_stories_is_found_out_before_anything_is_opened() -> None:
    made = new_round(4)
    made.begin(NAMES[:4])
    told = {name: made.members[name].witness(NAMES[:3] if i < 2 else NAMES[1:4]) for i, name in enumerate(NAMES[:4])}
    for i, name in enumerate(NAMES[:4]):
        with pytest.raises(BadValue, match="told other survivors or keys"):
            made.members[name].open(NAMES[:3] if i < 2 else NAMES[1:4], told)
    for few in ({}, {NAMES[0]: told[NAMES[0]]}, {NAMES[1]: told[NAMES[1]]}):
        with pytest.raises(BadValue, match="parties vouch"):
            made.members[NAMES[0]].open(NAMES[:3], few)
    stranger = {NAMES[4]: told[NAMES[0]], NAMES[1]: told[NAMES[1]]}
    with pytest.raises(BadValue, match="2 parties vouch for the survivors, 3 must"):
        made.members[NAMES[0]].open(NAMES[:3], stranger)


def test_witnesses_tell_rounds_jobs_and_keys_apart() -> None:
    found = set()
    for made in (new_round(3), new_round(3, number=1), new_round(3, salt=1)):
        made.begin(NAMES[:3])
        found |= {made.members[NAMES[0]].witness(s) for s in (NAMES[:3], NAMES[:2])}
    assert len(found) == 6


def test_masked_vectors_look_uniform_and_never_repeat() -> None:
    zeros, seen = np.zeros(4096, dtype=np.uint64), []
    for number in range(3):
        made = new_round(3, number=number)
        made.begin(NAMES[:3])
        seen += [made.members[name].mask(zeros) for name in NAMES[:3]]
    for y in seen:
        counts = np.bincount(y.view(np.uint8), minlength=256)
        expected = y.nbytes / 256
        assert ((counts - expected) ** 2 / expected).sum() < 400, "chi square of 255 degrees, far beyond its tail"
    words = np.concatenate(seen)
    assert len(np.unique(words)) == len(words)


def test_inputs_of_equal_sums_differ_to_the_arbiter_in_nothing_but_the_sum() -> None:
    """What the arbiter holds of each member once all is opened is a pairwise mask: uniform for either input."""
    first, second = vectors(1), vectors(2)
    second[NAMES[2]] = plain_sum(first, NAMES[:3]) - second[NAMES[0]] - second[NAMES[1]]
    totals: list[Ring] = []
    for values in (first, second):
        bits: list[NDArray[np.uint8]] = []
        for salt in range(60):
            made = new_round(3, salt=salt)
            made.begin(NAMES[:3])
            sent = made.masked(NAMES[:3], values)
            openings = made.openings(NAMES[:3], NAMES[:3])
            total = opened_sum(made.setting, 0, made.promises, NAMES[:3], plain_sum(sent, NAMES[:3]), openings)
            totals.append(total)
            seeds = {name: made.members[name]._seed for name in NAMES[:3]}
            opened = [sent[n] - Prg(seeds[n], "aggregation stream").uint64(LENGTH) for n in NAMES[:2]]
            bits.append(np.unpackbits(np.concatenate(opened).view(np.uint8)))
        ones = np.mean(bits)
        assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(60 * 2 * LENGTH * 64)
    assert all(np.array_equal(total, totals[0]) for total in totals)


def test_the_arbiters_transcript_shows_none_of_the_secrets() -> None:
    made = new_round(3)
    made.begin(NAMES[:3])
    seen = b"".join(sealed for offer in made.offers.values() for sealed in offer.sealed.values())
    openings = made.openings(NAMES[:3], NAMES[:3])
    seen += b"".join(share for opening in openings.values() for share in opening.seeds.values())
    for member in made.members.values():
        assert member._key not in seen
        assert member.root not in seen
        assert member.root.hex() not in repr(member)
    assert all(not opening.keys for opening in openings.values())


def test_a_key_of_the_arbiters_own_is_noticed() -> None:
    made = new_round(3)
    promises, sealed = made.heard(NAMES[0], NAMES[:3])
    forged = promises[NAMES[1]].model_copy(update={"public": public_of(b"m" * 32)})
    for changed in (forged, promises[NAMES[1]].model_copy(update={"commitment": bytes(32)})):
        with pytest.raises(BadValue, match="were changed on their way"):
            made.members[NAMES[0]].accept(promises | {NAMES[1]: changed}, sealed)
    with pytest.raises(BadValue, match="what each participant offered"):
        made.members[NAMES[0]].accept(promises | {NAMES[0]: forged}, sealed)


def test_shares_are_for_one_receiver_one_round_and_one_job() -> None:
    made, other = new_round(3), new_round(3, number=1)
    promises, sealed = made.heard(NAMES[0], NAMES[:3])
    wrong = {
        "another receiver's": made.offers[NAMES[1]].sealed[NAMES[2]],
        "another sender's": sealed[NAMES[2]],
        "another round's": other.offers[NAMES[1]].sealed[NAMES[0]],
        "flipped": sealed[NAMES[1]][:-1] + bytes([sealed[NAMES[1]][-1] ^ 1]),
    }
    for what, share in wrong.items():
        with pytest.raises(BadValue, match="were changed on their way"):
            made.members[NAMES[0]].accept(promises, sealed | {NAMES[1]: share})
        assert what
    with pytest.raises(BadValue, match="bytes under their seal"):
        made.members[NAMES[0]].accept(promises, sealed | {NAMES[1]: b""})
    for odd in (sealed | {NAMES[0]: sealed[NAMES[1]]}, {NAMES[1]: sealed[NAMES[1]]}):
        with pytest.raises(BadValue, match="what each participant offered"):
            made.members[NAMES[0]].accept(promises, odd)


def test_a_wrong_share_is_noticed_and_its_possible_senders_are_named() -> None:
    made = new_round(3, threshold=2)
    made.begin(NAMES[:3])
    survivors = NAMES[:2]
    total = plain_sum(made.masked(survivors, vectors()), survivors)
    openings = made.openings(survivors, NAMES[:3])
    liar = openings[NAMES[0]]
    for wrong, match in [
        (Opening(seeds=liar.seeds | {NAMES[1]: bytes(33)}, keys=liar.keys), "seed that 9996/host promised"),
        (Opening(seeds=liar.seeds, keys=liar.keys | {NAMES[2]: bytes(33)}), "key that 9997/host promised"),
        (Opening(seeds={}, keys=liar.keys), "10000/guest gave no share"),
        (Opening(seeds=liar.seeds, keys={}), "10000/guest gave no share"),
        (Opening(seeds=liar.seeds | {NAMES[1]: b"short"}, keys=liar.keys), "33 bytes"),
    ]:
        with pytest.raises(BadValue, match=match):
            opened_sum(made.setting, 0, made.promises, survivors, total, openings | {NAMES[0]: wrong})


def test_the_arbiter_cannot_open_one_members_vector_with_fewer_than_it_may() -> None:
    """Honest members answer one story: whichever the arbiter tells, it holds no member's both secrets."""
    made = new_round(5)
    made.begin(NAMES)
    openings = made.openings(NAMES[:4], NAMES)
    for name in NAMES:
        seeds = sum(name in opening.seeds for opening in openings.values())
        keys = sum(name in opening.keys for opening in openings.values())
        assert (seeds, keys) in {(5, 0), (0, 5)}


def test_the_same_root_makes_the_same_round_again_and_other_rounds_differ() -> None:
    first, again, later = new_round(3), new_round(3), new_round(3, number=1)
    assert first.offers == again.offers
    assert all(first.promises[name] != later.promises[name] for name in NAMES[:3])
    for made in (first, again, later):
        made.begin(NAMES[:3])
    x = vectors()[NAMES[0]]
    np.testing.assert_array_equal(first.members[NAMES[0]].mask(x), again.members[NAMES[0]].mask(x))
    assert not np.any(first.members[NAMES[0]].mask(x) == later.members[NAMES[0]].mask(x))


@pytest.mark.parametrize(("n", "threshold"), [(2, 1), (3, 1), (4, 2), (3, 4), (5, 6)])
def test_a_threshold_without_a_majority_is_refused(n: int, threshold: int) -> None:
    with pytest.raises(TaskFailed, match=f"take {n // 2 + 1} to {n}"):
        Setting.of(NAMES[:n], threshold, b"")


def test_a_setting_has_at_least_two_parties_each_once() -> None:
    for names in [NAMES[:1], (NAMES[0], NAMES[0]), (), tuple(f"{i}/host" for i in range(257))]:
        with pytest.raises(TaskFailed, match="2 to 256 parties"):
            Setting.of(names, None, b"")
    assert [Setting.of(NAMES[:n], None, b"").threshold for n in (2, 3, 4, 5)] == [2, 2, 3, 3]


@pytest.mark.parametrize(
    ("public", "match"),
    [
        (bytes(32), "low order"),
        (b"\x01" + bytes(31), "low order"),
        (FIELD_PRIME.to_bytes(32, "little"), "one form"),
        (b"\xff" * 32, "one form"),
        (b"short", "one form"),
    ],
)
def test_bad_public_keys_are_refused(public: bytes, match: str) -> None:
    with pytest.raises(BadValue, match=match):
        agree(b"k" * 32, public)


def test_using_a_member_out_of_order_is_our_own_mistake() -> None:
    made = new_round(3)
    with pytest.raises(LocalProtocolError, match="before the participants"):
        made.members[NAMES[0]].mask(vectors()[NAMES[0]])
    lonely = Member(made.setting, NAMES[0], b"r" * 32, {}, 0)
    with pytest.raises(LocalProtocolError, match="has given no key"):
        lonely.offer()
