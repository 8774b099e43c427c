from __future__ import annotations

import asyncio
import hashlib
import importlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.algorithms import psi_points
from partyd.algorithms.psi import CommonMarks, GuestPoints, HostPoints, OwnMarks, Reblinded, VeilSeed, psi
from partyd.algorithms.psi_files import Compared
from partyd.algorithms.psi_parameters import PsiParams
from partyd.algorithms.psi_result import (
    Cardinality,
    CommonRows,
    Found,
    HostSize,
    Placed,
    Plan,
    pack,
    placed_rows,
    unpack,
)
from partyd.errors import BadValue
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H1, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)


def small(**parameters: object) -> PsiParams:
    return PsiParams.model_validate({"chunk_rows": 3, **parameters})


class Done:
    """A finished run; each party's state, and the ids that it was told to be common."""

    def __init__(self, sets: Sequence[Sequence[str]], params: PsiParams, seed: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self.data: Mapping[Address, Compared] = {
                party: Compared.of(array(ids), Path(folder) / party.party_id)
                for party, ids in zip((G, H1, H2), sets, strict=False)
            }
            self.run: Run = asyncio.run(simulate(psi, params, self.data, seed=seed))
            self.states: Mapping[Address, Found] = self.run.states
            positions = {party: self.states[party].positions(data) for party, data in self.data.items()}
            self.common = [data.take(positions[party]) for party, data in self.data.items()]
            self.rows = [data.rows_of(positions[party]).tolist() for party, data in self.data.items()]
            self.counts = [self.states[party].count for party in self.data]
            self.orders = {party: self.states[party].order(data).tolist() for party, data in self.data.items()}

    def sent(self, kind: type) -> list:
        return self.run.transcript.messages(kind)


def array(ids: Sequence[str]) -> np.ndarray:
    return np.array([i.encode() for i in ids], dtype="S16")


def run(*sets: Sequence[str], seed: bytes = b"s", **parameters: object) -> Done:
    return Done(sets, small(**parameters), seed)


TEN, TWELVE = [f"u{i}" for i in range(10)], [f"u{i}" for i in range(4, 16)]
SIX = sorted(f"u{i}".encode() for i in range(4, 10))


def test_all_parties_have_the_common_ids_in_one_order() -> None:
    done = run(TEN, TWELVE)
    assert done.common == [SIX, SIX]
    assert done.counts == [6, 6]


def test_with_two_hosts_only_what_all_three_have() -> None:
    done = run(["a", "b", "c", "d"], ["b", "c", "x"], ["z", "c", "d", "b", "y"])
    assert done.common == [[b"b", b"c"]] * 3


sets = st.sets(st.text("abcd", min_size=1, max_size=3), max_size=12).map(sorted)


@settings(max_examples=20, deadline=None)
@given(st.lists(sets, min_size=2, max_size=3), st.binary(max_size=4))
def test_equals_pythons_sets(each: list[list[str]], seed: bytes) -> None:
    want = sorted(i.encode() for i in set.intersection(*map(set, each)))
    assert run(*each, seed=seed).common == [want] * len(each)


def test_ids_may_be_numbers_text_of_any_script_and_composed() -> None:
    ids = ["17", "017", "17 ", "Zoë", "Zoe\u0308", "李雷", "7\x1f42", "74\x1f2", "", "A", "a"]
    with tempfile.TemporaryDirectory() as folder:
        arrays = [np.array([i.encode() for i in ids[at:]]) for at in (0, 3)]
        data = {p: Compared.of(a, Path(folder) / p.party_id) for p, a in zip((G, H1), arrays, strict=True)}
        done = asyncio.run(simulate(psi, PsiParams(), data))
        common = data[G].take(done.states[G].positions(data[G]))
    assert common == sorted(i.encode() for i in ids[3:])


def test_of_ids_that_repeat_the_first_is_compared() -> None:
    done = run(["b", "a", "b", "c", "a"], ["a", "b", "a"])
    assert done.common == [[b"a", b"b"]] * 2
    assert done.rows == [[1, 0], [0, 1]]


def test_the_bound_on_memory_changes_no_result() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = {
            p: Compared.of(array(ids), Path(folder) / p.party_id, 1) for p, ids in ((G, TEN), (H1, TWELVE))
        }  # a byte: as many runs as there are rows and more
        done = asyncio.run(simulate(psi, small(), data))
        assert data[G].take(done.states[G].positions(data[G])) == SIX


def test_many_ids_go_to_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psi_points, "MANY", 2)
    monkeypatch.setattr(psi_points, "PART_ROWS", 2)
    assert run(TEN, TWELVE).common == [SIX, SIX]


