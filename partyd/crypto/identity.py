"""Who an address is: an Ed25519 key that signs, an X25519 key that agrees, and the fingerprint people compare.

Each address (party id and role) has two unrelated key pairs. ``id`` signs party cards, and how a job ended;
its fingerprint is what a peer's administrator pins, compared out of band. ``kx`` is the static key of the encrypted
channel. Neither is derived from the other, so losing one does not lose the other.

Rotation makes a new, frozen identity. A rotated ``kx`` key stays answerable for 14 days, because peers hold the old
card until the new one reaches them. A rotated ``id`` key stays for one purpose: signing over the new card
(``partyd.wire.card.issue``), so that peers can see that the old owner agreed.

Nothing here touches a file: ``to_text`` gives what the owner writes with mode 0600. Python cannot promise to wipe a
key from memory; ``repr`` at least never shows one.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from partyd.errors import BadValue, ConfigError
from partyd.types import Address

KEY_BYTES = 32
SIGNATURE_BYTES = 64
KX_OVERLAP_S = 14 * 86_400
"""How long a rotated kx key is still answered."""
KX_LIFETIME_S = 60 * 86_400
"""After this age the owner should rotate the kx key."""

_FINGERPRINT_LABEL = b"partyd-id/1"
_FINGERPRINT_CHARS = 52
_MAX_TEXT = 4096
_BEGIN = "-----BEGIN PARTYD IDENTITY-----"
_END = "-----END PARTYD IDENTITY-----"
_REQUIRED = ("version", "address", "id", "kx", "kx-created", "fingerprint")
_OPTIONAL = ("previous-kx", "previous-kx-until", "previous-id")


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256("partyd-id/1" || id_pub), read and written as 13 groups of 4 base32 characters."""

    digest: bytes

    @classmethod
    def of(cls, id_pub: bytes) -> Fingerprint:
        """Return the fingerprint of a raw Ed25519 public key."""
        return cls(hashlib.sha256(_FINGERPRINT_LABEL + id_pub).digest())

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read a fingerprint, forgiving case, spaces and dashes; raises ConfigError saying what is wrong."""
        letters = "".join(text[:256].split()).replace("-", "").upper()
        if len(letters) != _FINGERPRINT_CHARS:
            raise ConfigError(
                f"a fingerprint has {_FINGERPRINT_CHARS} letters and digits, this one has {len(letters)}; "
                "copy it again from `partyd identity show` at the peer"
            )
        try:
            digest = base64.b32decode(letters + "====")
        except (binascii.Error, ValueError) as error:
            raise ConfigError("a fingerprint holds only A-Z and 2-7 (no 0, 1, 8 or 9); copy it again") from error
        if base64.b32encode(digest).decode().rstrip("=") != letters:
            raise ConfigError("the fingerprint's last character is mistyped; copy it again")
        return cls(digest)

    def matches(self, id_pub: bytes) -> bool:
        """Say whether ``id_pub`` has this fingerprint, in constant time."""
        return hmac.compare_digest(self.digest, Fingerprint.of(id_pub).digest)

    def __str__(self) -> str:
        letters = base64.b32encode(self.digest).decode().rstrip("=").lower()
        return "-".join(letters[at : at + 4] for at in range(0, _FINGERPRINT_CHARS, 4))


@dataclass(frozen=True, repr=False)
class LocalIdentity:
    """The private keys of one address. ``now`` and ``created`` are Unix seconds given by the owner."""

    address: Address
    id_key: Ed25519PrivateKey
    kx_key: X25519PrivateKey
    kx_created: int
    previous_kx: X25519PrivateKey | None = None
    previous_kx_until: int = 0
    previous_id: Ed25519PrivateKey | None = None

    def __repr__(self) -> str:
        return f"LocalIdentity({self.address}, {self.fingerprint})"

    @property
    def id_pub(self) -> bytes:
        return self.id_key.public_key().public_bytes_raw()

    @property
    def kx_pub(self) -> bytes:
        return self.kx_key.public_key().public_bytes_raw()

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.id_pub)

    def sign(self, message: bytes) -> bytes:
        """Sign with ``id``. The caller puts a label that names the purpose in front of every message."""
        return self.id_key.sign(message)

    def kx_for(self, kx_pub: bytes) -> X25519PrivateKey | None:
        """Return the current or previous kx private key whose public half is ``kx_pub``."""
        for key in (self.kx_key, self.previous_kx):
            if key is not None and key.public_key().public_bytes_raw() == kx_pub:
                return key
        return None

    def rotate_kx(
        self, now: int, generate: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate
    ) -> LocalIdentity:
        """Return the identity with a new kx key; the present one stays answerable for 14 days."""
        return dataclasses.replace(
            self,
            kx_key=generate(),
            kx_created=now,
            previous_kx=self.kx_key,
            previous_kx_until=now + KX_OVERLAP_S,
        )

    def rotate_id(self, generate: Callable[[], Ed25519PrivateKey] = Ed25519PrivateKey.generate) -> LocalIdentity:
        """Return the identity with a new id key, keeping the present one to cross-sign the next card."""
        return dataclasses.replace(self, id_key=generate(), previous_id=self.id_key)

    def without_expired(self, now: int) -> LocalIdentity:
        """Return the identity without a previous kx key whose 14 days are over."""
        if self.previous_kx is None or now < self.previous_kx_until:
            return self
        return dataclasses.replace(self, previous_kx=None, previous_kx_until=0)

    def to_text(self) -> str:
        """Serialise the private keys; the owner writes this to a file of mode 0600 and nowhere else."""
        fields = {
            "version": "1",
            "address": str(self.address),
            "fingerprint": str(self.fingerprint),
            "id": _encode(self.id_key.private_bytes_raw()),
            "kx": _encode(self.kx_key.private_bytes_raw()),
            "kx-created": str(self.kx_created),
        }
        if self.previous_kx is not None:
            fields["previous-kx"] = _encode(self.previous_kx.private_bytes_raw())
            fields["previous-kx-until"] = str(self.previous_kx_until)
        if self.previous_id is not None:
            fields["previous-id"] = _encode(self.previous_id.private_bytes_raw())
        return "\n".join([_BEGIN, *(f"{name}: {value}" for name, value in fields.items()), _END, ""])

    @classmethod
    def from_text(cls, text: str) -> LocalIdentity:
        """Read ``to_text``'s form; raises ConfigError saying what is wrong (never quoting a key)."""
        fields = _parse_fields(text)
        try:
            address = Address.parse(fields["address"])
        except ValueError as error:
            raise ConfigError(f"identity file: {error}") from error
        identity = cls(
            address=address,
            id_key=Ed25519PrivateKey.from_private_bytes(_decode(fields, "id")),
            kx_key=X25519PrivateKey.from_private_bytes(_decode(fields, "kx")),
            kx_created=_seconds(fields, "kx-created"),
        )
        if "previous-kx" in fields:
            previous_kx = X25519PrivateKey.from_private_bytes(_decode(fields, "previous-kx"))
            until = _seconds(fields, "previous-kx-until")
            identity = dataclasses.replace(identity, previous_kx=previous_kx, previous_kx_until=until)
        if "previous-id" in fields:
            previous_id = Ed25519PrivateKey.from_private_bytes(_decode(fields, "previous-id"))
            identity = dataclasses.replace(identity, previous_id=previous_id)
        if Fingerprint.parse(fields["fingerprint"]) != identity.fingerprint:
            raise ConfigError(
                "identity file: the id key does not have the fingerprint written beside it; restore a backup"
            )
        return identity


