"""``flow site`` and ``flow server``: who answers, and how it stands with its peers."""

from __future__ import annotations

import click

from partyd.cli.flow_context import Flow, columns, example, knows_daemon
from partyd.client import Peer


@click.group(epilog=example("flow site query"))
def site() -> None:
    """See which party the daemon is, and its peers."""


@site.command(epilog=example("flow site query", "flow --port 9381 site query"))
@knows_daemon
def query(flow: Flow) -> None:
    """Show the daemon's party, its roles, and the session with every pinned peer."""
    with flow.client() as client:
        found, peers = client.site(), client.peers()
    lines = [f"party {found.party_id}, {', '.join(found.roles)}{', ' + found.org if found.org else ''}"]
    rows = [("here", "peer", "session", "waiting for it", "fingerprint")]
    rows += [(p.me, p.peer, _session(p), f"{p.outbox_messages} messages", p.fingerprint) for p in peers]
    lines += columns(rows) if peers else ["no peers yet; add one with: partyd peer add CARD"]
    flow.answer(
        {"site": found, "peers": peers},
        [*lines, *(f"beside it: {s.address} at {s.url}" for s in found.siblings if s.address not in found.addresses)],
    )


@click.group(epilog=example("flow server info"))
def server() -> None:
    """See what answers."""


@server.command(epilog=example("flow server info"))
@knows_daemon
def info(flow: Flow) -> None:
    """Show the daemon's version and address."""
    with flow.client() as client:
        found = client.server()
    flow.answer(found, [f"partyd {found.version} at {found.host}:{found.port}"])


def _session(peer: Peer) -> str:
    return "silent" if peer.silent else "established" if peer.established else "none yet"
