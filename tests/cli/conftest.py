"""Run ``partyd`` command lines in this process, each with a home of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest


class Answer(NamedTuple):
    status: int
    out: str
    err: str


Partyd = Callable[..., Answer]


@pytest.fixture
def partyd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Partyd:
    """Return a function that runs one command line and returns status, standard output and standard error."""
    from partyd.cli.partyd import run

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Answer:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return call
