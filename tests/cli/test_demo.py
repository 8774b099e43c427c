"""The demo's command line: what it says when it cannot go on, and when it is stopped."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from partyd.cli import demo


@pytest.fixture(autouse=True)
def keep_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert demo.run(["--dir", str(tmp_path), "--port", str(port), "--once"]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"demo: something listens on port {port} already")
    assert err.count("\n") == 1


def test_stopped_before_its_end_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("partyd.cli.demo_report.insist_on_scikit_learn", interrupted)
    assert demo.run(["--dir", str(tmp_path)]) == 130
    assert "stopped before its end" in capsys.readouterr().err


def test_scikit_learn_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("partyd.cli.demo_report.find_spec", lambda _: None)
    assert demo.run(["--dir", str(tmp_path)]) == 1
    assert "pip install 'partyd[demo]'" in capsys.readouterr().err


def test_a_wrong_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.run(["--twice"]) == 2
    assert "--twice" in capsys.readouterr().err
