"""What every ``partyd`` command knows: which daemon it is about, and where that daemon's settings come from."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from partyd.config import Settings
from partyd.config_sources import expand_files, find_files, load_settings, overrides_of, state_base
from partyd.errors import ConfigError
from partyd.layout import Layout
from partyd.types import Address


@dataclass(frozen=True)
class Invocation:
    """One command line, before any file is read."""

    files: tuple[Path, ...] = ()
    overrides: Mapping[str, object] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    is_debug: bool = False

    def merged(self, files: Sequence[Path], overrides: Mapping[str, object], *, is_debug: bool) -> Invocation:
        """Return this command line with the options that stood after the subcommand."""
        return Invocation(
            (*self.files, *files), {**self.overrides, **overrides}, self.environ, self.is_debug or is_debug
        )

    def settings(self) -> Settings:
        """Read the settings; raises ConfigError. One daemon on this account needs no name, several do."""
        files = expand_files(self.files) if self.files else find_files(self.environ, self.overrides)
        overrides = dict(self.overrides)
        named = {"party_id", "roles", "state_dir"} & set(overrides) or _NAMING & set(self.environ)
        if not files and not named:
            overrides["state_dir"] = self._only_state_dir()
            files = find_files(self.environ, overrides)
        return load_settings(files, self.environ, overrides)

    def _only_state_dir(self) -> Path:
        base = state_base(self.environ)
        found = sorted(path.parent for path in base.glob("*/conf")) if base.is_dir() else []
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(path.name for path in found)
            raise ConfigError(
                f"several daemons live in {base} ({names}): say which one with --instance {found[0].name}"
            )
        raise ConfigError("which daemon? start with --role guest --party-id 10000, or name a file with --config")


def chosen_addresses(settings: Settings, role: str | None) -> tuple[Address, ...]:
    """Return the daemon's addresses, or the one that ``role`` names; raises ConfigError."""
    if role is None:
        return settings.addresses
    chosen = tuple(address for address in settings.addresses if address.role.label == role)
    if not chosen:
        served = ", ".join(str(address) for address in settings.addresses)
        raise ConfigError(f"command line, --for: this daemon serves {served}, not the role {role}")
    return chosen


def parse_address(text: str) -> Address:
    """Read ``9999/host``; raises ConfigError."""
    try:
        return Address.parse(text)
    except ValueError as error:
        raise ConfigError(f"command line: {error}") from error


def layout_of(settings: Settings) -> Layout:
    """Return the paths of the daemon these settings describe."""
    return Layout(settings.state_dir)


def naming(settings: Settings, invocation: Invocation) -> str:
    """Return how to name this daemon on a command line: ``partyd --instance guest-10000``."""
    if invocation.files:
        return " ".join(["partyd", *(f"--config {shlex.quote(str(path))}" for path in invocation.files)])
    if settings.state_dir == state_base(invocation.environ) / settings.instance:
        return f"partyd --instance {settings.instance}"
    return f"partyd --state-dir {shlex.quote(str(settings.state_dir))}"


_NAMING = frozenset({"PARTYD_PARTY_ID", "PARTYD_ROLES", "PARTYD_STATE_DIR", "STATE_DIRECTORY"})
_PATH = click.Path(path_type=Path)
_OPTIONS = (
    click.option("--role", "roles", multiple=True, metavar="ROLE", help="guest, host or arbiter; may be repeated."),
    click.option("--party-id", metavar="ID", help="This organisation's party id."),
    click.option("--instance", metavar="NAME", help="Role and party id in one word, as systemd writes: guest-10000."),
    click.option(
        "--config", "files", multiple=True, type=_PATH, metavar="FILE", help="TOML file, or a directory of them."
    ),
    click.option("--state-dir", type=_PATH, metavar="DIR", help="Keys, peers, store and tables."),
    click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting: --set http.port=9381."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def about_a_daemon(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command the options that name a daemon, and an ``Invocation`` as its first argument."""

    @click.pass_context
    def wrapper(
        context: click.Context,
        /,
        roles: tuple[str, ...],
        party_id: str | None,
        instance: str | None,
        files: tuple[Path, ...],
        state_dir: Path | None,
        assignments: tuple[str, ...],
        debug: bool,
        **others: object,
    ) -> object:
        before = context.obj if isinstance(context.obj, Invocation) else Invocation(environ=dict(os.environ))
        overrides = {**_assigned(assignments), **overrides_of(instance, roles, party_id)}
        if state_dir is not None:
            overrides["state_dir"] = state_dir
        context.obj = before.merged(files, overrides, is_debug=debug)
        return command(context.obj, **others)

    wrapped: Callable[..., object] = functools.update_wrapper(wrapper, command)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def _assigned(assignments: Sequence[str]) -> dict[str, object]:
    given: dict[str, object] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise ConfigError(f"command line, --set {text[:80]}: write KEY=VALUE, such as http.port=9381")
        given[key.strip()] = value.strip()
    return given
