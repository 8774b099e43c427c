from __future__ import annotations

from functools import cache

import gmpy2
import pytest
from gmpy2 import mpz

from partyd.crypto import keycheck
from partyd.crypto.keycheck import (
    ROOTS,
    check_base,
    check_modulus,
    private_from_bytes,
    private_to_bytes,
    prove,
    public_from_bytes,
    public_to_bytes,
    verify,
)
from partyd.crypto.paillier import PublicKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError


def prime(bits: int, label: str) -> int:
    (drawn,) = Prg(bytes(32), "prime", label).integers(bits, 1)
    return int(gmpy2.next_prime(mpz(drawn) | (3 << (bits - 2))))


@cache
def bad_moduli() -> dict[str, int]:
    """Moduli of (about) 2048 bits, each with one fault."""
    p, q = prime(1024, "p"), prime(1024, "q")
    bad = {
        "zero": 0,
        "one": 1,
        "negative": -p * q,
        "all ones": (1 << 2048) - 1,
        "power of two": 1 << 2047,
        "prime": prime(2048, "n"),
        "square": p * p,
        "one bit short": prime(1024, "p") * prime(1023, "s"),
        "one bit long": p * q << 1,
        "1024 bits": prime(512, "p") * prime(512, "q"),
        "close factors": p * int(gmpy2.next_prime(p)),
        "close factors, next": p * int(gmpy2.next_prime(gmpy2.next_prime(p))),
    }
    bad |= {f"even {i}": (p * q + 1) ^ (i << 64) for i in range(8)}
    for small in (3, 5, 7, 11, 101, 257, 65537, 786433, 1048573):
        bits = 2048 - small.bit_length()
        candidate = small * prime(bits, f"small {small}")
        bad[f"factor {small}"] = candidate if candidate.bit_length() == 2048 else candidate + (small << 2040)
    for power in (2, 4, 8, 16, 32):
        bad[f"power {power}"] = prime(2048 // power, f"power {power}") ** power
    for steps in range(4):
        smooth, drawn = 1, iter(Prg(bytes([steps] * 32)).integers(18, 500))
        while smooth.bit_length() < 2048:
            smooth *= int(gmpy2.next_prime(next(drawn)))
        bad[f"smooth {steps}"] = smooth >> (smooth.bit_length() - 2048) | 1
    return bad


@pytest.mark.parametrize("name", sorted(bad_moduli()))
def test_every_bad_modulus_is_refused(name):
    with pytest.raises(CryptoError, match=r"refuse|floor"):
        check_modulus(bad_moduli()[name])


@pytest.mark.parametrize("name", sorted(bad_moduli()))
def test_no_bad_key_is_read(name):
    n = bad_moduli()[name]
    size = max(256, -(-n.bit_length() // 8))
    data = keycheck.HEADER.pack(1, 2048) + (n % (1 << 8 * size)).to_bytes(size, "big") + bytes(255) + b"\x02"
    with pytest.raises(CryptoError):
        public_from_bytes(data)


def test_the_corpus_has_some_dozens():
    assert len(bad_moduli()) >= 36


def test_a_good_key_passes_and_travels(full_size_key):
    data = public_to_bytes(full_size_key.public)
    assert len(data) == 515
    assert public_from_bytes(data) == full_size_key.public


def test_the_floor_is_2048_bits(insecure_key):
    data = public_to_bytes(insecure_key.public)
    with pytest.raises(CryptoError, match="floor"):
        public_from_bytes(data, 512)
    assert public_from_bytes(data, 512, insecure_for_tests=True) == insecure_key.public


def test_a_longer_key_than_agreed_is_refused(full_size_key):
    with pytest.raises(CryptoError):
        public_from_bytes(public_to_bytes(full_size_key.public), 3072)


def test_only_the_derived_base_is_accepted(insecure_key, other_insecure_key):
    key, p = insecure_key.public, int(insecure_key.p)
    for h in (
        0,
        1,
        int(key.n) - 1,
        int(key.n),
        p,
        int(key.h) + 1,
        int(-key.h % key.n),
        int(other_insecure_key.public.h),
    ):
        with pytest.raises(CryptoError, match="base h"):
            check_base(key, h)
    check_base(key, int(key.h))


def test_mutated_keys_are_refused(full_size_key):
    good = public_to_bytes(full_size_key.public)
    for at in (0, 1, 2, 3, 100, 258, 259, 400, 514):
        bad = bytearray(good)
        bad[at] ^= 0x10
        with pytest.raises(CryptoError):
            public_from_bytes(bytes(bad))
    for bad in (b"", good[:-1], good + b"\0", good[:3]):
        with pytest.raises(CryptoError):
            public_from_bytes(bad)


def test_a_private_key_survives_a_checkpoint(insecure_key):
    data = private_to_bytes(insecure_key)
    back = private_from_bytes(data, 512)
    assert (back.p, back.q) == (insecure_key.p, insecure_key.q)
    for bad in (data[:-1], data[:3] + bytes(64), b"\x02" + data[1:]):
        with pytest.raises(CryptoError):
            private_from_bytes(bad, 512)


def test_a_proof_holds_for_its_context_alone(insecure_key, other_insecure_key):
    proof = prove(insecure_key, b"handshake")
    verify(insecure_key.public, proof, b"handshake")
    for key, shown, context in (
        (insecure_key.public, proof, b"another"),
        (other_insecure_key.public, proof, b"handshake"),
        (insecure_key.public, proof[:-1], b"handshake"),
        (insecure_key.public, bytes(len(proof)), b"handshake"),
        (insecure_key.public, proof[64:] + proof[:64], b"handshake"),
        (insecure_key.public, proof[:-1] + bytes([proof[-1] ^ 1]), b"handshake"),
    ):
        with pytest.raises(CryptoError, match="refuse"):
            verify(key, shown, context)


def test_the_full_size_proof(full_size_key):
    proof = prove(full_size_key, b"job")
    assert len(proof) == ROOTS * 256
    verify(full_size_key.public, proof, b"job")


def test_a_modulus_that_shares_a_factor_with_its_totient_cannot_be_proved():
    """With p = k q + 1 as the other factor, q divides phi(n): no challenge has an n-th root but by a chance of 1/q."""
    q = prime(200, "inner")
    k = next(k for k in range(2, 10_000, 2) if gmpy2.is_prime(k * q + 1))
    p = k * q + 1
    public = PublicKey(p * q)
    challenges = keycheck._challenges(public, b"x")
    assert all(gmpy2.powmod(c, k, p) != 1 for c in challenges)
    root = gmpy2.invert(public.n, k * (q - 1))
    size = -(-public.bits // 8)
    forged = b"".join(int(gmpy2.powmod(c, root, public.n)).to_bytes(size, "big") for c in challenges)
    with pytest.raises(CryptoError, match="does not hold"):
        verify(public, forged, b"x")


def test_a_challenge_that_reveals_a_factor_is_refused():
    tiny = PublicKey(3 * 5 * 7 * 11 * 13 * 17)
    with pytest.raises(CryptoError, match="factor"):
        keycheck._challenges(tiny, b"x")
