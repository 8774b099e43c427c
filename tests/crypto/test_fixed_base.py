from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto import fixed_base
from partyd.crypto.fixed_base import FixedBase
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

ROOT = mpz(2) ** 127 - 1
MODULUS = ROOT * ROOT


def expected(base: int, exponents: bytes, size: int) -> list[mpz]:
    """Raise one power at a time: the oracle."""
    parts = [exponents[at : at + size] for at in range(0, len(exponents), size)]
    return [gmpy2.powmod(base, int.from_bytes(part, "little"), MODULUS) for part in parts]


@given(st.integers(1, 5), st.data())
def test_powers_are_those_of_one_at_a_time(size, data):
    exponents = b"".join(data.draw(st.lists(st.binary(min_size=size, max_size=size), max_size=4)))
    assert FixedBase(mpz(7), ROOT, size).powers(exponents) == expected(7, exponents, size)


@pytest.mark.parametrize("exponent", [bytes(7), b"\xff" * 7, b"\1" + bytes(6), bytes(6) + b"\x80"])
def test_extreme_exponents(exponent):
    assert FixedBase(mpz(7), ROOT, 7).powers(exponent) == expected(7, exponent, 7)


@pytest.mark.parametrize("window", [1, 3, 5, 8, 10])
def test_every_window_agrees(window, monkeypatch):
    monkeypatch.setattr(fixed_base, "WINDOWS", ((0, window),))
    exponents = Prg(bytes(32), "exponents").take(7 * 30)
    base = MODULUS - 12345
    assert FixedBase(base, ROOT, 7).powers(exponents) == expected(base, exponents, 7)


def test_the_table_grows_with_use_and_the_powers_stay(monkeypatch):
    monkeypatch.setattr(fixed_base, "WINDOWS", ((0, 2), (10, 4), (20, 6)))
    table, rng, windows = FixedBase(mpz(7), ROOT, 7), Prg(bytes(32), "exponents"), []
    for _ in range(4):
        exponents = rng.take(7 * 8)
        assert table.powers(exponents) == expected(7, exponents, 7)
        windows.append(table._table.window)
    assert windows == [2, 4, 6, 6]


def test_the_table_stays_within_its_budget(monkeypatch):
    monkeypatch.setattr(fixed_base, "WINDOWS", ((0, 2), (10, 4), (20, 10)))
    table = FixedBase(mpz(7), ROOT, 7, budget=1 << 15)
    exponents = bytes(7 * 100)
    assert table.powers(exponents) == expected(7, exponents, 7)
    assert table._table.window == 4


def test_blocks_of_powers_join(monkeypatch):
    monkeypatch.setattr(fixed_base, "BLOCK", 3)
    exponents = Prg(bytes(32), "exponents").take(5 * 10)
    assert FixedBase(mpz(7), ROOT, 5).powers(exponents) == expected(7, exponents, 5)


def test_a_base_without_inverse_is_refused():
    with pytest.raises(CryptoError):
        FixedBase(ROOT * 3, ROOT, 3)


def test_words_hold_any_total():
    numbers = [mpz(0), mpz(1), (mpz(1) << 128) - 1]
    words = fixed_base._words(numbers, 4)
    assert words.dtype == np.uint32
    assert fixed_base._numbers(words.astype(np.uint64)) == numbers
