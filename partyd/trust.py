"""Keep an address's own keys and cards, and the peers its owner pinned, as files in the state directory.

Own: ``identity/<role>.key`` and ``.card``. A rotation writes the key first and the card second; ``open_own`` issues
the card that is missing, so a power cut between the two is harmless. A card is renewed 30 days before its end.

Peers: ``peers/<party>-<role>.card``, the fingerprint that two people compared in its first line. A newer card under
the same id key replaces it without being asked (key rotation, renewal); another id key needs the fingerprint again.
The card before stays beside it while it is valid, because the peer may still use its keys.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from partyd.crypto.identity import KX_LIFETIME_S, Fingerprint, LocalIdentity, generate_identity
from partyd.errors import BadValue, ConfigError
from partyd.layout import Layout, make_private_dir, sync_dir, write_private
from partyd.types import Address, Role
from partyd.wire.card import CLOCK_TOLERANCE_S, MAX_LIFETIME_S, Card, issue

RENEW_BEFORE_S = 30 * 86_400
_PIN_LINE = "# pinned fingerprint: "
_MAX_FILE = 16_384


@dataclass(frozen=True)
class Own:
    """One address of ours: its private keys, its card, and the card before."""

    identity: LocalIdentity
    card: Card
    previous: Card | None = None

    def cards(self, now: int) -> list[Card]:
        """Return the cards that peers may hold and whose keys we still have, the newest first."""
        older = self.previous
        if older is None or older.not_after <= now or self.identity.kx_for(older.kx_pub) is None:
            return [self.card]
        return [self.card, older]


@dataclass(frozen=True)
class Pinned:
    """A peer whose fingerprint the owner compared."""

    fingerprint: Fingerprint
    card: Card
    previous: Card | None = None

    @property
    def address(self) -> Address:
        return self.card.address

    def cards(self, now: int) -> list[Card]:
        """Return the cards the peer may use now, the newest first."""
        older = self.previous
        return [self.card] if older is None or older.not_after <= now else [self.card, older]


def has_own(layout: Layout, role: Role) -> bool:
    """Say whether keys were made for ``role``."""
    return layout.key_file(role).exists()


def create_own(layout: Layout, address: Address, org: str, now: int) -> Own:
    """Make keys and a card for ``address``; raises ConfigError when it has keys already."""
    path = layout.key_file(address.role)
    if path.exists():
        raise ConfigError(f"{path}: this address has keys already; to replace them: partyd identity rotate")
    identity = generate_identity(address, now)
    write_private(path, identity.to_text().encode())
    return open_own(layout, address, org, now)


def read_identity(layout: Layout, address: Address) -> LocalIdentity:
    """Read an address's private keys; raises ConfigError when they are missing, open to others or damaged."""
    path = layout.key_file(address.role)
    text = _read(path, f"make the keys of {address} with `partyd init`")
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read this private key; chmod 600 it, and rotate if somebody did")
    try:
        identity = LocalIdentity.from_text(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if identity.address != address:
        raise ConfigError(
            f"{path}: these are the keys of {identity.address}, not of {address}; put the right file back"
        )
    return identity


def read_own(layout: Layout, address: Address) -> Own:
    """Read keys and cards as they are; raises ConfigError when the card is missing or not of these keys."""
    identity, path = read_identity(layout, address), layout.card_file(address.role)
    card = _read_card(path, "start the daemon, or run `partyd card export`, which makes it again")
    if card.address != address or card.id_pub != identity.id_pub or card.kx_pub != identity.kx_pub:
        raise ConfigError(f"{path}: not the card of these keys; `partyd card export` makes it again")
    return Own(identity, card, _read_optional_card(layout.previous_card_file(address.role)))


def open_own(layout: Layout, address: Address, org: str, now: int) -> Own:
    """Read keys and card, dropping a key whose overlap is over and issuing the card where it is missing or old.

    Used where nothing is to change without need; a running daemon calls `keep_own`.
    """
    identity = read_identity(layout, address)
    fresh = identity.without_expired(now)
    if fresh is not identity:
        write_private(layout.key_file(address.role), fresh.to_text().encode())
    last = _read_optional_card(layout.card_file(address.role))
    if last is not None and (last.id_pub, last.kx_pub) == (fresh.id_pub, fresh.kx_pub) and not _is_due(last, org, now):
        return Own(fresh, last, _read_optional_card(layout.previous_card_file(address.role)))
    return _issue(layout, fresh, last, org, now)


def rotate(layout: Layout, address: Address, org: str, now: int, *, replace_id: bool = False) -> Own:
    """Make a new kx key (or, with ``replace_id``, a new id key) and the card that announces it.

    A card that is due for renewal is not renewed first: peers that were away know the present one, and of two cards in
    a row only the newer would stay usable.
    """
    identity = read_identity(layout, address).without_expired(now)
    last = _read_optional_card(layout.card_file(address.role)) or open_own(layout, address, org, now).card
    fresh = identity.rotate_id() if replace_id else identity.rotate_kx(now)
    write_private(layout.key_file(address.role), fresh.to_text().encode())
    return _issue(layout, fresh, last, org, now)


def keep_own(layout: Layout, address: Address, org: str, now: int) -> Own:
    """Do what `open_own` does, and rotate a kx key that has reached its age; a daemon calls it now and then."""
    is_old = now - read_identity(layout, address).kx_created > KX_LIFETIME_S
    return (rotate if is_old else open_own)(layout, address, org, now)


def read_peers(layout: Layout) -> tuple[Pinned, ...]:
    """Read every pinned peer that is not revoked; raises ConfigError naming the file that is damaged."""
    files = sorted(layout.peers_dir.glob("*.card")) if layout.peers_dir.is_dir() else []
    pinned = [_read_pinned(layout, path) for path in files if not path.name.endswith(".previous.card")]
    return tuple(one for one in pinned if not is_revoked(layout, one.address, one.fingerprint))


def read_revoked(layout: Layout) -> tuple[Pinned, ...]:
    """Read the peers that were revoked."""
    files = sorted(layout.revoked_dir.glob("*.card")) if layout.revoked_dir.is_dir() else []
    return tuple(_read_pinned(layout, path) for path in files)


def is_revoked(layout: Layout, address: Address, fingerprint: Fingerprint) -> bool:
    """Say whether ``address`` was revoked under this fingerprint; it counts even if a card was written since."""
    path = layout.revoked_file(address)
    return path.exists() and _read_pinned(layout, path).fingerprint == fingerprint


def find_peer(layout: Layout, address: Address) -> Pinned | None:
    """Return the pinned peer of that address, if there is one."""
    path = layout.peer_file(address)
    return _read_pinned(layout, path) if path.exists() else None


def pin(layout: Layout, card: Card, fingerprint: Fingerprint, now: int) -> Pinned:
    """Trust ``card`` from now on, because somebody compared ``fingerprint`` with its owner.

    Raises BadValue when the card has another fingerprint or is not valid now, ConfigError when it was revoked.
    """
    card.verify(fingerprint, now)
    if is_revoked(layout, card.address, fingerprint):
        gone = layout.revoked_file(card.address)
        raise ConfigError(f"{card.address} was revoked under this fingerprint; delete {gone} if that was a mistake")
    known = find_peer(layout, card.address)
    pinned = Pinned(fingerprint, card, known.card if known and known.fingerprint == fingerprint else None)
    _write_pinned(layout, pinned)
    return pinned


def renew_peer(layout: Layout, known: Pinned, card: Card, now: int) -> Pinned:
    """Replace a pinned peer's card by a newer one under the same id key; raises BadValue when it is none."""
    if card.digest == known.card.digest:
        return known
    card.check_successor(known.card)
    card.verify(known.fingerprint, now)
    renewed = Pinned(known.fingerprint, card, known.card)
    _write_pinned(layout, renewed)
    return renewed


def revoke(layout: Layout, address: Address) -> Pinned:
    """Never speak to ``address`` again under its present id key; raises ConfigError when it is not pinned."""
    known = find_peer(layout, address)
    if known is None:
        raise ConfigError(f"{address} is not pinned here; see `partyd peer list`")
    make_private_dir(layout.revoked_dir)
    write_private(layout.revoked_file(address), _pinned_text(known.fingerprint, known.card))
    layout.peer_file(address).unlink()
    layout.previous_peer_file(address).unlink(missing_ok=True)
    sync_dir(layout.peers_dir)
    return known


def has_expired(card: Card, now: int) -> bool:
    """Say whether a card's time is over, the tolerance for clocks included."""
    return now > card.not_after + CLOCK_TOLERANCE_S


def now_s() -> int:
    """Return the wall clock in whole seconds, which is all that cards look at."""
    return int(time.time())


def read_card_file(path: Path) -> Card:
    """Read a card that somebody sent; raises ConfigError naming the file."""
    return _read_card(path, "ask the peer for the output of `partyd card export`")


def _is_due(card: Card, org: str, now: int) -> bool:
    return card.org != org or now > card.not_after - RENEW_BEFORE_S


def _issue(layout: Layout, identity: LocalIdentity, last: Card | None, org: str, now: int) -> Own:
    """Sign the next card; the serial follows the clock, so that a restored backup does not repeat one."""
    serial = now if last is None else max(now, last.serial + 1)
    successor = last if last is None or _can_follow(identity, last) else None
    card = issue(identity, org=org, serial=serial, not_before=now, not_after=now + MAX_LIFETIME_S, previous=successor)
    role = identity.address.role
    if last is not None:
        write_private(layout.previous_card_file(role), last.to_text().encode())
    write_private(layout.card_file(role), card.to_text().encode())
    return Own(identity, card, last)


def _can_follow(identity: LocalIdentity, last: Card) -> bool:
    old = identity.previous_id
    return last.id_pub in (identity.id_pub, old.public_key().public_bytes_raw() if old is not None else b"")


def _read_pinned(layout: Layout, path: Path) -> Pinned:
    text = _read(path, "pin the peer again with `partyd peer add`")
    first, _, _ = text.partition("\n")
    if not first.startswith(_PIN_LINE):
        raise ConfigError(f"{path}: its first line must be '{_PIN_LINE}...'; pin the peer again with `partyd peer add`")
    try:
        fingerprint = Fingerprint.parse(first.removeprefix(_PIN_LINE))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    card = _read_card(path, "pin the peer again with `partyd peer add`")
    if not fingerprint.matches(card.id_pub) or path.name != layout.peer_file(card.address).name:
        raise ConfigError(f"{path}: the card is not the one that was pinned here; pin the peer again")
    return Pinned(fingerprint, card, _read_optional_card(layout.previous_peer_file(card.address)))


def _pinned_text(fingerprint: Fingerprint, card: Card) -> bytes:
    return f"{_PIN_LINE}{fingerprint}\n# {card.address}\n{card.to_text()}".encode()


def _write_pinned(layout: Layout, pinned: Pinned) -> None:
    if pinned.previous is None:
        with contextlib.suppress(FileNotFoundError):
            layout.previous_peer_file(pinned.address).unlink()
    else:
        write_private(layout.previous_peer_file(pinned.address), pinned.previous.to_text().encode())
    write_private(layout.peer_file(pinned.address), _pinned_text(pinned.fingerprint, pinned.card))


def _read_optional_card(path: Path) -> Card | None:
    return _read_card(path, "delete it") if path.exists() else None


def _read_card(path: Path, remedy: str) -> Card:
    try:
        return Card.from_text(_read(path, remedy))
    except BadValue as error:
        raise ConfigError(f"{path}: {error}; {remedy}") from error


def _read(path: Path, remedy: str) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_MAX_FILE).decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; {remedy}") from error
