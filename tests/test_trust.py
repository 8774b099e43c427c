"""Keys, cards and pins on disk, through rotations, renewals, revocations and half-done writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from partyd import trust
from partyd.crypto.identity import KX_LIFETIME_S
from partyd.errors import BadValue, ConfigError
from partyd.layout import Layout
from partyd.trust import RENEW_BEFORE_S, Own, create_own, find_peer, open_own, pin, read_own, read_peers, renew_peer
from partyd.types import GUEST, HOST, Address
from partyd.wire.card import MAX_LIFETIME_S, Card

NOW = 1_800_000_000
DAY = 86_400
US, PEER = Address("10000", GUEST), Address("9999", HOST)


@pytest.fixture
def ours(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "ours")


@pytest.fixture
def theirs(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "theirs")


def peer(layout: Layout) -> Own:
    return create_own(layout, PEER, "Shop", NOW)


def test_keys_are_made_once_and_private(ours: Layout) -> None:
    own = create_own(ours, US, "Bank", NOW)
    assert read_own(ours, US).identity.fingerprint == own.identity.fingerprint
    assert own.card.org == "Bank"
    assert ours.key_file(GUEST).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="has keys already"):
        create_own(ours, US, "Bank", NOW)


def test_a_key_that_others_may_read_is_refused(ours: Layout) -> None:
    create_own(ours, US, "", NOW)
    ours.key_file(GUEST).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_own(ours, US)


@pytest.mark.parametrize("damage", ["missing", "text", "other"])
def test_keys_that_are_missing_damaged_or_of_another_address_are_refused(ours: Layout, damage: str) -> None:
    create_own(ours, US, "", NOW)
    path = ours.key_file(GUEST)
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text(path.read_text().replace("kx-created", "created"))
    with pytest.raises(ConfigError, match=str(path)):
        read_own(ours, Address("1", GUEST) if damage == "other" else US)


def test_a_card_is_renewed_before_its_end_and_when_the_name_changes(ours: Layout) -> None:
    first = create_own(ours, US, "Bank", NOW).card
    assert open_own(ours, US, "Bank", NOW + MAX_LIFETIME_S - RENEW_BEFORE_S).card == first
    renewed = open_own(ours, US, "Bank", NOW + MAX_LIFETIME_S - RENEW_BEFORE_S + 1)
    renewed.card.check_successor(first)
    assert renewed.cards(NOW + MAX_LIFETIME_S - 1) == [renewed.card, first]
    assert renewed.cards(NOW + MAX_LIFETIME_S + 1) == [renewed.card]
    assert open_own(ours, US, "First Bank", NOW + 61 * DAY).card.org == "First Bank"


def test_kx_rotation_keeps_the_old_card_usable_for_the_overlap(ours: Layout) -> None:
    first = create_own(ours, US, "", NOW)
    rotated = trust.rotate(ours, US, "", NOW + DAY)
    assert rotated.card.kx_pub != first.card.kx_pub
    assert rotated.card.id_pub == first.card.id_pub
    assert read_own(ours, US).cards(NOW + DAY) == [rotated.card, first.card]
    later = open_own(ours, US, "", NOW + 16 * DAY)
    assert later.cards(NOW + 16 * DAY) == [rotated.card]
    assert "previous-kx" not in ours.key_file(GUEST).read_text()


def test_a_power_cut_between_key_and_card_is_mended_at_the_next_start(ours: Layout) -> None:
    first = create_own(ours, US, "", NOW)
    ours.key_file(GUEST).write_text(first.identity.rotate_kx(NOW + 5).to_text())
    with pytest.raises(ConfigError, match="not the card of these keys"):
        read_own(ours, US)
    mended = open_own(ours, US, "", NOW + 9)
    assert mended.cards(NOW + 9) == [mended.card, first.card]
    ours.card_file(GUEST).unlink()
    assert open_own(ours, US, "", NOW + 10).card.kx_pub == mended.card.kx_pub


def test_a_peer_is_pinned_by_its_fingerprint_only(ours: Layout, theirs: Layout) -> None:
    card = peer(theirs).card
    with pytest.raises(BadValue, match="is pinned"):
        pin(ours, card, create_own(ours, US, "", NOW).identity.fingerprint, NOW)
    assert read_peers(ours) == ()
    pinned = pin(ours, card, card.fingerprint, NOW)
    assert read_peers(ours) == (pinned,)
    assert find_peer(ours, PEER) == pinned
    assert ours.peer_file(PEER).read_text().startswith(f"# pinned fingerprint: {card.fingerprint}\n# 9999/host\n")


def test_an_expired_card_is_not_pinned(ours: Layout, theirs: Layout) -> None:
    card = peer(theirs).card
    with pytest.raises(BadValue, match="expired"):
        pin(ours, card, card.fingerprint, NOW + 91 * DAY)


def test_a_rotated_kx_card_replaces_the_old_one_without_a_new_pin(ours: Layout, theirs: Layout) -> None:
    known = pin(ours, peer(theirs).card, peer_card(theirs).fingerprint, NOW)
    fresh = trust.rotate(theirs, PEER, "Shop", NOW + DAY).card
    renewed = renew_peer(ours, known, fresh, NOW + DAY)
    assert read_peers(ours) == (renewed,)
    assert renewed.cards(NOW + DAY) == [fresh, known.card]
    assert renewed.cards(NOW + 91 * DAY) == [fresh]
    assert renew_peer(ours, renewed, fresh, NOW + DAY) is renewed
    with pytest.raises(BadValue, match="old card"):
        renew_peer(ours, renewed, known.card, NOW + DAY)


def peer_card(layout: Layout) -> Card:
    return read_own(layout, PEER).card


def test_a_rotated_id_key_needs_its_own_pin(ours: Layout, theirs: Layout) -> None:
    known = pin(ours, peer(theirs).card, peer_card(theirs).fingerprint, NOW)
    fresh = trust.rotate(theirs, PEER, "Shop", NOW + DAY, replace_id=True).card
    fresh.check_successor(known.card)
    with pytest.raises(BadValue, match="is pinned"):
        renew_peer(ours, known, fresh, NOW + DAY)
    pinned = pin(ours, fresh, fresh.fingerprint, NOW + DAY)
    assert pinned.previous is None
    assert not ours.previous_peer_file(PEER).exists()


def test_a_revoked_peer_comes_back_with_new_keys_only(ours: Layout, theirs: Layout) -> None:
    card = peer(theirs).card
    pin(ours, card, card.fingerprint, NOW)
    trust.revoke(ours, PEER)
    assert read_peers(ours) == ()
    assert [one.address for one in trust.read_revoked(ours)] == [PEER]
    with pytest.raises(ConfigError, match="was revoked"):
        pin(ours, card, card.fingerprint, NOW)
    fresh = trust.rotate(theirs, PEER, "Shop", NOW, replace_id=True).card
    assert pin(ours, fresh, fresh.fingerprint, NOW).card == fresh
    with pytest.raises(ConfigError, match="not pinned here"):
        trust.revoke(ours, US)


def test_a_peer_file_somebody_edited_is_refused(ours: Layout, theirs: Layout) -> None:
    card = peer(theirs).card
    pin(ours, card, card.fingerprint, NOW)
    path = ours.peer_file(PEER)
    good = path.read_text()
    path.write_text(good.replace("# pinned", "# unpinned"))
    with pytest.raises(ConfigError, match="its first line must be"):
        read_peers(ours)
    path.write_text(good.replace(str(card.fingerprint)[:4], "aaaa", 1))
    with pytest.raises(ConfigError, match=str(path)):
        read_peers(ours)
    path.rename(ours.peer_file(Address("8888", HOST)))
    ours.peer_file(Address("8888", HOST)).write_text(good)
    with pytest.raises(ConfigError, match="not the one that was pinned"):
        read_peers(ours)


def test_an_old_kx_key_is_rotated_by_the_daemon_and_the_card_before_stays_usable(ours: Layout) -> None:
    first = create_own(ours, US, "Bank", NOW)
    assert trust.keep_own(ours, US, "Bank", NOW + KX_LIFETIME_S).card == first.card
    now = NOW + KX_LIFETIME_S + 1
    second = trust.keep_own(ours, US, "Bank", now)
    assert second.card.kx_pub != first.card.kx_pub
    assert second.cards(now) == [second.card, first.card]
    assert trust.keep_own(ours, US, "Bank", now).card == second.card


def test_a_revoked_peer_does_not_count_even_if_its_card_is_written_again(ours: Layout, theirs: Layout) -> None:
    own = peer(theirs)
    pin(ours, own.card, own.identity.fingerprint, NOW)
    text = ours.peer_file(PEER).read_bytes()
    trust.revoke(ours, PEER)
    ours.peer_file(PEER).write_bytes(text)
    assert read_peers(ours) == ()
