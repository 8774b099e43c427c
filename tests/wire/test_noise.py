"""The handshake against public vectors, against another implementation, and against hostile points."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from partyd.errors import BadFrame
from partyd.wire.noise import (
    MESSAGE_1_OVERHEAD,
    MESSAGE_2_OVERHEAD,
    PROTOCOL_NAME,
    Initiator,
    Responder,
    diffie_hellman,
    is_canonical,
    is_usable,
    public_bytes,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from noise.connection import Keypair, NoiseConnection

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "noise_ikpsk2.json").read_text())
PRIME = 2**255 - 19


def key(raw: bytes | str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(bytes.fromhex(raw) if isinstance(raw, str) else raw)


def fresh_pair(prologue: bytes = b"p", psk: bytes = bytes(32)) -> tuple[Initiator, Responder]:
    initiator, responder = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    return (
        Initiator(initiator, public_bytes(responder), X25519PrivateKey.generate(), prologue, psk),
        Responder(responder, public_bytes(initiator), prologue, psk),
    )


def test_cacophony_vector() -> None:
    vector = {name: bytes.fromhex(VECTOR[name]) for name in VECTOR if name.startswith(("init_", "resp_"))}
    psk, prologue = bytes.fromhex(VECTOR["psk"]), bytes.fromhex(VECTOR["prologue"])
    messages = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in VECTOR["messages"]]
    static = key(vector["init_static"])
    initiator = Initiator(static, vector["resp_static_public"], key(vector["init_ephemeral"]), prologue, psk)
    responder = Responder(key(vector["resp_static"]), public_bytes(static), prologue, psk)

    assert VECTOR["protocol_name"].encode() == PROTOCOL_NAME
    assert initiator.write_first(messages[0][0]) == messages[0][1]
    assert responder.read_first(messages[0][1]) == messages[0][0]
    assert responder.write_second(messages[1][0], key(vector["resp_ephemeral"])) == messages[1][1]
    assert initiator.read_second(messages[1][1]) == messages[1][0]
    assert initiator.keys is not None
    assert initiator.keys == responder.keys
    directions = (initiator.keys.initiator_to_responder, initiator.keys.responder_to_initiator)
    for number, (payload, ciphertext) in enumerate(messages[2:]):
        nonce = bytes(4) + (number // 2).to_bytes(8, "little")
        assert ChaCha20Poly1305(directions[number % 2]).encrypt(nonce, payload, b"") == ciphertext


def other_side(
    *, initiator: bool, static: X25519PrivateKey, remote: X25519PrivateKey, prologue: bytes, psk: bytes
) -> NoiseConnection:
    other = NoiseConnection.from_name(PROTOCOL_NAME)
    other.set_psks(psk)
    other.set_prologue(prologue)
    other.set_keypair_from_private_bytes(Keypair.STATIC, static.private_bytes_raw())
    if initiator:
        other.set_as_initiator()
        other.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, public_bytes(remote))
    else:
        other.set_as_responder()
    other.start_handshake()
    return other


@pytest.mark.parametrize("number", range(60))
def test_we_initiate_and_another_implementation_answers(number: int) -> None:
    static, remote = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    prologue, psk, payload = os.urandom(number), os.urandom(32), os.urandom(number * 7)
    other = other_side(initiator=False, static=remote, remote=static, prologue=prologue, psk=psk)
    ours = Initiator(static, public_bytes(remote), X25519PrivateKey.generate(), prologue, psk)

    assert other.read_message(ours.write_first(payload)) == payload
    assert ours.read_second(bytes(other.write_message(payload[::-1]))) == payload[::-1]
    assert ours.keys is not None
    assert other.get_handshake_hash() == ours.keys.handshake_hash
    assert (
        ChaCha20Poly1305(ours.keys.responder_to_initiator).decrypt(bytes(12), bytes(other.encrypt(b"hi")), b"") == b"hi"
    )


@pytest.mark.parametrize("number", range(60))
def test_another_implementation_initiates_and_we_answer(number: int) -> None:
    static, remote = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    prologue, psk, payload = os.urandom(number), os.urandom(32), os.urandom(number * 7)
    other = other_side(initiator=True, static=remote, remote=static, prologue=prologue, psk=psk)
    ours = Responder(static, public_bytes(remote), prologue, psk)

    assert ours.read_first(bytes(other.write_message(payload))) == payload
    assert other.read_message(ours.write_second(payload[::-1], X25519PrivateKey.generate())) == payload[::-1]
    assert ours.keys is not None
    assert other.decrypt(ChaCha20Poly1305(ours.keys.responder_to_initiator).encrypt(bytes(12), b"hi", b"")) == b"hi"


def test_sizes() -> None:
    initiator, responder = fresh_pair()
    assert is_usable(responder._remote_static)
    first = initiator.write_first(b"")
    responder.read_first(first)
    assert len(first) == MESSAGE_1_OVERHEAD == 96
    assert len(responder.write_second(b"", X25519PrivateKey.generate())) == MESSAGE_2_OVERHEAD == 48


def test_another_prologue_or_psk_is_refused() -> None:
    initiator, responder = fresh_pair()
    other = Responder(responder._static, responder._remote_static, b"q", bytes(32))
    with pytest.raises(BadFrame):
        other.read_first(initiator.write_first(b"x"))
    initiator, responder = fresh_pair()
    other = Responder(responder._static, responder._remote_static, b"p", b"1" * 32)
    other.read_first(initiator.write_first(b"x"))
    with pytest.raises(BadFrame):
        initiator.read_second(other.write_second(b"", X25519PrivateKey.generate()))


def test_an_initiator_who_is_not_the_pinned_peer_is_refused() -> None:
    _, responder = fresh_pair()
    stranger = Initiator(
        X25519PrivateKey.generate(), public_bytes(responder._static), X25519PrivateKey.generate(), b"p", bytes(32)
    )
    with pytest.raises(BadFrame):
        responder.read_first(stranger.write_first(b"x"))


def test_a_forged_answer_leaves_the_handshake_usable() -> None:
    initiator, responder = fresh_pair()
    responder.read_first(initiator.write_first(b"one"))
    second = responder.write_second(b"two", X25519PrivateKey.generate())
    for bit in range(0, len(second) * 8, 5):
        forged = bytearray(second)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadFrame):
            initiator.read_second(bytes(forged))
    assert initiator.keys is None
    assert initiator.read_second(second) == b"two"


def test_every_bit_flip_and_truncation_of_message_1_is_refused_and_the_responder_stays_usable() -> None:
    initiator, responder = fresh_pair()
    first = initiator.write_first(b"one")
    for bit in range(len(first) * 8):
        forged = bytearray(first)
        forged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadFrame):
            responder.read_first(bytes(forged))
    for length in range(len(first)):
        with pytest.raises(BadFrame):
            responder.read_first(first[:length])
    with pytest.raises(BadFrame):
        responder.read_first(first + bytes(65_536))
    assert responder.read_first(first) == b"one"


# The points of order 1, 2, 4 and 8 on the curve and its twist (RFC 7748 §7; Bernstein's list), as integers mod p.
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    PRIME - 1,
]
NON_CANONICAL = [PRIME + small for small in range(19)] + [2**255 + 9, 2**256 - 1, 2**255 + PRIME - 1]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_low_order_points_are_refused_everywhere(point: int) -> None:
    raw = point.to_bytes(32, "little")
    assert is_canonical(raw)
    assert not is_usable(raw)
    with pytest.raises(BadFrame):
        diffie_hellman(X25519PrivateKey.generate(), raw)
    initiator, responder = fresh_pair()
    first = initiator.write_first(b"")
    with pytest.raises(BadFrame):
        responder.read_first(raw + first[32:])
    responder.read_first(first)
    with pytest.raises(BadFrame):
        initiator.read_second(raw + responder.write_second(b"", X25519PrivateKey.generate())[32:])


@pytest.mark.parametrize("point", NON_CANONICAL)
def test_non_canonical_points_are_refused(point: int) -> None:
    raw = point.to_bytes(32, "little")
    assert not is_canonical(raw)
    assert not is_usable(raw)
    with pytest.raises(BadFrame):
        diffie_hellman(X25519PrivateKey.generate(), raw)


def test_rfc_7748_known_answer() -> None:
    """RFC 7748 §5.2, vector 1."""
    scalar = key("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    point = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    shared = "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"
    assert diffie_hellman(scalar, point).hex() == shared


def test_chacha20_poly1305_refuses_every_flip_and_truncation() -> None:
    """RFC 8439 §2.8.2's inputs, then each tag and ciphertext bit and each length."""
    aead = ChaCha20Poly1305(bytes(range(0x80, 0xA0)))
    nonce, data = bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
    plaintext = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    sealed = aead.encrypt(nonce, plaintext, data)
    assert sealed[-16:].hex() == "1ae10b594f09e26a7e902ecbd0600691"
    for bit in range(len(sealed) * 8):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidTag):
            aead.decrypt(nonce, bytes(flipped), data)
    for length in range(len(sealed)):
        with pytest.raises(InvalidTag):
            aead.decrypt(nonce, sealed[:length], data)
