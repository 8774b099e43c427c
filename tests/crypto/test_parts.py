from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto import parts
from partyd.crypto.histogram import histograms
from partyd.crypto.obfuscators import public_of
from partyd.crypto.packing import pack
from partyd.crypto.paillier import CipherVector, Obfuscation, PrivateKey, PublicKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, LocalProtocolError

MODES: tuple[Obfuscation, ...] = ("full", "djn_half", "djn256", "djn448")


def keys(key: PrivateKey, mode: Obfuscation) -> list[PublicKey | PrivateKey]:
    private = PrivateKey(int(key.p), int(key.q), mode)
    return [private, private.public]


def stream() -> Prg:
    return Prg(bytes(32), "parts")


def ciphertexts(vector: CipherVector) -> bytes:
    return parts.written(vector.raw(), vector.key.ciphertext_bytes)


@pytest.mark.parametrize("mode", MODES)
def test_keys_round_trip_with_their_obfuscation(insecure_key: PrivateKey, mode: Obfuscation) -> None:
    for key in keys(insecure_key, mode):
        again = parts.key_from_bytes(parts.key_to_bytes(key))
        assert type(again) is type(key)
        assert public_of(again) == public_of(key)
        assert public_of(again).obfuscation == mode
        assert parts.key_from_bytes(parts.key_to_bytes(key)) is again


@pytest.mark.parametrize("cut", [slice(0, -1), slice(0, 4)])
def test_a_key_in_another_form_is_refused(insecure_key: PrivateKey, cut: slice) -> None:
    with pytest.raises(LocalProtocolError):
        parts.key_from_bytes(parts.key_to_bytes(insecure_key)[cut])
    with pytest.raises(LocalProtocolError):
        parts.key_from_bytes(b"\x02" + parts.key_to_bytes(insecure_key)[1:])


@pytest.mark.parametrize("mode", MODES)
def test_shares_of_draws_make_what_one_stream_makes(insecure_key: PrivateKey, mode: Obfuscation) -> None:
    for key in keys(insecure_key, mode):
        draws, whole = parts.Draws.of(key, 7, stream()), key.obfuscators(7, stream())
        shared = [draws.share(start, stop) for start, stop in ((0, 3), (3, 3), (3, 7))]
        made = [key.obfuscators(count, parts.Drawn(share)) for count, share in zip((3, 0, 4), shared, strict=True)]
        assert [r for some in made for r in some] == whole


def test_a_stream_that_was_drawn_elsewhere_ends() -> None:
    drawn = parts.Drawn(b"abc")
    assert drawn.take(2) == b"ab"
    with pytest.raises(LocalProtocolError, match="has 1 random bytes where 2"):
        drawn.take(2)


@given(st.lists(st.integers(-(2**71), 2**71)))
def test_integers_of_either_sign_round_trip(integers: list[int]) -> None:
    assert parts.signed_read(parts.signed_written(integers, 10), 10) == integers


@pytest.mark.parametrize("mode", MODES)
def test_encryption_and_hiding_are_those_of_the_plain_calls(insecure_key: PrivateKey, mode: Obfuscation) -> None:
    integers = [0, 5, -5, (1 << 70) - 1]
    for key in keys(insecure_key, mode):
        shared = parts.key_to_bytes(key)
        random = parts.Draws.of(key, 4, stream()).share(0, 4)
        asked = parts.asked(parts.ENCRYPT, 4, 9, parts.signed_written(integers, 9), random)
        vector = key.encrypt_integers(integers, 70, stream())
        assert parts.encrypt_part(shared, asked) == ciphertexts(vector)
        hidden = key.obfuscators(4, stream())
        expected = [c * r % vector.key.n2 for c, r in zip(vector.raw(), hidden, strict=True)]
        asked = parts.asked(parts.HIDE, 4, 0, ciphertexts(vector), random)
        assert parts.read(parts.hide_part(shared, asked), vector.key.ciphertext_bytes) == expected


