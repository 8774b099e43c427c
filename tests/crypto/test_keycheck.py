from __future__ import annotations

import random

import gmpy2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from partyd.errors import CryptoError
from tests.crypto.bad_keys import bad_keys, bad_moduli, good_modulus, packed, prime


@pytest.mark.parametrize("name", sorted(bad_moduli()))
def test_every_bad_modulus_is_refused(name):
    with pytest.raises(CryptoError, match="refuse"):
        check_modulus(bad_moduli()[name])


@pytest.mark.parametrize("name", sorted(bad_keys()))
def test_no_bad_key_is_read(name):
    key = bad_keys()[name]
    with pytest.raises(CryptoError, match=r"refuse|ask the peer"):
        public_from_bytes(key.data, key.bits)


def test_the_corpus_is_large_and_no_key_is_in_it_twice():
    assert len({(key.data, key.bits) for key in bad_keys().values()}) >= 250
    assert len(set(bad_moduli().values())) == len(bad_moduli()) >= 120


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (("even", "twice", "power of two"), "even"),
        (("prime",), "is a prime"),
        (("small", "two small", "smooth", "all ones"), "factor below"),
        (("power 2", "power 3", "power 5", "power 11", "power 64"), "perfect power"),
        (("close",), "too close"),
        (("zero", "one", "negative", "2047", "2046", "1024", "8 bits"), "were agreed"),
    ],
)
def test_each_fault_is_called_by_its_name(faults, reason):
    """A corpus whose keys all fell at the first check would say little about the others."""
    found = [n for name, n in bad_moduli().items() if name.startswith(faults)]
    assert len(found) >= 2
    for n in found:
        with pytest.raises(CryptoError, match=reason):
            check_modulus(n)


def test_the_good_modulus_of_the_corpus_is_good():
    check_modulus(good_modulus())
    key = PublicKey(good_modulus())
    assert public_from_bytes(packed(good_modulus(), int(key.h))) == key


def test_the_insecure_flag_lifts_the_floor_and_nothing_else(insecure_key):
    p = int(insecure_key.p)
    for n in (p * p, int(insecure_key.public.n) + 1, 3 * int(insecure_key.public.n), p):
        with pytest.raises(CryptoError, match="refuse"):
            check_modulus(n, n.bit_length(), insecure_for_tests=True)
    with pytest.raises(CryptoError):
        public_from_bytes(public_to_bytes(insecure_key.public), insecure_for_tests=True)


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


def forgeries(proof: bytes, n: int, size: int, rng: random.Random) -> list[bytes]:
    """Return proofs that differ from a good one in one root."""
    roots = [proof[i : i + size] for i in range(0, len(proof), size)]
    forged = []
    for i, root in enumerate(roots):
        r = int.from_bytes(root, "big")
        others = [0, 1, n - 1, n, n - r, r * r % n, pow(r, -1, n), r * 2 % n, r ^ 1 << rng.randrange(n.bit_length())]
        others += [r + n] if (r + n).bit_length() <= 8 * size else []
        replaced = [number.to_bytes(size, "big") for number in others] + [roots[i - 1], root[::-1]]
        forged += [b"".join([*roots[:i], other, *roots[i + 1 :]]) for other in replaced]
    return forged


def test_a_proof_with_one_wrong_root_is_refused(insecure_key):
    key, proof = insecure_key.public, prove(insecure_key, b"job")
    forged = forgeries(proof, int(key.n), 64, random.Random(1))
    assert len(forged) >= 120
    for bad in forged:
        with pytest.raises(CryptoError, match="refuse"):
            verify(key, bad, b"job")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_mutated_proofs_are_refused(insecure_key, data):
    proof = prove(insecure_key, b"job")
    mutated = bytearray(proof)
    for at in data.draw(st.lists(st.integers(0, len(proof) - 1), min_size=1, max_size=3, unique=True)):
        mutated[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.sampled_from([len(proof), len(proof) - 1, 64, 0]))
    bad = bytes(mutated[:cut]) + data.draw(st.sampled_from([b"", b"\0", bytes(64)])) * (cut < len(proof))
    with pytest.raises(CryptoError, match="refuse"):
        verify(insecure_key.public, bad, b"job")


def test_a_key_that_is_ill_formed_has_no_proof_even_from_its_owner():
    """The owner of n = p^2 q knows all there is to know, and yet no n-th root of nearly all challenges exists."""
    p, q = prime(170, "square"), prime(172, "other")
    public = PublicKey(p * p * q)
    order = (p - 1) * p * (q - 1)
    size = -(-public.bits // 8)
    challenges = keycheck._challenges(public, b"x")
    best = [pow(int(c), int(gmpy2.invert(public.n, order // p)), int(public.n)) for c in challenges]
    with pytest.raises(CryptoError, match="does not hold"):
        verify(public, b"".join(root.to_bytes(size, "big") for root in best), b"x")


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
