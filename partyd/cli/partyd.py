"""``partyd``: run a party's daemon, and look after its keys, peers and state."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from partyd import __version__
from partyd.cli.audit import audit
from partyd.cli.context import Invocation, about_a_daemon
from partyd.cli.doctor import doctor
from partyd.cli.identity import card, identity, init
from partyd.cli.peers import peer
from partyd.cli.policy import policy
from partyd.cli.service import backup, install_service, restore
from partyd.cli.standalone import standalone
from partyd.config_sources import EX_CONFIG
from partyd.errors import ConfigError, PartydError

_EPILOG = """\b
Example, run in the foreground until Ctrl-C:
  partyd --role guest --party-id 10000 --set broker.url=mqtts://broker.example:8883
First time here: partyd init --help. Everything on one machine: partyd standalone --help.
"""


@click.group(
    name="partyd", invoke_without_command=True, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="partyd")
@about_a_daemon
def command(invocation: Invocation) -> int | None:
    """Take part in federated learning: run the daemon of one party, or a command about it.

    Without a command the daemon runs in the foreground. Settings come from files, then PARTYD_... variables, then the
    command line.
    """
    if click.get_current_context().invoked_subcommand is not None:
        return None
    from partyd.daemon import run as run_daemon  # loads everything; the other commands start fast without it

    return run_daemon(invocation.settings())


for _part in (init, identity, card, peer, policy, audit, doctor, backup, restore, install_service, standalone):
    command.add_command(_part)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status; every error is one line on standard error."""
    try:
        result = command.main(args=list(arguments), prog_name="partyd", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _fail("stopped", 130)
    except PartydError as error:
        if "--debug" in arguments:
            raise
        return _fail(str(error), EX_CONFIG if isinstance(error, ConfigError) else 1)
    except OSError as error:
        if "--debug" in arguments:
            raise
        where = f"{Path(str(error.filename))}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path, its owner and the space left", 1)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def _fail(sentence: str, status: int) -> int:
    click.echo(f"partyd: {' '.join(sentence.split())}", err=True)
    return status
