"""init: what it writes, and that writing again changes nothing that exists."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from broker import certificates
from broker.errors import SettingsError
from broker.layout import Plan, initialise, revoke
from broker.passwords import read_password_file
from broker.settings import Identity, load

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_everything_is_written_and_private(tmp_path: Path) -> None:
    root = tmp_path / "broker"
    initialise(Plan(root, ("10000", "9999"), hosts=("broker.example.org",)), NOW)
    parties = {
        f"parties/{party}/{name}" for party in ("10000", "9999") for name in ("ca.crt", "party.crt", "party.key")
    }
    ours = {"broker.toml", "mosquitto.conf", "acl", "ca.crt", "ca.key", "server.crt", "server.key"}
    assert set(_content(root)) == ours | parties
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")] if path.is_dir()} == {0o700}
    assert load(root / "broker.toml").listen.host == "0.0.0.0"


def test_init_again_changes_nothing(tmp_path: Path) -> None:
    plan = Plan(tmp_path, ("10000", "9999"))
    initialise(plan, NOW)
    before = _content(tmp_path)
    assert initialise(plan, NOW) == []
    assert _content(tmp_path) == before


@pytest.mark.parametrize("identity", list(Identity))
def test_init_again_adds_parties_and_keeps_the_rest(tmp_path: Path, identity: Identity) -> None:
    initialise(Plan(tmp_path, ("10000",), identity), NOW)
    before = _content(tmp_path)
    initialise(Plan(tmp_path, ("10000", "9998")), NOW)
    after = _content(tmp_path)
    changed = {name for name, content in before.items() if after[name] != content}
    assert changed == ({"passwords"} if identity is Identity.PASSWORDS else set())
    assert {name.split("/")[1] for name in set(after) - set(before)} == {"9998"}
    if identity is Identity.PASSWORDS:
        assert set(read_password_file(tmp_path / "passwords")) == {"10000", "9998"}


def test_new_hosts_join_the_old_ones_under_the_same_key(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000",), hosts=("a.example.org",)), NOW)
    key = (tmp_path / "server.key").read_bytes()
    initialise(Plan(tmp_path, ("10000",), hosts=("b.example.org", "192.0.2.1")), NOW)
    issued = certificates.read_certificate(tmp_path / "server.crt")
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"a.example.org", "b.example.org", "localhost"}
    assert {str(address) for address in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1", "192.0.2.1"}
    assert (tmp_path / "server.key").read_bytes() == key


def test_a_removed_certificate_is_issued_again_for_the_same_key(tmp_path: Path) -> None:
    plan = Plan(tmp_path, ("10000",))
    initialise(plan, NOW)
    folder = tmp_path / "parties" / "10000"
    key, certificate = (folder / "party.key").read_bytes(), (folder / "party.crt").read_bytes()
    (folder / "party.crt").unlink()
    initialise(plan, NOW)
    assert (folder / "party.key").read_bytes() == key
    assert (folder / "party.crt").read_bytes() != certificate


def test_a_revoked_certificate_is_listed_and_mosquitto_told(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000", "9999")), NOW)
    listed = certificates.read_revocations(revoke(tmp_path, "9999", NOW))
    certificate = certificates.read_certificate(tmp_path / "parties" / "9999" / "party.crt")
    assert listed is not None
    assert [entry.serial_number for entry in listed] == [certificate.serial_number]
    assert "crlfile" in (tmp_path / "mosquitto.conf").read_text()


@pytest.mark.parametrize("party", ["a/b", "+", ""])
def test_other_names_are_refused_before_anything_is_written(tmp_path: Path, party: str) -> None:
    with pytest.raises(SettingsError, match="no party id"):
        initialise(Plan(tmp_path / "new", ("10000", party)), NOW)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("change", [{"identity": Identity.PASSWORDS}, {"port": 9}, {"bind": "0.0.0.0"}, {"tls": False}])
def test_what_broker_toml_says_is_not_changed_behind_its_back(tmp_path: Path, change: dict[str, object]) -> None:
    initialise(Plan(tmp_path, ("10000",), Identity.CERTIFICATES), NOW)
    with pytest.raises(SettingsError, match=r"broker\.toml"):
        initialise(Plan(tmp_path, ("10000",), **change), NOW)  # type: ignore[arg-type]
