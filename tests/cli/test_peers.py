"""Pinning peers from the command line, with a daemon that is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from partyd.wire.card import Card
from tests.cli.owner import Partyd

US, THEM = ("--instance", "guest-10000"), ("--instance", "host-9999")


@pytest.fixture
def card(partyd: Partyd, tmp_path: Path) -> Path:
    """Return the file that host 9999 sent to guest 10000."""
    for who in (US, THEM):
        assert partyd("init", *who).status == 0
    assert partyd(*THEM, "card", "export", "-o", tmp_path / "host.card").status == 0
    return tmp_path / "host.card"


def fingerprint(card: Path) -> str:
    return str(Card.from_text(card.read_text()).fingerprint)


def test_import_shows_a_stranger_and_trusts_nobody(partyd: Partyd, card: Path) -> None:
    answer = partyd(*US, "card", "import", card)
    assert answer.status == 0
    assert "NOT TRUSTED" in answer.out
    assert f"peer add 9999/host --card {card} --fingerprint {fingerprint(card)}" in answer.out
    assert "no peers yet" in partyd(*US, "peer", "list").out


def test_add_list_revoke(partyd: Partyd, card: Path) -> None:
    spoken = fingerprint(card).upper().replace("-", " ")
    assert partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", spoken).status == 0
    assert f"9999/host                {fingerprint(card)}  valid until 20" in partyd(*US, "peer", "list").out
    assert partyd(*US, "peer", "revoke", "9999/host").status == 0
    assert "REVOKED" in partyd(*US, "peer", "list").out
    again = partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", fingerprint(card))
    assert again.status == 78
    assert "was revoked under this fingerprint" in again.err


def test_a_wrong_fingerprint_shows_both_and_pins_nothing(partyd: Partyd, card: Path) -> None:
    ours = partyd(*US, "identity", "show").out.split("fingerprint")[1].split()[0]
    answer = partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", ours)
    assert answer.status == 78
    assert fingerprint(card) in answer.err
    assert ours in answer.err
    assert "no peers yet" in partyd(*US, "peer", "list").out


@pytest.mark.parametrize(
    ("address", "words"), [("9998/host", "this is the card of 9999/host"), ("9999", "write party id and role")]
)
def test_another_address_is_refused(partyd: Partyd, card: Path, address: str, words: str) -> None:
    answer = partyd(*US, "peer", "add", address, "--card", card, "--fingerprint", fingerprint(card))
    assert answer.status == 78
    assert words in answer.err


def test_nobody_pins_itself(partyd: Partyd, card: Path) -> None:
    answer = partyd(*THEM, "peer", "add", "9999/host", "--card", card, "--fingerprint", fingerprint(card))
    assert "is this daemon itself" in answer.err


def test_a_rotated_card_is_taken_because_its_key_is_pinned(partyd: Partyd, card: Path) -> None:
    partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", fingerprint(card))
    assert "already known" in partyd(*US, "card", "import", card).out
    partyd(*THEM, "identity", "rotate", "--kx")
    partyd(*THEM, "card", "export", "-o", card)
    assert "taken: replaces the card" in partyd(*US, "card", "import", card).out
    partyd(*THEM, "identity", "rotate", "--id")
    partyd(*THEM, "card", "export", "-o", card)
    answer = partyd(*US, "card", "import", card)
    assert "NOT TRUSTED: 9999/host is pinned with another key" in answer.out
    assert partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", fingerprint(card)).status == 0


def test_a_running_daemon_is_told(partyd: Partyd, card: Path, tmp_path: Path) -> None:
    program = (
        "import signal, sys\nfrom pathlib import Path\nfrom partyd.pidfile import held\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])\n"
        "with held(Path(sys.argv[1])):\n    print(flush=True)\n    signal.sigwait([signal.SIGHUP])"
    )
    pid_file = tmp_path / "state" / "partyd" / "guest-10000" / "partyd.pid"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program, str(pid_file)], stdout=subprocess.PIPE, env=environ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            answer = partyd(*US, "peer", "add", "9999/host", "--card", card, "--fingerprint", fingerprint(card))
            assert "the running daemon has been told" in answer.out
            assert child.wait(timeout=20) == 0
        finally:
            child.send_signal(signal.SIGKILL)
