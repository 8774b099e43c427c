"""``flow``: submit jobs to a daemon, watch them, and look at what they gave. The command names are FATE Flow's."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click

from partyd import __version__
from partyd.cli import flow_target
from partyd.cli.flow_context import Flow, example, names_daemon
from partyd.client import DEFAULT_URL, ClientError
from partyd.errors import PartydError

_GROUPS = {
    "data": "flow_data",
    "job": "flow_job",
    "log": "flow_output",
    "output": "flow_output",
    "server": "flow_site",
    "site": "flow_site",
    "table": "flow_data",
    "test": "flow_test",
}
_EPILOG = """\b
Examples:
  flow test toy -gid 10000 -hid 10000
  flow job submit -c job.yaml --watch
Tab completion in bash (zsh and fish likewise):
  eval "$(_FLOW_COMPLETE=bash_source flow)"
"""


class _Lazy(click.Group):
    """A group whose parts are loaded when they are asked for, so that each command starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return sorted([*super().list_commands(ctx), *_GROUPS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, loading its module."""
        if cmd_name not in _GROUPS:
            return super().get_command(ctx, cmd_name)
        found = getattr(import_module(f"partyd.cli.{_GROUPS[cmd_name]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found


@click.group(
    "flow",
    cls=_Lazy,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="flow")
@names_daemon
def command(_flow: Flow) -> None:
    """Submit jobs to a party's daemon, watch them, and look at what they gave.

    The daemon is the one that --url (or --ip and --port) names, else PARTYD_URL, else what flow init keeps, else
    http://127.0.0.1:9380.
    """


@command.command(epilog=example("flow init --ip 127.0.0.1 --port 9381", "flow init --reset"))
@click.option("--token-file", type=click.Path(path_type=Path), help="The file with the daemon's token.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="The authority that signed its certificate (PEM).")
@click.option("--reset", is_flag=True, help="Forget what was kept.")
@names_daemon
def init(flow: Flow, token_file: Path | None, ca_file: Path | None, reset: bool) -> None:
    """Keep which daemon the next commands speak with."""
    if reset:
        path = flow_target.config_path(flow.environ)
        path.unlink(missing_ok=True)
        flow.answer({"reset": str(path)}, [f"forgotten; the next command speaks with {DEFAULT_URL}"])
        return
    kept = flow_target.load(flow.environ)
    target = flow_target.Target(
        flow.url or kept.url,
        str(token_file.absolute()) if token_file else kept.token_file,
        str(ca_file.absolute()) if ca_file else kept.ca_file,
    )
    target.client().close()
    path = flow_target.save(target, flow.environ)
    flow.answer({**vars(target), "file": str(path)}, [f"{target.url} is kept in {path}"])


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status; every error is one line on standard error."""
    is_json = "--json" in arguments
    try:
        result = command.main(args=list(arguments), prog_name="flow", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _fail("stopped", 130)
    except ClientError as error:
        if is_json:
            told = {"code": error.code, "what": error.what, "where": error.where, "how": error.how}
            click.echo(json.dumps({"error": told}), err=True)
            return 1
        return _fail(str(error).removeprefix("flow: "), 1)
    except PartydError as error:
        return _fail(str(error), 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}; check the path and who may read it", 1)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


def _fail(sentence: str, status: int) -> int:
    click.echo(f"flow: {' '.join(sentence.split())}", err=True)
    return status
