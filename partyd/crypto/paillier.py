"""Paillier keys: `phe` keys with Damgård-Jurik-Nielsen encryption and decryption by the Chinese remainder theorem.

Encryption is c = (1 + m n) r mod n^2, where the obfuscator r is an n-th residue. Paillier takes r = u^n for a random
u; this is ``obfuscation="full"``, and what `phe` does. Damgård, Jurik and Nielsen ("A generalization of Paillier's
public-key system with applications to electronic voting", 2010, section 4.2) take r = h_s^a with h = -x^2 mod n for
a random x, h_s = h^n mod n^2 and a random in [0, 2^ceil(|n|/2)). The group that h generates has nearly 2^|n| elements,
so h^a is not uniform in it; but exponents of half the length cannot be told from full ones unless n can be factored
(Goldreich and Rosen, "On the security of modular exponentiation with application to the construction of pseudorandom
generators", 2003), and so the scheme is as hard to break as Paillier's (decisional composite residuosity). That is
``djn_half``.

``djn448``, the default, draws a below 2^448. A short exponent adds one assumption: powers of h with 448-bit
exponents cannot be told from powers with long ones, in a group of unknown order (the short-exponent assumption of
Koshiba and Kurosawa, PKC 2004). The best generic attacks find a in 2^(448/2) steps (Pollard's kangaroo), which is
twice the 112 bits that factoring a 2048-bit n offers, and the exponent is 4x that level so that nothing rests on the
constant. ``djn256`` (2x, kangaroo at 2^128) must be asked for by name.

h is no free choice of the key's owner, who might pick one of small order so that re-randomised ciphertexts would
show what was done to them: x is the output of SHAKE-256 on n, everybody derives h from n, and an h that arrives with
a key must be that one. The proofs need x random, not secret.

Re-randomising hides what was done to a ciphertext from whoever cannot take logarithms to the base h. Who does not know
the factors of n cannot. The owner does, and need only take them modulo p, which a short exponent fits into: for a
2048-bit key this is a prime field of 1024 bits, about 2^80 steps by the number field sieve for the first logarithm and
little for each after it; next to none if p - 1 was made smooth. For X^T [[d]] it would then see the sums of X's columns
times d's exponents plus one of 448 bits, and so roughly the sums of the columns of X. Hence a ciphertext that goes back
to its owner should be re-randomised from a longer range than it was encrypted with: beside 1024 bits (``djn_half``)
sums of exponents of 448 bits show nothing, nor beside ``full``. `partyd.algorithms.he_parameters.HIDING` says which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import gmpy2
import numpy as np
import phe
from gmpy2 import mpz
from numpy.typing import ArrayLike, NDArray

from partyd.crypto.ciphers import Ciphertexts, CipherVector, concatenate
from partyd.crypto.encoding import EXPONENT, MAGNITUDE, Encoded, capacity, declared, decode, encode
from partyd.crypto.fixed_base import BUDGET, FixedBase
from partyd.crypto.multiexp import products_of_pairs
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

__all__ = ["CipherVector", "Ciphertexts", "Obfuscation", "PrivateKey", "PublicKey", "concatenate", "generate_keypair"]

KEY_BITS = 2048
"""Floor and default of the modulus."""
PRIMALITY_ROUNDS = 40
Obfuscation = Literal["djn448", "djn256", "djn_half", "full"]


class PublicKey:
    """Encrypt under modulus ``n``. Knows no origin: keys from a peer come through ``keycheck``."""

    def __init__(self, n: int, obfuscation: Obfuscation = "djn448") -> None:
        self.n, self.n2 = mpz(n), mpz(n) ** 2
        self.bits = int(n).bit_length()
        self.capacity = capacity(int(n))
        self.obfuscation: Obfuscation = obfuscation
        self.phe = phe.PaillierPublicKey(int(n))
        self.ciphertext_bytes = 2 * -(-self.bits // 8)
        self.fingerprint = hashlib.sha256(b"partyd paillier 1" + int(n).to_bytes(-(-self.bits // 8), "big")).digest()[
            :8
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.n == other.n

    def __hash__(self) -> int:
        return hash(int(self.n))

    def __repr__(self) -> str:
        return f"<PublicKey {self.bits} bits {self.fingerprint.hex()}>"

    def __reduce__(self) -> tuple[type[PublicKey], tuple[int, Obfuscation]]:
        return PublicKey, (int(self.n), self.obfuscation)

    @cached_property
    def h(self) -> mpz:
        """The base -x^2 mod n, with x derived from n."""
        size = -(-self.bits // 8)
        stream = hashlib.shake_256(b"partyd djn base 1" + int(self.n).to_bytes(size, "big")).digest(size + 16)
        x = mpz.from_bytes(stream, "big") % self.n
        if gmpy2.gcd(x, self.n) != 1:
            raise CryptoError("the modulus has a factor that its own hash reveals; make a new key")
        return -x * x % self.n

    @cached_property
    def h_s(self) -> mpz:
        """The n-th residue h^n mod n^2 whose powers obfuscate."""
        return gmpy2.powmod(self.h, self.n, self.n2)

    @property
    def exponent_bytes(self) -> int:
        """Bytes of the obfuscator's exponent."""
        return {"djn448": 56, "djn256": 32}.get(self.obfuscation, -(-self.bits // 16))

    @cached_property
    def _table(self) -> FixedBase:
        return FixedBase(self.h_s, self.n, self.exponent_bytes)

    def insist_on_room(self, bound: int) -> None:
        """Raise EncodingOverflow unless integers up to ``bound`` fit the plaintext space."""
        if bound > self.capacity:
            raise EncodingOverflow(
                f"the result may take {bound.bit_length()} bits, {self.bits}-bit keys hold "
                f"{self.capacity.bit_length()}; declare smaller magnitudes, coarser exponents, or use a longer key"
            )

    def obfuscators(self, count: int, rng: Prg) -> list[mpz]:
        """Return ``count`` fresh encryptions of zero."""
        if self.obfuscation == "full":
            return [gmpy2.powmod(u + 1, self.n, self.n2) for u in rng.below(int(self.n) - 1, count)]
        return self._table.powers(rng.take(count * self.exponent_bytes))

    def encrypt(
        self, values: ArrayLike, rng: Prg | None = None, *, exponent: int = EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherVector:
        """Encrypt one-dimensional ``values`` rounded to ``exponent``; raises EncodingOverflow beyond ``magnitude``."""
        encoded = encode(values, exponent, magnitude)
        return _encrypt(self, encoded, self.obfuscators(len(encoded.integers), rng or Prg.fresh()))

    def encrypt_integers(
        self, integers: Sequence[int], bits: int, rng: Prg | None = None, *, exponent: int = 0
    ) -> CipherVector:
        """Encrypt integers below 2^bits in magnitude as they are; they mean ``integer * 2^exponent``."""
        encoded = declared(integers, bits, exponent)
        return _encrypt(self, encoded, self.obfuscators(len(integers), rng or Prg.fresh()))


class PrivateKey:
    """Decrypt, and encrypt faster than the public key can, modulo p^2 and q^2 apart.

    Raises CryptoError unless p and q are distinct primes of equal length.
    """

    def __init__(self, p: int, q: int, obfuscation: Obfuscation = "djn448") -> None:
        self.p, self.q = (mpz(p), mpz(q)) if p < q else (mpz(q), mpz(p))
        if self.p == self.q or self.p.bit_length() != self.q.bit_length():
            raise CryptoError("p and q must be distinct and of equal length; make a new key")
        if not all(gmpy2.is_prime(factor, PRIMALITY_ROUNDS) for factor in (self.p, self.q)):
            raise CryptoError("a factor of the private key is not prime; make a new key")
        self.public = PublicKey(int(self.p * self.q), obfuscation)
        self.phe = phe.PaillierPrivateKey(self.public.phe, int(self.p), int(self.q))
        self._half_p, self._half_q = _Half(self.p, self.public), _Half(self.q, self.public)
        self._p_inverse = gmpy2.invert(self.p, self.q)
        self._p2_inverse = gmpy2.invert(self._half_p.square, self._half_q.square)

    def __repr__(self) -> str:
        return f"<PrivateKey of {self.public!r}>"

    def __reduce__(self) -> tuple[type[PrivateKey], tuple[int, int, Obfuscation]]:
        return PrivateKey, (int(self.p), int(self.q), self.public.obfuscation)

    def encrypt(
        self, values: ArrayLike, rng: Prg | None = None, *, exponent: int = EXPONENT, magnitude: float = MAGNITUDE
    ) -> CipherVector:
        """Encrypt as ``PublicKey.encrypt`` does."""
        encoded = encode(values, exponent, magnitude)
        return _encrypt(self.public, encoded, self.obfuscators(len(encoded.integers), rng or Prg.fresh()))

    def encrypt_integers(
        self, integers: Sequence[int], bits: int, rng: Prg | None = None, *, exponent: int = 0
    ) -> CipherVector:
        """Encrypt as ``PublicKey.encrypt_integers`` does."""
        encoded = declared(integers, bits, exponent)
        return _encrypt(self.public, encoded, self.obfuscators(len(integers), rng or Prg.fresh()))

    def obfuscators(self, count: int, rng: Prg) -> list[mpz]:
        """Return ``count`` fresh encryptions of zero, by the Chinese remainder theorem."""
        if self.public.obfuscation == "full":
            parts = [half.residues(count, rng) for half in (self._half_p, self._half_q)]
        else:
            exponents = rng.take(count * self.public.exponent_bytes)
            parts = [half.table.powers(exponents) for half in (self._half_p, self._half_q)]
        p2, q2, inverse = self._half_p.square, self._half_q.square, self._p2_inverse
        return [a + p2 * ((b - a) * inverse % q2) for a, b in zip(*parts, strict=True)]

    def decrypt(self, vector: CipherVector) -> NDArray[np.float64]:
        """Return the nearest doubles to the hidden numbers; raises as ``decrypt_integers`` does."""
        return decode(self.decrypt_integers(vector), vector.exponent)

    def decrypt_integers(self, vector: CipherVector) -> list[int]:
        """Return the hidden integers; raises CryptoError for another key or a plaintext beyond the vector's bound."""
        n, half = int(self.public.n), int(self.public.n // 2)
        signed = [m - n if m > half else m for m in self.decrypt_residues(vector)]
        if any(abs(m) > vector.bound for m in signed):
            raise CryptoError(
                f"a plaintext exceeds the {vector.bound_bits} bits its sender declared; refuse the vector"
            )
        return signed

    def decrypt_residues(self, vector: CipherVector) -> list[int]:
        """Return what is hidden modulo n, 0 to n - 1, whatever the vector's bound: for sums under masks modulo n.

        Raises CryptoError for another key.
        """
        if vector.key != self.public:
            raise CryptoError("the vector is under another key; ask that key's owner to decrypt it")
        p, inverse, q = self.p, self._p_inverse, self.q
        pairs = zip(self._half_p.decrypt(vector.raw()), self._half_q.decrypt(vector.raw()), strict=True)
        return [int(a + p * ((b - a) * inverse % q)) for a, b in pairs]


class _Half:
    """Arithmetic modulo the square of one prime factor."""

    def __init__(self, prime: mpz, public: PublicKey) -> None:
        self.prime, self.square, self._public = prime, prime * prime, public
        self._scale = gmpy2.invert((gmpy2.powmod(public.n + 1, prime - 1, self.square) - 1) // prime, prime)

    @cached_property
    def table(self) -> FixedBase:
        return FixedBase(self._public.h_s % self.square, self.prime, self._public.exponent_bytes, BUDGET // 2)

    def residues(self, count: int, rng: Prg) -> list[mpz]:
        """Return random n-th residues modulo p^2: u^p for u in 1..p-1 (u -> u^q permutes these)."""
        drawn = [u + 1 for u in rng.below(int(self.prime) - 1, count)]
        return gmpy2.powmod_base_list(drawn, self.prime, self.square) if drawn else []

    def decrypt(self, ciphertexts: Sequence[mpz]) -> list[mpz]:
        """Return the plaintexts modulo p: L(c^(p-1) mod p^2) / L(g^(p-1) mod p^2) (Paillier 1999, section 7)."""
        if not ciphertexts:
            return []
        reduced = [c % self.square for c in ciphertexts]
        powers = gmpy2.powmod_base_list(reduced, self.prime - 1, self.square)
        return [(power - 1) // self.prime * self._scale % self.prime for power in powers]


def generate_keypair(
    bits: int = KEY_BITS,
    rng: Prg | None = None,
    *,
    obfuscation: Obfuscation = "djn448",
    insecure_for_tests: bool = False,
) -> tuple[PublicKey, PrivateKey]:
    """Make a key of exactly ``bits``, with p = q = 3 (mod 4) and gcd(p - 1, q - 1) = 2 as DJN ask for.

    Raises CryptoError below 2048 bits unless the caller says that the key is for tests.
    """
    if bits % 16 or bits < (128 if insecure_for_tests else KEY_BITS):
        raise CryptoError(f"{bits}-bit keys are refused; ask for {KEY_BITS} or more, a multiple of 16")
    rng = rng or Prg.fresh()
    while True:
        p, q = _prime(bits // 2, rng), _prime(bits // 2, rng)
        if abs(p - q).bit_length() > bits // 2 - 100 and gmpy2.gcd(p - 1, q - 1) == 2:
            private = PrivateKey(int(p), int(q), obfuscation)
            return private.public, private


def _prime(bits: int, rng: Prg) -> mpz:
    """Draw a prime that is 3 modulo 4, its two highest bits set, uniform among those (FIPS 186-5, appendix A.1.3)."""
    while True:
        (drawn,) = rng.integers(bits, 1)
        candidate = mpz(drawn) | (3 << (bits - 2)) | 3
        if gmpy2.is_prime(candidate, PRIMALITY_ROUNDS):
            return candidate


def _encrypt(key: PublicKey, encoded: Encoded, obfuscators: list[mpz]) -> CipherVector:
    """Return (1 + m n) r mod n^2 for each integer m and obfuscator r."""
    key.insist_on_room(encoded.bound)
    n, n2 = key.n, key.n2
    values = products_of_pairs([1 + m * n for m in encoded.integers], obfuscators, n2)
    return CipherVector(key, values, encoded.exponent, encoded.bound, _fresh=True)
