"""Many powers modulo a square at once: products of powers, inverses, plain products.

Paillier computes modulo n^2 (and p^2); ``root`` is the number whose square is the modulus. A number that many products
take is kept as a *unit* (a, t), which stands for a (1 + t n) with a below n: in a product the t add up, and what is
left is to multiply the a, half as long. Two of them are multiplied first, which needs no reduction, and then their
product into the running one: a unit takes half the time of a number modulo n^2. Making one takes a share in a batch
inversion modulo n, and gives the inverse of a besides: 1 / (a (1 + t n)) is the unit (a', -t - q), if a a' = 1 + q n.

``products_of_powers`` computes P_j = prod_i b_i^(x_ij) for a whole matrix of signed machine words, which is what
``X.T @ [[d]]`` is under Paillier. Two methods share the work (Bernstein, "Pippenger's exponentiation algorithm",
2002, reviews both):

- Straus with signed sliding windows (w-NAF): odd powers b, b^3, ... b^(2^(w-1)-1) of each base are made once for all
  columns; a column then takes one product per non-zero digit, and non-zero digits have density 1/(w+1). Positive and
  negative digits are gathered in a numerator and a denominator, so that nothing is inverted but one number per
  column.
- Pippenger's buckets with signed digits: each base and its inverse become units, once for all columns. Each window of w
  bits of a column takes one product per row and two per bucket, of which there are 2^(w-1). Better for many rows. The t
  need no buckets: they come to sum_i x_ij t_i.

``_plan`` counts what each would take and picks the cheapest. Zeros take none. Timing depends on the exponents; whoever
can time this process is inside the organisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from operator import mod, mul

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.errors import CryptoError

STRAUS_ROWS = 1024
"""Rows per table of odd powers: bounds its memory (32 powers of 600 bytes each: 20 MB)."""
STRAUS_COLUMNS = 512
"""Columns whose digits are laid out at once."""
FULL_COST = 1.9
"""What a product modulo n^2 takes; all costs are in products with a unit."""
ENTRY_COST = 2.2
"""What an entry of a table of odd powers takes."""
UNIT_COST = 3.8
"""What it takes to make a base and its inverse units."""
ONE = mpz(1)
Unit = tuple[mpz, mpz]


# -- units and inverses -------------------------------------------------------------------


def units(numbers: Sequence[mpz], root: mpz) -> list[tuple[Unit, mpz]]:
    """Return each number as a unit, and beside it 1 / a modulo ``root``; raises CryptoError where there is none."""
    split = [gmpy2.f_divmod(number, root) for number in numbers]
    inverses = invert_all([low for _, low in split], root)
    return [((low, high * i % root), i) for (high, low), i in zip(split, inverses, strict=True)]


def series(first: tuple[Unit, mpz], ratio: tuple[Unit, mpz], count: int, root: mpz) -> list[tuple[Unit, mpz]]:
    """Return first, first * ratio, first * ratio^2, ... as units with their inverses.

    a b = c + q n is c (1 + (q / c) n), so the carry joins the t.
    """
    found, ((a, t), inverse), ((b, more), shrink) = [first], first, ratio
    for _ in range(count - 1):
        carry, a = gmpy2.f_divmod(a * b, root)
        inverse = inverse * shrink % root
        t = (t + more + carry * inverse) % root
        found.append(((a, t), inverse))
    return found


def finished(product: mpz, total: mpz, root: mpz) -> mpz:
    """Return product (1 + total n) modulo n^2."""
    return (product + product * total % root * root) % (root * root)


def product_of(values: Sequence[mpz], modulus: mpz, start: mpz = ONE) -> mpz:
    """Return ``start`` times all ``values``, two at a time where they are half as long as ``modulus``."""
    if values and 2 * values[0].bit_length() <= modulus.bit_length() + 1:
        if len(values) % 2:
            start = start * values[-1] % modulus
        halves = iter(values)
        for a, b in zip(halves, halves, strict=False):
            start = start * (a * b) % modulus
        return start
    for value in values:
        start = start * value % modulus
    return start


def products_of_pairs(left: Iterable[mpz], right: Iterable[mpz], modulus: mpz) -> list[mpz]:
    """Return the product of each left number and its right one, in a loop that Python does not interpret."""
    return list(map(mod, map(mul, left, right), repeat(modulus)))


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


def invert_squares(values: Sequence[mpz], root: mpz) -> list[mpz]:
    """Return all inverses modulo root^2: those modulo ``root``, half as long, and a step of Newton's method."""
    modulus, inverses = root * root, invert_all([value % root for value in values], root)
    return [y * (2 - x * y) % modulus for x, y in zip(values, inverses, strict=True)]


