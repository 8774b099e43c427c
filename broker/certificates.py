"""Issue the certificates of a federation: one private authority, one server, one client certificate per party.

Keys are EC P-256 (every OpenSSL that mosquitto meets can use them). A client certificate's common name is the party
id, and that name is all that the broker's rules look at; so this module refuses to sign any other kind of name (RFC
5280 for the fields).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.errors import SettingsError
from broker.rules import is_party_id

AUTHORITY_VALIDITY = timedelta(days=3650)
LEAF_VALIDITY = timedelta(days=730)
THROWAWAY_VALIDITY = timedelta(hours=1)
REVOCATION_LIST_VALIDITY = timedelta(days=3650)
_CLOCK_SKEW = timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """The private certificate authority of one broker."""

    certificate: x509.Certificate
    key: Key

    @classmethod
    def create(cls, now: datetime) -> Authority:
        """Make a new authority with a fresh key, good for ten years, that signs leaves only (path length 0)."""
        key = new_key()
        name = _name(f"partyd broker CA {x509.random_serial_number():040x}"[:57])
        builder = _builder(name, name, key.public_key(), now, AUTHORITY_VALIDITY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        return cls(builder.sign(key, hashes.SHA256()), key)

    def issue_server(self, key: Key, hosts: list[str], now: datetime) -> x509.Certificate:
        """Sign a server certificate for the host names and addresses."""
        names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys(hosts)])
        builder = self._leaf(_name(hosts[0][:64]), key, now, ExtendedKeyUsageOID.SERVER_AUTH)
        return builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())

    def issue_party(self, key: Key, party: str, now: datetime, validity: timedelta = LEAF_VALIDITY) -> x509.Certificate:
        """Sign a client certificate whose common name is the party id; raises SettingsError for any other name."""
        if not is_party_id(party):
            raise SettingsError(f"{party!r} is no party id", mend="Use 1 to 64 of 0-9 A-Z a-z _ and -.")
        builder = self._leaf(_name(party), key, now, ExtendedKeyUsageOID.CLIENT_AUTH, validity)
        return builder.sign(self.key, hashes.SHA256())

    def revoke(
        self, certificate: x509.Certificate, earlier: x509.CertificateRevocationList | None, now: datetime
    ) -> x509.CertificateRevocationList:
        """Sign a revocation list (RFC 5280 §5) with the earlier entries and this certificate."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.certificate.subject)
        builder = builder.last_update(now - _CLOCK_SKEW).next_update(now + REVOCATION_LIST_VALIDITY)
        for entry in earlier or ():
            if entry.serial_number != certificate.serial_number:
                builder = builder.add_revoked_certificate(entry)
        entry = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
        builder = builder.add_extension(self._authority_id(), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _leaf(
        self,
        name: x509.Name,
        key: Key,
        now: datetime,
        usage: x509.ObjectIdentifier,
        validity: timedelta = LEAF_VALIDITY,
    ) -> x509.CertificateBuilder:
        builder = _builder(name, self.certificate.subject, key.public_key(), now, validity)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return builder.add_extension(self._authority_id(), critical=False)

    def _authority_id(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())


def new_key() -> Key:
    """Make a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """Write a key as unencrypted PKCS #8; its file must be 0600."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_pem(certificate: x509.Certificate | x509.CertificateRevocationList) -> bytes:
    """Write a certificate or a revocation list as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def read_key(path: Path) -> Key:
    """Read a key that `key_pem` wrote; raises SettingsError."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"the key cannot be read: {error}", where=str(path)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise SettingsError("the key is not an EC key", where=str(path), mend="Use the files that init wrote.")
    return key


def read_certificate(path: Path) -> x509.Certificate:
    """Read a PEM certificate; raises SettingsError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"the certificate cannot be read: {error}", where=str(path)) from error


def read_revocations(path: Path) -> x509.CertificateRevocationList | None:
    """Read a revocation list if there is one; raises SettingsError."""
    if not path.exists():
        return None
    try:
        return x509.load_pem_x509_crl(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SettingsError(f"the revocation list cannot be read: {error}", where=str(path)) from error


def common_name(encoded: bytes) -> str | None:
    """Return the one common name of a DER certificate, or None if it has none or several."""
    names = x509.load_der_x509_certificate(encoded).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else None


def utc_now() -> datetime:
    """Return the time that new certificates start from."""
    return datetime.now(UTC)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, now: datetime, validity: timedelta
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _CLOCK_SKEW).not_valid_after(now + validity)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
