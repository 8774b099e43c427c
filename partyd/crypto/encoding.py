"""Numbers as integers with one exponent per vector: what stands inside a Paillier ciphertext.

Derivation. Paillier hides integers modulo n. We write a real vector v as integers m and one exponent e, v = m * 2^e,
with m the rounding of v * 2^-e half to even, so that the error is at most 2^(e-1) for every element; integers are
exact for e <= 0. The exponent is not encrypted. It would tell the size of the numbers if it were chosen from them
(`phe` does so by default), so it is chosen by the protocol: the default e = -40 resolves 1e-12, and whoever encrypts
or adds may name another, down to -4096. Base 2 is `phe`'s base 16 where 4 divides e.

Signs: m >= 0 stands as m, m < 0 as n + m. A number below n/3 is positive, above 2n/3 negative; the third between is
never produced, as in `phe`, so a sum that went wrong by less than n/3 is noticed at decryption.

Overflow: each vector carries a bound B >= |m| that only grows: sums add bounds, products multiply them, 2^k shifts
them. An operation whose result may exceed ``capacity(n)`` = n/3 - 1 raises EncodingOverflow before it computes
anything: the answer is never wrong by wrapping around. B goes over the wire (as a bit length, so that the receiver
can go on counting), therefore B may not depend on the data either: it is computed from a *declared* magnitude of the
inputs (default 2^32), and encoding a larger number raises EncodingOverflow. With the defaults a value takes 72 bits
and a matrix entry 56, so a 2048-bit key leaves room for a dozen products in a row.

Rounding is the only loss. After encoding, every operation on vectors is exact integer arithmetic, so results do not
depend on the order of the operations.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import index

import numpy as np
from numpy.typing import ArrayLike, NDArray

from partyd.errors import CryptoError, EncodingOverflow

EXPONENT = -40
"""Default exponent of values: a resolution of 2^-40."""
MATRIX_EXPONENT = -24
"""Default exponent of plaintext factors: products cost one bit of exponentiation per bit of these."""
MAGNITUDE = 2.0**32
"""What values and factors stay below unless the caller declares otherwise."""
WORD_BITS = 62
"""Plaintext factors fit a machine word, sign and one spare bit included."""
MAX_EXPONENT = 4096
"""How fine or coarse a vector may be: beyond it, a magnitude could take a needless gigabyte to write down."""

Integers = NDArray[np.int64]


def capacity(n: int) -> int:
    """Return the largest |m| that a plaintext modulo ``n`` may hold: a third, as in `phe`."""
    return n // 3 - 1


@dataclass(frozen=True)
class Encoded:
    """Integers that mean ``integers * 2^exponent``; ``bound`` is declared, not measured."""

    integers: list[int]
    exponent: int
    bound: int

    def __neg__(self) -> Encoded:
        return Encoded([-m for m in self.integers], self.exponent, self.bound)


def encode(values: ArrayLike, exponent: int = EXPONENT, magnitude: float = MAGNITUDE) -> Encoded:
    """Return one-dimensional ``values`` at ``exponent``; raises EncodingOverflow beyond ``magnitude``, for NaN too."""
    array = _checked(values, magnitude)
    if array.ndim != 1:
        raise CryptoError(f"a vector has one dimension, not {array.ndim}; reshape it")
    bound = bound_of(magnitude, exponent)
    if array.dtype.kind in "iub":
        return Encoded([_shifted(int(value), -exponent) for value in array.tolist()], exponent, bound)
    scaled = np.rint(_scaled(array, -exponent))
    return Encoded([int(value) for value in scaled.tolist()], exponent, bound)


def declared(integers: Sequence[int], bits: int, exponent: int) -> Encoded:
    """Return ``integers`` as they are; raises EncodingOverflow unless all lie below 2^bits in magnitude."""
    whole = [index(m) for m in integers]
    if any(abs(m) >> bits for m in whole):
        raise EncodingOverflow(f"an integer exceeds the declared {bits} bits; declare more")
    return Encoded(whole, exponent, (1 << bits) - 1)


def encode_factors(values: ArrayLike, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE) -> FactorArray:
    """Return an array of any shape as machine words for products; integers keep exponent 0 and are exact."""
    array = _checked(values, magnitude)
    if array.dtype.kind == "b":
        return FactorArray(array.astype(np.int64), 0, 1)
    used = 0 if array.dtype.kind in "iu" else exponent
    bound = bound_of(magnitude, used)
    if bound.bit_length() > WORD_BITS:
        raise EncodingOverflow(
            f"factors up to {magnitude:g} at 2^{used} take {bound.bit_length()} bits, over {WORD_BITS}; "
            "declare a smaller magnitude or a coarser exponent"
        )
    scaled = array if array.dtype.kind in "iu" else np.rint(_scaled(array, -used))
    return FactorArray(scaled.astype(np.int64), used, bound)


@dataclass(frozen=True)
class FactorArray:
    """Plaintext factors: machine words that mean ``words * 2^exponent``."""

    words: Integers
    exponent: int
    bound: int


def decode(integers: Iterable[int], exponent: int) -> NDArray[np.float64]:
    """Return the nearest doubles to ``integers * 2^exponent``; raises EncodingOverflow beyond the range of doubles."""
    try:
        if exponent < 0:
            return np.array([int(m) / (1 << -exponent) for m in integers], dtype=np.float64)
        return np.array([float(int(m) << exponent) for m in integers], dtype=np.float64)
    except OverflowError as error:
        raise EncodingOverflow("a decoded number exceeds a double; keep it as integers") from error


def exact_scalar(value: float) -> tuple[int, int]:
    """Return (m, e) with ``value == m * 2^e`` exactly: a scalar is a public constant, so nothing is rounded."""
    if isinstance(value, (int, np.integer)):
        return int(value), 0
    if not np.isfinite(value):
        raise EncodingOverflow(f"{value} cannot multiply a ciphertext; it must be finite")
    numerator, denominator = float(value).as_integer_ratio()
    return numerator, -(denominator.bit_length() - 1)


def bound_of(magnitude: float, exponent: int) -> int:
    """Return the bound on integers at ``exponent`` whose values stay within ``magnitude``."""
    insist_on_exponent(exponent)
    if not 0 <= magnitude < np.inf:
        raise EncodingOverflow(f"a magnitude of {magnitude} bounds nothing; declare a finite one that is not negative")
    numerator, denominator = float(magnitude).as_integer_ratio()
    return -(-(numerator << max(-exponent, 0)) // (denominator << max(exponent, 0)))


def insist_on_exponent(exponent: int) -> None:
    """Raise EncodingOverflow unless a vector may have ``exponent``."""
    if abs(exponent) > MAX_EXPONENT:
        raise EncodingOverflow(f"an exponent of {exponent} is beyond {MAX_EXPONENT}; scale the numbers")


def _scaled(array: NDArray[np.float64] | NDArray[np.int64], shift: int) -> NDArray[np.float64]:
    """Return ``array * 2^shift``; raises EncodingOverflow beyond the range of doubles."""
    with np.errstate(over="ignore"):
        scaled = np.ldexp(array.astype(np.float64), shift)
    if not np.all(np.isfinite(scaled)):
        raise EncodingOverflow(f"a value at 2^{-shift} exceeds a double; use a coarser exponent, or integers")
    return scaled


def _shifted(value: int, shift: int) -> int:
    """Return ``value * 2^shift`` rounded half to even."""
    return value << shift if shift >= 0 else round(Fraction(value, 1 << -shift))


def _checked(values: ArrayLike, magnitude: float) -> NDArray[np.float64] | NDArray[np.int64]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise EncodingOverflow(f"an array of {array.dtype} holds no numbers that can be encoded; convert it to float64")
    # Integers are compared as such: beyond 2^53 a double might agree with its neighbours.
    limit = int(magnitude) if array.dtype.kind in "iu" and np.isfinite(magnitude) else magnitude
    inside = (array <= limit) & (array >= -limit)
    if not bool(np.all(inside)):
        raise EncodingOverflow(
            f"{int(np.sum(~inside))} of {array.size} values are not within the declared magnitude {magnitude:g}; "
            "scale the data or declare a larger magnitude"
        )
    return array
