"""FATE's own client, run as its users run it: ``flow`` and pipeline scripts, in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any
ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "pipelines"
ENDED = frozenset({"success", "failed", "canceled", "timeout"})


def client_bin() -> Path:
    """Return where fate-client is installed: PARTYD_FATE_CLIENT, else what ``make fate-client`` makes."""
    return Path(os.environ.get("PARTYD_FATE_CLIENT", ROOT / ".fate-client")) / "bin"


@dataclass(frozen=True)
class Judge:
    """The client, and the tables that it uploads.

    ``flow init`` writes into the client's own package, so each judge has a copy of it: two may run side by side.
    """

    port: int
    tables: Path
    package: Path
    """Holds the copy of ``fate_client``."""

    @classmethod
    def of(cls, port: int, tables: Path, package: Path) -> Judge:
        """Return a judge with a copy of the client of its own, pointed at the API on ``port``."""
        (installed,) = client_bin().parent.glob("lib/python3*/site-packages/fate_client")
        shutil.copytree(installed, package / "fate_client")
        judge = cls(port, tables, package)
        judge.run("init", "--ip", "127.0.0.1", "--port", str(port))
        return judge

    def run(self, *words: str) -> str:
        """Run ``flow`` and return what it prints."""
        return self._call([str(client_bin() / "flow"), *words])

    def flow(self, *words: str, code: int | None = 0) -> Json:
        """Run ``flow`` and return the answer that it prints; ``code`` None takes any."""
        said = self.run(*words)
        answer = json.loads(said)
        assert code is None or answer["code"] == code, f"flow {' '.join(words)}: {said}"
        return answer

    def pipeline(self, name: str) -> Json:
        """Run a pipeline script and return what its last line tells."""
        said = self._call([str(client_bin() / "python"), str(SCRIPTS / f"with_{name}.py"), str(self.tables)])
        return json.loads(said.strip().splitlines()[-1])

    def wait(self, job: str, *at: str) -> None:
        """Wait for a job's success, asking as a script would."""
        status = self.ended(job, *at)
        assert status == "success", self.run("job", "query", "-j", job, *at)

    def ended(self, job: str, *at: str) -> str:
        """Wait for a job's end and return its status."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            (view,) = self.flow("job", "query", "-j", job, *at)["data"]
            if view["status"] in ENDED:
                return str(view["status"])
            time.sleep(0.2)
        raise TimeoutError(f"job {job} has not ended")

    def _call(self, command: list[str]) -> str:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONPATH": str(self.package)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout
