"""Connect to a broker as somebody: a party with its folder, a throwaway party, or a stranger without credentials."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt

from broker import certificates
from broker.certificates import Authority
from broker.errors import SettingsError
from broker.layout import CONFIGURATION, read_authority
from broker.settings import Identity, Limits, Settings, load

_NODELAY: Sequence[tuple[int, int, int]] = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),)
_TIMEOUT_S = 5.0
_SILENT = logging.getLogger("broker.client")
_SILENT.setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Address:
    """Where the broker is, and the authority that vouches for it (None without TLS)."""

    host: str
    port: int
    ca: bytes | None = None

    @classmethod
    def parse(cls, url: str, ca: bytes | None) -> Address:
        """Read mqtt://HOST:PORT or mqtts://HOST:PORT; raises SettingsError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise SettingsError(f"{url!r} is no broker address", mend="Write mqtts://HOST:PORT.")
        tls = parts.scheme == "mqtts"
        return cls(parts.hostname, parts.port or (8883 if tls else 1883), ca if tls else None)


@dataclass(frozen=True)
class Credentials:
    """What somebody shows to the broker; PEM bytes, so that throwaway identities need no folder."""

    party: str
    certificate: bytes | None = None
    key: bytes | None = None
    username: str | None = None
    password: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Credentials:
        """Read a party's folder as `init` wrote it; its name is the party id. Raises SettingsError."""
        party = folder.resolve().name
        try:
            if (folder / "password").exists():
                password = (folder / "password").read_text(encoding="utf-8").strip()
                return cls(party, username=party, password=password)
            return cls(party, (folder / "party.crt").read_bytes(), (folder / "party.key").read_bytes())
        except OSError as error:
            mend = "Give a folder parties/<party id> that partyd-broker init wrote."
            raise SettingsError(f"no party's folder: {error}", where=str(folder), mend=mend) from error

    @classmethod
    def throwaway(cls, authority: Authority, label: str = "partyd-check") -> Credentials:
        """Have the authority sign a certificate of one hour for a party that does not exist."""
        party, key, now = f"{label}-{secrets.token_hex(8)}", certificates.new_key(), certificates.utc_now()
        issued = authority.issue_party(key, party, now, certificates.THROWAWAY_VALIDITY)
        return cls(party, certificates.certificate_pem(issued), certificates.key_pem(key))

    def client(
        self,
        address: Address,
        *,
        username: str | None = None,
        will: aiomqtt.Will | None = None,
        timeout_s: float = _TIMEOUT_S,
    ) -> aiomqtt.Client:
        """Return a client with a random 128-bit id and a clean session, to be entered with ``async with``."""
        return aiomqtt.Client(
            address.host,
            address.port,
            identifier=secrets.token_hex(16),
            protocol=aiomqtt.ProtocolVersion.V311,
            username=username or self.username,
            password=self.password,
            clean_session=True,
            keepalive=30,
            will=will,
            logger=_SILENT,
            timeout=timeout_s,
            tls_context=self._tls(address.ca) if address.ca else None,
            socket_options=_NODELAY,
        )

    def _tls(self, ca: bytes) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=ca.decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if self.certificate is not None and self.key is not None:
            with tempfile.NamedTemporaryFile() as both:  # OpenSSL's context reads files only; this one is 0600
                both.write(self.certificate + self.key)
                both.flush()
                context.load_cert_chain(both.name)
        return context


@dataclass(frozen=True)
class Target:
    """A running broker, a party of it, a stranger to that party, and credentials that it must refuse."""

    address: Address
    owner: Credentials
    stranger: Credentials
    impostors: Sequence[tuple[str, Credentials]]
    max_packet_bytes: int


def find_target(
    directory: Path | None, url: str | None, folders: Sequence[Path], max_packet_bytes: int | None = None
) -> Target:
    """Take identities from the broker's directory, or from two parties' folders; raises SettingsError."""
    if directory is None:
        ca_file = folders[0] / "ca.crt"
        ca = ca_file.read_bytes() if ca_file.exists() else None
        owner, stranger = (Credentials.read(folder) for folder in folders[:2])
        address = Address.parse(url or "", ca)
        return _target(address, owner, stranger, max_packet_bytes or Limits().max_packet_bytes)
    settings = load(directory / CONFIGURATION)
    ca = (directory / settings.files.ca).read_bytes() if settings.listen.tls else None
    listen = settings.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104  # compared, not bound
    address = Address.parse(url, ca) if url else Address(host, listen.port, ca)
    owner, stranger = _owner_and_stranger(directory, settings, folders)
    return _target(address, owner, stranger, max_packet_bytes or settings.limits.max_packet_bytes)


def _owner_and_stranger(
    directory: Path, settings: Settings, folders: Sequence[Path]
) -> tuple[Credentials, Credentials]:
    known = [Credentials.read(folder) for folder in folders or sorted((directory / "parties").glob("*"))]
    ca_key = directory / settings.files.ca.with_suffix(".key")
    if settings.identity is Identity.CERTIFICATES and ca_key.exists():
        authority = read_authority(directory, settings)
        return (known[0] if known else Credentials.throwaway(authority)), Credentials.throwaway(authority)
    if len(known) < 2:
        mend = "Add one with: partyd-broker init --party ID, or give --identity twice."
        raise SettingsError("a check needs two parties' folders", where=str(directory / "parties"), mend=mend)
    return known[0], known[1]


def _target(address: Address, owner: Credentials, stranger: Credentials, max_packet_bytes: int) -> Target:
    nobody = Credentials(owner.party)
    if owner.password is not None:
        wrong = replace(owner, password=secrets.token_urlsafe(32))
        impostors = [("no password", nobody), ("a wrong password", wrong)]
    else:
        foreign = Authority.create(certificates.utc_now())
        key = certificates.new_key()
        forged = foreign.issue_party(key, owner.party, certificates.utc_now(), certificates.THROWAWAY_VALIDITY)
        other = Credentials(owner.party, certificates.certificate_pem(forged), certificates.key_pem(key))
        named = Credentials(owner.party, username=owner.party)
        impostors = [
            ("no certificate", nobody),
            ("a user name instead of a certificate", named),
            ("a certificate of another authority", other),
        ]
    return Target(address, owner, stranger, impostors, max_packet_bytes)
