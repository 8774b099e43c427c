"""One daemon a directory, and commands that find it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partyd.errors import ConfigError
from partyd.pidfile import ask_to_reload, held, running_pid

_PROGRAM = """
import signal, sys
from pathlib import Path
from partyd.pidfile import held
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
with held(Path(sys.argv[1])):
    print("held", flush=True)
    print(signal.sigwait([signal.SIGHUP]).name, flush=True)
"""


@contextmanager
def other_daemon(path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _PROGRAM, str(path)]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            yield child
        finally:
            child.kill()


def test_a_second_daemon_is_refused_and_told_who_runs(tmp_path: Path) -> None:
    path = tmp_path / "s" / "partyd.pid"
    with other_daemon(path) as child:
        assert running_pid(path) == child.pid
        with pytest.raises(ConfigError, match=f"process {child.pid} runs this daemon already"), held(path):
            pass


def test_reload_reaches_the_daemon(tmp_path: Path) -> None:
    with other_daemon(tmp_path / "p") as child:
        assert ask_to_reload(tmp_path / "p")
        assert child.stdout is not None
        assert child.stdout.readline() == f"{signal.SIGHUP.name}\n"


def test_a_killed_daemon_leaves_nothing_behind(tmp_path: Path) -> None:
    with other_daemon(tmp_path / "p") as child:
        child.kill()
        child.wait()
        assert (tmp_path / "p").read_text() == f"{child.pid}\n"
        assert running_pid(tmp_path / "p") is None
        assert not ask_to_reload(tmp_path / "p")
        with held(tmp_path / "p"):
            assert (tmp_path / "p").read_text() == f"{os.getpid()}\n"
    assert (tmp_path / "p").read_text() == ""


def test_no_file_no_daemon(tmp_path: Path) -> None:
    assert running_pid(tmp_path / "p") is None
    assert not ask_to_reload(tmp_path / "p")
