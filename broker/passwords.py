"""Keep the broker's password file in mosquitto's own format, so that both brokers read the same one.

A line is ``<party id>:$7$<iterations>$<salt>$<hash>`` (base64; PBKDF2 with SHA-512, 64 bytes). `init` draws passwords
of 256 random bits: nobody can try them one by one, so few iterations do and a login costs the event loop nothing.
Lines that an operator writes with ``mosquitto_passwd`` for a password of a person's choosing may ask for many; those
are computed in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from broker.errors import SettingsError
from broker.rules import is_party_id

ITERATIONS = 101  # mosquitto_passwd's own default
_MAX_ITERATIONS = 10_000_000
_CHEAP_ITERATIONS = 1000
_HASH_BYTES = 64
_SALT_BYTES = 12  # mosquitto before 2.1 takes salts of this length only


@dataclass(frozen=True)
class PasswordHash:
    """What the server keeps of one password."""

    iterations: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Read ``$7$iterations$salt$hash``; raises ValueError."""
        empty, kind, iterations, salt, digest = text.split("$")
        if empty or kind != "7" or not 1 <= int(iterations) <= _MAX_ITERATIONS:
            raise ValueError("only mosquitto's $7$ (PBKDF2-SHA512) hashes are read")
        decoded = [base64.b64decode(part, validate=True) for part in (salt, digest)]
        if not decoded[0] or len(decoded[1]) != _HASH_BYTES:
            raise ValueError("the salt is empty or the hash is not 64 bytes long")
        return cls(int(iterations), decoded[0], decoded[1])

    def __str__(self) -> str:
        salt, digest = (base64.b64encode(part).decode() for part in (self.salt, self.digest))
        return f"$7${self.iterations}${salt}${digest}"

    async def accepts(self, password: str) -> bool:
        """Compare in constant time; hash in a thread where the hash asks for much work."""
        if self.iterations > _CHEAP_ITERATIONS:
            digest = await asyncio.to_thread(_pbkdf2, password, self.salt, self.iterations)
        else:
            digest = _pbkdf2(password, self.salt, self.iterations)
        return hmac.compare_digest(digest, self.digest)


def hash_password(password: str, iterations: int = ITERATIONS) -> PasswordHash:
    """Hash a password with a fresh salt."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return PasswordHash(iterations, salt, _pbkdf2(password, salt, iterations))


def new_password() -> str:
    """Draw a password of 256 random bits."""
    return secrets.token_urlsafe(32)


def read_password_file(path: Path) -> dict[str, PasswordHash]:
    """Read all users of a password file; raises SettingsError naming the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        mend = "Write it with: partyd-broker init --passwords"
        raise SettingsError(f"the password file cannot be read: {error}", where=str(path), mend=mend) from error
    users: dict[str, PasswordHash] = {}
    for number, line in enumerate(lines, start=1):
        if line and not line.startswith("#"):
            party, hashed = _user(line, f"{path}:{number}")
            users[party] = hashed
    return users


def write_password_file(path: Path, users: dict[str, PasswordHash]) -> None:
    """Replace the password file whole, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text("".join(f"{party}:{hashed}\n" for party, hashed in users.items()), encoding="utf-8")
    fresh.replace(path)


def _user(line: str, where: str) -> tuple[str, PasswordHash]:
    party, _, hashed = line.partition(":")
    if not is_party_id(party):
        raise SettingsError(f"{party!r} is no party id", where=where, mend="Use 1 to 64 of 0-9 A-Z a-z _ and -.")
    try:
        return party, PasswordHash.parse(hashed)
    except (ValueError, binascii.Error) as error:
        mend = "Write the line anew with: mosquitto_passwd FILE PARTY, or partyd-broker init"
        raise SettingsError(f"the hash of {party} cannot be read: {error}", where=where, mend=mend) from error


def _pbkdf2(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations, _HASH_BYTES)