@pytest.mark.parametrize("third", [[], [["u5", "u9", "u90"]]])
def test_tags_return_in_several_rounds(monkeypatch: pytest.MonkeyPatch, third: list[list[str]]) -> None:
    monkeypatch.setattr(importlib.import_module("partyd.algorithms.psi"), "TAG_ROWS", 4)
    done = run(TEN, TWELVE, *third)
    assert done.common[0] == ([b"u5", b"u9"] if third else SIX)
    assert len(done.sent(Reblinded)) == 3 * (1 + len(third))


def test_no_id_and_no_hash_of_one_crosses_the_wire() -> None:
    ids = [f"customer-{i:05d}" for i in range(12)]
    wire = b"".join(sent.body for sent in run(ids, ids[5:]).run.transcript.sent)
    for text in ids:
        raw = text.encode()
        digests = [hashlib.new(name, raw).digest() for name in ("md5", "sha1", "sha256", "sha512")]
        for needle in (raw, raw.hex().encode(), *digests, *(d.hex().encode() for d in digests)):
            assert needle not in wire


def test_points_are_new_in_every_attempt() -> None:
    ids = [f"u{i}" for i in range(12)]
    seen: set[bytes] = set()
    for seed in (b"a", b"b"):
        done = run(ids, ids, seed=seed)
        for kind, name in ((GuestPoints, "points"), (HostPoints, "points"), (Reblinded, "tags")):
            for message in done.sent(kind):
                data = getattr(message, name)
                width = 32 if name == "points" else 16
                points = {data[i : i + 16] for i in range(0, len(data), width)}
                assert not points & seen
                seen |= points
    assert len(seen) == 2 * 3 * 12


ALWAYS_AT_HOST, ALWAYS_AT_GUEST = {Plan, GuestPoints}, {HostSize, HostPoints, Reblinded}
GUEST_ONLY, HOST_ONLY = {"sync_intersect_ids": False}, {"sync_intersect_ids": False, "join_role": "host"}
NUMBER_ONLY = {"cardinality_only": True}


@pytest.mark.parametrize(
    ("parameters", "at_host", "at_guest"),
    [
        ({}, {CommonRows}, set()),
        (GUEST_ONLY, set(), set()),
        (HOST_ONLY, {CommonRows}, set()),
        (NUMBER_ONLY, set(), set()),
        ({**NUMBER_ONLY, "sync_cardinality": True}, {Cardinality}, set()),
        ({"join_method": "left_join"}, {Placed}, set()),
    ],
)
def test_each_side_receives_what_the_file_declares(
    parameters: dict[str, object], at_host: set[type], at_guest: set[type]
) -> None:
    one = run(["a", "b", "c", "d"], ["c", "d", "e"], **parameters).run.transcript
    assert one.kinds(to=HOST) == ALWAYS_AT_HOST | at_host
    assert one.kinds(to=GUEST) == ALWAYS_AT_GUEST | at_guest
    two = run(["a", "b", "c", "d"], ["c", "d", "e"], ["d", "x"], **parameters).run.transcript
    is_veiled = parameters.get("join_method") is None
    asks = is_veiled and parameters != HOST_ONLY and not parameters.get("cardinality_only")
    assert two.kinds(to=HOST) == ALWAYS_AT_HOST | at_host | ({VeilSeed} if is_veiled else set()) | (
        {CommonMarks} if asks else set()
    )
    assert two.kinds(to=GUEST) == ALWAYS_AT_GUEST | at_guest | ({OwnMarks} if asks else set())


def test_a_result_for_one_party_only() -> None:
    guest = run(TEN, TWELVE, **GUEST_ONLY)
    assert guest.common == [SIX, []]
    assert guest.counts == [6, -1]
    host = run(TEN, TWELVE, **HOST_ONLY)
    assert host.common == [[], SIX]
    three = run(TEN, TWELVE, ["u5", "u9", "u90"], **HOST_ONLY)
    assert three.common == [[], [b"u5", b"u9"], [b"u5", b"u9"]]


@pytest.mark.parametrize(("more", "told"), [({}, -1), ({"sync_cardinality": True}, 6)])
def test_a_number_only(more: dict[str, object], told: int) -> None:
    done = run(TEN, TWELVE, **NUMBER_ONLY, **more)
    assert done.common == [[], []]
    assert done.counts == [6, told]


