from __future__ import annotations

import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

SEED = bytes(range(32))


def test_known_answers():
    assert Prg(SEED).take(16).hex() == KNOWN[()]
    assert Prg(SEED, "a").take(16).hex() == KNOWN["a",]
    assert Prg(SEED, "a", "b").take(16).hex() == KNOWN["a", "b"]
    assert hashlib.sha256(Prg(SEED).take(100_000)).hexdigest() == LONG


def test_the_stream_is_chacha20_under_the_hkdf_key():
    key = HKDF(SHA256(), 32, b"partyd prg 1", b"\0\0\0\1x").derive(SEED)
    assert Prg(SEED, "x").take(200) == Cipher(ChaCha20(key, bytes(16)), None).encryptor().update(bytes(200))


def test_labels_do_not_run_together():
    assert Prg(SEED, "ab", "c").take(16) != Prg(SEED, "a", "bc").take(16)


def test_child_is_the_longer_path_wherever_the_parent_stands():
    parent = Prg(SEED, "job")
    parent.take(77)
    assert parent.child("round").take(32) == Prg(SEED, "job", "round").take(32)


def test_chunks_join_to_the_same_stream():
    one, many = Prg(SEED), Prg(SEED)
    assert one.take(1000) == b"".join(many.take(n) for n in (1, 63, 64, 65, 807))


def test_fresh_streams_differ():
    assert Prg.fresh().take(16) != Prg.fresh().take(16)


def test_integers_of_no_bits_are_as_many_zeros():
    assert Prg(SEED, "i").integers(0, 3) == [0, 0, 0]


@given(st.integers(0, 130), st.integers(0, 40))
def test_integers_stay_within_their_bits(bits, count):
    drawn = Prg(SEED, "i").integers(bits, count)
    assert len(drawn) == count
    assert all(0 <= value < 2**bits for value in drawn)


@given(st.integers(1, 2**70), st.integers(0, 40))
def test_below_stays_below(bound, count):
    drawn = Prg(SEED, "b").below(bound, count)
    assert len(drawn) == count
    assert all(0 <= value < bound for value in drawn)


def test_below_reaches_every_value_evenly():
    counts = np.bincount(Prg(SEED, "even").below(6, 60_000), minlength=6)
    assert counts.min() > 9_600
    assert counts.max() < 10_400


@given(st.integers(0, 300))
def test_permutation_holds_each_index_once(n):
    assert sorted(Prg(SEED, "p").permutation(n).tolist()) == list(range(n))


def test_permutation_is_deterministic_and_spread():
    assert Prg(SEED, "p").permutation(5).tolist() == Prg(SEED, "p").permutation(5).tolist()
    prg = Prg(SEED, "q")
    seen = {tuple(prg.permutation(3).tolist()) for _ in range(200)}
    assert len(seen) == 6


def test_uniform_lies_in_its_range():
    drawn = Prg(SEED).uniform(-2.0, 3.0, 10_000)
    assert drawn.min() >= -2.0
    assert drawn.max() < 3.0
    assert abs(drawn.mean() - 0.5) < 0.05


def test_uint64_takes_shapes():
    assert Prg(SEED).uint64((2, 3)).tolist() == Prg(SEED).uint64(6).reshape(2, 3).tolist()


@pytest.mark.parametrize("call", [lambda: Prg(b"short"), lambda: Prg(SEED).take(-1), lambda: Prg(SEED).below(0, 1)])
def test_misuse_is_refused(call):
    with pytest.raises(CryptoError):
        call()


def test_a_stream_ends_before_its_counter_wraps():
    prg = Prg(SEED)
    prg._left = 10
    with pytest.raises(CryptoError, match="child"):
        prg.take(11)


KNOWN = {
    (): "611af845e6c92b611955f7f4de48d5d7",
    ("a",): "e7e9d3ab76d99253d34ef45dd7e657f7",
    ("a", "b"): "0dfaba0e0d57bbf49c033f937bcd7573",
}
LONG = "0bd25c786cd152ae787d1745f49da03bc8270996b8820c42a671c0495485fa56"