def test_decryption_insists_on_the_bound(insecure_key: PrivateKey) -> None:
    integers, shared = [3, -3, (1 << 40) - 1, -(1 << 40) + 1], parts.key_to_bytes(insecure_key)
    body = ciphertexts(insecure_key.encrypt_integers(integers, 40))
    opened = parts.decrypt_part(shared, parts.asked(parts.DECRYPT, 4, 40, body))
    assert parts.signed_read(opened, parts.plaintext_bytes(insecure_key.public)) == integers
    with pytest.raises(CryptoError, match="exceeds the 39 bits"):
        parts.decrypt_part(shared, parts.asked(parts.DECRYPT, 4, 39, body))
    with pytest.raises(LocalProtocolError, match="public key"):
        parts.decrypt_part(parts.key_to_bytes(insecure_key.public), parts.asked(parts.DECRYPT, 4, 40, body))


def test_residues_need_no_bound(insecure_key: PrivateKey) -> None:
    shared, body = parts.key_to_bytes(insecure_key), ciphertexts(insecure_key.encrypt_integers([3, -3], 40))
    opened = parts.residues_part(shared, parts.asked(parts.RESIDUES, 2, 0, body))
    n = int(insecure_key.public.n)
    assert parts.signed_read(opened, parts.plaintext_bytes(insecure_key.public)) == [3, n - 3]


def test_products_sums_and_packs_are_those_of_the_plain_calls(insecure_key: PrivateKey) -> None:
    key, random = insecure_key.public, np.random.default_rng(3)
    shared, vector = parts.key_to_bytes(key), insecure_key.encrypt_integers(list(range(-6, 6)), 20)
    width, body = key.ciphertext_bytes, ciphertexts(vector)
    matrix = random.integers(-(2**40), 2**40, size=(12, 3))
    asked = parts.asked(parts.MULTIPLY, 12, 3, body, parts.words_of(matrix))
    assert (
        parts.read(parts.multiply_part(shared, asked), width) == vector.premultiplied(matrix.T, magnitude=2.0**41).raw()
    )
    asked = parts.asked(parts.PACK, 12, vector.bound_bits, body)
    assert parts.read(parts.pack_part(shared, asked), width) == pack(vector).raw()
    bins, rows = random.integers(-1, 4, size=(12, 5)), np.array([7, 1, 4, 4, 11])
    plain = histograms(vector, bins, 4, rows).vector.raw()
    numbers = rows.astype(parts.BIN_TYPE).tobytes()
    asked = parts.asked(parts.HISTOGRAMS, 4, 5, numbers, parts.bins_of(bins[rows]))
    assert parts.read(parts.histograms_part(parts.vector_to_bytes(vector), asked), width) == plain
    asked = parts.asked(parts.SUMS, 4, 5, ciphertexts(vector[rows]), parts.bins_of(bins[rows]))
    assert parts.read(parts.sums_part(shared, asked), width) == plain


def histogram_of_nothing(key: bytes, partition: bytes) -> bytes:
    private = parts.key_from_bytes(key)
    assert isinstance(private, PrivateKey)
    return parts.histograms_part(parts.vector_to_bytes(private.encrypt([1.0])), partition)


PARTS = {
    parts.HISTOGRAMS: histogram_of_nothing,
    parts.ENCRYPT: parts.encrypt_part,
    parts.HIDE: parts.hide_part,
    parts.DECRYPT: parts.decrypt_part,
    parts.RESIDUES: parts.residues_part,
    parts.MULTIPLY: parts.multiply_part,
    parts.PACK: parts.pack_part,
    parts.SUMS: parts.sums_part,
}


@pytest.mark.parametrize("what", PARTS)
def test_a_partition_that_is_not_as_its_header_says_is_refused(insecure_key: PrivateKey, what: int) -> None:
    key = parts.key_to_bytes(insecure_key)
    for asked in (
        b"",
        parts.asked(what + 1, 0, 0),
        parts.asked(what, 3, 1, bytes(5)),
        parts.asked(what, 0, 0, bytes(100)),
    ):
        with pytest.raises(LocalProtocolError):
            PARTS[what](key, asked)


def test_a_private_key_never_shows_in_what_is_printed(insecure_key: PrivateKey) -> None:
    again = parts.key_from_bytes(parts.key_to_bytes(insecure_key))
    assert str(insecure_key.p) not in repr(again)
    assert str(insecure_key.q) not in repr(again)
