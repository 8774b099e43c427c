"""Backups that come back, and units for this installation."""

from __future__ import annotations

import asyncio
import http.server
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from partyd.cli.service import unit_directory, unit_text
from partyd.config import Settings
from partyd.errors import ConfigError
from partyd.housekeeping import Housekeeper
from partyd.pidfile import held
from partyd.store import Store
from partyd.types import GUEST, Address
from tests.cli.owner import Partyd

US = ("--instance", "guest-10000")


@pytest.fixture
def state(partyd: Partyd, tmp_path: Path) -> Path:
    assert partyd("init", *US).status == 0
    path = tmp_path / "state" / "partyd" / "guest-10000"
    Store.open(path / "store" / "guest").close_now()
    return path


def test_a_backup_comes_back_whole(partyd: Partyd, state: Path, tmp_path: Path) -> None:
    shown = partyd(*US, "identity", "show").out
    kept = ("tables/demo/breast/schema.json", "jobs/1/psi_0/guest/metric.json", "models/1/0/lr_0/model.json")
    for file in (*kept, "backups/20270115T140000Z/x"):
        (state / file).parent.mkdir(parents=True)
        (state / file).write_text("{}")
    assert partyd(*US, "backup", tmp_path / "b").status == 0
    assert (tmp_path / "b").stat().st_mode & 0o077 == 0
    state.rename(tmp_path / "lost")
    assert partyd("--role", "guest", "--party-id", "10000", "restore", tmp_path / "b").status == 0
    assert partyd(*US, "identity", "show").out == shown
    assert state.stat().st_mode & 0o077 == 0
    assert all((state / file).read_text() == "{}" for file in kept)
    assert not (state / "backups").exists()
    Store.open(state / "store" / "guest").close_now()


def test_a_backup_is_a_new_directory_and_restoring_overwrites_nothing(
    partyd: Partyd, state: Path, tmp_path: Path
) -> None:
    assert partyd(*US, "backup", tmp_path / "b").status == 0
    assert "name a new directory" in partyd(*US, "backup", tmp_path / "b").err
    answer = partyd(*US, "restore", tmp_path / "b")
    assert answer.status == 78
    assert "is not empty" in answer.err
    assert (state / "store" / "guest" / "partyd.db").exists()


@contextmanager
def daemon(status: int) -> Iterator[tuple[int, list[dict[str, str]]]]:
    """Stand in for a running daemon's backup endpoint; gives its port and what it was asked."""
    asked: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"path": self.path, "authorization": self.headers.get("Authorization", ""), **body})
            place = Path(body["directory"]) / "guest"
            place.mkdir(parents=True)
            (place / "partyd.db").write_bytes(b"copy")
            answer = json.dumps({"code": 0, "message": "no space"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [200, 507])
def test_a_running_daemon_makes_the_copy_in_its_own_directory(
    partyd: Partyd, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.setattr("partyd.cli.service.running_pid", lambda _: 1)
    with daemon(status) as (port, asked):
        options = ("--set", f"http.port={port}", "--set", f"http.token_file={tmp_path / 'token'}")
        answer = partyd(*US, *options, "backup", tmp_path / "b")
    assert asked[0]["path"] == "/v2/site/backup"
    assert asked[0]["authorization"] == "Bearer s3cret"
    assert Path(asked[0]["directory"]).is_relative_to(state / "backups")
    assert not Path(asked[0]["directory"]).exists()
    assert (answer.status == 0) is (status == 200)
    if status == 200:
        assert (tmp_path / "b" / "store" / "guest" / "partyd.db").read_bytes() == b"copy"
    else:
        assert "no space" in answer.err


def test_restoring_under_a_running_daemon_is_refused(
    partyd: Partyd, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partyd.cli.service.running_pid", lambda _: 7)
    with held(state / "partyd.pid"):
        answer = partyd(*US, "restore", state)
    assert "the daemon (process 7) runs; stop it first" in answer.err


@pytest.mark.parametrize(("scope", "count"), [("--system", 2), ("--user", 1)])
def test_install_service_writes_units_for_this_installation(partyd: Partyd, scope: str, count: int) -> None:
    answer = partyd("install-service", scope, "--dry-run")
    assert answer.status == 0
    lines = [line for line in answer.out.splitlines() if line.startswith("ExecStart=")]
    assert len(lines) == count
    assert lines[0] == f"ExecStart={sys.prefix}/bin/python -I -m partyd --instance %i"
    assert all(line.startswith(f"ExecStart={sys.prefix}/bin/") for line in lines)


def test_user_units_are_written_where_systemd_looks(
    partyd: Partyd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("partyd.cli.service.shutil.which", lambda _: None)
    answer = partyd("install-service", "--user")
    assert answer.status == 0
    assert (tmp_path / ".config/systemd/user/partyd@.service").read_text() == unit_text(
        "user/partyd@.service", Path(sys.prefix)
    )
    assert "systemctl --user enable --now" in answer.out


def test_a_hidden_installation_is_refused_for_the_hardened_unit(
    partyd: Partyd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", "/home/ada/venv")
    answer = partyd("install-service", "--system")
    assert answer.status == 78
    assert "install under /opt/partyd" in answer.err


def test_a_path_that_systemd_would_read_otherwise_is_refused() -> None:
    with pytest.raises(ConfigError, match="install partyd under /opt/partyd"):
        unit_text("partyd@.service", Path("/srv/a b"))
    assert (unit_directory() / "partyd@.service").is_file()


def test_the_daemons_own_backup_brings_a_damaged_store_back(partyd: Partyd, state: Path, tmp_path: Path) -> None:
    async def back_up() -> Path:
        store = Store.open(state / "store" / "guest")
        await store.write(lambda transaction: transaction.put_document("table", "demo/breast", b"{}"))
        settings = Settings(party_id="10000", roles=(GUEST,), state_dir=state)
        await Housekeeper(settings, {Address("10000", GUEST): Kept(store)}).back_up()  # type: ignore[dict-item]
        await store.close()
        (made,) = (state / "backups").iterdir()
        return made

    made = asyncio.run(back_up())
    (state / "store" / "guest").rename(tmp_path / "damaged")
    assert partyd(*US, "restore", made).status == 0
    store = Store.open(state / "store" / "guest")
    assert store.read_now(lambda reader: reader.document("table", "demo/breast")) == b"{}"
    store.close_now()
    assert partyd(*US, "identity", "show").status == 0


@dataclass
class Kept:
    """A node of which only the store is looked at."""

    store: Store
