from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.crypto.identity import Fingerprint, LocalIdentity
from partyd.errors import BadValue, ConfigError
from partyd.types import Address
from partyd.wire.card import CLOCK_TOLERANCE_S, MAX_CARD, MAX_LIFETIME_S, Card, issue
from partyd.wire.strict import Value, pack, unpack
from tests.wire.channel_pair import EPOCH, GUEST, card_of, insecure_identity

IDENTITY = insecure_identity(GUEST)
CARD = card_of(IDENTITY)


def signed(body: bytes, identity: LocalIdentity = IDENTITY, endorsement: Value = None) -> bytes:
    return pack([body, identity.sign(b"partyd-card/1" + body), endorsement])


def altered(position: int, value: Value) -> bytes:
    """Return CARD with one field replaced and signed again, as a malicious owner could."""
    fields = unpack(CARD.body)
    assert isinstance(fields, list)
    fields[position] = value
    return signed(pack(fields))


def test_a_card_comes_back_from_bytes_and_text() -> None:
    card = issue(
        IDENTITY, org="Bank of Examples 银行", serial=7, not_before=EPOCH, not_after=EPOCH + 5, features=("psi", "he")
    )
    assert Card.decode(card.encode()) == card
    assert Card.from_text(card.to_text()) == card
    assert (card.address, card.org, card.serial, card.features) == (GUEST, "Bank of Examples 银行", 7, ("psi", "he"))
    assert (card.id_pub, card.kx_pub) == (IDENTITY.id_pub, IDENTITY.kx_pub)
    assert len(CARD.encode()) < 300
    assert max(len(line) for line in card.to_text().splitlines()) <= 64


def test_text_may_be_quoted_in_a_mail() -> None:
    text = "Dear peer,\r\n\r\n" + CARD.to_text().replace("\n", "\r\n  ") + "\r\nRegards"
    assert Card.from_text(text) == CARD


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no party card found"),
        (CARD.to_text()[:-10], "no party card found"),
        (CARD.to_text().replace("\n", "\n*", 1), "damaged"),
        ("-----BEGIN PARTYD CARD-----\n-----END PARTYD CARD-----", "no valid value"),
    ],
)
def test_damaged_text_says_what_to_do(text: str, said: str) -> None:
    with pytest.raises(BadValue, match=said):
        Card.from_text(text)


def test_every_single_bit_flip_is_refused() -> None:
    encoded = CARD.encode()
    for bit in range(len(encoded) * 8):
        flipped = bytearray(encoded)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadValue):
            Card.decode(bytes(flipped))


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadValue):
        Card.decode(data)


@pytest.mark.parametrize(
    ("position", "value"),
    [
        (0, 2),
        (1, "a/b"),
        (1, "a" * 65),
        (1, ""),
        (2, "king"),
        (2, "GUEST"),
        (3, "a" * 121),
        (3, "line\nbreak"),
        (3, b"bytes"),
        (4, bytes(31)),
        (5, bytes(31)),
        (5, b"\xff" * 32),
        (5, bytes(32)),  # a point of low order
        (5, b"\x01" + bytes(31)),
        (6, -1),
        (7, EPOCH + MAX_LIFETIME_S * 2),
        (7, True),
        (8, EPOCH),
        (8, EPOCH + MAX_LIFETIME_S + 1),
        (8, 2**63),
        (9, 2),
        (10, 65_536),
        (11, ["a", "a"]),
        (11, ["a" * 33]),
        (11, [str(number) for number in range(33)]),
        (11, {}),
        (12, bytes(31)),
    ],
)
def test_a_signed_card_with_a_wrong_field_is_refused(position: int, value: Value) -> None:
    with pytest.raises(BadValue):
        Card.decode(altered(position, value))


def test_forms_that_are_not_canonical_are_refused() -> None:
    fields = unpack(CARD.body)
    assert isinstance(fields, list)
    loose = CARD.body.replace(pack(1) + pack("10000"), b"\xcc\x01" + pack("10000"))
    assert unpack(loose) == fields
    for data in (signed(loose), signed(pack(fields[:-1])), signed(pack([*fields, 1])), CARD.encode() + b"\x00"):
        with pytest.raises(BadValue):
            Card.decode(data)
    with pytest.raises(BadValue, match=f"at most {MAX_CARD}"):
        Card.decode(bytes(MAX_CARD + 1))


