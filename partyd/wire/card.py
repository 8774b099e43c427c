"""A party card: who an address is and which keys it uses, signed by its own ``id`` key.

    body     = [v, party_id, role, org, id_pub, kx_pub, serial, not_before, not_after,
                proto_min, proto_max, features, prev_card_hash]
    card     = [body, signature, endorsement]

Both are strict, canonical msgpack; ``body`` and ``signature`` are byte strings inside ``card``.
``signature`` = Ed25519(id, "partyd-card/1" || body). ``endorsement`` is nil, or [old id_pub, signature by the old id
key over "partyd-card-successor/1" || body] where the id key was rotated.

A card proves nothing by itself: anybody can sign one. Trust comes from the pinned fingerprint (``Card.verify``), which
two administrators compared out of band. A card lives 90 days at most, the backstop when a broker hides a revocation.
``Card.digest`` = SHA-256(body) goes into the handshake, so both sides must mean the same pair of cards.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from partyd.crypto.identity import KEY_BYTES, SIGNATURE_BYTES, Fingerprint, LocalIdentity, verify_signature
from partyd.errors import BadValue, ConfigError
from partyd.types import Address
from partyd.wire.noise import is_usable
from partyd.wire.strict import U16, Fields, Limits, Value, pack, unpack_canonical

CARD_VERSION: Final = 1
MAX_CARD: Final = 4096
MAX_LIFETIME_S: Final = 90 * 86_400
CLOCK_TOLERANCE_S: Final = 600
PROTO_MIN: Final = 1
PROTO_MAX: Final = 1

_LABEL: Final = b"partyd-card/1"
_SUCCESSOR_LABEL: Final = b"partyd-card-successor/1"
_LIMITS: Final = Limits(total=MAX_CARD, depth=3, items=32, text=256, binary=MAX_CARD)
_MAX_TIME: Final = 2**40
_MAX_ORG: Final = 120
_BEGIN: Final = "-----BEGIN PARTYD CARD-----"
_END: Final = "-----END PARTYD CARD-----"


@dataclass(frozen=True)
class Endorsement:
    """The old id key's signature over a card with a new id key."""

    old_id_pub: bytes
    signature: bytes


