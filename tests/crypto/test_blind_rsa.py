from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.crypto.blind_rsa import ROOTS, E, SigningKey, VerifyKey, read_key
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

INSECURE_BITS = 512
KEY = SigningKey.generate(INSECURE_BITS, Prg(bytes(32), "key"), insecure_for_tests=True)
PUBLIC = KEY.public
DOMAIN = b"test"


def prg(label: str = "blind") -> Prg:
    return Prg(bytes(32), label)


def blinded(ids: list[bytes]) -> bytes:
    return PUBLIC.blind(ids, prg(), DOMAIN)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=30), unique=True, max_size=4))
def test_unblinded_signatures_give_the_signers_own_tags(ids: list[bytes]) -> None:
    signed = KEY.sign(blinded(ids), len(ids))
    assert PUBLIC.unblind(signed, ids, prg(), DOMAIN) == KEY.tags(ids, DOMAIN)


def test_tags_differ_by_id_domain_and_key() -> None:
    other = SigningKey.generate(INSECURE_BITS, Prg(bytes(32), "other"), insecure_for_tests=True)
    tags = {key.tags([i], d) for key in (KEY, other) for i in (b"1", b"2") for d in (b"a", b"b")}
    assert len(tags) == 8


def test_what_the_signer_sees_depends_on_fresh_randomness() -> None:
    assert PUBLIC.blind([b"x"], prg("one"), DOMAIN) != PUBLIC.blind([b"x"], prg("two"), DOMAIN)


def test_any_number_could_be_any_id() -> None:
    """For every id there is a factor under which it looks as the one that was sent."""
    (sent,) = PUBLIC.read(blinded([b"x"]), 1)
    d = gmpy2.invert(E, (KEY.p - 1) * (KEY.q - 1))
    for other in (b"y", b"z"):
        factor = gmpy2.powmod(sent * gmpy2.invert(PUBLIC.hash(other, DOMAIN), PUBLIC.n) % PUBLIC.n, d, PUBLIC.n)
        assert PUBLIC.hash(other, DOMAIN) * gmpy2.powmod(factor, E, PUBLIC.n) % PUBLIC.n == sent


def test_a_key_is_as_long_as_asked_and_survives_its_encoding() -> None:
    assert PUBLIC.n.bit_length() == INSECURE_BITS
    assert SigningKey.from_bytes(KEY.to_bytes()) == KEY
    assert read_key(int(PUBLIC.n), INSECURE_BITS) == PUBLIC


@pytest.mark.parametrize("bits", [1024, 2040, 2047, 16384])
def test_short_and_odd_keys_are_not_made(bits: int) -> None:
    with pytest.raises(CryptoError, match="ask for"):
        SigningKey.generate(bits, prg())


@pytest.mark.parametrize("n", [0, -5, 2**512 - 2, 2**511 - 1, 2**513 + 1])
def test_odd_moduli_are_refused(n: int) -> None:
    with pytest.raises(CryptoError, match="modulus"):
        read_key(n, INSECURE_BITS)


def test_the_proof_holds_for_its_key_and_context_alone() -> None:
    roots = KEY.proof(b"here")
    PUBLIC.insist_on_proof(roots, b"here")
    for bad, context in ((roots, b"there"), (roots[:-1], b"here"), ([0] * ROOTS, b"here"), (roots[::-1], b"here")):
        with pytest.raises(CryptoError, match="proof"):
            PUBLIC.insist_on_proof(bad, context)


def test_under_a_key_that_does_not_hide_most_numbers_have_no_root() -> None:
    """With e dividing p - 1, a number is an e-th power modulo p only when its (p - 1) / e-th power is 1."""
    p = next(c for c in (E * k + 1 for k in range(2, 10_000, 2)) if gmpy2.is_prime(c))
    challenges = VerifyKey(mpz(p) * 10_007)._challenges(b"here")
    assert not all(gmpy2.powmod(c % p, (p - 1) // E, p) == 1 for c in challenges)


def test_hostile_numbers_are_not_signed() -> None:
    good, n, width = blinded([b"a", b"b"]), int(PUBLIC.n), PUBLIC.width
    first = good[:width]
    for bad in (0, 1, n - 1, n, n + 5):
        with pytest.raises(CryptoError, match="not one that blinding makes"):
            KEY.sign(first + bad.to_bytes(width, "big"), 2)
    with pytest.raises(CryptoError, match="twice"):
        KEY.sign(first + first, 2)
    for numbers, count in ((good, 1), (good[:-1], 2), (b"", 1)):
        with pytest.raises(CryptoError, match="bytes"):
            KEY.sign(numbers, count)


def test_answers_that_are_no_signatures_are_refused() -> None:
    ids = [b"a", b"b"]
    signed = KEY.sign(blinded(ids), 2)
    swapped = signed[PUBLIC.width :] + signed[: PUBLIC.width]
    for bad in (swapped, signed[:-1] + bytes([signed[-1] ^ 1])):
        with pytest.raises(CryptoError, match="not valid under"):
            PUBLIC.unblind(bad, ids, prg(), DOMAIN)


def test_a_signature_that_a_fault_spoiled_does_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = gmpy2.powmod_base_list

    def faulty(bases: list[mpz], exponent: mpz, modulus: mpz) -> list[mpz]:
        powers = honest(bases, exponent, modulus)
        return [powers[0] + 1, *powers[1:]] if modulus == KEY.p else powers

    monkeypatch.setattr(gmpy2, "powmod_base_list", faulty)
    with pytest.raises(CryptoError, match="withheld"):
        KEY.sign(blinded([b"a", b"b"]), 2)


def test_repr_shows_no_prime() -> None:
    assert str(KEY.p) not in repr(KEY)