def places(done: Done, host: Address) -> dict[int, bytes]:
    """Return by the guest's place, as the guest can tell, the tag that this host returned there."""
    tags = b"".join(m.tags for m in done.run.transcript.messages(Reblinded) if m)
    assert host in done.states
    return {at: tags[16 * at : 16 * at + 16] for at in range(len(tags) // 16)}


def test_in_the_hosts_order_a_place_says_nothing_about_an_id() -> None:
    """What returns for an id stands where the hosts' seed puts it, and not where the guest sent the id."""
    kept, moved = (run(TEN, TWELVE, **parameters) for parameters in ({}, NUMBER_ONLY))
    assert kept.orders == moved.orders
    assert set(places(kept, H1).values()) == set(places(moved, H1).values())
    same = [at for at, tag in places(kept, H1).items() if places(moved, H1)[at] == tag]
    assert len(same) < 5


def test_two_hosts_return_points_in_one_order() -> None:
    done = run(TEN, TWELVE, ["u5", "u9", "u90"])
    veils = {done.states[host].veil for host in (H1, H2)}
    assert len(veils) == 1
    assert None not in veils
    assert done.states[G].veil is None


def test_a_left_join_keeps_every_row_of_the_guest() -> None:
    done = run(["a", "b", "c", "d"], ["c", "x", "b"], ["d"], join_method="left_join")
    order = done.states[G].placed
    assert order is not None
    rows = done.data[G].take(order)
    assert sorted(rows) == [b"a", b"b", b"c", b"d"]
    for host, has in ((H1, {b"b", b"c"}), (H2, {b"d"})):
        placed = done.states[host].placed
        assert placed is not None
        assert [done.data[host].take(placed[i : i + 1])[0] if placed[i] >= 0 else None for i in range(4)] == [
            row if row in has else None for row in rows
        ]


def test_what_a_host_is_told_depends_on_the_common_ids_alone() -> None:
    """A guest with other ids beside the common ones sends a host the same rows."""
    mine = ["b", "c", "d"]
    one, two = run(["a", "b", "d"], mine), run(["d", "b", "x"], mine)
    assert one.sent(CommonRows) == two.sent(CommonRows)
    assert one.common[1] == two.common[1] == [b"b", b"d"]


def test_the_order_of_sending_is_not_the_order_of_rows() -> None:
    ids = [f"u{i:02d}" for i in range(30)]
    assert len({tuple(run(ids, ids, seed=seed).orders[H1]) for seed in (b"a", b"b", b"c")}) == 3


@pytest.mark.parametrize("positions", [[0, 0], [3, -1], [-2, 0], [0], [[0, 1]]])
def test_a_lying_guest_cannot_place_rows_that_are_not_there(positions: list[int]) -> None:
    with pytest.raises(BadValue, match="placed rows"):
        placed_rows(np.array(positions), 2, np.arange(3, dtype=np.int32))


@pytest.mark.parametrize(("bits", "count"), [(b"", 3), (b"\x00\x00", 3), (b"\x10", 3), (b"\x01", 7)])
def test_marks_are_as_many_as_ids(bits: bytes, count: int) -> None:
    with pytest.raises(BadValue, match="refuse"):
        unpack(bits, count)


@given(st.lists(st.booleans(), max_size=40))
def test_marks_survive_their_encoding(marks: list[bool]) -> None:
    assert unpack(pack(np.array(marks, np.bool_)), len(marks)).tolist() == marks


@pytest.mark.parametrize(
    "parameters",
    [
        {"protocol": "rsa_psi", "cardinality_only": True},
        {"protocol": "rsa_psi", "sync_intersect_ids": False, "join_role": "host"},
        {"join_method": "left_join", "sync_intersect_ids": False},
        {"join_method": "left_join", "join_role": "host"},
        {"join_method": "left_join", "cardinality_only": True},
        {"sync_cardinality": True},
        {"rsa_params": {"key_length": 1024}},
    ],
)
def test_options_that_contradict_each_other_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"rsa_psi|left_join|cardinality|greater than or equal to 2048"):
        PsiParams.model_validate(parameters)


def test_words_may_be_written_in_capitals_as_in_fate() -> None:
    params = PsiParams.model_validate({"join_role": "GUEST", "protocol": "ECDH_PSI", "rsa_params": None})
    assert params == PsiParams()
