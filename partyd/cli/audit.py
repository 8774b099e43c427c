"""``partyd audit``: check and read the audit log, also while the daemon runs; nothing here writes."""

from __future__ import annotations

from pathlib import Path

import click

from partyd.cli.context import Invocation, about_a_daemon, chosen_addresses, parse_address

_FOR = click.option("--for", "role", metavar="ROLE", help="Only the log of this role, where a daemon serves several.")
_VERIFY = """\b
Example:
  partyd --instance guest-10000 audit verify
  partyd --instance guest-10000 audit verify --heads heads-from-9999.json
"""
_SHOW = """\b
Example:
  partyd --instance guest-10000 audit show --job 20261123010937000000123
  partyd --instance guest-10000 audit show --last 20 --json
"""
_HANDED = """\b
Example, at host 9999, for the auditors of guest 10000:
  partyd --instance host-9999 audit heads 10000/guest > heads-from-9999.json
"""


@click.group()
def audit() -> None:
    """Check, read and compare the audit log."""


@audit.command("verify", epilog=_VERIFY)
@_FOR
@click.option(
    "--heads", "file", type=click.Path(path_type=Path), metavar="FILE", help="Heads of ours that a peer has kept."
)
@about_a_daemon
def verify(invocation: Invocation, role: str | None, file: Path | None) -> int:
    """Check the chain, our signed heads, and that all that peers countersigned still lies on it."""
    from partyd.cli import audit_log  # loads the store; the other commands start fast without it

    settings = invocation.settings()
    return 0 if audit_log.verify(settings, chosen_addresses(settings, role), file) else 1


@audit.command("show", epilog=_SHOW)
@_FOR
@click.option("--job", metavar="ID", help="Only the events of this job.")
@click.option("--after", default=0, metavar="N", type=click.IntRange(0), help="Only events numbered above N.")
@click.option("--last", metavar="N", type=click.IntRange(1), help="Only the newest N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@about_a_daemon
def show(
    invocation: Invocation, role: str | None, job: str | None, after: int, last: int | None, as_json: bool
) -> None:
    """Print what was decided and done here, the oldest first."""
    from partyd.cli import audit_log

    settings = invocation.settings()
    audit_log.show(settings, chosen_addresses(settings, role), job, after, last, as_json=as_json)


@audit.command("heads", epilog=_HANDED)
@click.argument("peer")
@_FOR
@about_a_daemon
def heads(invocation: Invocation, peer: str, role: str | None) -> None:
    """Print, as JSON, the heads of a peer's log that it has shown us: evidence for whoever audits that peer."""
    from partyd.cli import audit_log

    settings, who = invocation.settings(), parse_address(peer)
    audit_log.heads(settings, chosen_addresses(settings, role), who)