@dataclass(frozen=True)
class Card:
    """A card whose signature holds. Make one with ``issue``, ``decode`` or ``from_text``, never by hand."""

    address: Address
    org: str
    id_pub: bytes
    kx_pub: bytes
    serial: int
    not_before: int
    not_after: int
    proto_min: int
    proto_max: int
    features: tuple[str, ...]
    previous_digest: bytes | None
    body: bytes
    signature: bytes
    endorsement: Endorsement | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 of the signed body."""
        return hashlib.sha256(self.body).digest()

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.id_pub)

    def encode(self) -> bytes:
        """Return the card's bytes."""
        endorsement: Value = None
        if self.endorsement is not None:
            endorsement = [self.endorsement.old_id_pub, self.endorsement.signature]
        return pack([self.body, self.signature, endorsement])

    @classmethod
    def decode(cls, data: bytes) -> Card:
        """Read a card and check its signature; raises BadValue. Call ``verify`` before trusting it."""
        if len(data) > MAX_CARD:
            raise BadValue(f"a card has at most {MAX_CARD} bytes, this one {len(data)}")
        fields = Fields(unpack_canonical(data, _LIMITS), "card", 3)
        body = fields.binary("body", maximum=MAX_CARD)
        signature = fields.binary("signature", exactly=SIGNATURE_BYTES)
        card = _read_body(body, signature, _read_endorsement(fields.value()))
        verify_signature(card.id_pub, signature, _LABEL + body)
        if card.endorsement is not None:
            verify_signature(card.endorsement.old_id_pub, card.endorsement.signature, _SUCCESSOR_LABEL + body)
        return card

    def to_text(self) -> str:
        """Return the form that people mail: base64 lines between two markers."""
        return "\n".join([_BEGIN, *textwrap.wrap(base64.b64encode(self.encode()).decode(), 64), _END, ""])

    @classmethod
    def from_text(cls, text: str) -> Card:
        """Read ``to_text``'s form, forgiving what mail adds around and between the lines; raises BadValue."""
        _, begun, rest = text[: 4 * MAX_CARD].partition(_BEGIN)
        inner, ended, _ = rest.partition(_END)
        if not begun or not ended:
            raise BadValue(f"no party card found: copy everything from {_BEGIN} to {_END}, both lines included")
        try:
            data = base64.b64decode("".join(inner.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadValue("the card's text is damaged: export it again with `partyd card export`") from error
        return cls.decode(data)

    def verify(self, pin: Fingerprint, now: int) -> None:
        """Check the card against the pinned fingerprint and the time (Unix seconds); raises BadValue with a remedy."""
        who = f"the card of {self.address}"
        if not pin.matches(self.id_pub):
            raise BadValue(
                f"{who} has fingerprint {self.fingerprint}, but {pin} is pinned; "
                "ask the peer, by telephone and not by mail, which is right, then `partyd peer add` again"
            )
        if now < self.not_before - CLOCK_TOLERANCE_S:
            raise BadValue(f"{who} is valid only from {_day(self.not_before)}; check this machine's clock")
        if now > self.not_after + CLOCK_TOLERANCE_S:
            raise BadValue(
                f"{who} expired on {_day(self.not_after)}; the peer must run `partyd card export`, "
                "and you `partyd card import` (or check this machine's clock)"
            )
        if self.proto_min > PROTO_MAX or self.proto_max < PROTO_MIN:
            raise BadValue(
                f"{who} speaks protocol {self.proto_min} to {self.proto_max}, we {PROTO_MIN} to {PROTO_MAX}; "
                "the older side must upgrade"
            )

    def check_successor(self, previous: Card) -> None:
        """Check that this card may replace ``previous`` without a new pin; raises BadValue with a remedy."""
        who = f"the new card of {self.address}"
        if self.address != previous.address:
            raise BadValue(f"{who} cannot replace a card of {previous.address}")
        if self.serial <= previous.serial:
            raise BadValue(f"{who} has serial {self.serial}, not above {previous.serial}: it is an old card")
        if self.id_pub == previous.id_pub:
            return
        if self.endorsement is None or self.endorsement.old_id_pub != previous.id_pub:
            raise BadValue(f"{who} has another id key that the old one did not sign; compare fingerprints and re-pin")
        if self.previous_digest != previous.digest:
            raise BadValue(f"{who} does not follow the card we hold; import the card between, or re-pin")


def issue(
    identity: LocalIdentity,
    *,
    org: str,
    serial: int,
    not_before: int,
    not_after: int,
    features: tuple[str, ...] = (),
    previous: Card | None = None,
    proto_min: int = PROTO_MIN,
    proto_max: int = PROTO_MAX,
) -> Card:
    """Sign a card for ``identity``; cross-signed when its id key was rotated after ``previous``.

    Raises ConfigError when the card would be refused by its readers.
    """
    body = pack(
        [
            CARD_VERSION,
            identity.address.party_id,
            identity.address.role.label,
            org,
            identity.id_pub,
            identity.kx_pub,
            serial,
            not_before,
            not_after,
            proto_min,
            proto_max,
            list(features),
            None if previous is None else previous.digest,
        ]
    )
    endorsement: Endorsement | None = None
    if previous is not None and previous.id_pub != identity.id_pub:
        endorsement = _endorse(identity, previous, body)
    try:
        card = _read_body(body, identity.sign(_LABEL + body), endorsement)
        return Card.decode(card.encode())
    except BadValue as error:
        raise ConfigError(f"this card would be refused: {error}") from error


def _endorse(identity: LocalIdentity, previous: Card, body: bytes) -> Endorsement:
    old = identity.previous_id
    if old is None or old.public_key().public_bytes_raw() != previous.id_pub:
        raise ConfigError("the previous card was signed by an id key that is gone; issue without it, and peers re-pin")
    return Endorsement(previous.id_pub, old.sign(_SUCCESSOR_LABEL + body))


def _read_endorsement(value: Value) -> Endorsement | None:
    if value is None:
        return None
    fields = Fields(value, "endorsement", 2)
    return Endorsement(fields.binary("id_pub", exactly=KEY_BYTES), fields.binary("signature", exactly=SIGNATURE_BYTES))


def _read_body(body: bytes, signature: bytes, endorsement: Endorsement | None) -> Card:
    fields = Fields(unpack_canonical(body, _LIMITS), "card", 13)
    fields.uint("version", CARD_VERSION, CARD_VERSION)
    card = Card(
        address=_read_address(fields.text("party_id", 64), fields.text("role", 16)),
        org=fields.text("org", _MAX_ORG),
        id_pub=fields.binary("id_pub", exactly=KEY_BYTES),
        kx_pub=fields.binary("kx_pub", exactly=KEY_BYTES),
        serial=fields.uint("serial"),
        not_before=fields.uint("not_before", _MAX_TIME),
        not_after=fields.uint("not_after", _MAX_TIME),
        proto_min=fields.uint("proto_min", U16),
        proto_max=fields.uint("proto_max", U16),
        features=fields.texts("features"),
        previous_digest=fields.optional_binary("prev_card_hash", exactly=32),
        body=body,
        signature=signature,
        endorsement=endorsement,
    )
    if not card.not_before < card.not_after <= card.not_before + MAX_LIFETIME_S:
        raise BadValue("card: it must end after it begins and within 90 days")
    if card.proto_min > card.proto_max:
        raise BadValue("card: proto_min is above proto_max")
    if not is_usable(card.kx_pub):
        raise BadValue("card: kx_pub is no valid X25519 key")
    return card


def _read_address(party_id: str, role: str) -> Address:
    try:
        return Address.parse(f"{party_id}/{role}")
    except ValueError as error:
        raise BadValue(f"card: {error}") from error


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(min(seconds, 2**37), UTC).strftime("%Y-%m-%d %H:%M UTC")
