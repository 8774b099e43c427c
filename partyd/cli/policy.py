"""``partyd policy``: what jobs of other parties may do here."""

from __future__ import annotations

from pathlib import Path

import click

from partyd.cli.context import Invocation, about_a_daemon, layout_of
from partyd.config import Settings

_SHOW = "\b\nExample:\n  partyd --instance host-10000 policy show\n"
_CHECK = "\b\nExample:\n  partyd --instance host-10000 policy check\n  partyd policy check --file draft.toml\n"
_ALLOW = """\b
Example:
  partyd --instance host-10000 policy allow guest-9999 --component psi --component coordinated_lr \\
      --dataset credit/customers --table internal/crm --min-rows 1000 --approve manual
"""
_REVOKE = """\b
Example:
  partyd --instance host-10000 policy revoke guest-9999 --dataset credit/customers
"""
_NAMES = {"multiple": True, "metavar": "NAME"}


@click.group()
def policy() -> None:
    """Show, check and change what jobs of other parties may do here."""


@policy.command("show", epilog=_SHOW)
@about_a_daemon
def show(invocation: Invocation) -> None:
    """Say in words what is open to whom; what is granted through the API is shown by `flow permission`."""
    from partyd.cli import policy_edit  # loads the rules of jobs; the other commands start fast without them

    settings = invocation.settings()
    policy_edit.show(_path(settings), standalone=settings.standalone)


@policy.command("check", epilog=_CHECK)
@click.option("--file", "file", type=click.Path(path_type=Path), metavar="FILE", help="Another file than the daemon's.")
@about_a_daemon
def check(invocation: Invocation, file: Path | None) -> None:
    """Read the policy as the daemon does, and name each mistake with its line."""
    from partyd.cli import policy_edit

    policy_edit.check(file or _path(invocation.settings()))


@policy.command("allow", epilog=_ALLOW)
@click.argument("peer")
@click.option("--component", "components", help="May be repeated; '*' for all.", **_NAMES)  # type: ignore[arg-type]
@click.option("--dataset", "datasets", help="namespace/name as the peer writes it; may be repeated.", **_NAMES)  # type: ignore[arg-type]
@click.option("--table", metavar="NAME", help="The table (namespace/name) that the one data set stands for.")
@click.option("--as", "as_roles", help="What we are in the job (guest, host, arbiter); may be repeated.", **_NAMES)  # type: ignore[arg-type]
@click.option("--partner", "partners", help="Who else may be in the job; may be repeated.", **_NAMES)  # type: ignore[arg-type]
@click.option("--min-rows", type=int, help="Rows that a table must have.")
@click.option("--min-intersection", type=int, help="Ids that must be in common.")
@click.option("--key-bits", type=int, help="Bits of an encryption key.")
@click.option("--min-batch", type=int, help="Rows in a batch.")
@click.option(
    "--merge-models",
    type=click.Choice(["no", "anonymous", "named"]),
    help="Whether model_merge may give our half of a model to the guest, and with our columns' names.",
)
@click.option("--max-jobs-per-day", type=int, help="Jobs in 24 hours, for this peer and data set.")
@click.option("--approve", type=click.Choice(["auto", "manual"]), help="manual: a person says yes to every job.")
@about_a_daemon
def allow(invocation: Invocation, peer: str, table: str | None, **given: object) -> None:
    """Open data sets in components to a peer; counts from the next job on."""
    from partyd.cli import policy_edit

    policy_edit.allow(_path(invocation.settings()), peer, table, given)


@policy.command("revoke", epilog=_REVOKE)
@click.argument("peer")
@click.option("--component", "components", help="Only rules with this component.", **_NAMES)  # type: ignore[arg-type]
@click.option("--dataset", "datasets", help="Only rules with this data set.", **_NAMES)  # type: ignore[arg-type]
@about_a_daemon
def revoke(invocation: Invocation, peer: str, components: tuple[str, ...], datasets: tuple[str, ...]) -> None:
    """Take a peer out of the rules that name it; jobs that run go on (end them with: flow job stop)."""
    from partyd.cli import policy_edit

    policy_edit.revoke(_path(invocation.settings()), peer, components, datasets)


def _path(settings: Settings) -> Path:
    return layout_of(settings).policy_file
