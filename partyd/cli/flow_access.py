"""``flow client`` and ``flow permission``: who may ask this daemon for what, and which peer may use what of ours."""

from __future__ import annotations

from pathlib import Path

import click

from partyd.cli.flow_context import Flow, example, knows_daemon
from partyd.cli.flow_options import CONF, read_object
from partyd.client import calls_admin
from partyd.client.calls_admin import AppKind, Data

ROLES = ("viewer", "operator", "admin", "client", "super_client", "site")
_PARTNER = "-p 9999 --app-id ID --app-token TOKEN"
_APP_ID = click.option("--app-id", required=True, metavar="ID", help="The app.")
_PARTY = click.option("-p", "--party-id", required=True, metavar="ID", help="The party.")
_ROLE = click.option(
    "-r",
    "--role",
    required=True,
    type=click.Choice(ROLES),
    metavar="ROLE",
    help="viewer, operator or admin; FATE's site, client and super_client are taken for them in that order.",
)


@click.group(epilog=example("flow client create-client --app-name reports", "flow client query-client"))
def client() -> None:
    """Let programs and people use the daemon under ids of their own; each signs its requests with its own token."""


@client.command("create-client", epilog=example("flow client create-client --app-name reports"))
@click.option("--app-name", required=True, metavar="NAME", help="What it is called here.")
@knows_daemon
def create_client(flow: Flow, app_name: str) -> None:
    """Create an app; its token is shown, and a role comes from flow permission grant."""
    _tell(flow, calls_admin.create_app("client", app_name=app_name), "created")


@client.command("delete-client", epilog=example("flow client delete-client --app-id ID"))
@_APP_ID
@knows_daemon
def delete_client(flow: Flow, app_id: str) -> None:
    """Delete an app: what it signs is refused from now on."""
    _tell(flow, calls_admin.delete_app("client", app_id=app_id), "deleted")


@client.command("query-client", epilog=example("flow client query-client --app-name reports"))
@click.option("--app-id", default="", metavar="ID", help="The app.")
@click.option("--app-name", default="", metavar="NAME", help="What it is called here.")
@knows_daemon
def query_client(flow: Flow, app_id: str, app_name: str) -> None:
    """Show apps and their roles."""
    _tell(flow, calls_admin.query_app("client", app_id=app_id, app_name=app_name), "there is no such app")


def _add_site_commands() -> None:
    """Add FATE's commands for sites and partners, which differ in their options only."""

    @client.command("create-site", epilog=example("flow client create-site -p 9999"))
    @_PARTY
    @knows_daemon
    def create_site(flow: Flow, party_id: str) -> None:
        """Create an app for a party, as FATE's site authentication wants it; parties here know each other by cards."""
        _tell(flow, calls_admin.create_app("site", party_id=party_id), "created")

    @client.command("create-partner", epilog=example(f"flow client create-partner {_PARTNER}"))
    @_PARTY
    @_APP_ID
    @click.option("--app-token", required=True, metavar="TOKEN", help="The token that the party gave.")
    @knows_daemon
    def create_partner(flow: Flow, party_id: str, app_id: str, app_token: str) -> None:
        """Keep the app that a party gave us, as FATE's site authentication wants it."""
        fields = {"party_id": party_id, "app_id": app_id, "app_token": app_token}
        _tell(flow, calls_admin.create_app("partner", **fields), "kept")

    _delete_and_query("site", "what create-site made for a party", is_party_required=True)
    _delete_and_query("partner", "what create-partner kept of a party", is_party_required=False)


def _delete_and_query(kind: AppKind, what: str, *, is_party_required: bool) -> None:
    @click.command(f"delete-{kind}", help=f"Delete {what}.", epilog=example(f"flow client delete-{kind} -p 9999"))
    @_PARTY
    @knows_daemon
    def delete(flow: Flow, party_id: str) -> None:
        _tell(flow, calls_admin.delete_app(kind, party_id=party_id), "deleted")

    @click.command(f"query-{kind}", help=f"Show {what}.", epilog=example(f"flow client query-{kind} -p 9999"))
    @click.option("-p", "--party-id", required=is_party_required, default=None, metavar="ID", help="The party.")
    @knows_daemon
    def query(flow: Flow, party_id: str | None) -> None:
        _tell(flow, calls_admin.query_app(kind, party_id=party_id or ""), "there is none")

    client.add_command(delete)
    client.add_command(query)


_add_site_commands()


@click.group(epilog=example("flow permission grant --app-id ID --role operator"))
def permission() -> None:
    """Say what an app may do here, and which of our tables and components a peer may use."""


@permission.command(epilog=example("flow permission grant --app-id ID --role operator"))
@_APP_ID
@_ROLE
@knows_daemon
def grant(flow: Flow, app_id: str, role: str) -> None:
    """Give an app a role: a viewer reads, an operator runs jobs and keeps tables, an admin does all."""
    _tell(flow, calls_admin.grant(app_id, role), "granted")


@permission.command(epilog=example("flow permission delete --app-id ID --role operator"))
@_APP_ID
@_ROLE
@knows_daemon
def delete(flow: Flow, app_id: str, role: str) -> None:
    """Take a role from an app."""
    _tell(flow, calls_admin.revoke(app_id, role), "taken")


@permission.command(epilog=example("flow permission query --app-id ID"))
@_APP_ID
@knows_daemon
def query(flow: Flow, app_id: str) -> None:
    """Show what an app may do."""
    _tell(flow, calls_admin.permissions(app_id), "nothing")


@permission.command("grant-resource", epilog=example("flow permission grant-resource -c grant.json"))
@CONF
@knows_daemon
def grant_resource(flow: Flow, conf: Path) -> None:
    """Let a peer use a component or a table: {"party_id": ..., "component": ..., "dataset": {"namespace", "name"}}."""
    _tell(flow, calls_admin.grant_resource(read_object(conf)), "granted")


@permission.command("delete-resource", epilog=example("flow permission delete-resource -c grant.json"))
@CONF
@knows_daemon
def delete_resource(flow: Flow, conf: Path) -> None:
    """Forbid a peer what grant-resource allowed."""
    _tell(flow, calls_admin.revoke_resource(read_object(conf)), "taken")


@permission.command("query-resource", epilog=example("flow permission query-resource -p 9999"))
@_PARTY
@knows_daemon
def query_resource(flow: Flow, party_id: str) -> None:
    """Show what a peer may use."""
    _tell(flow, calls_admin.resources(party_id), "nothing")


def _tell(flow: Flow, call: Data, nothing: str) -> None:
    with flow.client() as daemon:
        found = daemon.do(call)
    flow.show(found, nothing)
