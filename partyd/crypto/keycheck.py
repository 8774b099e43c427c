"""Checks on a Paillier key that arrives from a peer, and a proof that it is well formed.

A modulus made with ill intent turns re-randomised ciphertexts into open ones or decryption into a factoring oracle
(CVE-2023-33241 used smooth moduli). ``check_modulus`` refuses what can be seen from n alone: wrong length, even,
prime, a perfect power, a prime factor below 2^20, two factors so close that Fermat's method finds them at once.

What cannot be seen is proved: gcd(n, phi(n)) = 1, without which x -> x^n is no permutation of the units and
Paillier's plaintexts are not unique. The owner shows n-th roots modulo n of numbers that a hash chose (Goldberg,
Reyzin, Sagga, Baldimtsi, "Efficient noninteractive certification of RSA moduli and beyond", ASIACRYPT 2019, section
3.2). If gcd(n, phi(n)) is not 1, at most one unit in alpha has a root, where alpha is the least prime factor that n
may have; as factors below 2^20 are excluded, ROOTS = 11 roots leave a cheater 2^-220 per hash evaluated. The hash
binds n, the base h and the caller's context (handshake hash, job, task), so that a proof cannot be shown again
elsewhere. The proof reveals nothing: the verifier could have made (root^n, root) pairs itself.

Wire format of a key: version (1 byte, 1), bits (uint16 big endian), n, h, both in ceil(bits / 8) bytes. h follows
from n (``paillier``) and is compared, not trusted. A private key, for the owner's own checkpoints only: version,
bits, p, q.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache

import gmpy2
from gmpy2 import mpz

from partyd.crypto.paillier import KEY_BITS, PRIMALITY_ROUNDS, Obfuscation, PrivateKey, PublicKey
from partyd.errors import CryptoError

VERSION = 1
HEADER = struct.Struct(">BH")
MAX_BITS = 8192
SMALL_FACTOR_BITS = 20
FERMAT_STEPS = 1000
ROOTS = 11


def check_modulus(n: int, bits: int = KEY_BITS, *, insecure_for_tests: bool = False) -> None:
    """Raise CryptoError, saying which, unless ``n`` passes every check of the module docstring."""
    if not insecure_for_tests and bits < KEY_BITS:
        raise CryptoError(f"a {bits}-bit Paillier key is below the floor of {KEY_BITS}; ask the peer for a longer one")
    if n <= 0 or n.bit_length() != bits:
        raise CryptoError(f"the Paillier modulus has {max(n, 0).bit_length()} bits, {bits} were agreed; refuse the key")
    if n % 2 == 0:
        raise CryptoError("the Paillier modulus is even; refuse the key")
    if gmpy2.gcd(n, _small_primes()) != 1:
        raise CryptoError(f"the Paillier modulus has a prime factor below 2^{SMALL_FACTOR_BITS}; refuse the key")
    if gmpy2.is_power(mpz(n)):
        raise CryptoError("the Paillier modulus is a perfect power; refuse the key")
    if gmpy2.is_prime(n, PRIMALITY_ROUNDS):
        raise CryptoError("the Paillier modulus is a prime; refuse the key")
    if _factors_are_close(mpz(n)):
        raise CryptoError("the Paillier modulus has two factors too close to each other; refuse the key")


def check_base(key: PublicKey, h: int) -> None:
    """Raise CryptoError unless ``h`` is the base that follows from the key and gives a usable n-th residue."""
    if not 1 < h < key.n - 1 or gmpy2.gcd(h, key.n) != 1:
        raise CryptoError("the key's base h is not a unit between 1 and n - 1; refuse the key")
    if h != key.h:
        raise CryptoError("the key's base h does not follow from its modulus; refuse the key")
    if gmpy2.powmod(key.h_s, 2, key.n2) == 1 or gmpy2.gcd(key.h_s, key.n) != 1:
        raise CryptoError("the key's base h obfuscates nothing; refuse the key")


def public_to_bytes(key: PublicKey) -> bytes:
    """Return the wire form of a public key."""
    return _pack(key.bits, -(-key.bits // 8), int(key.n), int(key.h))


def public_from_bytes(
    data: bytes, bits: int = KEY_BITS, *, obfuscation: Obfuscation = "djn448", insecure_for_tests: bool = False
) -> PublicKey:
    """Read a peer's public key of exactly ``bits``; raises CryptoError unless every check passes."""
    n, h = _unpack(data, bits, -(-bits // 8))
    check_modulus(n, bits, insecure_for_tests=insecure_for_tests)
    key = PublicKey(n, obfuscation)
    check_base(key, h)
    return key


def private_to_bytes(key: PrivateKey) -> bytes:
    """Return p and q for the owner's own checkpoint; these bytes must never be sent."""
    return _pack(key.public.bits, -(-key.public.bits // 16), int(key.p), int(key.q))


def private_from_bytes(data: bytes, bits: int = KEY_BITS, *, obfuscation: Obfuscation = "djn448") -> PrivateKey:
    """Read a checkpoint's private key; raises CryptoError if it is none of ``bits``."""
    p, q = _unpack(data, bits, -(-bits // 16))
    key = PrivateKey(p, q, obfuscation)
    if key.public.bits != bits:
        raise CryptoError(f"the checkpoint holds a {key.public.bits}-bit key, {bits} were expected; restore a backup")
    return key


def prove(private: PrivateKey, context: bytes) -> bytes:
    """Return the n-th roots that show gcd(n, phi(n)) = 1, for ``context`` alone."""
    p, q, n = private.p, private.q, private.public.n
    root_p, root_q = gmpy2.invert(n, p - 1), gmpy2.invert(n, q - 1)
    p_inverse, size = gmpy2.invert(p, q), _size(private.public)
    proof = []
    for challenge in _challenges(private.public, context):
        a, b = gmpy2.powmod(challenge, root_p, p), gmpy2.powmod(challenge, root_q, q)
        root = a + p * ((b - a) * p_inverse % q)
        proof.append(int(root).to_bytes(size, "big"))
    return b"".join(proof)


def verify(public: PublicKey, proof: bytes, context: bytes) -> None:
    """Raise CryptoError unless ``proof`` holds an n-th root of every challenge; call ``check_modulus`` first."""
    size, n = _size(public), public.n
    if len(proof) != ROOTS * size:
        raise CryptoError(f"a key proof takes {ROOTS * size} bytes, {len(proof)} came; refuse the key")
    for i, challenge in enumerate(_challenges(public, context)):
        root = mpz.from_bytes(proof[i * size : (i + 1) * size], "big")
        if not 0 < root < n or gmpy2.powmod(root, n, n) != challenge:
            raise CryptoError("the proof that the Paillier key is well formed does not hold; refuse the key")


def _challenges(public: PublicKey, context: bytes) -> list[mpz]:
    """Derive ROOTS numbers modulo n, 128 bits longer before reduction so that they are even."""
    size, challenges = _size(public), []
    base = b"partyd key proof 1" + hashlib.sha256(context).digest() + public_to_bytes(public)
    for i in range(ROOTS):
        drawn = hashlib.shake_256(base + bytes([i])).digest(size + 16)
        challenge = mpz.from_bytes(drawn, "big") % public.n
        if gmpy2.gcd(challenge, public.n) != 1:
            raise CryptoError("a challenge shares a factor with the Paillier modulus; refuse the key")
        challenges.append(challenge)
    return challenges


def _size(public: PublicKey) -> int:
    return -(-public.bits // 8)


@cache
def _small_primes() -> mpz:
    return gmpy2.primorial(1 << SMALL_FACTOR_BITS)


def _factors_are_close(n: mpz) -> bool:
    """Try Fermat's method: n = a^2 - b^2 for some a just above the root of n."""
    a = gmpy2.isqrt(n) + 1
    return any(gmpy2.is_square((a + i) ** 2 - n) for i in range(FERMAT_STEPS))


def _pack(bits: int, size: int, first: int, second: int) -> bytes:
    return HEADER.pack(VERSION, bits) + first.to_bytes(size, "big") + second.to_bytes(size, "big")


def _unpack(data: bytes, bits: int, size: int) -> tuple[int, int]:
    """Return the two numbers of a key of exactly ``bits`` bits."""
    if not 0 < bits <= MAX_BITS or len(data) != HEADER.size + 2 * size:
        raise CryptoError(f"{len(data)} bytes are no Paillier key of {bits} bits; refuse the key")
    if HEADER.unpack_from(data) != (VERSION, bits):
        raise CryptoError(f"the Paillier key's header is not that of version {VERSION} and {bits} bits; refuse the key")
    body = data[HEADER.size :]
    return int.from_bytes(body[:size], "big"), int.from_bytes(body[size:], "big")
