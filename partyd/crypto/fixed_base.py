"""Many powers of one base: the obfuscators h^a of Damgård-Jurik-Nielsen encryption.

A table holds base^(d 2^(w i)) for each window i of w bits and each digit d, so that a power takes one product for each
window and no squaring (Brickell, Gordon, McCurley and Wilson 1992). The entries are units (``multiexp``): the a are
multiplied, two at a time, and the t are added up as arrays of 32-bit words. The wider the window, the fewer the
products and the longer it takes to make the table, so it is made small at first and anew when the base turns out to be
used much: ``WINDOWS`` says from how many powers on which window pays. ``budget`` bounds the table's memory.
"""

from __future__ import annotations

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.multiexp import finished, product_of, series, units

WINDOWS = ((0, 5), (400, 8), (8000, 10))
"""Powers taken so far, and the window that pays from then on."""
BUDGET = 32 << 20
OVERHEAD = 80
"""Bytes of an entry beside its two numbers: the object, its block of memory, the place in the list."""
BLOCK = 256
"""Powers whose digits are laid out at once."""
Digits = NDArray[np.int64]


class FixedBase:
    """Raise ``base`` to exponents of ``size`` bytes modulo ``root``^2; raises CryptoError if it has no inverse."""

    def __init__(self, base: mpz, root: mpz, size: int, budget: int = BUDGET) -> None:
        self._base, self._root, self._size, self._budget = base, root, size, budget
        self._asked, self._table = 0, _Table(base, root, 8 * size, self._window(0))

    def powers(self, exponents: bytes) -> list[mpz]:
        """Return base^a for each ``size`` bytes of ``exponents``, read as a little-endian number a."""
        self._asked += len(exponents) // self._size
        window, table = self._window(self._asked), self._table
        if window > table.window:
            self._table = table = _Table(self._base, self._root, 8 * self._size, window)
        digits = np.frombuffer(exponents, np.uint8).reshape(-1, self._size)
        return [power for at in range(0, len(digits), BLOCK) for power in table.powers(digits[at : at + BLOCK])]

    def _window(self, asked: int) -> int:
        """Return the widest window that pays and fits the budget."""
        entry = 2 * -(-self._root.bit_length() // 8) + OVERHEAD
        fitting = [w for _, w in WINDOWS if -(-8 * self._size // w) * entry << w <= self._budget]
        return max(w for uses, w in WINDOWS if uses <= asked and w in (fitting or [WINDOWS[0][1]]))


class _Table:
    """Entry ``d + (i << window)`` of the table stands for base^(d 2^(window i))."""

    def __init__(self, base: mpz, root: mpz, bits: int, window: int) -> None:
        self.window, self._root, self._rows = window, root, -(-bits // window)
        self._factors: list[mpz] = []
        totals: list[NDArray[np.uint32]] = []
        for _ in range(self._rows):
            unit = units([base], root)[0]
            row = [each for each, _ in series(unit, unit, (1 << window) - 1, root)]
            self._factors += [mpz(1), *(a for a, _ in row)]
            totals.append(_words([mpz(0), *(t for _, t in row)], -(-root.bit_length() // 32)))
            base = finished(*row[-1], root) * base % (root * root)
        self._totals = np.concatenate(totals)

    def powers(self, exponents: NDArray[np.uint8]) -> list[mpz]:
        """Return base^a for each row of ``exponents``, the bytes of a."""
        root, modulus, factors = self._root, self._root * self._root, self._factors
        digits = self._digits(exponents)
        products = [product_of([factors[i] for i in row], modulus) for row in digits.tolist()]
        return [finished(p, t, root) for p, t in zip(products, self._sums(digits), strict=True)]

    def _digits(self, exponents: NDArray[np.uint8]) -> Digits:
        """Return the place in the table of each digit of each exponent."""
        bits = np.unpackbits(exponents, axis=1, bitorder="little")
        padded = np.pad(bits, ((0, 0), (0, self._rows * self.window - bits.shape[1])))
        values = padded.reshape(len(bits), self._rows, self.window) @ (1 << np.arange(self.window))
        return np.asarray(values + (np.arange(self._rows) << self.window), dtype=np.int64)

    def _sums(self, digits: Digits) -> list[mpz]:
        """Return the sum of the totals that each row of ``digits`` chooses."""
        sums = self._totals.take(digits, axis=0).sum(axis=1, dtype=np.uint64)
        low, high = _numbers(sums & np.uint64(0xFFFFFFFF)), _numbers(sums >> np.uint64(32))
        return [lower + (upper << 32) for lower, upper in zip(low, high, strict=True)]


def _words(numbers: list[mpz], count: int) -> NDArray[np.uint32]:
    """Return each number as a row of ``count`` 32-bit words, the lowest first."""
    data = b"".join(int(number).to_bytes(4 * count, "little") for number in numbers)
    return np.frombuffer(data, "<u4").reshape(len(numbers), count)


def _numbers(words: NDArray[np.uint64]) -> list[mpz]:
    """Return the number in each row of 32-bit words."""
    data, size = words.astype("<u4").tobytes(), 4 * words.shape[1]
    return [mpz.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
