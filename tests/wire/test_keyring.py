from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.errors import BadFrame
from partyd.wire.events import Reason
from partyd.wire.keyring import Keyring, prologue
from tests.wire.channel_pair import GUEST, HOST, card_of, insecure_identity

GUEST_ID, HOST_ID = insecure_identity(GUEST), insecure_identity(HOST)
GUEST_CARD, HOST_CARD = card_of(GUEST_ID), card_of(HOST_ID)
PSK = bytes(32)


def test_the_prologue_names_both_addresses_and_cards() -> None:
    expected = b"partyd-e2e/1" + b"\x00\x0b10000/guest" + b"\x00\x099999/host" + GUEST_CARD.digest + HOST_CARD.digest
    assert prologue(GUEST_CARD, HOST_CARD) == expected


def test_the_lower_address_wins_bytewise() -> None:
    assert Keyring(GUEST_ID, [GUEST_CARD], [HOST_CARD], PSK).local_wins
    assert not Keyring(HOST_ID, [HOST_CARD], [GUEST_CARD], PSK).local_wins


def test_every_pair_of_valid_cards_is_tried() -> None:
    rotated = GUEST_ID.rotate_kx(0)
    new_card = card_of(rotated, 2, GUEST_CARD)
    initiator = Keyring(rotated, [new_card, GUEST_CARD], [HOST_CARD], PSK)
    knows_old, knows_both = (
        Keyring(HOST_ID, [HOST_CARD], peers, PSK) for peers in ([GUEST_CARD], [new_card, GUEST_CARD])
    )
    for attempt in range(4):
        message = initiator.begin(attempt, X25519PrivateKey.generate()).write_first(b"x")
        assert knows_both.answer(message)[1] == b"x"
        if attempt % 2:
            assert knows_old.answer(message)[1] == b"x"
        else:
            with pytest.raises(BadFrame) as raised:
                knows_old.answer(message)
            assert raised.value.args == (Reason.HANDSHAKE,)


def test_repr_shows_no_key() -> None:
    ring = Keyring(GUEST_ID, [GUEST_CARD], [HOST_CARD], b"p" * 32)
    assert "ppp" not in repr(ring)
    assert GUEST_ID.kx_key.private_bytes_raw().hex() not in repr(vars(ring))
