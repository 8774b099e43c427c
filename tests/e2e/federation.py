"""A real federation for tests: `partyd standalone` in a directory, its processes, and its API."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any
ROOT = Path(__file__).resolve().parents[2]


def free_ports(count: int) -> int:
    """Return the first of ``count`` ports in a row that nobody uses."""
    for base in range(20000 + 16 * os.getpid() % 12000, 32700, 16):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(base, base + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return base
    raise RuntimeError("no free ports")


@dataclass
class Federation:
    """Guest 10000, hosts 9999 and 10000, arbiter 9998, and their broker."""

    directory: Path
    port: int
    broker: str = "auto"
    process: subprocess.Popen[bytes] | None = None
    proxy_port: int = 0
    """Where the daemons look for the broker, if not where it is."""
    parties: tuple[str, ...] = ()
    """Options that name other parties than those above."""

    @property
    def members(self) -> int:
        """How many daemons there are."""
        return len(self.parties) // 2 or 4

    def start(self) -> None:
        """Start and wait until all daemons are ready and have met."""
        command = [sys.executable, "-m", "partyd", "standalone", "--dir", str(self.directory)]
        command += ["--port", str(self.port), "--broker", self.broker, "--broker-proxy-port", str(self.proxy_port)]
        command += self.parties
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        self.wait_until_met()

    def wait_until_met(self, timeout_s: float = 60) -> None:
        """Wait until every daemon has a session with every peer."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if all(p["established"] for at in range(self.members) for p in self.get("/v2/site/peers", at=at)):
                    return
            assert self.process is not None
            assert self.process.poll() is None, "the federation ended; see its log"
            time.sleep(0.1)
        raise TimeoutError(f"the daemons have not met after {timeout_s} s")

    def stop(self) -> int:
        """End the federation in good order and return its status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def get(self, path: str, at: int = 0, **query: object) -> Json:
        """Return the data of a GET at the ``at``-th daemon."""
        return self._call(urllib.request.Request(self._url(path, at, query)))

    def post(self, path: str, body: object, at: int = 0, **query: object) -> Json:
        """Return the whole reply's data of a POST."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._call(urllib.request.Request(self._url(path, at, query), data=data, method="POST"))

    def _url(self, path: str, at: int, query: dict[str, object]) -> str:
        return f"http://127.0.0.1:{self.port + at}{path}?" + urllib.parse.urlencode(query)

    def _call(self, request: urllib.request.Request) -> Json:
        try:
            with urllib.request.urlopen(request, timeout=90) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode()}") from error

    def submit(self, dag: Json) -> str:
        """Submit a job at the guest and return its id."""
        return str(self.post("/v2/job/submit", {"dag": dag})["model_id"])

    def wait(self, job: str, timeout_s: float = 120, at: int = 0) -> Json:
        """Return a job's view once it has ended, asking again through restarts of the daemon."""
        deadline, seen = time.monotonic() + timeout_s, ""
        while time.monotonic() < deadline:
            try:
                (view,) = self.get("/v2/job/query", at=at, job_id=job, wait=5, seen=seen)
            except OSError:
                time.sleep(0.1)
                continue
            if view["end_time"]:
                return view
            seen = view["seen"]
        raise TimeoutError(f"job {job} has not ended after {timeout_s} s")

    def wait_until_known(self, job: str, at: int, timeout_s: float = 30) -> None:
        """Wait until a daemon has been offered a job."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with contextlib.suppress(AssertionError):
                if self.get("/v2/job/query", at=at, job_id=job)[0]["status"] == "running":
                    return
            time.sleep(0.02)
        raise TimeoutError(f"job {job} does not run at daemon {at} after {timeout_s} s")

    def upload(self, at: int, csv: str, namespace: str, name: str, **form: object) -> Json:
        """Upload a table to one daemon."""
        return self.post("/v2/data/component/upload/file", csv.encode(), at=at, namespace=namespace, name=name, **form)

    def processes(self, what: str) -> list[int]:
        """Return the process ids of ``guest``, ``host``, ``arbiter``, ``worker`` or ``broker`` of this federation."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self._is(what, int(folder.name)):
                    found.append(int(folder.name))
        return found

    def _is(self, what: str, pid: int) -> bool:
        line, mark = _line(pid), str(self.directory)
        if what == "worker":
            return "partyd.jobs.forkserver" in line and self._is_worker_of(pid, mark)
        if what == "broker":
            return (mark in line and " broker run " in line) or self._is_mosquitto_of(line, pid, mark)
        return f"-m partyd --role {what} " in line and mark in line

    def _is_worker_of(self, pid: int, mark: str) -> bool:
        """Return whether ``pid`` is a child of a fork-server that a daemon of this federation started."""
        parent = _parent(pid)
        if "partyd.jobs.forkserver" not in _line(parent):
            return False
        return mark in _line(_parent(parent))

    def _is_mosquitto_of(self, line: str, pid: int, mark: str) -> bool:
        return "mosquitto" in line and mark in _line(_parent(pid))

    def signal(self, what: str, number: int) -> None:
        """Send a signal to every process of that kind."""
        for pid in self.processes(what):
            os.kill(pid, number)

    def kill(self, what: str, pick: int = 0) -> bool:
        """Kill one process without warning; return whether there was one."""
        pids = self.processes(what)
        if not pids:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[pick % len(pids)], signal.SIGKILL)
        return True


def _line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


@contextlib.contextmanager
def running(
    directory: Path, broker: str = "auto", proxy_port: int = 0, parties: tuple[str, ...] = ()
) -> Iterator[Federation]:
    """Run a federation while inside."""
    federation = Federation(directory, free_ports(4), broker, proxy_port=proxy_port, parties=parties)
    try:
        federation.start()
        yield federation
    finally:
        if federation.process is not None and federation.process.poll() is None:
            assert federation.stop() == 0


def toy(guest: str = "10000", host: str = "10000", **parameters: object) -> Json:
    """Return the toy's DAG."""
    return {
        "parties": [{"role": "guest", "party_id": [guest]}, {"role": "host", "party_id": [host]}],
        "tasks": {"toy_0": {"component_ref": "toy_example", "parameters": parameters}},
    }
