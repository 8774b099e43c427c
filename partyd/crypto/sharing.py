"""Additive secret shares in the ring of integers modulo 2^64, and the fixed-point numbers put into it.

A value x is split as x = s + t (mod 2^64) with s uniform: either share alone is uniform whatever x is (Shamir's
additive case; SecureML section 2.2). numpy's uint64 wraps around at 2^64, so the ring costs nothing. A signed number
stands in the ring as in two's complement. Real numbers are multiplied by 2^bits and rounded half to even; sums of
``terms`` such numbers still mean what they should as long as each lies within 2^63 / terms, which ``encode`` insists
on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

Ring = NDArray[np.uint64]


def split(values: NDArray[np.uint64] | NDArray[np.int64], prg: Prg) -> tuple[Ring, Ring]:
    """Return two shares whose sum is ``values``: the first is random, the second corrects it."""
    if values.dtype not in (np.uint64, np.int64):
        raise CryptoError(f"shares are of 64-bit integers, not {values.dtype}; encode with FixedPoint first")
    share = prg.uint64(values.shape)
    return share, values.astype(np.uint64, casting="unsafe") - share


def join(*shares: Ring) -> Ring:
    """Return the sum of all shares; raises CryptoError when their shapes differ."""
    if not shares:
        raise CryptoError("nothing to join; pass one share of each party")
    total = shares[0].astype(np.uint64)
    for share in shares[1:]:
        if share.shape != total.shape or share.dtype != np.uint64:
            raise CryptoError(f"a share of {share.dtype}{share.shape} does not match the first, {total.shape}")
        total = total + share
    return total


@dataclass(frozen=True)
class FixedPoint:
    """Real numbers as ring elements with ``bits`` binary places, safe to add up to ``terms`` of them."""

    bits: int = 20
    terms: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.bits <= 52 or not 1 <= self.terms < 1 << (63 - self.bits):
            raise CryptoError(f"{self.bits} binary places and {self.terms} terms do not fit 64 bits; lower one of them")

    @property
    def limit(self) -> float:
        """What the absolute value of every encoded number stays below."""
        return float(2.0 ** (63 - self.bits)) / self.terms

    def encode(self, values: NDArray[np.float64] | NDArray[np.int64]) -> Ring:
        """Return the ring elements of ``values``; raises EncodingOverflow at ``limit`` and for NaN or infinity."""
        numbers = np.asarray(values, dtype=np.float64)
        if not bool(np.all(np.abs(numbers) < self.limit)):
            raise EncodingOverflow(
                f"a value is not below {self.limit:g} in magnitude (fixed point, {self.bits} places, "
                f"{self.terms} terms); scale the data or choose fewer places"
            )
        return np.rint(np.ldexp(numbers, self.bits)).astype(np.int64).astype(np.uint64)

    def decode(self, ring: Ring) -> NDArray[np.float64]:
        """Return the real numbers that ``ring`` stands for, read as two's complement."""
        return np.ldexp(ring.astype(np.int64).astype(np.float64), -self.bits)
