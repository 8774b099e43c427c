"""Lay out a broker's directory: configuration, authority, server certificate, and one folder per party to hand over.

    DIR/broker.toml  mosquitto.conf  acl
    DIR/ca.crt  ca.key  server.crt  server.key  ca.crl (once something is revoked)
    DIR/passwords (with passwords)
    DIR/parties/<party id>/ca.crt  party.crt  party.key        or   ca.crt  password

`initialise` may run again at any time: it adds what is missing, keeps every key and password that exists, and writes
mosquitto.conf anew from broker.toml. A party certificate that was removed is issued again for the same key.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from broker import certificates, mosquitto
from broker.certificates import Authority, Key
from broker.errors import SettingsError
from broker.passwords import PasswordHash, hash_password, new_password, read_password_file, write_password_file
from broker.rules import is_party_id
from broker.settings import Identity, Listen, Settings, load
from broker.toml import render as render_toml

CONFIGURATION = "broker.toml"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Plan:
    """What `partyd-broker init` was asked for; None where the existing broker.toml or the default decides."""

    directory: Path
    parties: Sequence[str]
    identity: Identity | None = None
    hosts: Sequence[str] = ()
    bind: str | None = None
    port: int | None = None
    tls: bool | None = None


def initialise(plan: Plan, now: datetime) -> list[Path]:
    """Create or complete the directory; returns the files that it wrote. Raises SettingsError."""
    for party in plan.parties:
        if not is_party_id(party):
            raise SettingsError(f"{party!r} is no party id", mend="Use 1 to 64 of 0-9 A-Z a-z _ and -.")
    directory = _Directory(plan.directory)
    settings = _settings(plan, directory)
    authority = _authority(directory, settings, now) if settings.listen.tls else None
    if authority is not None:
        _server(directory, settings, authority, plan.hosts, now)
    if settings.identity is Identity.PASSWORDS:
        _passwords(directory, settings, plan.parties)
    for party in plan.parties:
        if authority is not None:
            _party(directory, settings, authority, party, now)
    directory.write(str(settings.files.acl), mosquitto.ACL.encode())
    directory.write("mosquitto.conf", mosquitto.render(settings, plan.directory).encode())
    return directory.written


def revoke(directory: Path, party: str, now: datetime) -> Path:
    """Add a party's present certificate to the revocation list; returns the list's path. Raises SettingsError."""
    settings = load(directory / CONFIGURATION)
    authority = read_authority(directory, settings)
    revoked = directory / settings.files.revoked
    certificate = certificates.read_certificate(directory / "parties" / party / "party.crt")
    fresh = authority.revoke(certificate, certificates.read_revocations(revoked), now)
    files = _Directory(directory)
    files.write(str(settings.files.revoked), certificates.certificate_pem(fresh))
    files.write("mosquitto.conf", mosquitto.render(settings, directory).encode())
    return revoked


def read_authority(directory: Path, settings: Settings) -> Authority:
    """Read the certificate authority of the directory; raises SettingsError."""
    ca = directory / settings.files.ca
    return Authority(certificates.read_certificate(ca), certificates.read_key(ca.with_suffix(".key")))


class _Directory:
    """Files under one root: folders 0700, files 0600; remembers what it wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.written: list[Path] = []

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        if path.exists() and path.read_bytes() == content:
            return
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in reversed(Path(name).parents):
            (self.root / folder).mkdir(mode=0o700, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_bytes(content)
        fresh.replace(path)
        self.written.append(path)

    def key(self, name: str) -> Key:
        """Read the key, or make it."""
        if self.has(name):
            return certificates.read_key(self.root / name)
        key = certificates.new_key()
        self.write(name, certificates.key_pem(key))
        return key


def _settings(plan: Plan, directory: _Directory) -> Settings:
    if directory.has(CONFIGURATION):
        settings = load(plan.directory / CONFIGURATION)
        _refuse_change("identity", plan.identity, settings.identity)
        _refuse_change("listen.tls", plan.tls, settings.listen.tls)
        _refuse_change("listen.host", plan.bind, settings.listen.host)
        _refuse_change("listen.port", plan.port, settings.listen.port)
        return settings
    bind = plan.bind or ("0.0.0.0" if plan.hosts else Listen().host)  # noqa: S104  # asked for by --host
    tls = True if plan.tls is None else plan.tls
    listen = {"host": bind, "port": plan.port or (8883 if tls else 1883), "tls": tls}
    settings = Settings.model_validate({"identity": plan.identity or Identity.CERTIFICATES, "listen": listen})
    directory.write(CONFIGURATION, render_toml(settings).encode())
    return settings


def _refuse_change(key: str, wanted: object, present: object) -> None:
    if wanted is not None and wanted != present:
        mend = f"Change {key} in broker.toml, or use another --dir."
        raise SettingsError(f"{key} is {present!s} here, not {wanted!s}", where=CONFIGURATION, mend=mend)


def _authority(directory: _Directory, settings: Settings, now: datetime) -> Authority:
    root, ca = directory.root, settings.files.ca
    if not directory.has(str(ca)):
        fresh = Authority.create(now)
        directory.write(str(ca.with_suffix(".key")), certificates.key_pem(fresh.key))
        directory.write(str(ca), certificates.certificate_pem(fresh.certificate))
    return read_authority(root, settings)


def _server(
    directory: _Directory, settings: Settings, authority: Authority, hosts: Sequence[str], now: datetime
) -> None:
    name = str(settings.files.certificate)
    key = directory.key(str(settings.files.key))
    present = _hosts_of(certificates.read_certificate(directory.root / name)) if directory.has(name) else []
    wanted = list(dict.fromkeys([*hosts, *present, *_LOCAL_HOSTS]))
    if set(wanted) != set(present):
        directory.write(name, certificates.certificate_pem(authority.issue_server(key, wanted, now)))


def _hosts_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [
        address
        for address in names.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _party(directory: _Directory, settings: Settings, authority: Authority, party: str, now: datetime) -> None:
    folder = f"parties/{party}"
    directory.write(f"{folder}/ca.crt", certificates.certificate_pem(authority.certificate))
    if settings.identity is Identity.CERTIFICATES:
        key = directory.key(f"{folder}/party.key")
        if not directory.has(f"{folder}/party.crt"):
            issued = authority.issue_party(key, party, now)
            directory.write(f"{folder}/party.crt", certificates.certificate_pem(issued))


def _passwords(directory: _Directory, settings: Settings, parties: Sequence[str]) -> None:
    path = directory.root / settings.files.passwords
    users: dict[str, PasswordHash] = read_password_file(path) if path.exists() else {}
    missing = [party for party in dict.fromkeys(parties) if party not in users]
    for party in missing:
        password = new_password()
        users[party] = hash_password(password)
        directory.write(f"parties/{party}/password", password.encode() + b"\n")
    if missing:
        write_password_file(path, users)
        directory.written.append(path)