# -- powers -------------------------------------------------------------------------------


def powers_of_each(bases: Sequence[mpz], exponents: Sequence[int], root: mpz) -> list[mpz]:
    """Return b_i^(x_i) modulo root^2 for signed exponents; the negative ones share one inversion."""
    modulus = root * root
    powers = [gmpy2.powmod(b, abs(x), modulus) for b, x in zip(bases, exponents, strict=True)]
    negative = [i for i, x in enumerate(exponents) if x < 0]
    for i, inverse in zip(negative, invert_squares([powers[i] for i in negative], root), strict=True):
        powers[i] = inverse
    return powers


def products_of_powers(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz) -> list[mpz]:
    """Return prod_i b_i^(x_ij) mod root^2 for each column j of ``exponents``, whose entries lie within 2^62."""
    plan = _plan(exponents)
    if plan.method == "pippenger":
        return _pippenger(bases, exponents, root, plan)
    results, modulus = [ONE] * exponents.shape[1], root * root
    for top in range(0, len(bases), STRAUS_ROWS):
        rows = slice(top, top + STRAUS_ROWS)
        results = products_of_pairs(results, _straus(bases[rows], exponents[rows], root, plan), modulus)
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
    """A method, its window, the bits of the largest exponent, and whether it makes the bases units."""

    method: str
    window: int
    bits: int
    units: bool = True

    @property
    def digits(self) -> int:
        """The windows of an exponent."""
        return -(-self.bits // self.window)


def _plan(exponents: NDArray[np.int64]) -> Plan:
    rows, columns = exponents.shape
    bits = int(np.abs(exponents).max(initial=0)).bit_length()
    entries = int(np.count_nonzero(exponents))
    choices: list[tuple[float, Plan]] = []
    for w in range(2, 9):
        squarings = 2 * bits * columns * -(-rows // STRAUS_ROWS)
        straus = ENTRY_COST * rows * (1 << (w - 2)) + entries * max(bits / (w + 1), 1) + FULL_COST * squarings
        choices.append((straus, Plan("straus", w, bits)))
    plans = [Plan("pippenger", w, bits) for w in range(1, 17)]
    if bits <= 8 and not np.any(exponents < 0):
        plans.append(Plan("pippenger", max(bits, 1), bits, units=False))
    choices += [(_pippenger_cost(plan, rows, columns, entries), plan) for plan in plans]
    return min(choices, key=lambda choice: choice[0])[1]


def _pippenger_cost(plan: Plan, rows: int, columns: int, entries: int) -> float:
    """Count the units, the rows in buckets, and the buckets, whose first row takes no product."""
    whole = max(plan.digits - 1, 0)
    buckets = columns * ((whole << (plan.window - 1)) + (1 << (plan.bits - plan.window * whole)))
    filled = min(buckets, entries * plan.digits)
    products = FULL_COST * (filled + buckets + plan.bits * columns) - filled
    if not plan.units:
        return FULL_COST * entries + products
    return UNIT_COST * rows + entries * plan.digits + products


# -- Straus -------------------------------------------------------------------------------


def _straus(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz, plan: Plan) -> list[mpz]:
    per_base = 1 << (plan.window - 2)
    table: list[Unit] = []
    for unit in units(bases, root):
        square = series(unit, unit, 2, root)[-1]
        table += [power for power, _ in series(unit, square, per_base, root)]
    above, below = [], []
    for left in range(0, exponents.shape[1], STRAUS_COLUMNS):
        digits = _naf_digits(exponents[:, left : left + STRAUS_COLUMNS], plan)
        for column in range(digits.shape[2]):
            above.append(_interleave(table, per_base, digits[:, :, column], root))
            below.append(_interleave(table, per_base, -digits[:, :, column], root))
    return products_of_pairs(above, invert_squares(below, root), root * root)


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
    ends = np.cumsum(np.bincount(positions, minlength=len(digits))).tolist()
    chosen = [table[i] for i in (rows * per_base + (digits[positions, rows] >> 1)).tolist()]
    factors, totals = [a for a, _ in chosen], [t for _, t in chosen]
    product, total, modulus = ONE, mpz(0), root * root
    for start, end in pairwise([0, *ends]):
        product = product_of(factors[start:end], modulus, product * product % modulus)
        total = sum(totals[start:end], 2 * total)
    return finished(product, total, root)


# -- Pippenger ----------------------------------------------------------------------------


def _pippenger(bases: Sequence[mpz], exponents: NDArray[np.int64], root: mpz, plan: Plan) -> list[mpz]:
    pool = _Pool.of(bases, root, plan)
    results, modulus = [], root * root
    for column in range(exponents.shape[1]):
        entries = exponents[:, column]
        product = ONE
        digits = _signed_digits(entries, plan)
        for each in reversed(digits):
            if product != ONE:
                product = gmpy2.powmod(product, 1 << plan.window, modulus)
            product = product * _buckets(pool.factors, each, modulus) % modulus
        results.append(finished(product, pool.total(entries, digits, plan.window), root) if pool.totals else product)
    return results


@dataclass(frozen=True)
class _Pool:
    """What the buckets take: the factors of all bases, then of their inverses; what to add up for each base.

    ``carries`` are the q of the inverses. Without units the factors are the bases, and no digit may be negative.
    """

    factors: list[mpz]
    totals: list[mpz]
    carries: list[mpz]

    @classmethod
    def of(cls, bases: Sequence[mpz], root: mpz, plan: Plan) -> _Pool:
        if not plan.units:
            return cls(list(bases), [], [])
        found = units(bases, root)
        factors, totals = [a for (a, _), _ in found], [t for (_, t), _ in found]
        inverses = [inverse for _, inverse in found]
        return cls(factors + inverses, totals, [a * i // root for a, i in zip(factors, inverses, strict=True)])

    def total(self, entries: NDArray[np.int64], digits: list[NDArray[np.int64]], window: int) -> mpz:
        """Return the t of a column: sum_i x_i t_i, less the carries of the inverses as often as they were taken."""
        taken = np.zeros(len(entries), dtype=np.int64)
        for position, each in enumerate(digits):
            taken += np.where(each < 0, -each, 0) << (position * window)
        return sum(map(mul, self.totals, entries.tolist()), mpz(0)) - sum(
            map(mul, self.carries, taken.tolist()), mpz(0)
        )


def _signed_digits(column: NDArray[np.int64], plan: Plan) -> list[NDArray[np.int64]]:
    """Return the digits to base 2^w, the least significant first, all but the last in [-2^(w-1), 2^(w-1))."""
    rest, half, digits = column, 1 << (plan.window - 1), list[NDArray[np.int64]]()
    for _ in range(plan.digits - 1):
        digit = ((rest + half) & ((1 << plan.window) - 1)) - half
        digits.append(digit)
        rest = (rest - digit) >> plan.window
    return [*digits, rest] if plan.digits else []


def _buckets(factors: list[mpz], digits: NDArray[np.int64], modulus: mpz) -> mpz:
    """Return prod_i b_i^(digit_i): gather equal digits, then take running products from the largest down."""
    sizes = np.abs(digits)
    used = np.argsort(sizes, kind="stable")[len(digits) - int(np.count_nonzero(digits)) :]
    ends = np.cumsum(np.bincount(sizes)[1:]).tolist()
    chosen = [factors[i] for i in (used + len(digits) * (digits[used] < 0)).tolist()]
    running = total = ONE
    for start, end in reversed(list(pairwise([0, *ends]))):
        if start < end:
            running = running * product_of(chosen[start:end], modulus) % modulus
        total = total * running % modulus
    return total
