from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from partyd.crypto.prg import Prg
from partyd.crypto.sharing import FixedPoint, join, split
from partyd.errors import CryptoError, EncodingOverflow

SEED = bytes(32)


@given(arrays(np.int64, st.integers(0, 20)), st.binary(min_size=16, max_size=16))
def test_shares_join_to_the_value(values, seed):
    share, rest = split(values, Prg(seed))
    assert join(share, rest).astype(np.int64).tolist() == values.tolist()
    assert join(rest, share).tolist() == values.astype(np.uint64).tolist()


def test_a_share_does_not_depend_on_the_value():
    first, _ = split(np.zeros(8, np.int64), Prg(SEED))
    other, _ = split(np.full(8, -1, np.int64), Prg(SEED))
    assert first.tolist() == other.tolist()


def test_three_shares_join():
    prg = Prg(SEED)
    a, rest = split(np.arange(5, dtype=np.int64), prg)
    b, c = split(rest, prg)
    assert join(a, b, c).tolist() == [0, 1, 2, 3, 4]


def test_the_toy_adds_two_thousand_ones():
    fixed = FixedPoint(bits=20, terms=2000)
    prg = Prg(SEED)
    halves = [split(fixed.encode(np.ones(1000)), prg) for _ in range(2)]
    sums = [np.sum(share, dtype=np.uint64) for pair in halves for share in pair]
    assert fixed.decode(join(*[np.array([s]) for s in sums])).tolist() == [2000.0]


@given(st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_fixed_point_is_within_half_a_step(values):
    fixed = FixedPoint(bits=20)
    got = fixed.decode(fixed.encode(np.array(values, np.float64)))
    assert np.all(np.abs(got - np.array(values)) <= 2.0**-21)


@given(st.lists(st.integers(-(2**42), 2**42), min_size=1, max_size=20))
def test_sums_of_encodings_are_exact(grains):
    fixed = FixedPoint(bits=20, terms=20)
    values = np.array(grains, np.float64) * 2.0**-20
    total = np.sum(fixed.encode(values), dtype=np.uint64)
    assert fixed.decode(np.array([total]))[0] == sum(grains) * 2.0**-20


@pytest.mark.parametrize("bad", [2.0**43, -(2.0**43), float("nan"), float("inf"), float("-inf")])
def test_overflow_is_refused(bad):
    with pytest.raises(EncodingOverflow):
        FixedPoint(bits=20).encode(np.array([0.0, bad]))


def test_the_limit_shrinks_with_the_terms():
    assert FixedPoint(bits=20, terms=4).limit == 2.0**41
    with pytest.raises(EncodingOverflow):
        FixedPoint(bits=20, terms=4).encode(np.array([2.0**41]))


@pytest.mark.parametrize(
    "call",
    [
        lambda: split(np.zeros(3), Prg(SEED)),
        lambda: join(),
        lambda: join(np.zeros(2, np.uint64), np.zeros(3, np.uint64)),
        lambda: join(np.zeros(2, np.uint64), np.zeros(2, np.int64)),
        lambda: FixedPoint(bits=60),
        lambda: FixedPoint(bits=20, terms=2**50),
    ],
)
def test_misuse_is_refused(call):
    with pytest.raises(CryptoError):
        call()
