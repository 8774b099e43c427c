"""The federation under the demo: ``partyd standalone`` as a child process, awaited until all can speak with all."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from partyd.client import Client, Unreachable
from partyd.errors import PartydError

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
PAUSE_S = 0.05
DAEMONS = 4
LAST_LINES = 15


class DemoError(PartydError):
    """The demo cannot go on; says why."""

    code = "demo"


@dataclass(frozen=True)
class Federation:
    """A running federation: where each party's API answers."""

    process: subprocess.Popen[bytes]
    log: Path
    urls: Mapping[str, str]

    def client(self, address: str) -> Client:
        """Return a client of one party's daemon."""
        return Client(self.urls[address])

    def wait(self) -> int:
        """Wait until the federation ends, and return its status."""
        return self.process.wait()


@dataclass(frozen=True)
class Starting:
    """A federation on its way."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int
    deadline: float

    def ready(self) -> Federation:
        """Wait until every daemon takes work and has a session with every other; raises DemoError."""
        with Client(f"http://127.0.0.1:{self.port}") as first:
            self._wait_ready(first)
            urls = {sibling.address: sibling.url for sibling in first.site().siblings}
        for url in urls.values():
            with Client(url) as client:
                self._wait_ready(client)
                self._wait_sessions(client)
        return Federation(self.process, self.log, urls)

    def _wait_ready(self, client: Client) -> None:
        while not client.is_ready():
            self._pause(f"{client.url} is not ready")

    def _wait_sessions(self, client: Client) -> None:
        while missing := _without_session(client):
            self._pause(f"{client.url} has no session with {', '.join(missing)}")

    def _pause(self, what: str) -> None:
        if self.process.poll() is not None:
            status = self.process.returncode
            raise DemoError(f"the federation ended with status {status}; {self.log} ends with:\n{_tail(self.log)}")
        if time.monotonic() > self.deadline:
            raise DemoError(f"{what} after {START_TIMEOUT_S:g} s; {self.log} ends with:\n{_tail(self.log)}")
        time.sleep(PAUSE_S)


@contextmanager
def federation(folder: Path, port: int) -> Iterator[Starting]:
    """Start a federation with its state in ``folder``; it is ended on the way out. Raises DemoError."""
    _insist_on_free_ports(port)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "federation.log"
    command = [sys.executable, "-m", "partyd", "standalone", "--dir", str(folder / "state"), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield Starting(process, log, port, time.monotonic() + START_TIMEOUT_S)
    finally:
        _end(process)


def _without_session(client: Client) -> list[str]:
    try:
        return [peer.peer for peer in client.peers() if not peer.established]
    except Unreachable as error:
        return [str(error)]


def _insist_on_free_ports(port: int) -> None:
    for each in range(port, port + DAEMONS):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", each)) == 0:
                raise DemoError(
                    f"something listens on port {each} already: end it (another demo?), or use other ports: "
                    f"python -m partyd.cli.demo --port {port + 100}"
                )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    with log.open(encoding="utf-8", errors="replace") as file:
        return "".join(deque(file, LAST_LINES))
