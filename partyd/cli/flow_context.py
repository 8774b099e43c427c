"""What every ``flow`` command has: the daemon it speaks with, and one way to answer people and programs."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass

import click

from partyd.cli import flow_target
from partyd.cli.flow_target import Target
from partyd.client import Client, Party


def _options(*, hidden: bool) -> tuple[Callable[[Callable[..., object]], Callable[..., object]], ...]:
    return (
        click.option("--url", metavar="URL", default="", hidden=hidden, help="The API, such as http://127.0.0.1:9380."),
        click.option("--ip", metavar="IP", default="", hidden=hidden, help="The daemon's host, instead of --url."),
        click.option("--port", type=click.IntRange(1, 65535), hidden=hidden, help="Its port, instead of --url."),
        click.option("--json", "is_json", is_flag=True, help="Answer with JSON, for programs."),
    )


@dataclass(frozen=True)
class Flow:
    """One command line: where the daemon is, and who reads the answer."""

    environ: Mapping[str, str]
    url: str = ""
    is_json: bool = False

    def target(self) -> Target:
        """Return the daemon meant; raises ClientError."""
        found = flow_target.load(self.environ)
        return found.at(self.url) if self.url else found

    def client(self) -> Client:
        """Return a client of the daemon; use it as a context manager."""
        return self.target().client()

    def answer(self, document: object, lines: Iterable[str]) -> None:
        """Print ``document`` for programs, or ``lines`` for people."""
        if self.is_json:
            click.echo(json.dumps(plain(document)))
        else:
            for line in lines:
                click.echo(line)

    def say(self, line: str) -> None:
        """Print a line for people; programs do not see it."""
        if not self.is_json:
            click.echo(line)


def knows_daemon(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command a `Flow` as its first argument; the options that name the daemon stand in flow's own help."""
    return _informed(command, hidden=True)


def names_daemon(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command a `Flow` as its first argument, and show the options that name the daemon."""
    return _informed(command, hidden=False)


def _informed(command: Callable[..., object], *, hidden: bool) -> Callable[..., object]:
    @click.pass_context
    def wrapper(
        context: click.Context, /, url: str, ip: str, port: int | None, is_json: bool, **others: object
    ) -> object:
        before = context.obj if isinstance(context.obj, Flow) else Flow(dict(os.environ))
        chosen = flow_target.url_of(url, ip, port, before.url)
        context.obj = Flow(before.environ, chosen, before.is_json or is_json)
        return command(context.obj, **others)

    wrapped: Callable[..., object] = functools.update_wrapper(wrapper, command)
    for option in reversed(_options(hidden=hidden)):
        wrapped = option(wrapped)
    return wrapped


def at_party(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command ``--role`` and ``--party-id`` as one `Party`, for a daemon that serves several addresses."""

    @functools.wraps(command)
    def wrapper(*arguments: object, role: str | None, party_id: str | None, **others: object) -> object:
        return command(*arguments, party=Party(role or "", party_id or ""), **others)

    party_option = click.option("-p", "--party-id", metavar="ID", help="Which party of the daemon's.")
    role_option = click.option("-r", "--role", type=click.Choice(["guest", "host", "arbiter"]), help="Which role.")
    wrapped: Callable[..., object] = role_option(party_option(wrapper))
    return wrapped


def about_job(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command ``-j``."""
    wrapped: Callable[..., object] = click.option("-j", "--job-id", required=True, metavar="ID", help="The job.")(
        command
    )
    return wrapped


def about_task(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command ``-j`` and ``-tn``."""
    option = click.option("-tn", "--task-name", "task", required=True, metavar="NAME", help="The task in the DAG.")
    return about_job(option(command))


def example(*lines: str) -> str:
    """Return the end of a command's help."""
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\b\n" + "\n".join([head, *(f"  {line}" for line in lines)])


def plain(value: object) -> object:
    """Return ``value`` as JSON can carry it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of text as aligned lines."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
