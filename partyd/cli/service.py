"""``partyd backup``, ``restore`` and ``install-service``: keep a daemon, bring it back, let systemd run it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import click

import partyd
from partyd.cli.context import Invocation, about_a_daemon, layout_of
from partyd.cli.local_api import ask
from partyd.config import Settings
from partyd.errors import ConfigError, PartydError
from partyd.layout import Layout, make_private_dir, write_private
from partyd.pidfile import running_pid

_KEPT = ("identity", "peers", "conf", "tables", "jobs", "models", "model-store")
_HIDDEN = ("/home", "/root", "/run/user", "/tmp")  # noqa: S108  (refused, not used)
_UNITS = {"system": ("partyd@.service", "partyd-broker.service"), "user": ("user/partyd@.service",)}
_PLACEHOLDER = "/opt/partyd/bin/"


@click.command(epilog="\b\nExample:\n  partyd --instance guest-10000 backup /backup/partyd-2026-12-01\n")
@click.argument("directory", type=click.Path(path_type=Path))
@about_a_daemon
def backup(invocation: Invocation, directory: Path) -> None:
    """Copy stores, keys, peers, settings, tables and outputs into a new DIRECTORY, while the daemon runs or not.

    The copy holds private keys: keep it as safe as the keys.
    """
    settings = invocation.settings()
    layout = layout_of(settings)
    if directory.exists():
        raise ConfigError(f"{directory} exists: name a new directory for the backup")
    make_private_dir(directory)
    if running_pid(layout.pid_file) is None:
        _backup_stores(settings, layout, directory / "store")
    else:
        _let_daemon_backup(settings, layout, directory / "store")
    for name in _KEPT:
        if (layout.state_dir / name).is_dir():
            _copy_private(layout.state_dir / name, directory / name)
    click.echo(f"{directory}: backup of {settings.instance}, with its private keys")


def _backup_stores(settings: Settings, layout: Layout, target: Path) -> None:
    make_private_dir(target)
    for role in settings.roles:
        if layout.store_dir(role).is_dir():
            asyncio.run(_backup_store(layout.store_dir(role), target / role.label))


async def _backup_store(directory: Path, target: Path) -> None:
    from partyd.store import Store  # slow to load

    store = Store.open(directory)
    try:
        await store.backup_to(target)
    finally:
        await store.close()


def _let_daemon_backup(settings: Settings, layout: Layout, target: Path) -> None:
    """Let the daemon write into its own directory, the only one its sandbox opens to it, and copy from there."""
    stage = layout.state_dir / "backups" / secrets.token_hex(8)
    try:
        status, answer = ask(settings.http, "POST", "/v2/site/backup", {"directory": str(stage)}, timeout_s=3600)
        if status != 200:
            raise PartydError(f"the daemon made no backup (status {status}): {' '.join(str(answer).split())[:200]}")
        _copy_private(stage, target)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _copy_private(source: Path, target: Path) -> None:
    """Copy every file with its content on disk, closed to everyone else; existing files stay as they are.

    A file that a running daemon deletes meanwhile is left out.
    """
    make_private_dir(target)
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_file() and not copy.exists():
            with contextlib.suppress(FileNotFoundError):
                _copy_file(path, copy)


def _copy_file(path: Path, copy: Path) -> None:
    if path.stat().st_size <= 64 << 20:
        write_private(copy, path.read_bytes())
        return
    make_private_dir(copy.parent)
    shutil.copyfile(path, copy)
    copy.chmod(0o600)
    with copy.open("rb") as stream:
        os.fsync(stream.fileno())


@click.command(epilog="\b\nExample:\n  partyd --instance guest-10000 restore /backup/partyd-2026-12-01\n")
@click.argument("directory", type=click.Path(path_type=Path))
@about_a_daemon
def restore(invocation: Invocation, directory: Path) -> None:
    """Bring back what a backup holds: the daemon's own ones hold stores only. Overwrites nothing.

    The restored store has a new identity: peers notice it and go back to what both still have.
    """
    from partyd.store import restore as restore_store  # slow to load

    settings = invocation.settings()
    layout = layout_of(settings)
    pid = running_pid(layout.pid_file)
    if pid is not None:
        raise ConfigError(f"the daemon (process {pid}) runs; stop it first")
    make_private_dir(layout.state_dir)
    for role in settings.roles:
        saved = directory / "store" / role.label
        if saved.is_dir():
            make_private_dir(layout.store_dir(role).parent)
            restore_store(saved, layout.store_dir(role))
    for name in _KEPT:
        if (directory / name).is_dir():
            _copy_private(directory / name, layout.state_dir / name)
    click.echo(f"{layout.state_dir}: restored from {directory}; now: partyd --instance {settings.instance} doctor")


@click.command(
    "install-service", epilog="\b\nExample:\n  sudo /opt/partyd/bin/partyd install-service --system --dry-run\n"
)
@click.option("--system", "scope", flag_value="system", default="system", help="For the machine, hardened (default).")
@click.option("--user", "scope", flag_value="user", help="For this account only; runs while you are logged in.")
@click.option("--dry-run", is_flag=True, help="Print the units, write nothing.")
def install_service(scope: str, dry_run: bool) -> None:
    """Write systemd units that run this installation."""
    base = Path("/etc/systemd/system") if scope == "system" else Path.home() / ".config" / "systemd" / "user"
    prefix = Path(sys.prefix)
    if scope == "system" and not dry_run:
        _refuse_hidden(prefix)
    for name in _UNITS[scope]:
        text, target = unit_text(name, prefix), base / Path(name).name
        if dry_run:
            click.echo(f"# {target}\n{text}")
            continue
        base.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        click.echo(f"wrote {target}")
    if not dry_run:
        _after_install(scope)


def unit_text(name: str, prefix: Path) -> str:
    """Return a unit whose commands stand in ``prefix``; raises ConfigError for a path systemd cannot hold."""
    if not str(prefix).isprintable() or any(char in str(prefix) for char in " %\"'\\$"):
        raise ConfigError(f"{prefix}: systemd cannot run this path; install partyd under /opt/partyd")
    return (unit_directory() / name).read_text(encoding="utf-8").replace(_PLACEHOLDER, f"{prefix}/bin/")


def unit_directory() -> Path:
    """Return where the units are: in the installed package, or beside it in a checkout."""
    package = Path(partyd.__file__).parent
    places = (package / "systemd_units", package.parent / "systemd")
    found = next((place for place in places if (place / "partyd@.service").is_file()), None)
    if found is None:
        raise ConfigError(f"{places[0]}: the units are missing from this installation; install partyd again")
    return found


def _refuse_hidden(prefix: Path) -> None:
    """Refuse a place that the hardened unit cannot see (ProtectHome=, PrivateTmp=)."""
    for place in (prefix, Path(sys.base_prefix), Path(sys.executable).resolve()):
        if any(place.is_relative_to(hidden) for hidden in _HIDDEN):
            raise ConfigError(
                f"{place}: the hardened service cannot see this directory; "
                "install under /opt/partyd (python3 -m venv /opt/partyd), or use --user"
            )


def _after_install(scope: str) -> None:
    flag = ["--user"] if scope == "user" else []
    told = shutil.which("systemctl") and subprocess.run(
        ["systemctl", *flag, "daemon-reload"], check=False, capture_output=True
    )
    if not told or told.returncode:
        click.echo("systemd was not told: run `systemctl daemon-reload` yourself")
    command = " ".join(["systemctl", *flag, "enable --now partyd@guest-10000"])
    click.echo(f"next: put the settings where the unit looks for them (docs/operations.md), then: {command}")
