"""Whom the check connects as."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from broker.certificates import Authority
from broker.errors import SettingsError
from broker.identity import Address, Credentials, find_target
from broker.layout import Plan, initialise
from broker.settings import Identity

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://h:1", Address("h", 1)),
        ("mqtt://h", Address("h", 1883)),
        ("mqtts://h", Address("h", 8883, b"ca")),
        ("mqtts://[::1]:5", Address("::1", 5, b"ca")),
    ],
)
def test_addresses_are_read(url: str, address: Address) -> None:
    assert Address.parse(url, b"ca") == address


@pytest.mark.parametrize("url", ["", "h:1", "http://h", "mqtt://"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="mqtts://HOST:PORT"):
        Address.parse(url, None)


def test_with_the_authority_the_stranger_is_a_throwaway_party(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000",)), NOW)
    target = find_target(tmp_path, None, ())
    assert target.owner.party == "10000"
    assert target.stranger.party.startswith("partyd-check-")
    assert target.address == Address("127.0.0.1", 8883, (tmp_path / "ca.crt").read_bytes())
    assert [name for name, _ in target.impostors] == [
        "no certificate",
        "a user name instead of a certificate",
        "a certificate of another authority",
    ]


def test_a_throwaway_certificate_lives_for_an_hour() -> None:
    credentials = Credentials.throwaway(Authority.create(NOW))
    assert credentials.certificate is not None
    certificate = x509.load_pem_x509_certificate(credentials.certificate)
    assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() <= 2 * 3600


def test_with_passwords_two_parties_are_taken(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000", "9999"), Identity.PASSWORDS), NOW)
    target = find_target(tmp_path, "mqtts://127.0.0.1:1", ())
    assert {target.owner.party, target.stranger.party} == {"10000", "9999"}
    assert target.owner.password == (tmp_path / "parties" / target.owner.party / "password").read_text().strip()
    assert [name for name, _ in target.impostors] == ["no password", "a wrong password"]
    assert all(who.password != target.owner.password for _, who in target.impostors)


def test_one_party_with_a_password_is_not_enough(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000",), Identity.PASSWORDS), NOW)
    with pytest.raises(SettingsError, match="two parties"):
        find_target(tmp_path, None, ())


def test_a_folder_without_keys_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no party's folder"):
        Credentials.read(tmp_path)
