"""The units as systemd reads them: no complaint, little exposure, and the lines the daemon relies on."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from partyd.config_sources import CREDENTIALS, EX_CONFIG

UNITS = Path(__file__).parents[2] / "systemd"
SYSTEM = {"partyd@.service": "partyd@guest-10000.service", "partyd-broker.service": "partyd-broker.service"}


def installed(name: str, directory: Path) -> Path:
    """Copy a unit as an instance, its programs replaced by ones that exist here."""
    text = (UNITS / name).read_text().replace("/opt/partyd/bin/python", sys.executable)
    unit = directory / SYSTEM[Path(name).name]
    unit.write_text(text.replace("/opt/partyd/bin/partyd-broker", "/bin/true"))
    return unit


def settings_of(name: str) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNITS / name)
    return parser["Service"]


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", SYSTEM)
def test_systemd_has_no_complaint(name: str, tmp_path: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", str(installed(name, tmp_path))], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
def test_systemd_has_no_complaint_about_the_user_unit(tmp_path: Path) -> None:
    unit = installed("user/partyd@.service", tmp_path)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)], capture_output=True, text=True, env=environ
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", SYSTEM)
def test_the_exposure_is_at_most_1_5(name: str, tmp_path: Path) -> None:
    unit = installed(name, tmp_path)
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=15", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert done.returncode == 0, done.stdout
    assert score is not None
    assert float(score[1]) <= 1.5


@pytest.mark.parametrize("name", ["partyd@.service", "user/partyd@.service"])
def test_the_units_say_what_the_daemon_keeps(name: str) -> None:
    service = settings_of(name)
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "30s"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == str(EX_CONFIG)
    assert service["ExecStart"].endswith("-m partyd --instance %i")


def test_every_credential_of_the_unit_is_one_the_daemon_reads() -> None:
    lines = (UNITS / "partyd@.service").read_text().splitlines()
    names = [line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredential")]
    assert set(names) == {"config", *CREDENTIALS}
    secret = {line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredentialEncrypted")}
    assert secret == {"broker.key", "broker.pass", "http.key", "http.token"}


def test_no_unit_comments_behind_a_value() -> None:
    for unit in UNITS.rglob("*.service"):
        lines = [line for line in unit.read_text().splitlines() if not line.startswith("#")]
        assert not [line for line in lines if " #" in line or "\t#" in line], unit
