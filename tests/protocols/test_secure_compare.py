from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.algorithms.millionaires import MillionairesParams, millionaires
from partyd.errors import DataError
from partyd.federation.simulate import Run, simulate
from partyd.protocols.secure_compare import BaseRequest, BitChoice, GarbledGates, OutputLabels
from partyd.types import GUEST, HOST, Address

G, H = Address("10000", GUEST), Address("9999", HOST)
Pairs = list[tuple[int, int]]
edge = st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1])
word = edge | st.integers(0, 2**64 - 1)


def run(pairs: Pairs, chunk_rows: int = 4096, seed: bytes = b"s") -> Run:
    data: dict[Address, object] = {
        G: np.array([x for x, _ in pairs], np.uint64),
        H: np.array([y for _, y in pairs], np.uint64),
    }
    return asyncio.run(simulate(millionaires, MillionairesParams(chunk_rows=chunk_rows), data, seed=seed))


def order(pairs: Pairs) -> list[int]:
    return [(x > y) - (x < y) for x, y in pairs]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(word, word) | word.map(lambda x: (x, x)), min_size=1, max_size=9), st.sampled_from([2, 64]))
def test_both_sides_learn_the_order_of_every_pair(pairs: Pairs, chunk_rows: int) -> None:
    done = run(pairs, chunk_rows)
    assert done.states[G].order.tolist() == done.states[H].order.tolist() == order(pairs)


def test_thousands_are_compared_in_one_run_and_a_single_round() -> None:
    random = np.random.default_rng(7)
    pairs = [(int(x), int(y)) for x, y in random.integers(0, 2**64, (3000, 2), dtype=np.uint64)]
    done = run(pairs)
    assert done.states[H].order.tolist() == order(pairs)
    assert len(done.transcript.sent) == 4


def test_each_side_receives_what_the_file_declares() -> None:
    transcript = run([(1, 2)]).transcript
    assert transcript.kinds(to=HOST) == {BaseRequest, GarbledGates}
    assert transcript.kinds(to=GUEST) == {BitChoice, OutputLabels}


def test_what_the_host_sends_has_the_same_shape_and_looks_random_for_all_numbers() -> None:
    """Between 0 and the largest number half of all the bits that the host sends change, as between two runs."""
    first, second = (
        np.unpackbits(
            np.frombuffer(
                run([(5, y)] * 50, seed=b"a" + bytes([y % 256])).transcript.select(to=GUEST)[0].body, np.uint8
            )
        )
        for y in (0, 2**64 - 1)
    )
    assert len(first) == len(second)
    assert abs(float(np.mean(first != second)) - 0.5) < 0.02


def test_no_number_crosses_the_wire_in_the_open() -> None:
    x, y = 0x1122334455667788, 0x99AABBCCDDEEFF01
    wire = b"".join(sent.body for sent in run([(x, y)]).transcript.sent)
    for value in (x, y):
        for needle in (value.to_bytes(8, "big"), value.to_bytes(8, "little"), str(value).encode()):
            assert needle not in wire


def test_vectors_of_other_lengths_are_refused() -> None:
    data: dict[Address, object] = {G: np.zeros(2, np.uint64), H: np.zeros(3, np.uint64)}
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(millionaires, MillionairesParams(), data))
    assert caught.group_contains(DataError, match="equally many")
