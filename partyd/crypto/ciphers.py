"""Vectors of Paillier ciphertexts: ``CipherVector`` to compute with, ``Ciphertexts`` to send.

Multiplying ciphertexts adds what they hide, powers multiply it: [[a]] [[b]] = [[a + b]], [[a]]^k = [[k a]] (Paillier
1999, section 8). So a vector of ciphertexts is added, scaled and multiplied from the left by plaintext matrices as a
numpy vector would be, and ``X.T @ c / len(c) + mask`` reads as in the plaintext algorithm. numpy steps aside
(``__array_ufunc__ = None``). Exponents and bounds are as ``encoding`` derives them; all integer arithmetic is exact.

A sum of ciphertexts with a plaintext added is *not* hidden by itself: (1 + n)^m multiplied in leaves the randomness
as it was, and whoever knows the summands' ciphertexts divides them out. Therefore a ``CipherVector`` cannot be
serialised. Only ``rerandomised`` gives ``Ciphertexts``, which can: each element is multiplied by a fresh [[0]].

Wire format of ``Ciphertexts``, big endian: version (1 byte, 1), key fingerprint (8), exponent (int32), bound bits
(uint16), count (uint32), then count numbers of 2 * len(n) bytes each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Self

import gmpy2
import numpy as np
import phe
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto import buckets, multiexp
from partyd.crypto.encoding import (
    EXPONENT,
    MAGNITUDE,
    MATRIX_EXPONENT,
    MAX_EXPONENT,
    Encoded,
    bound_of,
    declared,
    encode,
    encode_factors,
    exact_scalar,
    insist_on_exponent,
)
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, CryptoError, EncodingOverflow

if TYPE_CHECKING:
    from partyd.crypto.paillier import PublicKey

HEADER = struct.Struct(">B8siHI")
VERSION = 1
MAX_COUNT = 1 << 26
MAX_WIDTH = 2048
"""Bytes of a ciphertext under an 8192-bit key."""
Plain = NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_]
Index = int | slice | Sequence[int] | NDArray[np.intp] | NDArray[np.bool_]


class CipherVector:
    """Ciphertexts under ``key`` of integers m, |m| <= ``bound``, that mean ``m * 2^exponent``.

    Made by ``PublicKey.encrypt`` and by arithmetic. Operations raise EncodingOverflow before they could
    exceed the plaintext space, and CryptoError for a vector of another key or length. A float array is encoded at 2^-40
    when it is added and at 2^-24 when it multiplies, below a declared magnitude of 2^32; ``plus`` and ``times`` take
    others. A scalar factor is exact and its exponent shows in the result's: it must be a public constant.
    """

    __array_ufunc__ = None
    __slots__ = ("_fresh", "_values", "bound", "exponent", "key")

    def __init__(self, key: PublicKey, values: list[mpz], exponent: int, bound: int, *, _fresh: bool = False) -> None:
        key.insist_on_room(bound)
        insist_on_exponent(exponent)
        self.key, self._values, self.exponent, self.bound, self._fresh = key, values, exponent, bound, _fresh

    # -- size and choice ------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[CipherVector]:
        return (self._like([value]) for value in self._values)

    def __getitem__(self, index: Index) -> CipherVector:
        """Return the chosen elements as a vector; an integer gives a vector of one."""
        if isinstance(index, slice):
            return self._like(self._values[index])
        if isinstance(index, (int, np.integer)):
            return self._like([self._values[index]])
        chosen = np.arange(len(self))[np.asarray(index, dtype=None if len(index) else np.intp)]
        return self._like([self._values[i] for i in chosen.tolist()])

    def __repr__(self) -> str:
        return f"<CipherVector of {len(self)} under {self.key!r}, exponent {self.exponent}, {self.bound_bits} bits>"

    @property
    def bound_bits(self) -> int:
        """The bits of the bound; masks for ``add_integers`` want 40 more."""
        return self.bound.bit_length()

    @property
    def fresh(self) -> bool:
        """Whether this is an encryption that nothing was done to and that has not been let go yet."""
        return self._fresh

    # -- sums -----------------------------------------------------------------------------

    def __add__(self, other: CipherVector | Plain | float) -> CipherVector:
        if isinstance(other, CipherVector):
            return self._combine(other, negate=False)
        return self.plus(other)

    __radd__ = __add__

    def __sub__(self, other: CipherVector | Plain | float) -> CipherVector:
        if isinstance(other, CipherVector):
            return self._combine(other, negate=True)
        return self._add_encoded(-self._encoded(other))

    def __rsub__(self, other: Plain | float) -> CipherVector:
        return (-self).plus(other)

    def __neg__(self) -> CipherVector:
        return self._like(multiexp.invert_squares(self._values, self.key.n))

    def plus(self, values: Plain | float, exponent: int = EXPONENT, magnitude: float = MAGNITUDE) -> CipherVector:
        """Add plaintext ``values`` (or one for all), rounded to ``exponent`` or this vector's, whichever is finer."""
        return self._add_encoded(self._encoded(values, exponent, magnitude))

    def add_integers(self, integers: Sequence[int], bits: int) -> CipherVector:
        """Add integers below 2^bits in magnitude to the hidden integers themselves, as masks are.

        A uniform mask of ``bound_bits + 40`` bits hides the value but for a statistical distance of 2^-40.
        """
        self._insist_on_length(len(integers))
        return self._add_encoded(declared(integers, bits, self.exponent))

    def sum(self) -> CipherVector:
        """Return a vector of one: the sum of all elements."""
        bound = self.bound * max(len(self), 1)
        self.key.insist_on_room(bound)
        return self._like([multiexp.product_of(self._values, self.key.n2)], bound=bound)

    def sums_by_bin(self, bins: buckets.Bins, n_bins: int) -> CipherVector:
        """Return the sum of each bin 0..n_bins-1, element i standing in ``bins[i]``; what stands in -1 is left out.

        An empty bin's sum is the ciphertext 1. For several features at once see ``histogram.histograms``.
        """
        codes = buckets.checked_bins(bins.reshape(-1, 1), len(self), n_bins)[:, 0]
        bound = self.bound * max(len(self), 1)
        self.key.insist_on_room(bound)
        sums = buckets.Factors(self._values, [], self.key.n2).by(codes, n_bins)
        return self._like(list(sums.products), bound)

    # -- products -------------------------------------------------------------------------

    def __mul__(self, other: Plain | float) -> CipherVector:
        if np.ndim(other):
            return self.times(np.asarray(other))
        factor, exponent = exact_scalar(float(other) if isinstance(other, np.ndarray) else other)
        return self._times_integers([factor] * len(self), exponent, abs(factor))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> CipherVector:
        if not np.all(divisor):
            raise EncodingOverflow("a ciphertext cannot be divided by zero; leave such rows out")
        return self * (1.0 / divisor)

    def times(self, values: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE) -> CipherVector:
        """Multiply element by element with plaintext ``values`` rounded to ``exponent`` (integers: exact)."""
        factors = encode_factors(values, exponent, magnitude)
        self._insist_on_shape(factors.words.shape)
        return self._times_integers(factors.words.tolist(), factors.exponent, factors.bound)

    def __rmatmul__(self, matrix: Plain) -> CipherVector:
        return self.premultiplied(matrix)

    def __matmul__(self, matrix: Plain) -> CipherVector:
        return self.premultiplied(matrix.T)

    def premultiplied(
        self, matrix: Plain, exponent: int = MATRIX_EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherVector:
        """Return ``matrix @ self`` with the matrix rounded to ``exponent`` (integers: exact)."""
        if matrix.ndim != 2:
            raise CryptoError(f"a matrix has two dimensions, not {matrix.ndim}; reshape it")
        self._insist_on_length(matrix.shape[1])
        factors = encode_factors(matrix, exponent, magnitude)
        bound = self.bound * factors.bound * max(len(self), 1)
        self.key.insist_on_room(bound)
        values = multiexp.products_of_powers(self._values, factors.words.T, self.key.n)
        return CipherVector(self.key, values, self.exponent + factors.exponent, bound)

    # -- leaving --------------------------------------------------------------------------

    def rerandomised(self, rng: Prg | None = None) -> Ciphertexts:
        """Return what may be sent: every element times a fresh [[0]].

        A fresh encryption that nothing was done to is let go as it is, once.
        """
        values, fresh, self._fresh = self._values, self._fresh, False
        if not fresh:
            hiding = self.key.obfuscators(len(self), rng or Prg.fresh())
            values = multiexp.products_of_pairs(values, hiding, self.key.n2)
        return Ciphertexts.of(self.key, values, self.exponent, self.bound_bits)

    def raw(self) -> list[mpz]:
        """Return the ciphertexts as numbers, for the key's owner to decrypt and for tests; not for sending."""
        return list(self._values)

    def to_phe(self) -> list[phe.EncryptedNumber]:
        """Return the same numbers as `phe` objects; an exponent that 4 does not divide is lowered first."""
        aligned = self._at(self.exponent // 4 * 4)
        return [phe.EncryptedNumber(self.key.phe, int(v), aligned.exponent // 4) for v in aligned._values]

    @classmethod
    def from_phe(cls, key: PublicKey, numbers: Sequence[phe.EncryptedNumber], magnitude: float) -> CipherVector:
        """Return `phe` numbers, all within ``magnitude``, as a vector at their finest exponent."""
        if any(number.public_key.n != key.n for number in numbers):
            raise CryptoError("a phe number belongs to another key; convert it with its own")
        finest = min((4 * number.exponent for number in numbers), default=0)
        bound = bound_of(magnitude, finest)
        key.insist_on_room(bound)
        values = [
            gmpy2.powmod(number.ciphertext(be_secure=False), 1 << (4 * number.exponent - finest), key.n2)
            for number in numbers
        ]
        return cls(key, values, finest, bound)

    # -- inside ---------------------------------------------------------------------------

    def _like(self, values: list[mpz], bound: int | None = None) -> CipherVector:
        return CipherVector(self.key, values, self.exponent, self.bound if bound is None else bound)

    def _insist_on_length(self, length: int) -> None:
        if length != len(self):
            raise CryptoError(f"{length} values do not fit a vector of {len(self)}; align the rows first")

    def _insist_on_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 1:
            raise CryptoError(f"values of shape {shape} do not fit a vector of {len(self)}; a matrix is CipherMatrix")
        self._insist_on_length(shape[0])

    def _at(self, exponent: int) -> CipherVector:
        """Return the same numbers at a finer exponent."""
        shift = self.exponent - exponent
        if shift == 0:
            return self
        self.key.insist_on_room(self.bound << shift)
        values = [gmpy2.powmod(v, mpz(1) << shift, self.key.n2) for v in self._values]
        return CipherVector(self.key, values, exponent, self.bound << shift)

    def _combine(self, other: CipherVector, *, negate: bool) -> CipherVector:
        if other.key != self.key:
            raise CryptoError("the vectors are under different keys; only ciphertexts of one key can be added")
        self._insist_on_length(len(other))
        finest = min(self.exponent, other.exponent)
        bound = (self.bound << (self.exponent - finest)) + (other.bound << (other.exponent - finest))
        self.key.insist_on_room(bound)
        left, right, n2 = self._at(finest)._values, other._at(finest)._values, self.key.n2
        if negate:
            right = multiexp.invert_squares(right, self.key.n)
        return CipherVector(self.key, multiexp.products_of_pairs(left, right, n2), finest, bound)

    def _encoded(self, values: Plain | float, exponent: int = EXPONENT, magnitude: float = MAGNITUDE) -> Encoded:
        """Return plaintext values, or one for all, as they are to be added."""
        array = np.asarray(values)
        if array.ndim:
            self._insist_on_shape(array.shape)
        finest = self.exponent if array.dtype.kind in "iub" else min(self.exponent, exponent)
        return encode(np.broadcast_to(array, len(self)), finest, magnitude)

    def _add_encoded(self, encoded: Encoded) -> CipherVector:
        shift = self.exponent - encoded.exponent
        bound = (self.bound << shift) + encoded.bound
        self.key.insist_on_room(bound)
        n, n2, values = self.key.n, self.key.n2, self._at(encoded.exponent)._values
        sums = [v * (1 + m * n) % n2 for v, m in zip(values, encoded.integers, strict=True)]
        return CipherVector(self.key, sums, encoded.exponent, bound)

    def _times_integers(self, factors: list[int], exponent: int, bound: int) -> CipherVector:
        self._insist_on_length(len(factors))
        bound *= self.bound
        self.key.insist_on_room(bound)
        if all(factor == 1 for factor in factors):
            return CipherVector(self.key, self._values, self.exponent + exponent, bound)
        values = multiexp.powers_of_each(self._values, factors, self.key.n)
        return CipherVector(self.key, values, self.exponent + exponent, bound)


def concatenate(vectors: Iterable[CipherVector]) -> CipherVector:
    """Return the vectors end to end, at the finest of their exponents; raises CryptoError for none or mixed keys."""
    parts = list(vectors)
    if not parts or any(part.key != parts[0].key for part in parts):
        raise CryptoError("concatenate takes one or more vectors of the same key")
    finest = min(part.exponent for part in parts)
    aligned = [part._at(finest) for part in parts]
    values = [value for part in aligned for value in part._values]
    return CipherVector(parts[0].key, values, finest, max(part.bound for part in aligned))


class Ciphertexts:
    """Re-randomised ciphertexts: the only form that is serialised. Made by ``rerandomised`` and ``from_bytes``.

    What came from a peer is only known to have the right shape; ``under`` reads it with the key and checks the rest.
    """

    __slots__ = ("_body", "_count", "bound_bits", "exponent", "fingerprint")

    def __init__(self, fingerprint: bytes, exponent: int, bound_bits: int, count: int, body: bytes) -> None:
        self.fingerprint, self.exponent, self.bound_bits = fingerprint, exponent, bound_bits
        self._count, self._body = count, body

    @classmethod
    def of(cls, key: PublicKey, values: Sequence[mpz], exponent: int, bound_bits: int) -> Self:
        """Write ``values`` down; raises CryptoError for more than a vector may hold."""
        if len(values) > MAX_COUNT:
            raise CryptoError(f"{len(values)} ciphertexts exceed {MAX_COUNT} a vector; send them in parts")
        width = key.ciphertext_bytes
        body = b"".join([int(value).to_bytes(width, "big") for value in values])
        return cls(key.fingerprint, exponent, bound_bits, len(values), body)

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ciphertexts) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self._body)

    def __repr__(self) -> str:
        return f"<Ciphertexts, {self._count} of {len(self._body)} bytes under {self.fingerprint.hex()}>"

    @property
    def values(self) -> tuple[mpz, ...]:
        """The numbers, unchecked."""
        width = len(self._body) // max(self._count, 1)
        return tuple(mpz.from_bytes(self._body[i * width : (i + 1) * width], "big") for i in range(self._count))

    def to_bytes(self) -> bytes:
        """Return the wire form (module docstring)."""
        return HEADER.pack(VERSION, self.fingerprint, self.exponent, self.bound_bits, self._count) + self._body

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the wire form without a key; raises BadValue for anything that is none under any key."""
        if len(data) < HEADER.size:
            raise BadValue(f"{len(data)} bytes are no ciphertext vector; the header alone takes {HEADER.size}")
        version, fingerprint, exponent, bound_bits, count = HEADER.unpack_from(data)
        if version != VERSION:
            raise BadValue(f"ciphertext vector of version {version}; this side reads {VERSION}: update the older side")
        size = len(data) - HEADER.size
        if count > MAX_COUNT or (size % count or not 0 < size // count <= MAX_WIDTH if count else size):
            raise BadValue(f"the vector says it holds {count} ciphertexts but comes in {len(data)} bytes; refuse it")
        if abs(exponent) > MAX_EXPONENT:
            raise BadValue(f"the vector's exponent {exponent} is beyond {MAX_EXPONENT}; refuse it")
        return cls(fingerprint, exponent, bound_bits, count, bytes(data[HEADER.size :]))

    def under(
        self,
        key: PublicKey,
        *,
        count: int | None = None,
        exponent: int | None = None,
        bound_bits: int | None = None,
        max_bound_bits: int | None = None,
    ) -> CipherVector:
        """Return the vector to compute with; whatever of count, exponent and bound is given must hold.

        The receiver's own masks follow the bound, so a protocol that knows it gives ``bound_bits``. That the plaintexts
        keep within it cannot be seen: who decrypts, and who takes a mask off, checks.

        It must be re-randomised again before it is sent on. Raises CryptoError for another key, count or exponent, for
        a number outside 0 < c < n^2 or sharing a factor with n; EncodingOverflow for a bound above ``max_bound_bits``
        or the key's room.
        """
        if self.fingerprint != key.fingerprint:
            raise CryptoError("the ciphertext vector is under another key than this task's; refuse it")
        if len(self._body) != self._count * key.ciphertext_bytes:
            raise CryptoError("the vector's ciphertexts do not have this key's length; refuse it")
        _insist("count", self._count, count)
        _insist("exponent", self.exponent, exponent)
        _insist("bound in bits", self.bound_bits, bound_bits)
        key.insist_on_room((1 << self.bound_bits) - 1)
        if max_bound_bits is not None and self.bound_bits > max_bound_bits:
            raise EncodingOverflow(f"the vector declares {self.bound_bits} bits, at most {max_bound_bits} are expected")
        values = self.values
        _check_units(values, key)
        return CipherVector(key, list(values), self.exponent, (1 << self.bound_bits) - 1)


def _insist(name: str, found: int, expected: int | None) -> None:
    if expected is not None and found != expected:
        raise CryptoError(f"the ciphertext vector's {name} is {found}, expected {expected}; refuse it")


def _check_units(values: Sequence[mpz], key: PublicKey) -> None:
    """Insist on 0 < c < n^2 and, by one gcd with the product of all, on units."""
    product, n, n2 = mpz(1), key.n, key.n2
    for value in values:
        if not 0 < value < n2:
            raise CryptoError("a ciphertext is not between 0 and n^2; refuse the vector")
        product = product * value % n
    if gmpy2.gcd(product, n) != 1:
        raise CryptoError("a ciphertext shares a factor with n; refuse the vector")
