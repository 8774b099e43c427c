"""One daemon that serves two roles of one party: two addresses, each with keys and a store of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from partyd.layout import Layout
from partyd.trust import create_own, now_s, pin
from partyd.types import GUEST, HOST, Address
from tests.e2e.federation import ROOT, free_ports, toy


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[int]:
    """Start a broker and a daemon that is 10000/guest and 10000/host; give its port."""
    layout, port, broker_dir = Layout(tmp_path / "state"), free_ports(2), tmp_path / "broker"
    owned = [create_own(layout, Address("10000", role), "", now_s()) for role in (GUEST, HOST)]
    for own in owned:
        pin(layout, own.card, own.identity.fingerprint, now_s())
    python = [sys.executable, "-m"]
    init = [*python, "broker", "init", "--dir", str(broker_dir), "--passwords", "--plain", "--party", "10000"]
    subprocess.run([*init, "--port", str(port + 1)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    settings = {
        "broker.url": f"mqtt://127.0.0.1:{port + 1}",
        "broker.username": "10000",
        "broker.password_file": broker_dir / "parties" / "10000" / "password",
        "http.port": port,
    }
    command = [*python, "partyd", "--role", "guest", "--role", "host", "--party-id", "10000"]
    command += ["--state-dir", str(layout.state_dir), *(w for k, v in settings.items() for w in ("--set", f"{k}={v}"))]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    broker = subprocess.Popen([*python, "broker", "run", "--dir", str(broker_dir), "--embedded"], **quiet)
    process = subprocess.Popen(command, **quiet)
    try:
        yield port
    finally:
        for child in (process, broker):
            child.terminate()
        assert [child.wait(30) for child in (process, broker)] == [0, 0]


def call(port: int, path: str, body: object = None) -> object:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data)) as reply:
        return json.load(reply)["data"]


def test_both_roles_work_together_through_the_broker(daemon: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            peers = call(daemon, "/v2/site/peers")
        except OSError:
            time.sleep(0.1)
            continue
        if len(peers) == 2 and all(peer["established"] for peer in peers):
            break
        time.sleep(0.1)
    job = call(daemon, "/v2/job/submit", {"dag": toy()})["model_id"]
    for role in ("guest", "host"):
        view = {"end_time": None, "seen": ""}
        while not view["end_time"] and time.monotonic() < deadline:
            (view,) = call(daemon, f"/v2/job/query?job_id={job}&role={role}&wait=5&seen=")
            time.sleep(0.05)
        assert (view["status"], view["role"]) == ("success", role)
