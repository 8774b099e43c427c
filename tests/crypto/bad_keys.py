"""A corpus of Paillier keys that must be refused: bad moduli, bad bases, bad bytes; made anew from fixed seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import count

import gmpy2
from gmpy2 import mpz

from partyd.crypto.keycheck import HEADER
from partyd.crypto.paillier import PublicKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

BITS = 2048
SIZE = BITS // 8
SMALL_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101)
LARGER_PRIMES = (251, 257, 509, 1021, 4093, 8191, 16381, 32749, 65521, 65537, 131071, 262139, 524287, 786433, 1048573)


@dataclass(frozen=True)
class BadKey:
    """What a peer sends, and the length that was agreed with him."""

    data: bytes
    bits: int = BITS


def prime(bits: int, label: str) -> int:
    """Return a prime whose two highest bits are set."""
    (drawn,) = Prg(bytes(32), "prime", label).integers(bits, 1)
    return int(gmpy2.next_prime(mpz(drawn) | (3 << (bits - 2))))


def odd(bits: int, label: str) -> int:
    """Return an odd number of exactly ``bits``."""
    (drawn,) = Prg(bytes(32), "odd", label).integers(bits, 1)
    return drawn | 1 | 1 << (bits - 1)


def packed(n: int, h: int, bits: int = BITS, version: int = 1) -> bytes:
    """Return a key's wire form, whatever its numbers; they are cut to their fields."""
    size = -(-bits // 8)
    fields = [(number % (1 << 8 * size)).to_bytes(size, "big") for number in (n, h)]
    return HEADER.pack(version, bits) + b"".join(fields)


@cache
def good_modulus() -> int:
    return prime(1024, "p") * prime(1024, "q")


@cache
def bad_moduli() -> dict[str, int]:
    """Return moduli of 2048 bits, or nearly, each with one fault."""
    p, n = prime(1024, "p"), good_modulus()
    bad = {"zero": 0, "one": 1, "two": 2, "negative": -n, "all ones": (1 << BITS) - 1, "power of two": 1 << 2047}
    bad |= {f"prime {i}": prime(BITS, f"n {i}") for i in range(2)}
    bad |= {f"even {i}": (n + 1) ^ (i << 64) for i in range(8)}
    bad |= {f"twice an odd number {i}": 2 * odd(BITS - 1, f"even {i}") for i in range(4)}
    bad |= _of_other_length(n)
    bad |= {f"small factor {small}": _multiple_of(small) for small in (*SMALL_PRIMES, *LARGER_PRIMES)}
    bad |= {f"two small factors {i}": _multiple_of(1048573 * small) for i, small in enumerate(LARGER_PRIMES)}
    bad |= {f"smooth {i}": _smooth(i) for i in range(8)}
    bad |= {f"power {k}": _power(k, composite=False) for k in (2, 3, 4, 5, 8, 11, 16, 32, 64)}
    bad |= {f"power {k} of a composite": _power(k, composite=True) for k in (2, 4, 8)}
    bad |= {f"close factors {k}": p * int(gmpy2.next_prime(p + (1 << k))) for k in range(4, 516, 32)}
    bad |= {f"close odd numbers {k}": _close(k) for k in range(6, 510, 36)}
    return bad


def _of_other_length(n: int) -> dict[str, int]:
    pairs = {2047: (1024, 1023), 2046: (1023, 1023), 1536: (768, 768), 1024: (512, 512), 512: (256, 256)}
    bad = {f"{bits} bits": prime(a, f"a {bits}") * prime(b, f"b {bits}") for bits, (a, b) in pairs.items()}
    return bad | {f"{i} bits long": n << i | 1 for i in (1, 2, 8, 64)}


def _multiple_of(small: int) -> int:
    """Return an odd multiple of exactly the right length."""
    least = -(-(1 << (BITS - 1)) // small)
    return small * (least + 2 * odd(64, f"multiple {small}") | 1)


def _smooth(seed: int) -> int:
    """Return a product of 18-bit primes of exactly the right length, as CVE-2023-33241 would have it."""
    product, draws = 1, iter(Prg(bytes([seed] * 32), "smooth").integers(18, 500))
    while product.bit_length() < BITS - 40:
        product *= int(gmpy2.next_prime(next(draws) | 1 << 17))
    return next(product * m for m in count(-(-(1 << (BITS - 1)) // product) | 1, 2))


def _power(k: int, *, composite: bool) -> int:
    """Return a k-th power of exactly the right length, of a prime or of two primes' product."""
    low, high = gmpy2.iroot(mpz(1) << (BITS - 1), k)[0], gmpy2.iroot(mpz(1) << BITS, k)[0]
    middle = (low + high) // 2
    side = gmpy2.isqrt(middle)
    root = gmpy2.next_prime(side) * gmpy2.next_prime(side + (side >> 30)) if composite else gmpy2.next_prime(middle)
    return int(root) ** k


def _close(k: int) -> int:
    """Return a product of two numbers that differ by little more than 2^k and have no small factor."""
    small = gmpy2.primorial(1 << 20)
    first = next(n for n in count(odd(1024, f"close {k}") | 3 << 1022, 2) if gmpy2.gcd(n, small) == 1)
    return first * next(n for n in count(first + (1 << k), 2) if gmpy2.gcd(n, small) == 1)


@cache
def bad_keys() -> dict[str, BadKey]:
    """Return the corpus as it would come over the wire."""
    bad = {f"modulus: {name}": BadKey(packed(n, 2)) for name, n in bad_moduli().items()}
    bad |= {f"modulus and its base: {name}": BadKey(packed(n, _base(n))) for name, n in bad_moduli().items() if n > 2}
    bad |= {f"base: {name}": BadKey(packed(good_modulus(), h)) for name, h in _bad_bases().items()}
    bad |= {f"bytes: {name}": key for name, key in _bad_bytes().items()}
    bad |= {f"floor: {bits} bits": BadKey(_honest(bits), bits) for bits in (512, 1024, 1536, 2032)}
    return bad


def _base(n: int) -> int:
    """Return the base that follows from ``n``, where one does."""
    size = -(-n.bit_length() // 8) + 16
    try:
        return int(PublicKey(n).h)
    except CryptoError:
        return odd(8 * size - 256, "base") % n


def _bad_bases() -> dict[str, int]:
    n, p = good_modulus(), prime(1024, "p")
    key = PublicKey(n)
    h = int(key.h)
    bad = {"0": 0, "1": 1, "2": 2, "n - 1": n - 1, "n": n, "n + 1": n + 1, "p": p, "a multiple of p": p * 12345}
    bad |= {"h + 1": h + 1, "h - 1": h - 1, "-h": n - h, "h^2": h * h % n, "1/h": int(gmpy2.invert(h, n))}
    bad |= {"h^n": pow(h, n, n), "all ones": (1 << BITS) - 1, "another key's": int(PublicKey(_another()).h)}
    return bad | {f"h but for bit {bit}": h ^ (1 << bit) for bit in range(0, BITS, 128)}


def _another() -> int:
    return prime(1024, "r") * prime(1024, "s")


def _honest(bits: int) -> bytes:
    n = prime(bits // 2, f"p {bits}") * prime(bits // 2, f"q {bits}")
    return packed(n, int(PublicKey(n).h), bits)


def _bad_bytes() -> dict[str, BadKey]:
    good = _honest(BITS)
    bad = {f"cut to {length}": BadKey(good[:length]) for length in (0, 1, 2, 3, 4, 255, 259, 260, 513, 514)}
    bad |= {f"{extra} more": BadKey(good + bytes(extra)) for extra in (1, 2, 256, 512)}
    bad |= {f"version {version}": BadKey(bytes([version]) + good[1:]) for version in (0, 2, 255)}
    bad |= {
        f"says {bits} bits": BadKey(good[:1] + bits.to_bytes(2, "big") + good[3:]) for bits in (0, 2047, 2049, 65535)
    }
    bad |= {f"{bits} bits were agreed": BadKey(good, bits) for bits in (3072, 4096, 16384, 0, -2048)}
    n, h = good[HEADER.size : HEADER.size + SIZE], good[HEADER.size + SIZE :]
    bad["n and h exchanged"] = BadKey(good[: HEADER.size] + h + n)
    bad["little endian"] = BadKey(good[: HEADER.size] + n[::-1] + h[::-1])
    return bad
