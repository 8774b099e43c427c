"""mosquitto.conf as we write it."""

from __future__ import annotations

from pathlib import Path

from broker.mosquitto import ACL, render
from broker.settings import Identity, Listen, Settings


def test_certificates_are_required_and_name_the_user(tmp_path: Path) -> None:
    lines = render(Settings(), tmp_path).splitlines()
    wanted = {
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        "tls_version tlsv1.3",
        f"cafile {tmp_path}/ca.crt",
        f"acl_file {tmp_path}/acl",
        "set_tcp_nodelay true",
        "persistence false",
        "retain_available false",
        "max_queued_messages 1000000",
        "listener 8883 127.0.0.1",
    }
    assert wanted <= set(lines)
    assert not any(line.startswith(("crlfile", "user ", "password_file")) for line in lines)


def test_a_revocation_list_is_used_when_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "ca.crl").touch()
    assert f"crlfile {tmp_path}/ca.crl" in render(Settings(), tmp_path).splitlines()


def test_passwords_without_tls_name_no_certificate(tmp_path: Path) -> None:
    settings = Settings(identity=Identity.PASSWORDS, listen=Listen(tls=False, port=1883))
    text = render(settings, tmp_path, user="broker")
    assert f"password_file {tmp_path}/passwords" in text
    assert "allow_anonymous false" in text
    assert "user broker" in text
    assert "certificate" not in text


def test_the_acl_says_the_rule() -> None:
    rules = [line for line in ACL.splitlines() if not line.startswith("#")]
    assert rules == ["pattern write partyd/1/+/%u/#", "pattern read partyd/1/%u/#"]
