"""Our keys and cards from the command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from partyd.wire.card import Card
from tests.cli.owner import Partyd

FINGERPRINT = re.compile(r"\b(?:[a-z2-7]{4}-){12}[a-z2-7]{4}\b")


def fingerprint(text: str) -> str:
    found = FINGERPRINT.search(text)
    assert found is not None, text
    return found[0]


@pytest.fixture
def guest(partyd: Partyd) -> tuple[str, ...]:
    assert partyd("init", "--instance", "guest.host-10000", "--org", "Bank").status == 0
    return ("--instance", "guest.host-10000")


def test_show_prints_what_a_peer_must_compare(partyd: Partyd, guest: tuple[str, ...]) -> None:
    text = partyd(*guest, "identity", "show", "--for", "guest").out
    exported = Card.from_text(partyd(*guest, "card", "export", "--for", "guest").out)
    assert fingerprint(text) == str(exported.fingerprint)
    assert exported.org == "Bank"
    assert "10000/host" not in text


def test_every_role_has_keys_of_its_own(partyd: Partyd, guest: tuple[str, ...]) -> None:
    text = partyd(*guest, "identity", "show").out
    assert len(set(FINGERPRINT.findall(text))) == 2
    assert "10000/host" in text


def test_a_role_the_daemon_does_not_serve_is_named(partyd: Partyd, guest: tuple[str, ...]) -> None:
    answer = partyd(*guest, "identity", "show", "--for", "arbiter")
    assert answer.status == 78
    assert "serves 10000/guest, 10000/host, not the role arbiter" in answer.err


@pytest.mark.parametrize(("flag", "same"), [("--kx", True), ("--id", False)])
def test_rotation_keeps_the_fingerprint_unless_the_id_key_changes(
    partyd: Partyd, guest: tuple[str, ...], flag: str, same: bool
) -> None:
    before = Card.from_text(partyd(*guest, "card", "export", "--for", "guest").out)
    answer = partyd(*guest, "identity", "rotate", flag, "--for", "guest")
    after = Card.from_text(partyd(*guest, "card", "export", "--for", "guest").out)
    assert answer.status == 0
    assert (fingerprint(answer.out) == str(before.fingerprint)) is same
    assert (after.kx_pub != before.kx_pub) is same
    after.check_successor(before)


def test_export_to_a_file_takes_one_role(partyd: Partyd, guest: tuple[str, ...], tmp_path: Path) -> None:
    assert "choose one with --for" in partyd(*guest, "card", "export", "-o", tmp_path / "c").err
    assert partyd(*guest, "card", "export", "--for", "host", "-o", tmp_path / "c").status == 0
    assert str(Card.from_text((tmp_path / "c").read_text()).address) == "10000/host"


def test_a_private_key_is_never_printed(partyd: Partyd, guest: tuple[str, ...], tmp_path: Path) -> None:
    keys = [path.read_text() for path in tmp_path.rglob("*.key")]
    secrets = [line.split(": ")[1] for text in keys for line in text.splitlines() if line.startswith(("id:", "kx:"))]
    assert len(secrets) == 4
    lines = [("identity", "show"), ("card", "export"), ("identity", "rotate"), ("doctor", "--json")]
    text = "".join("".join(partyd(*guest, *line)[1:]) for line in lines)
    assert not any(secret in text for secret in secrets)
