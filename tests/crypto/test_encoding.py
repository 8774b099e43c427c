from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto.encoding import bound_of, capacity, declared, decode, encode, encode_factors, exact_scalar
from partyd.errors import EncodingOverflow

reals = st.floats(-(2.0**32), 2.0**32)


@given(st.lists(reals, max_size=10), st.integers(-80, 8))
def test_encoding_is_the_nearest_integer(values, exponent):
    encoded = encode(np.array(values, np.float64), exponent)
    for value, integer in zip(values, encoded.integers, strict=True):
        assert abs(Fraction(value) - integer * Fraction(2) ** exponent) <= Fraction(2) ** (exponent - 1)
        assert abs(integer) <= encoded.bound


@given(st.lists(st.integers(-(2**32), 2**32), max_size=10), st.integers(-80, 0))
def test_integers_are_exact(values, exponent):
    encoded = encode(np.array(values, np.int64), exponent)
    assert encoded.integers == [value << -exponent for value in values]


@given(st.lists(st.integers(-(2**60), 2**60), max_size=10), st.integers(1, 70))
def test_integers_are_rounded_half_to_even_where_they_must_be(values, exponent):
    encoded = encode(np.array(values, np.int64), exponent, 2.0**60)
    assert encoded.integers == [round(Fraction(value, 1 << exponent)) for value in values]
    assert all(abs(m) <= encoded.bound for m in encoded.integers)
    assert (-encoded).integers == [-m for m in encoded.integers]


def test_large_integers_are_compared_as_integers():
    """2^60 + 1 as a double is 2^60, which the declared magnitude would admit."""
    assert encode(np.array([2**60]), 0, 2.0**60).integers == [2**60]
    for values in ([2**60 + 1], [-(2**60) - 1]):
        with pytest.raises(EncodingOverflow):
            encode(np.array(values), 0, 2.0**60)
        with pytest.raises(EncodingOverflow):
            encode_factors(np.array(values), 0, 2.0**60)


def test_only_integers_are_declared():
    assert declared([np.int64(-5), np.uint8(7)], 3, 0).integers == [-5, 7]
    with pytest.raises(TypeError):
        declared([1.5], 3, 0)


def test_the_bound_is_declared_not_measured():
    small, large = encode(np.array([0.0])), encode(np.array([2.0**32]))
    assert small.bound == large.bound == 1 << 72


@given(st.lists(reals, max_size=10))
def test_decoding_gives_back_what_fits(values):
    encoded = encode(np.array(values, np.float64), -60)
    assert np.all(np.abs(decode(encoded.integers, -60) - np.array(values)) <= 2.0**-61)


@given(st.integers(-(2**900), 2**900), st.integers(-900, 40))
def test_decoding_rounds_once(integer, exponent):
    assert decode([integer], exponent)[0] == float(integer * Fraction(2) ** exponent)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_scalars_are_exact(value):
    integer, exponent = exact_scalar(value)
    assert integer * Fraction(2) ** exponent == Fraction(value)


@given(st.integers(-(2**100), 2**100))
def test_integer_scalars_keep_exponent_zero(value):
    assert exact_scalar(value) == (value, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=10))
def test_factors_are_rounded_to_their_exponent(values):
    factors = encode_factors(np.array(values))
    assert factors.exponent == -24
    assert np.all(np.abs(factors.words * 2.0**-24 - np.array(values)) <= 2.0**-25)
    assert np.all(np.abs(factors.words) <= factors.bound)


@pytest.mark.parametrize(("values", "bound"), [([True, False], 1), ([3, -4], 2**32)])
def test_whole_factors_are_exact(values, bound):
    factors = encode_factors(np.array(values))
    assert (factors.words.tolist(), factors.exponent, factors.bound) == ([int(v) for v in values], 0, bound)


@pytest.mark.parametrize(
    "call",
    [
        lambda: encode(np.array([np.nan])),
        lambda: encode(np.array([np.inf])),
        lambda: encode(np.array([-np.inf])),
        lambda: encode(np.array([2.0**32 + 1])),
        lambda: encode(np.array([-(2**32) - 1])),
        lambda: encode(np.array([2**63 - 1])),
        lambda: encode(np.array(["1"])),
        lambda: encode(np.array([1.0]), -1100),
        lambda: encode(np.array([1.0]), -(1 << 40)),
        lambda: encode(np.array([1.0]), 0, float("nan")),
        lambda: encode(np.array([1.0]), 0, float("inf")),
        lambda: encode(np.array([2**70])),
        lambda: encode(np.array([1j])),
        lambda: encode_factors(np.array([np.nan])),
        lambda: encode_factors(np.array([1.0]), -40),
        lambda: encode_factors(np.array([1]), 0, 2.0**63),
        lambda: exact_scalar(float("nan")),
        lambda: exact_scalar(float("inf")),
        lambda: declared([8], 3, 0),
        lambda: declared([-8], 3, 0),
        lambda: decode([10**400], 0),
        lambda: decode([10**400], -3),
    ],
)
def test_overflow_is_an_error(call):
    with pytest.raises(EncodingOverflow):
        call()


@given(st.floats(0, 1e9), st.integers(-60, 20))
def test_bound_covers_the_magnitude(magnitude, exponent):
    assert bound_of(magnitude, exponent) * Fraction(2) ** exponent >= Fraction(magnitude)


def test_capacity_leaves_a_third_between_the_signs():
    assert capacity(3000) == 999
