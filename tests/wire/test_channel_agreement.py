"""What two channels must agree on, and how they forget: reset, versions, secrets, rotation, cards."""

from __future__ import annotations

import pytest

from partyd.errors import LocalProtocolError
from partyd.types import Address
from partyd.wire.events import Reason, Rejected
from partyd.wire.hello import Hello
from tests.wire.channel_pair import GUEST, Pair, card_of, insecure_identity
from tests.wire.channels import channel_with, exchange, hello


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_reset_forgets_everything(pair: Pair) -> None:
    pair.connect()
    frame = pair.right.channel.seal(b"x")
    pair.left.channel.reset()
    assert not pair.left.channel.established
    assert pair.left.channel.next_deadline() is None
    assert pair.left.receive(frame, pair.now) == [Rejected(Reason.UNKNOWN_INDEX)]
    pair.left.channel.initiate(pair.now)
    pair.settle()
    exchange(pair)


# Versions, cards, keys


def test_the_highest_common_version_is_taken_or_the_handshake_refused(pair: Pair) -> None:
    pair.left.channel = channel_with(pair.left, pair.right.identity, hello=hello(1, 3))
    pair.right.channel = channel_with(pair.right, pair.left.identity, hello=hello(2, 5))
    pair.connect()
    pair.left.channel = channel_with(pair.left, pair.right.identity, hello=hello(1, 1))
    pair.left.channel.initiate(pair.now)
    pair.settle()
    assert Reason.NO_COMMON_VERSION in pair.left.rejections()
    assert Reason.NO_COMMON_VERSION in pair.right.rejections()
    assert not pair.left.channel.established


def test_another_psk_is_refused(pair: Pair) -> None:
    pair.left.channel = channel_with(pair.left, pair.right.identity, psk=b"1" * 32)
    pair.left.channel.initiate(pair.now)
    pair.settle()
    assert pair.left.rejections() == [Reason.HANDSHAKE]


@pytest.mark.parametrize("rotated_side_starts", [True, False])
@pytest.mark.parametrize("peer_has_new_card", [True, False])
def test_kx_rotation_with_overlap(pair: Pair, rotated_side_starts: bool, peer_has_new_card: bool) -> None:
    old_card = card_of(pair.left.identity)
    identity = pair.left.identity.rotate_kx(0)
    new_card = card_of(identity, 2, old_card)
    pair.left.channel = channel_with(
        pair.left, pair.right.identity, identity=identity, card=new_card, previous_card=old_card
    )
    if peer_has_new_card:
        pair.right.channel.replace_cards(
            pair.right.identity, card_of(pair.right.identity), new_card, previous_peer=old_card
        )
    starter = pair.left if rotated_side_starts else pair.right
    starter.channel.initiate(pair.now)
    pair.pass_time(12)
    exchange(pair)


def test_cards_of_others_are_our_own_mistake(pair: Pair) -> None:
    side, peer = pair.left, pair.right.identity
    stranger = insecure_identity(Address.parse("1/arbiter"))
    for changes, said in (
        ({"card": card_of(stranger)}, "another address"),
        ({"peer": card_of(side.identity)}, "to itself"),
        ({"card": card_of(insecure_identity(GUEST, 3))}, "no private key"),
        ({"psk": b"short"}, "32"),
        ({"previous_peer": card_of(stranger)}, "another address"),
    ):
        with pytest.raises(LocalProtocolError, match=said):
            channel_with(side, peer, **changes)
    with pytest.raises(LocalProtocolError, match="cards are of others"):
        side.channel.replace_cards(side.identity, card_of(side.identity), card_of(stranger))


def test_a_hello_the_peer_would_refuse_is_our_own_mistake() -> None:
    for boot, window, max_frame in (
        (b"short", 1, 4096),
        (bytes(16), 0, 4096),
        (bytes(16), 1, 10),
        (bytes(16), 1, 2**30),
    ):
        with pytest.raises(LocalProtocolError, match="hello"):
            Hello(boot, bytes(16), window, max_frame)
    with pytest.raises(LocalProtocolError, match="above"):
        hello(3, 2)
