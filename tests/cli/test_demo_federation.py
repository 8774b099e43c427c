"""How the demo waits for its federation, and what it says when that does not come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from partyd.cli.demo_federation import DemoError, Starting
from partyd.client import Client
from tests.cli.fake_daemon import Answer, FakeDaemon

PEER = {"me": "10000/guest", "peer": "9999/host", "established": True}
FAR_AWAY = 1e12


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """Return a process that lives until the test is over."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def answers(*peers: object) -> dict[str, list[Answer]]:
    site: dict[str, object] = {"party_id": "10000", "roles": ["guest"], "siblings": []}
    unready, ready = web.Response(status=503, text="failed"), web.Response(text="ok")
    return {"/readyz": [unready, ready], "/v2/site/peers": [[peer] for peer in peers], "/v2/site/info/query": [site]}


def test_it_waits_for_every_daemon_and_every_session(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    with FakeDaemon(answers({**PEER, "established": False}, PEER)) as guest, FakeDaemon(answers(PEER)) as host:
        siblings = [{"address": "10000/guest", "url": guest.url}, {"address": "9999/host", "url": host.url}]
        guest.answers["/v2/site/info/query"] = [{"party_id": "10000", "roles": ["guest"], "siblings": siblings}]
        running = Starting(child, tmp_path / "log", guest.port, FAR_AWAY).ready()
    assert running.urls == {"10000/guest": guest.url, "9999/host": host.url}
    assert running.client("9999/host").url == host.url
    assert [len(daemon.of("/v2/site/peers")) for daemon in (guest, host)] == [2, 1]


def test_a_session_that_does_not_come_is_named(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "log").write_text("one\nbroker_lost\n")
    with FakeDaemon(answers({**PEER, "established": False})) as guest, Client(guest.url) as client:
        assert client.wait_until_ready(FAR_AWAY)
        guest.answers["/v2/site/info/query"] = [{"siblings": [{"address": "10000/guest", "url": guest.url}]}]
        with pytest.raises(DemoError, match="no session with 9999/host after") as caught:
            Starting(child, tmp_path / "log", guest.port, 0.0).ready()
    assert str(caught.value).endswith("one\nbroker_lost\n")


def test_a_federation_that_ends_is_told_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"line {i}\n" for i in range(99)) + "the broker's files could not be made\n")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(78)"]) as process:
        process.wait()
        with pytest.raises(DemoError, match="ended with status 78") as caught:
            Starting(process, tmp_path / "log", 1, FAR_AWAY).ready()
    assert "the broker's files could not be made" in str(caught.value)
    assert "line 1\n" not in str(caught.value)
