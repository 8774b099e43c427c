"""A whole federation on one machine: a broker and one daemon for each party, for development and demonstrations.

Every party is a real daemon with keys and state of its own, pinned to all others; only the machine and the owner are
the same. What dies is started again, as systemd would; Ctrl-C or SIGTERM stops all together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from partyd import log as logs
from partyd.config_example import render
from partyd.errors import ConfigError, PartydError
from partyd.layout import FEDERATION_FILE, Layout, make_private_dir, write_private
from partyd.trust import Own, create_own, has_own, now_s, open_own, pin
from partyd.types import ARBITER, GUEST, HOST, Address

if TYPE_CHECKING:
    from partyd.cli.standalone import StandaloneOptions

log = structlog.get_logger()

START_TIMEOUT_S = 60.0
RESTART_DELAY_S = 0.3
STOP_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Member:
    """One daemon of the federation."""

    address: Address
    state_dir: Path
    port: int

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self.port}"


def run(options: StandaloneOptions) -> int:
    """Start the federation and keep it running until told to stop."""
    logs.configure()
    members = plan(options)
    make_private_dir(options.directory)
    broker_port = _broker_port(options)
    introduce(members)
    (options.directory / FEDERATION_FILE).write_text(json.dumps(describe(members, broker_port), indent=1))
    status = 0
    try:
        asyncio.run(_Federation(options, members, broker_port).serve())
    except* PartydError as group:
        log.error("federation_stopped", error=str(group.exceptions[0]))
        status = 1
    return status


def plan(options: StandaloneOptions) -> list[Member]:
    """Return the daemons to start; each gets the next port and a directory named after its role and party."""
    addresses = [Address(options.guest, GUEST)]
    addresses += [Address(host, HOST) for host in dict.fromkeys(options.hosts)]
    addresses += [Address(options.arbiter, ARBITER)]
    return [
        Member(address, options.directory / f"{address.role.label}-{address.party_id}", options.port + place)
        for place, address in enumerate(addresses)
    ]


def introduce(members: Sequence[Member]) -> None:
    """Make the keys that are missing, and pin everybody at everybody."""
    now = now_s()
    owned: list[tuple[Member, Own]] = []
    for member in members:
        layout = Layout(member.state_dir)
        make = open_own if has_own(layout, member.address.role) else create_own
        owned.append((member, make(layout, member.address, f"standalone {member.address}", now)))
    for member, _ in owned:
        for other, own in owned:
            if other is not member:
                pin(Layout(member.state_dir), own.card, own.identity.fingerprint, now)


def first_step(members: Sequence[Member]) -> str:
    """Return the command that tries this federation: its guest with its first host."""
    guest, host = members[0].address.party_id, members[1].address.party_id
    return f"flow test toy -gid {guest} -hid {host}"


def describe(members: Sequence[Member], broker_port: int) -> dict[str, object]:
    """Return what siblings may know of each other: addresses and URLs."""
    return {
        "broker": f"mqtt://127.0.0.1:{broker_port}",
        "parties": [{"address": str(m.address), "url": m.url, "state_dir": str(m.state_dir)} for m in members],
    }


def _broker_port(options: StandaloneOptions) -> int:
    """Return the port of an earlier start while it is free, else a free one."""
    known = options.directory / "broker.port"
    port = int(known.read_text()) if known.exists() else 0
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    write_private(known, str(port).encode())
    return port


class _Federation:
    """The children and their watchers."""

    def __init__(self, options: StandaloneOptions, members: Sequence[Member], broker_port: int) -> None:
        self._options = options
        self._members = members
        self._broker_dir = options.directory / "broker"
        self._broker_port = broker_port
        self._stop = asyncio.Event()

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._stop.set)
        await self._prepare_broker()
        async with asyncio.TaskGroup() as group:
            keepers = [group.create_task(self._keep("broker", self._broker_command()))]
            await self._reachable("broker", self._broker_port)
            for member in self._members:
                kept = self._keep(str(member.address), self._daemon_command(member))
                keepers += [group.create_task(kept)]
            announce = group.create_task(self._announce())
            await self._stop.wait()
            announce.cancel()
            for keeper in keepers[1:]:
                keeper.cancel()
            await asyncio.gather(*keepers[1:], return_exceptions=True)
            keepers[0].cancel()

    async def _prepare_broker(self) -> None:
        parties = [word for m in self._members for word in ("--party", m.address.party_id)]
        command = [*_PYTHON, "broker", "init", "--dir", str(self._broker_dir), "--passwords", "--plain", *parties]
        if not (self._broker_dir / "broker.toml").exists():
            command += ["--port", str(self._broker_port)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        if await process.wait() != 0:
            raise ConfigError(f"the broker's files could not be made in {self._broker_dir}; see the line above")

    def _broker_command(self) -> list[str]:
        embedded = ["--embedded"] if self._options.broker == "embedded" else []
        return [*_PYTHON, "broker", "run", "--dir", str(self._broker_dir), "--port", str(self._broker_port), *embedded]

    def _daemon_command(self, member: Member) -> list[str]:
        """Write the daemon's settings where every partyd command finds them, and return how it is started."""
        party = member.address.party_id
        chosen = {
            "party_id": party,
            "roles": [member.address.role.label],
            "org": f"standalone {member.address}",
            "broker.url": f"mqtt://127.0.0.1:{self._options.broker_proxy_port or self._broker_port}",
            "broker.username": party,
            "broker.password_file": str(self._broker_dir / "parties" / party / "password"),
            "http.port": member.port,
            "store.backup_every_h": 0,
        }
        write_private(Layout(member.state_dir).conf_dir / "partyd.toml", render(chosen).encode())
        role = ["--role", member.address.role.label, "--party-id", party, "--state-dir", str(member.state_dir)]
        return [*_PYTHON, "partyd", *role, "--set", "standalone=true"]

    async def _keep(self, name: str, command: list[str]) -> None:
        """Run a child, and again whenever it dies, until cancelled; then end it in good order."""
        while True:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, start_new_session=True
            )
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await _end(process)
                raise
            log.warning("child_ended", name=name, status=status)
            if status == _EXIT_CONFIG:
                raise ConfigError(f"{name} cannot start; its reason is in the line above")
            await asyncio.sleep(RESTART_DELAY_S)

    async def _announce(self) -> None:
        for member in self._members:
            await self._reachable(str(member.address), member.port)
        click.echo("\nThe federation runs (development only: everything on this machine, loopback only):")
        for member in self._members:
            click.echo(f"  {member.address!s:16} {member.url}   state in {member.state_dir}")
        click.echo(f"Try: {first_step(self._members)}        Stop: Ctrl-C\n")

    async def _reachable(self, name: str, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
        raise ConfigError(f"{name} does not listen on port {port} after {START_TIMEOUT_S:g} s; see its lines above")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


_PYTHON = (sys.executable, "-m")
_EXIT_CONFIG = getattr(os, "EX_CONFIG", 78)
