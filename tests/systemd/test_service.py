"""The real daemon as systemd runs it, with this test in systemd's place (reliability: Type=notify and the watchdog)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCHDOG_S = 1.5


@dataclass(frozen=True)
class Service:
    """One daemon and what it tells its service manager."""

    process: subprocess.Popen[bytes]
    inbox: socket.socket
    log: Path

    def until(self, line: str) -> list[str]:
        """Return the datagrams' lines up to and with ``line``."""
        heard: list[str] = []
        while line not in heard:
            heard += self.inbox.recv(4096).decode().split("\n")
        return heard

    def is_silent(self, seconds: float) -> bool:
        """Say whether no sign of life comes for so long."""
        self.inbox.settimeout(seconds)
        try:
            self.inbox.recv(4096)
        except TimeoutError:
            return True
        return False

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.log.read_text().splitlines()]


@contextmanager
def service(directory: Path, damage: str = "", **environ: str) -> Iterator[Service]:
    """Start ``python -m partyd --instance guest-10000`` as the unit does, keys made, no broker there."""
    credentials, state, log = directory / "credentials", directory / "state", directory / "log"
    credentials.mkdir()
    (credentials / "config").write_text('[broker]\nurl = "mqtt://127.0.0.1:1"\n[http]\nport = 0\n')
    base = {key: value for key, value in os.environ.items() if not key.startswith("PARTYD_")}
    base |= {"PYTHONPATH": str(ROOT), "STATE_DIRECTORY": str(state), "CREDENTIALS_DIRECTORY": str(credentials)}
    command = [sys.executable, "-m", "partyd", "--instance", "guest-10000"]
    subprocess.run([*command, "init"], check=True, capture_output=True, env=base)
    if damage:
        (state / damage).write_text("damaged")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox, log.open("wb") as output:
        inbox.bind(str(directory / "notify"))
        inbox.settimeout(60)
        told = {"NOTIFY_SOCKET": str(directory / "notify"), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
        process = subprocess.Popen(command, env=base | told | environ, stdout=output, stderr=output)
        try:
            yield Service(process, inbox, log)
        finally:
            process.kill()
            process.wait()


def test_ready_once_then_fed_then_stopping_and_gone(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        heard = running.until("WATCHDOG=1")
        assert heard[0] == "READY=1"
        assert heard[1].startswith("STATUS=")
        running.inbox.settimeout(WATCHDOG_S)
        for _ in range(3):
            heard += running.until("WATCHDOG=1")
        running.inbox.settimeout(60)
        running.process.send_signal(signal.SIGTERM)
        heard += running.until("STOPPING=1")
        assert running.process.wait(timeout=90) == 0
        assert heard.count("READY=1") == 1
        assert heard.count("STOPPING=1") == 1


def test_a_reload_keeps_it_alive(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.until("READY=1")
        running.process.send_signal(signal.SIGHUP)
        running.until("WATCHDOG=1")
        running.until("WATCHDOG=1")
        assert running.process.poll() is None
        assert "cards_refreshed" in running.events()


@pytest.mark.parametrize("failpoint", ["block_loop", "block_probe"])
def test_a_daemon_that_hangs_is_not_fed(tmp_path: Path, failpoint: str) -> None:
    with service(tmp_path, PARTYD_FAILPOINT=failpoint) as running:
        heard = running.until("WATCHDOG=1")
        assert heard.count("READY=1") == 1
        assert running.is_silent(2 * WATCHDOG_S)
        assert running.process.poll() is None


def test_keys_that_need_a_person_exit_78_and_are_never_ready(tmp_path: Path) -> None:
    with service(tmp_path, damage="identity/guest.key") as running:
        assert running.process.wait(timeout=60) == 78
        assert running.is_silent(0.01)
        assert "identity file" in running.log.read_text()
