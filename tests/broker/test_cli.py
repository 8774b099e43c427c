"""The command line: help with examples, what is written, and exit codes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from broker.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def run_command(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["partyd-broker", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        assert isinstance(caught.value.code, int)
        return Done(caught.value.code, *capsys.readouterr())

    return run_command


@pytest.mark.parametrize("command", [[], ["init"], ["run"], ["check"], ["revoke"]])
def test_every_help_has_an_example(run: Run, command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert "partyd-broker" in done.stdout


def test_init_lists_what_it_wrote_and_revoke_adds_to_it(run: Run, tmp_path: Path) -> None:
    done = run("init", "--dir", str(tmp_path / "b"), "--party", "10000", "--party", "9999")
    assert done.returncode == 0, done.stderr
    assert f"wrote {tmp_path}/b/parties/10000/party.key" in done.stdout
    assert f"partyd-broker run --dir {tmp_path}/b" in done.stdout
    done = run("revoke", "--dir", str(tmp_path / "b"), "--party", "9999")
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
def test_failures_say_what_to_do(run: Run, tmp_path: Path, arguments: list[str], code: int, word: str) -> None:
    done = run(*(argument.format(tmp_path) for argument in arguments))
    assert done.returncode == code, done.stderr
    assert word in done.stderr


def test_a_check_of_a_broker_that_is_not_there_says_so(run: Run, tmp_path: Path) -> None:
    assert run("init", "--dir", str(tmp_path), "--party", "1", "--party", "2", "--port", "9").returncode == 0
    done = run("check", "--dir", str(tmp_path))
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
