"""``flow provider``: where components come from, and what each takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from partyd.cli.flow_context import Flow, example, knows_daemon
from partyd.cli.flow_options import CONF, read_object
from partyd.client import calls_admin

Command = Callable[..., object]


def _wanted(command: Command) -> Command:
    for option in (
        click.option("--provider-name", default="", metavar="NAME", help="In one word: fate:2.2.0@local."),
        click.option("--version", default="", metavar="VERSION", help="Its version."),
        click.option("--device", default="", metavar="DEVICE", help="Where it runs: local."),
        click.option("-n", "--name", default="", metavar="NAME", help="Its name: fate or partyd."),
    ):
        command = option(command)
    return command


@click.group(epilog=example("flow provider query", "flow provider components psi"))
def provider() -> None:
    """See where components come from, and what each takes."""


@provider.command(epilog=example("flow provider query", "flow provider query --name fate"))
@_wanted
@knows_daemon
def query(flow: Flow, name: str, device: str, version: str, provider_name: str) -> None:
    """Show the providers of components."""
    call = calls_admin.providers(name=name, device=device, version=version, provider_name=provider_name)
    with flow.client() as client:
        found = client.do(call)
    flow.show(found, "there is no such provider")


@provider.command(epilog=example("flow provider components", "flow provider components coordinated_lr"))
@click.argument("name", required=False, default="")
@knows_daemon
def components(flow: Flow, name: str) -> None:
    """Show the components, or one with the schema of its parameters."""
    with flow.client() as client:
        found = client.do(calls_admin.components(name))
    if name:
        flow.answer(found, [json.dumps(found, indent=1)])
    else:
        flow.show(found, "there is no component")


@provider.command(epilog=example("flow provider register -c register.json"))
@CONF
@knows_daemon
def register(flow: Flow, conf: Path) -> None:
    """Register a provider, as in FATE; the daemon runs no code that a request names, and says so."""
    with flow.client() as client:
        found = client.do(calls_admin.register_provider(read_object(conf)))
    flow.show(found, "registered")


@provider.command(epilog=example("flow provider delete -n mine"))
@_wanted
@knows_daemon
def delete(flow: Flow, name: str, device: str, version: str, provider_name: str) -> None:
    """Forget a provider; what is built in stays."""
    call = calls_admin.delete_provider(name=name, device=device, version=version, provider_name=provider_name)
    with flow.client() as client:
        found = client.do(call)
    flow.show(found, "deleted")