def test_a_card_signed_by_another_key_is_refused() -> None:
    with pytest.raises(BadValue, match="signature"):
        Card.decode(signed(CARD.body, insecure_identity(GUEST, 1)))


def test_verify_against_the_pin_and_the_clock() -> None:
    pin = IDENTITY.fingerprint
    CARD.verify(pin, EPOCH - CLOCK_TOLERANCE_S)
    CARD.verify(pin, CARD.not_after + CLOCK_TOLERANCE_S)
    for wrong_pin, now, said in (
        (Fingerprint.of(b"x"), EPOCH, "telephone"),
        (pin, EPOCH - CLOCK_TOLERANCE_S - 1, "valid only from 2027-01-15"),
        (pin, CARD.not_after + CLOCK_TOLERANCE_S + 1, "expired on 2027-04-15"),
    ):
        with pytest.raises(BadValue, match=said):
            CARD.verify(wrong_pin, now)


def test_a_card_of_another_protocol_says_who_must_upgrade() -> None:
    card = issue(IDENTITY, org="o", serial=1, not_before=EPOCH, not_after=EPOCH + 9, proto_min=2, proto_max=3)
    with pytest.raises(BadValue, match="older side must upgrade"):
        card.verify(IDENTITY.fingerprint, EPOCH)


def test_we_do_not_issue_what_others_refuse() -> None:
    with pytest.raises(ConfigError, match="90 days"):
        issue(IDENTITY, org="o", serial=1, not_before=EPOCH, not_after=EPOCH + MAX_LIFETIME_S + 1)


def test_a_new_kx_key_needs_no_new_pin() -> None:
    rotated = IDENTITY.rotate_kx(EPOCH)
    card = card_of(rotated, serial=2, previous=CARD)
    card.check_successor(CARD)
    card.verify(IDENTITY.fingerprint, EPOCH)
    assert card.previous_digest == CARD.digest
    assert card.endorsement is None


def test_a_new_id_key_is_signed_by_the_old_one() -> None:
    rotated = IDENTITY.rotate_id()
    card = card_of(rotated, serial=2, previous=CARD)
    card.check_successor(CARD)
    assert Card.from_text(card.to_text()) == card
    with pytest.raises(BadValue, match="telephone"):
        card.verify(IDENTITY.fingerprint, EPOCH)  # the owner still confirms the new fingerprint
    card.verify(rotated.fingerprint, EPOCH)


def test_successors_that_are_refused() -> None:
    rotated = IDENTITY.rotate_id()
    stranger = insecure_identity(GUEST, 5)
    old_serial = card_of(IDENTITY, serial=1)
    unsigned = card_of(stranger, serial=2)
    elsewhere = card_of(insecure_identity(Address.parse("10000/host")), serial=2)
    skipping = card_of(rotated, serial=9, previous=card_of(IDENTITY, serial=5))
    for card, said in (
        (old_serial, "old card"),
        (unsigned, "re-pin"),
        (elsewhere, "cannot replace"),
        (skipping, "card between"),
    ):
        with pytest.raises(BadValue, match=said):
            card.check_successor(CARD)
    with pytest.raises(ConfigError, match="peers re-pin"):
        card_of(stranger, serial=2, previous=CARD)


def test_a_forged_endorsement_is_refused() -> None:
    stranger = insecure_identity(GUEST, 5)
    body = card_of(stranger, serial=2).body
    forged: list[Value] = [[IDENTITY.id_pub, bytes(64)], [IDENTITY.id_pub], [b"", bytes(64)], "x"]
    for endorsement in forged:
        with pytest.raises(BadValue):
            Card.decode(signed(body, stranger, endorsement))


def test_the_digest_covers_the_body_only() -> None:
    assert dataclasses.replace(CARD, signature=bytes(64)).digest == CARD.digest
    assert base64.b64encode(CARD.encode()).decode()[:40] in CARD.to_text()
