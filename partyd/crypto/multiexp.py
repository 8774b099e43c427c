"""Many powers modulo a square at once: fixed bases, products of powers, inverses.

Paillier computes modulo n^2 (and p^2). A number x = x_0 + x_1 n below n^2 is kept *split* as the pair (x_0, x_1) in
long products: x y = x_0 y_0 + (x_0 y_1 + x_1 y_0) n (mod n^2), three products and two reductions of half the length,
which takes a tenth to a third less time than one product and one reduction of the full length. ``root`` is the n whose
square is the modulus.

Numbers that many products take from a table are kept as *units* (a, t), which stands for a (1 + t n) with a below n: in
a product the t of all factors add up, and what is left is to multiply x by a, half as long. That takes two thirds of
the time of a split product.

``products_of_powers`` computes P_j = prod_i b_i^(x_ij) for a whole matrix of signed machine words, which is what
``X.T @ [[d]]`` is under Paillier. Two methods share the work (Bernstein, "Pippenger's exponentiation algorithm",
2002, reviews both):

- Straus with signed sliding windows (w-NAF): odd powers b, b^3, ... b^(2^(w-1)-1) of each base are made once for all
  columns; a column then takes one product per non-zero digit, and non-zero digits have density 1/(w+1). Positive and
  negative digits are gathered in a numerator and a denominator, so that nothing is inverted but one number per
  column.
- Pippenger's buckets, digits with the entry's sign: nothing is made per base but its inverse (in a batch), and each
  window of w bits takes one product per row and two per bucket. Better for few columns and many rows.

``_plan`` counts what each would take and picks the cheaper. Zeros take none. Timing depends on the
exponents; whoever can time this process is inside the organisation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.errors import CryptoError

STRAUS_ROWS = 1024
"""Rows per table of odd powers: bounds its memory (32 powers of 512 bytes each: 16 MB)."""
TABLE_COST = 2.5
"""What an entry of a table of units costs, cache included, in products with one."""
SPLIT_COST = 1.4
"""What a product of split numbers costs in the same."""
STRAUS_COLUMNS = 512
"""Columns whose digits are laid out at once."""
Split = tuple[mpz, mpz]
Unit = tuple[mpz, mpz]
ONE: Split = (mpz(1), mpz(0))


class FixedBase:
    """Raise one base to many exponents of ``size`` bytes with a table of 255 powers per byte (Brickell et al. 1992)."""

    def __init__(self, base: mpz, root: mpz, size: int) -> None:
        self._root, self._rows = root, list[list[Unit]]()
        for _ in range(size):
            (unit,) = _units([base], root)
            row = _series(unit, unit, 255, root)
            self._rows.append([(mpz(1), mpz(0)), *(power for power, _ in row)])
            base = _finished(*row[-1][0], root) * base % (root * root)

    def powers(self, exponents: bytes) -> list[mpz]:
        """Return base^a for each ``size`` bytes of ``exponents``, read as a little-endian number a.

        Byte by byte for all of them, so that one row of the table is in use at a time and stays in the cache.
        """
        size, root, modulus = len(self._rows), self._root, self._root**2
        count = len(exponents) // size
        products, totals = [mpz(1)] * count, [mpz(0)] * count
        for position, row in enumerate(self._rows):
            units = [row[digit] for digit in exponents[position::size]]
            products = [product * a % modulus for product, (a, _) in zip(products, units, strict=True)]
            totals = [total + t for total, (_, t) in zip(totals, units, strict=True)]
        return [_finished(product, total, root) for product, total in zip(products, totals, strict=True)]


def _units(numbers: Sequence[mpz], root: mpz) -> list[tuple[Unit, mpz]]:
    """Return each number as a unit, and beside it 1 / a modulo ``root``; raises CryptoError where there is none."""
    split = [_split(number, root) for number in numbers]
    inverses = invert_all([low for low, _ in split], root)
    return [((low, high * i % root), i) for (low, high), i in zip(split, inverses, strict=True)]


def _series(first: tuple[Unit, mpz], ratio: tuple[Unit, mpz], count: int, root: mpz) -> list[tuple[Unit, mpz]]:
    """Return first, first * ratio, first * ratio^2, ... as units with their inverses.

    a b = c + q n is c (1 + (q / c) n), so the carry joins the t.
    """
    series, ((a, t), inverse), ((b, more), shrink) = [first], first, ratio
    for _ in range(count - 1):
        carry, a = gmpy2.f_divmod(a * b, root)
        inverse = inverse * shrink % root
        t = (t + more + carry * inverse) % root
        series.append(((a, t), inverse))
    return series


def _finished(product: mpz, total: mpz, root: mpz) -> mpz:
    """Return product (1 + total n) modulo n^2."""
    return (product + product * total % root * root) % (root * root)


def _split(number: mpz, root: mpz) -> Split:
    high, low = gmpy2.f_divmod(number, root)
    return low, high


def _join(split: Split, root: mpz) -> mpz:
    return split[0] + split[1] * root


def _product(x: Split, y: Split, root: mpz) -> Split:
    """Return x y modulo root^2."""
    (a, b), (c, d) = x, y
    carry, low = gmpy2.f_divmod(a * c, root)
    return low, (a * d + b * c + carry) % root


def _square(x: Split, root: mpz) -> Split:
    a, b = x
    carry, low = gmpy2.f_divmod(a * a, root)
    return low, (2 * a * b + carry) % root


def invert_all(values: Sequence[mpz], modulus: mpz) -> list[mpz]:
    """Return all inverses with one inversion and three products each (Montgomery 1987); raises CryptoError if none."""
    if not values:
        return []
    prefixes = [values[0]]
    for value in values[1:]:
        prefixes.append(prefixes[-1] * value % modulus)
    try:
        inverse = gmpy2.invert(prefixes[-1], modulus)
    except ZeroDivisionError as error:
        raise CryptoError("a ciphertext shares a factor with the key; refuse the sender's vector") from error
    results = [inverse] * len(values)
    for i in range(len(values) - 1, 0, -1):
        results[i] = inverse * prefixes[i - 1] % modulus
        inverse = inverse * values[i] % modulus
    results[0] = inverse
    return results


def powers_of_each(bases: Sequence[mpz], exponents: Sequence[int], modulus: mpz) -> list[mpz]:
    """Return b_i^(x_i) for signed exponents; the negative ones cost three products more, not an inversion each."""
    powers = [gmpy2.powmod(b, abs(x), modulus) for b, x in zip(bases, exponents, strict=True)]
    negative = [i for i, x in enumerate(exponents) if x < 0]
    for i, inverse in zip(negative, invert_all([powers[i] for i in negative], modulus), strict=True):
        powers[i] = inverse
    return powers


def products_of_powers(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz) -> list[mpz]:
    """Return prod_i b_i^(x_ij) mod root^2 for each column j of ``exponents``, whose entries lie within 2^62."""
    plan = _plan(exponents)
    if plan.method == "pippenger":
        return _pippenger(bases, exponents, root, plan)
    results, modulus = [mpz(1)] * exponents.shape[1], root * root
    for top in range(0, len(bases), STRAUS_ROWS):
        rows = slice(top, top + STRAUS_ROWS)
        parts = _straus(bases[rows], exponents[rows], root, plan)
        results = [result * part % modulus for result, part in zip(results, parts, strict=True)]
    return results


def naive_products(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz) -> list[mpz]:
    """Return what ``products_of_powers`` must return, one power at a time: the oracle of the tests."""
    results, modulus = [], root * root
    for column in exponents.T.tolist():
        product = mpz(1)
        for base, x in zip(bases, column, strict=True):
            product = product * gmpy2.powmod(base, x, modulus) % modulus
        results.append(product)
    return results


@dataclass(frozen=True)
class Plan:
    """A method, its window and the bits of the largest exponent."""

    method: str
    window: int
    bits: int


def _plan(exponents: NDArray[np.int64]) -> Plan:
    rows, columns = exponents.shape
    bits = int(np.abs(exponents).max(initial=0)).bit_length()
    entries = int(np.count_nonzero(exponents))
    choices: list[tuple[float, Plan]] = []
    for w in range(2, 9):
        squarings = 2 * bits * columns * -(-rows // STRAUS_ROWS)
        straus = TABLE_COST * rows * (1 << (w - 2)) + entries * bits / (w + 1) + SPLIT_COST * squarings
        choices.append((straus, Plan("straus", w, bits)))
    for w in range(2, 17):
        pippenger = 3 * rows + -(-bits // w) * (entries + (columns << (w + 1))) + bits * columns
        choices.append((SPLIT_COST * pippenger, Plan("pippenger", w, bits)))
    return min(choices, key=lambda choice: choice[0])[1]


def _straus(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz, plan: Plan) -> list[mpz]:
    per_base, modulus = 1 << (plan.window - 2), root * root
    table: list[Unit] = []
    for unit in _units(bases, root):
        square = _series(unit, unit, 2, root)[-1]
        table += [power for power, _ in _series(unit, square, per_base, root)]
    above, below = [], []
    for left in range(0, exponents.shape[1], STRAUS_COLUMNS):
        digits = _naf_digits(exponents[:, left : left + STRAUS_COLUMNS], plan)
        for column in range(digits.shape[2]):
            above.append(_interleave(table, per_base, digits[:, :, column], root))
            below.append(_interleave(table, per_base, -digits[:, :, column], root))
    return [a * b % modulus for a, b in zip(above, invert_all(below, modulus), strict=True)]


def _naf_digits(exponents: NDArray[np.int64], plan: Plan) -> NDArray[np.int16]:
    """Return w-NAF digits (most significant position first, row, column): odd or zero, below 2^(w-1) in magnitude."""
    rest, full, half = exponents.copy(), 1 << plan.window, 1 << (plan.window - 1)
    digits = np.zeros((plan.bits + 1, *exponents.shape), dtype=np.int16)
    for position in range(plan.bits, -1, -1):
        digit = np.where(rest & 1, ((rest + half) & (full - 1)) - half, 0)
        digits[position] = digit
        rest = (rest - digit) >> 1
    return digits


def _interleave(table: list[Unit], per_base: int, digits: NDArray[np.int16], root: mpz) -> mpz:
    """Return the product over the positive digits of one column: a squaring per position, a product per digit."""
    positions, rows = np.nonzero(digits > 0)
    counts = np.bincount(positions, minlength=len(digits)).tolist()
    factors = iter((rows * per_base + (digits[positions, rows] >> 1)).tolist())
    product, total, modulus = mpz(1), mpz(0), root * root
    for count in counts:
        product, total = product * product % modulus, 2 * total
        for factor in islice(factors, count):
            a, t = table[factor]
            product = product * a % modulus
            total += t
    return _finished(product, total, root)


def _pippenger(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz, plan: Plan) -> list[mpz]:
    inverses = invert_all(bases, root * root) if np.any(exponents < 0) else []
    signed = [_split(base, root) for base in (*bases, *inverses)]
    results = []
    for column in range(exponents.shape[1]):
        product = ONE
        for digits in _radix_digits(exponents[:, column], plan):
            for _ in range(plan.window if product != ONE else 0):
                product = _square(product, root)
            product = _product(product, _buckets(signed, len(bases), digits, 1 << plan.window, root), root)
        results.append(_join(product, root))
    return results


def _radix_digits(column: NDArray[np.int64], plan: Plan) -> Iterator[NDArray[np.int64]]:
    """Yield the digits of |x| to base 2^w with the sign of x, the most significant first."""
    magnitude, sign = np.abs(column), np.sign(column)
    for shift in range((plan.bits - 1) // plan.window * plan.window, -1, -plan.window):
        yield ((magnitude >> shift) & ((1 << plan.window) - 1)) * sign


def _buckets(signed: list[Split], rows: int, digits: NDArray[np.int64], size: int, root: mpz) -> Split:
    """Return prod_i b_i^(digit_i): gather equal digits, then take running products from the largest down."""
    filled: list[Split | None] = [None] * size
    used = np.flatnonzero(digits)
    sources = (used + rows * (digits[used] < 0)).tolist()
    for source, digit in zip(sources, np.abs(digits[used]).tolist(), strict=True):
        bucket = filled[digit]
        filled[digit] = signed[source] if bucket is None else _product(bucket, signed[source], root)
    running, total = ONE, ONE
    for bucket in reversed(filled[1:]):
        if bucket is not None:
            running = _product(running, bucket, root)
        if running is not ONE:
            total = _product(total, running, root)
    return total
