"""A MariaDB server of our own: Debian's binaries, data in a temporary directory, a socket in it, no network."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MariaDb:
    """A running server."""

    folder: Path

    @property
    def url(self) -> str:
        """Its reader's URL, as a site would configure it."""
        return f"mysql://reader:a-secret-word@localhost/crm?unix_socket={self.folder}/socket"

    def run(self, script: str) -> None:
        """Run a script as its owner."""
        run(["mariadb", "--no-defaults", f"--socket={self.folder}/socket", "-u", "root"], script)


def run(command: Sequence[str], text: str = "") -> None:
    """Run a program to its end."""
    done = subprocess.run(command, input=text, text=True, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@contextlib.contextmanager
def mariadb() -> Iterator[MariaDb]:
    """Give a server that goes with everything in it."""
    account = "mysql" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="partyd-my-"))
    shutil.chown(folder, account)
    binary = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary is not None
    common = ["--no-defaults", f"--datadir={folder}/data", f"--user={account}"]
    try:
        run(["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"])
        options = ["--skip-networking", f"--socket={folder}/socket", f"--log-error={folder}/log"]
        with subprocess.Popen([binary, *common, *options]) as process:
            try:
                _await(folder / "socket", process)
                yield MariaDb(folder)
            finally:
                process.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await(socket: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while not socket.exists():
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < end, "the server did not start"
        time.sleep(0.05)
