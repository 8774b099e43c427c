"""RSA blind signatures on hashed identifiers, and their one-sided use in private set intersection.

Chaum 1982; De Cristofaro and Tsudik, "Practical private set intersection protocols with linear complexity", Financial
Cryptography 2010, figure 3. With H a full-domain hash into Z_n and K a hash of what results: the signer's ids y become
tags K(H(y)^d); the other party sends H(x) r^e for its ids x and random r, gets H(x)^d r back, divides by r and hashes.
What the signer sees is uniform in Z_n^* whatever x is, *if* the e-th power is a permutation of Z_n^*. A malicious
signer could choose n so that it is not, and see in which coset H(x) lies; so its key comes with the e-th roots of
``ROOTS`` numbers that are hashes of n and of the job. When the prime e divides phi(n), at most one in e of all numbers
has an e-th root, and all these have one with probability e^-ROOTS = 2^-128 (Goldberg, Reyzin, Sagga and Baldimtsi,
"Efficient noninteractive certification of RSA moduli and beyond", ASIACRYPT 2019, section 3).

Signatures are computed modulo p and q apart, and each is checked before it leaves: one that is wrong modulo one prime
only, through a fault of the machine, would give the other prime away (Boneh, DeMillo and Lipton 1997). The receiver
checks each signature too, so that a signer cannot answer at random. What the signer multiplies is not blinded again:
the time of a whole chunk is all that a peer can measure.

Numbers travel as big-endian bytes of the modulus' length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import gmpy2
from gmpy2 import mpz

from partyd.crypto.multiexp import invert_all
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

E = 65537
KEY_BITS = 2048
MOST_BITS = 8192
ROOTS = 8
PRIMALITY_ROUNDS = 40
TAG_BYTES = 16
SPARE_BITS = 128
"""A hash is so much longer than the modulus that its remainder is uniform."""


@dataclass(frozen=True)
class VerifyKey:
    """What everybody knows of a signer: its modulus; the exponent is 65537."""

    n: mpz

    @property
    def width(self) -> int:
        """Bytes of a number."""
        return int(-(-self.n.bit_length() // 8))

    def hash(self, data: bytes, domain: bytes) -> mpz:
        """Return the number below n that ``data`` stands for in ``domain``: a random oracle onto Z_n."""
        prefix = b"partyd blind rsa 1" + len(domain).to_bytes(4, "big") + domain + self.n.to_bytes(self.width, "big")
        stream = hashlib.shake_256(prefix + data).digest(self.width + SPARE_BITS // 8)
        return mpz.from_bytes(stream, "big") % self.n

    def blind(self, ids: Sequence[bytes], rng: Prg, domain: bytes) -> bytes:
        """Return H(x) r^e for each id; the same ``rng`` unblinds."""
        numbers = zip(ids, self._factors(len(ids), rng), strict=True)
        return self._write([self.hash(data, domain) * gmpy2.powmod(r, E, self.n) % self.n for data, r in numbers])

    def unblind(self, signed: bytes, ids: Sequence[bytes], rng: Prg, domain: bytes) -> bytes:
        """Return the tag of each id; raises CryptoError for what is not the signature of what was sent."""
        inverses = invert_all(self._factors(len(ids), rng), self.n)
        signatures = [s * inverse % self.n for s, inverse in zip(self.read(signed, len(ids)), inverses, strict=True)]
        for data, signature in zip(ids, signatures, strict=True):
            if gmpy2.powmod(signature, E, self.n) != self.hash(data, domain):
                raise CryptoError("a signature is not valid under its signer's key; refuse the sender's message")
        return b"".join([self.tag(signature, domain) for signature in signatures])

    def tag(self, signature: mpz, domain: bytes) -> bytes:
        """Return what is compared of a signature; without it nothing is known about the signature."""
        data = signature.to_bytes(self.width, "big")
        return hashlib.sha256(b"partyd blind rsa tag 1" + len(domain).to_bytes(4, "big") + domain + data).digest()[
            :TAG_BYTES
        ]

    def read(self, numbers: bytes, count: int) -> list[mpz]:
        """Return ``count`` distinct numbers of Z_n; raises CryptoError for anything else."""
        width = self.width
        if len(numbers) != count * width:
            raise CryptoError(f"{len(numbers)} bytes are not {count} numbers of {width} bytes; refuse the message")
        each = [mpz.from_bytes(numbers[at : at + width], "big") for at in range(0, len(numbers), width)]
        if not all(1 < value < self.n - 1 for value in each):
            raise CryptoError("a number is not one that blinding makes; refuse the sender's message")
        if len(set(each)) != len(each):
            raise CryptoError("the same number stands twice in a set; refuse the sender's message")
        return each

    def insist_on_proof(self, roots: Sequence[int], context: bytes) -> None:
        """Raise CryptoError unless ``roots`` show that the e-th power is a permutation of Z_n^*."""
        challenges = self._challenges(context)
        if len(roots) != ROOTS or any(
            not 0 < root < self.n or gmpy2.powmod(root, E, self.n) != challenge
            for root, challenge in zip(roots, challenges, strict=True)
        ):
            raise CryptoError("the proof that a signer's key hides what is signed does not hold; refuse the key")

    def _challenges(self, context: bytes) -> list[mpz]:
        return [self.hash(bytes([i]), b"partyd blind rsa proof 1" + context) for i in range(ROOTS)]

    def _factors(self, count: int, rng: Prg) -> list[mpz]:
        return [mpz(r) + 1 for r in rng.below(int(self.n) - 1, count)]

    def _write(self, numbers: Sequence[mpz]) -> bytes:
        return b"".join([number.to_bytes(self.width, "big") for number in numbers])


@dataclass(frozen=True)
class SigningKey:
    """The primes of a signer; make one with ``generate``."""

    p: mpz = field(repr=False)
    q: mpz = field(repr=False)

    @classmethod
    def generate(cls, bits: int, rng: Prg, *, insecure_for_tests: bool = False) -> SigningKey:
        """Make a key of exactly ``bits``; raises CryptoError below 2048 unless the caller says it is for tests."""
        if bits % 16 or not (512 if insecure_for_tests else KEY_BITS) <= bits <= MOST_BITS:
            raise CryptoError(f"{bits}-bit keys are refused; ask for {KEY_BITS} to {MOST_BITS}, a multiple of 16")
        while True:
            p, q = _prime(bits // 2, rng), _prime(bits // 2, rng)
            if abs(p - q).bit_length() > bits // 2 - 100:
                return cls(p, q)

    def to_bytes(self) -> bytes:
        """Return both primes, in as many bytes each."""
        width = -(-self.p.bit_length() // 8)
        return b"".join(prime.to_bytes(width, "big") for prime in (self.p, self.q))

    @classmethod
    def from_bytes(cls, data: bytes) -> SigningKey:
        """Return the key that ``to_bytes`` wrote down."""
        half = len(data) // 2
        return cls(mpz.from_bytes(data[:half], "big"), mpz.from_bytes(data[half:], "big"))

    @property
    def public(self) -> VerifyKey:
        """The modulus."""
        return VerifyKey(self.p * self.q)

    def tags(self, ids: Sequence[bytes], domain: bytes) -> bytes:
        """Return the tags of the signer's own ids."""
        public = self.public
        signed = self._powers([public.hash(data, domain) for data in ids])
        return b"".join([public.tag(signature, domain) for signature in signed])

    def sign(self, numbers: bytes, count: int) -> bytes:
        """Return a peer's ``count`` blinded numbers signed; raises CryptoError for what is not such numbers."""
        public = self.public
        return b"".join([s.to_bytes(public.width, "big") for s in self._powers(public.read(numbers, count))])

    def proof(self, context: bytes) -> list[int]:
        """Return the roots that ``VerifyKey.insist_on_proof`` asks for."""
        return [int(root) for root in self._powers(self.public._challenges(context))]

    def _powers(self, numbers: Sequence[mpz]) -> list[mpz]:
        """Return the e-th roots of numbers, by the Chinese remainder theorem, each checked."""
        if not numbers:
            return []
        p, q, n = self.p, self.q, self.p * self.q
        at_p = gmpy2.powmod_base_list([m % p for m in numbers], gmpy2.invert(E, p - 1), p)
        at_q = gmpy2.powmod_base_list([m % q for m in numbers], gmpy2.invert(E, q - 1), q)
        inverse = gmpy2.invert(p, q)
        signed = [a + p * ((b - a) * inverse % q) for a, b in zip(at_p, at_q, strict=True)]
        if any(gmpy2.powmod(s, E, n) != m for s, m in zip(signed, numbers, strict=True)):
            raise CryptoError("a signature came out wrong and was withheld; check this machine's memory")
        return signed


def read_key(n: int, bits: int) -> VerifyKey:
    """Return a peer's key; raises CryptoError unless its modulus has exactly ``bits`` and is odd."""
    if n <= 0 or n.bit_length() != bits or n % 2 == 0:
        raise CryptoError(f"the signer's modulus is not an odd number of {bits} bits; agree on rsa_params.key_length")
    return VerifyKey(mpz(n))


def _prime(bits: int, rng: Prg) -> mpz:
    """Draw a prime p, its two highest bits set, such that p - 1 is not a multiple of e."""
    while True:
        (drawn,) = rng.integers(bits, 1)
        candidate = mpz(drawn) | (3 << (bits - 2)) | 1
        if candidate % E != 1 and gmpy2.is_prime(candidate, PRIMALITY_ROUNDS):
            return candidate
