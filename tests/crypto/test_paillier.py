from __future__ import annotations

import copy
import hashlib

import gmpy2
import numpy as np
import pytest

from partyd.crypto.paillier import PrivateKey, PublicKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

RNG = Prg(bytes(32), "paillier")
VALUES = np.array([0.0, 1.5, -2.25, 2.0**32, -(2.0**32)])


def test_keys_have_the_form_that_djn_ask_for(full_size_key):
    p, q = full_size_key.p, full_size_key.q
    assert full_size_key.public.bits == 2048
    assert p % 4 == q % 4 == 3
    assert gmpy2.gcd(p - 1, q - 1) == 2
    assert gmpy2.gcd(p * q, (p - 1) * (q - 1)) == 1


def test_a_key_repeats_from_its_seed():
    def make() -> PublicKey:
        return generate_keypair(256, Prg(bytes(32), "again"), insecure_for_tests=True)[0]

    assert make() == make()
    assert hash(make()) == hash(make())


def test_key_and_ciphertexts_from_a_seed_do_not_change_unnoticed(insecure_key):
    assert insecure_key.public.fingerprint.hex() == FINGERPRINT
    vector = insecure_key.encrypt(VALUES, Prg(bytes(32), "known")) * 0.5
    data = vector.rerandomised(Prg(bytes(32), "sent")).to_bytes()
    assert hashlib.sha256(data).hexdigest() == WIRE


def test_fresh_keys_differ():
    assert generate_keypair(128, insecure_for_tests=True)[0] != generate_keypair(128, insecure_for_tests=True)[0]


@pytest.mark.parametrize(("bits", "insecure"), [(1024, False), (2047, False), (0, False), (2040, False), (64, True)])
def test_short_keys_are_refused(bits, insecure):
    with pytest.raises(CryptoError):
        generate_keypair(bits, insecure_for_tests=insecure)


@pytest.mark.parametrize("obfuscation", ["djn448", "djn256", "djn_half", "full"])
def test_every_obfuscation_hides_and_decrypts(insecure_key, obfuscation):
    key = PrivateKey(int(insecure_key.p), int(insecure_key.q), obfuscation)
    for encrypting in (key, key.public):
        first, second = encrypting.encrypt(VALUES, RNG), encrypting.encrypt(VALUES, RNG)
        assert key.decrypt(first).tolist() == VALUES.tolist()
        assert not {int(v) for v in first.raw()} & {int(v) for v in second.raw()}


@pytest.mark.parametrize("obfuscation", ["djn448", "full"])
def test_obfuscators_are_nth_residues(insecure_key, obfuscation):
    key = PrivateKey(int(insecure_key.p), int(insecure_key.q), obfuscation)
    totient = (key.p - 1) * (key.q - 1)
    for r in key.obfuscators(5, RNG) + key.public.obfuscators(5, RNG):
        assert gmpy2.powmod(r, totient, key.public.n2) == 1
        assert r % key.public.n != 1


def test_both_ways_of_djn_encryption_agree(insecure_key):
    ours = insecure_key.obfuscators(5, Prg(bytes(32), "same"))
    theirs = insecure_key.public.obfuscators(5, Prg(bytes(32), "same"))
    assert ours == theirs


def test_the_base_is_minus_a_square_and_follows_from_n(insecure_key):
    key = insecure_key.public
    minus_h = -key.h % key.n
    assert all(gmpy2.legendre(minus_h, factor) == 1 for factor in (insecure_key.p, insecure_key.q))
    assert gmpy2.jacobi(key.h, key.n) == 1
    assert PublicKey(int(key.n)).h_s == key.h_s == gmpy2.powmod(key.h, key.n, key.n2)


def test_full_size_encryption_agrees_with_phe(full_size_key):
    vector = full_size_key.public.encrypt(VALUES, RNG)
    assert [full_size_key.phe.decrypt(e) for e in vector.to_phe()] == VALUES.tolist()
    assert full_size_key.decrypt(full_size_key.encrypt(VALUES, RNG)).tolist() == VALUES.tolist()
    assert full_size_key.public.ciphertext_bytes == 512


def test_keys_copy_without_their_tables(insecure_key):
    twin = copy.copy(insecure_key)
    assert twin.public == insecure_key.public
    assert copy.copy(insecure_key.public) == insecure_key.public


def test_secrets_do_not_show(insecure_key):
    shown = repr(insecure_key) + repr(insecure_key.public)
    assert str(insecure_key.p) not in shown
    assert "512 bits" in shown


@pytest.mark.parametrize(("p", "q"), [(7, 7), (7, 1009), (15, 13)])
def test_bad_factors_are_refused(p, q):
    with pytest.raises(CryptoError):
        PrivateKey(p, q)


FINGERPRINT = "2287a5fe3f0604ca"
WIRE = "2933c8ac20d9277f2f9a2bcdef0ae9a9dec146ba54c2e9540a94498bbb6173c5"
