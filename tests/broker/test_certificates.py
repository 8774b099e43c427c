"""The private authority: names, purposes, and what OpenSSL says to them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from broker import certificates
from broker.certificates import Authority
from broker.errors import SettingsError

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create(NOW)


def _verifier(authority: Authority, when: datetime = NOW) -> PolicyBuilder:
    return PolicyBuilder().store(Store([authority.certificate])).time(when)


def test_a_party_certificate_names_the_party_and_is_for_clients(authority: Authority) -> None:
    issued = authority.issue_party(certificates.new_key(), "10000", NOW)
    assert certificates.common_name(issued.public_bytes(Encoding.DER)) == "10000"
    purposes = issued.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not issued.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    issued.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("party", ["a/b", "+", "#", "", "x" * 65, "ä"])
def test_no_certificate_is_issued_for_another_name(authority: Authority, party: str) -> None:
    with pytest.raises(SettingsError, match="no party id"):
        authority.issue_party(certificates.new_key(), party, NOW)


@pytest.mark.parametrize("host", ["localhost", "broker.example.org"])
def test_a_server_certificate_verifies_for_its_hosts(authority: Authority, host: str) -> None:
    issued = authority.issue_server(certificates.new_key(), ["broker.example.org", "localhost", "127.0.0.1"], NOW)
    chain = _verifier(authority).build_server_verifier(x509.DNSName(host)).verify(issued, [])
    assert chain[-1] == authority.certificate


def test_certificates_end(authority: Authority) -> None:
    issued = authority.issue_server(certificates.new_key(), ["localhost"], NOW)
    late = NOW + certificates.LEAF_VALIDITY + timedelta(days=1)
    with pytest.raises(x509.verification.VerificationError):
        _verifier(authority, late).build_server_verifier(x509.DNSName("localhost")).verify(issued, [])
    assert authority.certificate.not_valid_after_utc == NOW + certificates.AUTHORITY_VALIDITY


def test_revocations_add_up(authority: Authority) -> None:
    first, second = (authority.issue_party(certificates.new_key(), party, NOW) for party in ("1", "2"))
    once = authority.revoke(first, None, NOW)
    twice = authority.revoke(second, once, NOW)
    again = authority.revoke(second, twice, NOW)
    assert {entry.serial_number for entry in twice} == {first.serial_number, second.serial_number}
    assert len(list(again)) == 2


def test_a_key_comes_back_and_loads_into_openssl(authority: Authority, tmp_path: Path) -> None:
    key = certificates.new_key()
    (tmp_path / "key").write_bytes(certificates.key_pem(key))
    (tmp_path / "crt").write_bytes(certificates.certificate_pem(authority.issue_party(key, "10000", NOW)))
    assert certificates.key_pem(certificates.read_key(tmp_path / "key")) == certificates.key_pem(key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tmp_path / "crt", tmp_path / "key")
    assert certificates.read_certificate(tmp_path / "crt").serial_number > 0


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_text("nothing")
    for read in (certificates.read_key, certificates.read_certificate, certificates.read_revocations):
        with pytest.raises(SettingsError, match="cannot be read"):
            read(path)
    assert certificates.read_revocations(tmp_path / "absent") is None
