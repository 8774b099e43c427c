from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partyd.crypto import multiexp
from partyd.crypto.multiexp import FixedBase, Plan, invert_all, naive_products, powers_of_each, products_of_powers
from partyd.errors import CryptoError

ROOT = mpz(2) ** 127 - 1
MODULUS = ROOT * ROOT
matrices = arrays(
    np.int64,
    array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.one_of(st.just(0), st.integers(-5, 5), st.integers(-(2**61), 2**61)),
)


def bases(count: int) -> list[mpz]:
    return [mpz(3) ** (50 + i) % MODULUS for i in range(count)]


@given(matrices)
def test_products_agree_with_the_naive_form(exponents):
    values = bases(len(exponents))
    assert products_of_powers(values, exponents, ROOT) == naive_products(values, exponents, ROOT)


@pytest.mark.parametrize("method", ["straus", "pippenger"])
@pytest.mark.parametrize("window", [2, 3, 5, 8])
def test_every_window_of_both_methods_agrees(method, window):
    rng = np.random.default_rng(window)
    exponents = rng.integers(-(2**20), 2**20, (17, 4))
    exponents[rng.random(exponents.shape) < 0.3] = 0
    plan = Plan(method, window, int(np.abs(exponents).max()).bit_length())
    run = multiexp._straus if method == "straus" else multiexp._pippenger
    assert run(bases(17), exponents, ROOT, plan) == naive_products(bases(17), exponents, ROOT)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_and_zero_matrices(shape):
    result = products_of_powers(bases(shape[0]), np.zeros(shape, np.int64), ROOT)
    assert result == [1] * shape[1]


def test_chunks_of_rows_and_columns_join(monkeypatch):
    monkeypatch.setattr(multiexp, "STRAUS_ROWS", 4)
    monkeypatch.setattr(multiexp, "STRAUS_COLUMNS", 3)
    exponents = np.arange(-55, 55).reshape(11, 10)
    assert products_of_powers(bases(11), exponents, ROOT) == naive_products(bases(11), exponents, ROOT)


def test_the_plan_prefers_buckets_for_one_long_column():
    exponents = np.full((4096, 1), 2**30 - 1)
    assert multiexp._plan(exponents).method == "pippenger"
    assert multiexp._plan(exponents[:400].repeat(30, axis=1)).method == "straus"


@given(st.lists(st.integers(1, int(ROOT) - 1), max_size=12))
def test_inverses(values):
    numbers = [mpz(v) for v in values]
    assert invert_all(numbers, MODULUS) == [gmpy2.invert(v, MODULUS) for v in numbers]


def test_a_number_without_inverse_is_an_error():
    with pytest.raises(CryptoError):
        invert_all([mpz(2), mpz(15)], mpz(77 * 5))


@given(st.lists(st.integers(-(2**70), 2**70), max_size=12))
def test_powers_of_each(exponents):
    values = bases(len(exponents))
    expected = [gmpy2.powmod(b, x, MODULUS) for b, x in zip(values, exponents, strict=True)]
    assert powers_of_each(values, exponents, MODULUS) == expected


def test_a_base_that_is_no_unit_is_refused():
    with pytest.raises(CryptoError):
        FixedBase(ROOT * 3, ROOT, 3)
    with pytest.raises(CryptoError):
        products_of_powers([ROOT] * 3, np.array([[5, -3]] * 3), ROOT)


@given(st.lists(st.binary(min_size=3, max_size=3), max_size=5))
def test_fixed_base(exponents):
    table = FixedBase(mpz(7), ROOT, 3)
    expected = [gmpy2.powmod(7, int.from_bytes(e, "little"), MODULUS) for e in exponents]
    assert table.powers(b"".join(exponents)) == expected
