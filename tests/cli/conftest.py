"""What the tests of ``flow`` share (a fake daemon, a home of their own), and the fixture that runs ``partyd``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.fake_daemon import Answer, FakeDaemon
from tests.cli.owner import partyd as partyd

Start = Callable[[dict[str, list[Answer]]], FakeDaemon]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Return what starts a fake daemon; ``flow`` speaks with the newest one."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("PARTYD_TOKEN_FILE", raising=False)
    with ExitStack() as running:

        def begin(answers: dict[str, list[Answer]]) -> FakeDaemon:
            daemon = running.enter_context(FakeDaemon(answers))
            monkeypatch.setenv("PARTYD_URL", daemon.url)
            return daemon

        yield begin
