"""A PostgreSQL server of our own: Debian's binaries, a cluster in a temporary directory, a socket in it, no network."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BINARIES = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    folder: Path
    binaries: Path
    account: str

    @property
    def url(self) -> str:
        """Its owner's URL, as a site would configure it."""
        return f"postgresql://{self.account}:a-secret-word@/postgres?host={self.folder}"

    def psql(self, script: str) -> None:
        """Run a script as its owner."""
        self.run(
            [str(self.binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder), "postgres"], script
        )

    def run(self, command: Sequence[str], text: str = "") -> None:
        """Run one of its programs; root may not, so an account without rights does."""
        user = self.account if os.geteuid() == 0 else None
        group = pwd.getpwnam(self.account).pw_gid if user else None
        done = subprocess.run(
            command,
            input=text,
            text=True,
            capture_output=True,
            timeout=120,
            cwd=self.folder,
            user=user,
            group=group,
            extra_groups=[] if user else None,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Give a server that goes with everything in it."""
    binaries = max(BINARIES.glob("*/bin"))
    account = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    folder = Path(tempfile.mkdtemp(prefix="partyd-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, account)
    server = Postgres(folder, binaries, account)
    cluster = str(folder / "cluster")
    settings = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    try:
        server.run([str(binaries / "initdb"), "-D", cluster, "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"])
        server.run([str(binaries / "pg_ctl"), "-D", cluster, "-l", str(folder / "log"), "-w", "-o", settings, "start"])
        try:
            yield server
        finally:
            server.run([str(binaries / "pg_ctl"), "-D", cluster, "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
