from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.algorithms.psi import (
    CommonRows,
    GuestPoints,
    HostPoints,
    HostSize,
    Plan,
    PsiParams,
    Reblinded,
    insist_on_positions,
    psi,
    unique_ids,
)
from partyd.errors import BadValue, DataError
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H1, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)
SMALL = PsiParams(chunk_rows=3)


def array(ids: Sequence[str]) -> np.ndarray:
    return np.array([i.encode() for i in ids], dtype="S16")


def run(*sets: Sequence[str], seed: bytes = b"s", params: PsiParams = SMALL) -> tuple[Run, list[list[bytes]]]:
    """Return the run and each party's common ids in the order of its result."""
    data = {party: array(ids) for party, ids in zip((G, H1, H2), sets, strict=False)}
    done = asyncio.run(simulate(psi, params, data, seed=seed))
    return done, [data[party][done.states[party].rows].tolist() for party in data]


def test_all_parties_have_the_common_ids_in_one_order() -> None:
    _, common = run([f"u{i}" for i in range(10)], [f"u{i}" for i in range(4, 16)])
    assert common[0] == common[1] == sorted(f"u{i}".encode() for i in range(4, 10))


def test_with_two_hosts_only_what_all_three_have() -> None:
    done, common = run(["a", "b", "c", "d"], ["b", "c", "x"], ["z", "c", "d", "b", "y"])
    assert common == [[b"b", b"c"]] * 3
    told = done.transcript.messages(CommonRows)
    assert all(isinstance(m, CommonRows) and len(m.positions) == 2 for m in told)


sets = st.sets(st.text("abcd", min_size=1, max_size=3), max_size=12).map(sorted)


@settings(max_examples=25, deadline=None)
@given(sets, sets, sets, st.binary(max_size=4))
def test_equals_pythons_sets(one: list[str], two: list[str], three: list[str], seed: bytes) -> None:
    _, common = run(one, two, three, seed=seed)
    want = sorted(i.encode() for i in set(one) & set(two) & set(three))
    assert common == [want] * 3


def test_no_id_and_no_hash_of_one_crosses_the_wire() -> None:
    ids = [f"customer-{i:05d}" for i in range(12)]
    done, _ = run(ids, ids[5:])
    wire = b"".join(sent.body for sent in done.transcript.sent)
    for text in ids:
        raw = text.encode()
        digests = [hashlib.new(name, raw).digest() for name in ("md5", "sha1", "sha256", "sha512")]
        for needle in (raw, raw.hex().encode(), *digests, *(d.hex().encode() for d in digests)):
            assert needle not in wire


def test_points_are_new_in_every_attempt() -> None:
    ids = [f"u{i}" for i in range(12)]
    seen: set[bytes] = set()
    for seed in (b"a", b"b"):
        done, _ = run(ids, ids, seed=seed)
        for kind in (GuestPoints, HostPoints, Reblinded):
            for message in done.transcript.messages(kind):
                assert isinstance(message, (GuestPoints, HostPoints, Reblinded))
                points = {message.points[i : i + 32] for i in range(0, len(message.points), 32)}
                assert not points & seen
                seen |= points
    assert len(seen) == 2 * 3 * 12


def test_each_side_receives_what_the_file_declares() -> None:
    done, _ = run(["a", "b", "c", "d"], ["c", "d", "e"])
    assert done.transcript.kinds(to=HOST) == {Plan, GuestPoints, CommonRows}
    assert done.transcript.kinds(to=GUEST) == {HostSize, HostPoints, Reblinded}


def test_what_a_host_is_told_depends_on_the_common_ids_alone() -> None:
    """A guest with other ids beside the common ones sends a host the same rows."""
    mine = ["b", "c", "d"]
    one, _ = run(["a", "b", "d"], mine)
    two, _ = run(["d", "b", "x"], mine)
    assert one.states[H1].rows.tolist() == two.states[H1].rows.tolist() == [0, 2]


def test_the_order_of_sending_is_not_the_order_of_rows() -> None:
    ids = [f"u{i:02d}" for i in range(30)]
    orders = {tuple(run(ids, ids, seed=seed)[0].states[H1].order(30).tolist()) for seed in (b"a", b"b", b"c")}
    assert len(orders) == 3


def test_repeated_ids_are_refused_and_unique_ids_finds_the_first() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(["a", "a"], ["a"])
    assert caught.group_contains(DataError, match="twice")
    assert unique_ids(array(["b", "a", "b", "c", "a"])).tolist() == [0, 1, 3]


@pytest.mark.parametrize("positions", [[0, 0], [3], [-1]])
def test_a_lying_guest_cannot_name_rows_that_are_not_there(positions: list[int]) -> None:
    with pytest.raises(BadValue):
        insist_on_positions(np.array(positions), 3)
