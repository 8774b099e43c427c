"""Run ``partyd`` command lines in this process, each test with a home of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from partyd.cli.partyd import run


class Answer(NamedTuple):
    """What one command line did."""

    status: int
    out: str
    err: str


class Partyd(Protocol):
    """Runs one command line."""

    def __call__(self, *arguments: str | Path) -> Answer: ...


@pytest.fixture
def partyd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Partyd:
    """Return what runs ``partyd`` with the given arguments."""
    for name in [name for name in os.environ if name.startswith("PARTYD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Answer:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return call
