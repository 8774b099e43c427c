"""The command line: help with examples, what is written, and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "broker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("command", [[], ["init"], ["run"], ["check"], ["revoke"]])
def test_every_help_has_an_example(command: list[str]) -> None:
    done = _run(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "partyd-broker" in done.stdout


def test_init_lists_what_it_wrote_and_revoke_adds_to_it(tmp_path: Path) -> None:
    done = _run("init", "--dir", str(tmp_path / "b"), "--party", "10000", "--party", "9999")
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path}/b/parties/10000/party.key" in done.stdout
    assert f"partyd-broker run --dir {tmp_path}/b" in done.stdout
    done = _run("revoke", "--dir", str(tmp_path / "b"), "--party", "9999")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / "ca.crl").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["init", "--dir", "{}", "--party", "a/b"], 78, "no party id"),
        (["init", "--dir", "{}", "--party", "1", "--plain"], 2, "--passwords"),
        (["init", "--dir", "{}"], 2, "--party"),
        (["run"], 2, "--dir or --config"),
        (["run", "--dir", "{}"], 78, "init"),
        (["check"], 2, "--identity"),
        (["check", "--dir", "{}"], 78, "init"),
        (["revoke", "--dir", "{}", "--party", "../x"], 78, "no party id"),
        (["revoke", "--dir", "{}", "--party", "1"], 78, "init"),
        (["dance"], 2, "dance"),
    ],
)
def test_failures_say_what_to_do(tmp_path: Path, arguments: list[str], code: int, word: str) -> None:
    done = _run(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_a_check_of_a_broker_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert _run("init", "--dir", str(tmp_path), "--party", "1", "--party", "2", "--port", "9").returncode == 0
    done = _run("check", "--dir", str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
