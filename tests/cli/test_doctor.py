"""What the doctor finds, with real brokers and broken state directories."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from partyd import trust
from partyd.cli import checks
from partyd.store import Store
from tests.cli.owner import Partyd

US = ("--instance", "guest-10000")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(partyd: Partyd, tmp_path: Path) -> Path:
    assert partyd("init", *US).status == 0
    return tmp_path / "state" / "partyd" / "guest-10000"


def findings(partyd: Partyd, *options: str) -> Mapping[str, tuple[str, str]]:
    answer = partyd(*US, *options, "doctor", "--json")
    found = json.loads(answer.out)["findings"]
    assert answer.status == int(any(one["level"] == "FAIL" for one in found))
    assert all(one["remedy"] for one in found if one["level"] != "OK")
    return {one["subject"]: (one["level"], f"{one['text']} {one['remedy']}") for one in found}


@contextmanager
def broker(directory: Path, *kind: str) -> Iterator[str]:
    """Run our embedded broker for parties 10000 and 9999; gives its URL."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "broker"]
    setup = [*command, "init", "--dir", str(directory), "--party", "10000", "--party", "9999", *kind]
    subprocess.run(setup, check=True, capture_output=True, env=environ)
    read_fd, write_fd = os.pipe()
    serve = [*command, "run", "--dir", str(directory), "--embedded", "--port", "0", "--ready-fd", str(write_fd)]
    with subprocess.Popen(serve, pass_fds=[write_fd], stderr=subprocess.DEVNULL, env=environ) as child:
        os.close(write_fd)
        try:
            with os.fdopen(read_fd) as ready:
                port = ready.readline().strip()
            yield f"{'mqtt' if kind else 'mqtts'}://127.0.0.1:{port}"
        finally:
            child.terminate()


def options(url: str, folder: Path) -> list[str]:
    names = {"ca_file": "ca.crt", "cert_file": "party.crt", "key_file": "party.key"}
    return [
        "--set",
        f"broker.url={url}",
        *(part for key, name in names.items() for part in ("--set", f"broker.{key}={folder / name}")),
    ]


def test_a_healthy_place(partyd: Partyd, state: Path) -> None:
    Store.open(state / "store" / "guest").close_now()
    found = findings(partyd, "--set", "broker.url=memory://x", "--set", "store.low_watermark_bytes=1")
    assert {name: level for name, (level, _) in found.items() if name != "disk"} == {
        "keys 10000/guest": "OK",
        "clock": "OK",
        "store guest": "OK",
        "broker": "OK",
        "daemon": "WARN",
        "peers": "WARN",
    }


def test_people_see_what_to_do(partyd: Partyd, state: Path) -> None:
    text = partyd(*US, "--set", "broker.url=mqtt://127.0.0.1:1", "doctor").out
    assert "FAIL broker: 127.0.0.1:1: " in text
    assert "     -> start the broker" in text
    assert state.is_dir()


def test_keys_that_are_missing_or_open(partyd: Partyd, state: Path) -> None:
    (state / "identity" / "guest.key").chmod(0o640)
    assert "chmod 600" in findings(partyd)["keys 10000/guest"][1]
    (state / "identity").chmod(0o755)
    assert findings(partyd)["keys"][0] == "FAIL"
    (state / "identity" / "guest.key").unlink()
    assert findings(partyd)["keys 10000/guest"][0] == "FAIL"


def test_dates_that_come_near(partyd: Partyd, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = trust.now_s()
    monkeypatch.setattr(trust, "now_s", lambda: start + 80 * 86_400)
    assert findings(partyd)["keys 10000/guest"] == (
        "WARN",
        "our card is about to expire partyd card export makes a new one; send it to the peers",
    )
    monkeypatch.setattr(trust, "now_s", lambda: start - 86_400)
    assert "minutes in the future" in findings(partyd)["clock"][1]
    monkeypatch.setattr(trust, "now_s", lambda: checks.RELEASED_AT - 1)
    assert "before the release" in findings(partyd)["clock"][1]
    assert state.is_dir()


def test_a_damaged_store_is_found(partyd: Partyd, state: Path) -> None:
    Store.open(state / "store" / "guest").close_now()
    database = state / "store" / "guest" / "partyd.db"
    raw = bytearray(database.read_bytes())
    raw[4096 : 4096 + 200] = b"\xff" * 200
    database.write_bytes(raw)
    level, text = findings(partyd)["store guest"]
    assert level == "FAIL"
    assert "partyd restore" in text


def test_too_little_space(partyd: Partyd, state: Path) -> None:
    level, text = findings(partyd, "--set", f"store.low_watermark_bytes={1 << 50}")["disk"]
    assert (level, state.is_dir()) == ("FAIL", True)
    assert "make room" in text


def test_peers_are_checked_one_by_one(
    partyd: Partyd, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partyd("init", "--instance", "host-9999")
    partyd("--instance", "host-9999", "card", "export", "-o", tmp_path / "c")
    pin = str(trust.read_card_file(tmp_path / "c").fingerprint)
    partyd(*US, "peer", "add", "9999/host", "--card", tmp_path / "c", "--fingerprint", pin)
    assert findings(partyd)["peer 9999/host"][0] == "OK"
    start = trust.now_s()
    monkeypatch.setattr(trust, "now_s", lambda: start + 80 * 86_400)
    assert findings(partyd)["peer 9999/host"][0] == "WARN"
    monkeypatch.setattr(trust, "now_s", lambda: start + 91 * 86_400)
    assert "partyd card import" in findings(partyd)["peer 9999/host"][1]
    (state / "peers" / "9999-host.card").write_text("")
    assert findings(partyd)["peers"][0] == "FAIL"


def test_a_broker_with_certificates(partyd: Partyd, state: Path, tmp_path: Path) -> None:
    parties = tmp_path / "broker" / "parties"
    with broker(tmp_path / "broker") as url:
        assert findings(partyd, *options(url, parties / "10000"))["broker"][0] == "OK"
        assert "another party's credentials" in findings(partyd, *options(url, parties / "9999"))["broker"][1]
        assert "set broker.ca_file" in findings(partyd, "--set", f"broker.url={url}")["broker"][1]
        no_certificate = ["--set", f"broker.url={url}", "--set", f"broker.ca_file={parties / '10000' / 'ca.crt'}"]
        assert findings(partyd, *no_certificate)["broker"][0] == "FAIL"
        missing = [*options(url, parties / "10000"), "--set", "broker.key_file=none"]
        assert "check the paths" in findings(partyd, *missing)["broker"][1]
    assert state.is_dir()


def test_a_broker_with_passwords(partyd: Partyd, state: Path, tmp_path: Path) -> None:
    with broker(tmp_path / "broker", "--passwords", "--plain") as url:
        folder = tmp_path / "broker" / "parties" / "10000"
        given = ["--set", f"broker.url={url}", "--set", "broker.username=10000"]
        assert findings(partyd, *given, "--set", f"broker.password_file={folder / 'password'}")["broker"][0] == "OK"
        (tmp_path / "wrong").write_text("wrong")
        level, text = findings(partyd, *given, "--set", f"broker.password_file={tmp_path / 'wrong'}")["broker"]
        assert (level, "password_file" in text) == ("FAIL", True)
        assert "cannot be read" in findings(partyd, *given, "--set", "broker.password_file=none")["broker"][1]
        tls = ["--set", f"broker.url={url.replace('mqtt', 'mqtts')}"]
        assert findings(partyd, *tls)["broker"][0] == "FAIL"
    assert state.is_dir()
