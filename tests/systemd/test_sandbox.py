"""The hardened unit does not stop the daemon from working: a whole federation under its filter runs a job."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.federation import Federation, free_ports

ROOT = Path(__file__).parents[2]
SANDBOX = [sys.executable, str(Path(__file__).with_name("sandbox.py")), str(ROOT / "systemd" / "partyd@.service")]


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("call", ["os.sched_setaffinity(0, {0})", "os.nice(1)", "os.chroot('/')"])
def test_the_sandbox_forbids(call: str) -> None:
    program = f"import os\ntry:\n    {call}\nexcept OSError as error:\n    raise SystemExit(error.errno)"
    assert subprocess.run([*SANDBOX, sys.executable, "-c", program], check=False).returncode == errno.EPERM


@pytest.mark.needs("systemd-analyze")
def test_a_job_runs_under_the_units_filter(tmp_path: Path) -> None:
    federation = Federation(tmp_path / "f", free_ports(4), broker="embedded")
    command = [*SANDBOX, sys.executable, "-m", "partyd", "standalone", "--dir", str(federation.directory)]
    command += ["--port", str(federation.port), "--broker", "embedded"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PARTYD_")}
    environ |= {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environ) as process,
    ):
        federation.process = process
        try:
            federation.wait_until_met()
            flow = [sys.executable, "-c", "from partyd.cli.flow import main; main()"]
            toy = subprocess.run(
                [*flow, "test", "toy", "-gid", "10000", "-hid", "10000"],
                env={**environ, "PARTYD_URL": f"http://127.0.0.1:{federation.port}"},
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert "success to calculate secure_sum, it is 2000.0" in toy.stdout, toy.stdout + toy.stderr
            assert federation.stop() == 0
        finally:
            process.kill()
