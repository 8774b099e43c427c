"""What every ``flow`` command has: the daemon it speaks with, and one way to answer people and programs."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import TYPE_CHECKING

import click

from partyd.cli import flow_target
from partyd.cli.flow_target import Target

if TYPE_CHECKING:
    from partyd.client import Client


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

    def client(self, timeout_s: float = flow_target.TIMEOUT_S) -> Client:
        """Return a client of the daemon; use it as a context manager."""
        return self.target().client(timeout_s)

    def answer(self, document: object, lines: Iterable[str]) -> None:
        """Print ``document`` for programs, or ``lines`` for people."""
        if self.is_json:
            click.echo(json.dumps(plain(document)))
        else:
            for line in lines:
                click.echo(line)

    def show(self, document: object, nothing: str) -> None:
        """Print what a daemon said as it is for programs, as a table for people; ``nothing`` where it is empty."""
        self.answer(document, pages(document) or [nothing])

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


def pages(value: object) -> list[str]:
    """Return any answer as lines: objects of one kind as a table, an object as its fields, nothing as no line."""
    if isinstance(value, Mapping):
        return columns([(str(key), cell(item)) for key, item in value.items()])
    if isinstance(value, Sequence) and not isinstance(value, str):
        objects = [item for item in value if isinstance(item, Mapping)]
        if not objects or len(objects) < len(value):
            return [cell(item) for item in value]
        names = list(dict.fromkeys(str(name) for item in objects for name in item))
        return columns([names, *([cell(item.get(name)) for name in names] for item in objects)])
    return [] if value is None or value == "" else [cell(value)]


def cell(value: object) -> str:
    """Return a value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