def generate_identity(
    address: Address,
    now: int,
    generate_id: Callable[[], Ed25519PrivateKey] = Ed25519PrivateKey.generate,
    generate_kx: Callable[[], X25519PrivateKey] = X25519PrivateKey.generate,
) -> LocalIdentity:
    """Make fresh keys for ``address``."""
    return LocalIdentity(address=address, id_key=generate_id(), kx_key=generate_kx(), kx_created=now)


def verify_signature(id_pub: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature; raises BadValue when it does not hold."""
    try:
        Ed25519PublicKey.from_public_bytes(id_pub).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise BadValue("the signature does not hold: the text was changed or signed by another key") from error


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _decode(fields: dict[str, str], name: str) -> bytes:
    try:
        raw = base64.b64decode(fields[name], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"identity file: field {name} is no base64; restore a backup") from error
    if len(raw) != KEY_BYTES:
        raise ConfigError(f"identity file: field {name} holds {len(raw)} bytes, not {KEY_BYTES}; restore a backup")
    return raw


def _seconds(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise ConfigError(f"identity file: field {name} must be Unix seconds; restore a backup")
    return int(text)


def _parse_fields(text: str) -> dict[str, str]:
    """Split the armoured lines into known fields, each once."""
    lines = text.strip().splitlines() if len(text) <= _MAX_TEXT else []
    if len(lines) < 2 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ConfigError(f"this is no identity file: it must start with {_BEGIN} and end with {_END}")
    fields: dict[str, str] = {}
    for line in lines[1:-1]:
        name, separator, value = line.partition(": ")
        if not separator or name not in _REQUIRED + _OPTIONAL or name in fields:
            raise ConfigError(f"identity file: field {name[:20]!r} is unknown or written twice; restore a backup")
        fields[name] = value
    missing = [name for name in _REQUIRED if name not in fields]
    if missing or fields["version"] != "1":
        raise ConfigError(f"identity file: missing {', '.join(missing) or 'a version this partyd knows'}")
    return fields
