from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partyd.crypto import multiexp
from partyd.crypto.multiexp import (
    Plan,
    invert_all,
    invert_squares,
    naive_products,
    powers_of_each,
    product_of,
    products_of_pairs,
    products_of_powers,
)
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


@pytest.mark.parametrize("top", [1, 2, 2**20, 2**61])
@pytest.mark.parametrize("window", [1, 2, 4, 7, 16])
def test_buckets_agree_for_every_size_of_entry(window, top):
    exponents = np.random.default_rng(window).integers(-top, top + 1, (9, 3))
    exponents[:2] = [[top, -top, 0], [1 - top, top - 1, -top]]
    plan = Plan("pippenger", window, top.bit_length())
    assert multiexp._pippenger(bases(9), exponents, ROOT, plan) == naive_products(bases(9), exponents, ROOT)


def test_choices_of_rows_are_plain_products():
    """Entries of 0 and 1 in few columns: to make units of the rows would not pay."""
    exponents = (np.arange(40).reshape(40, 1) % 3 == 0).astype(np.int64)
    plan = multiexp._plan(exponents)
    assert not plan.units
    assert products_of_powers(bases(40), exponents, ROOT) == naive_products(bases(40), exponents, ROOT)


def test_zeros_take_no_product():
    sparse = np.zeros((500, 4), np.int64)
    sparse[::100] = -3
    plan = Plan("pippenger", 2, 2)
    assert multiexp._pippenger_cost(plan, 500, 4, entries=20) < multiexp._pippenger_cost(plan, 500, 4, entries=2000)
    assert products_of_powers(bases(500), sparse, ROOT) == naive_products(bases(500), sparse, ROOT)


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
    assert multiexp._plan(exponents[:100].repeat(30, axis=1)).method == "straus"


@given(st.lists(st.integers(1, int(ROOT) - 1), max_size=12))
def test_inverses(values):
    numbers = [mpz(v) for v in values]
    expected = [gmpy2.invert(v, MODULUS) for v in numbers]
    assert invert_all(numbers, MODULUS) == invert_squares(numbers, ROOT) == expected


@given(st.lists(st.integers(1, int(ROOT) - 1), max_size=9), st.booleans(), st.integers(1, int(MODULUS) - 1))
def test_products(values, long, start):
    numbers = [mpz(v) * ROOT + 1 if long else mpz(v) for v in values]
    expected = mpz(start)
    for number in numbers:
        expected = expected * number % MODULUS
    assert product_of(numbers, MODULUS, mpz(start)) == expected
    assert products_of_pairs(numbers, reversed(numbers), MODULUS) == [
        a * b % MODULUS for a, b in zip(numbers, reversed(numbers), strict=True)
    ]


def test_a_number_without_inverse_is_an_error():
    with pytest.raises(CryptoError):
        invert_all([mpz(2), mpz(15)], mpz(77 * 5))
    with pytest.raises(CryptoError):
        invert_squares([mpz(2), mpz(15)], mpz(77 * 5))


@given(st.lists(st.integers(-(2**70), 2**70), max_size=12))
def test_powers_of_each(exponents):
    values = bases(len(exponents))
    expected = [gmpy2.powmod(b, x, MODULUS) for b, x in zip(values, exponents, strict=True)]
    assert powers_of_each(values, exponents, ROOT) == expected


def test_a_base_that_is_no_unit_is_refused():
    with pytest.raises(CryptoError):
        products_of_powers([ROOT] * 3, np.array([[5, -3]] * 3), ROOT)
