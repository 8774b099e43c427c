"""The ``flow`` command: jobs, tables, results; one line for every error, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from partyd import __version__
from partyd.cli import flow_target
from partyd.cli.flow_context import Flow, example, names_daemon
from partyd.client.answer import DEFAULT_URL
from partyd.client.errors import ClientError, Refused
from partyd.errors import PartydError

_GROUPS = {
    "client": "flow_access",
    "completion": "flow_completion",
    "data": "flow_data",
    "job": "flow_job",
    "log": "flow_log",
    "model": "flow_model",
    "output": "flow_output",
    "permission": "flow_access",
    "provider": "flow_provider",
    "server": "flow_site",
    "site": "flow_site",
    "table": "flow_table",
    "task": "flow_task",
    "test": "flow_test",
}
_HELP = {
    "client": "Let programs and people use the daemon under ids of their own.",
    "completion": "Print the line that completes flow's words with Tab.",
    "data": "Upload tables to this party's own daemon, and fetch them.",
    "job": "Submit, follow, stop, approve and explain jobs.",
    "log": "Read what tasks and the scheduler said at this party.",
    "model": "Keep, move and deploy models.",
    "output": "Look at a task's metrics, model and table.",
    "permission": "Say what an app may do, and what a party may use.",
    "provider": "See where components come from.",
    "server": "See what answers.",
    "site": "See which party the daemon is, and its peers.",
    "table": "Look at, bind, disable and delete this party's tables.",
    "task": "Look at the tasks of jobs.",
    "test": "See that a federation works.",
}
_EPILOG = """\b
Examples:
  flow test toy -gid 10000 -hid 10000
  flow job submit -c job.yaml --watch
Tab completion in bash (zsh and fish likewise):
  eval "$(flow completion bash)"
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and what each is for, loading none of them."""
        del ctx
        own = {name: command.get_short_help_str() for name, command in self.commands.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted({**own, **_HELP}.items()))


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


@command.command(epilog=example("flow version"))
@names_daemon
def version(flow: Flow) -> None:
    """Print flow's version."""
    flow.answer({"version": __version__}, [__version__])


@command.command(
    epilog=example(
        "flow init --ip 127.0.0.1 --port 9381",
        "flow init --url https://fate.bank.example:9380 --ca-file bank.pem --app-id ID --app-token TOKEN",
        "flow init --reset",
    )
)
@click.option("--app-id", metavar="ID", default="", help="The app that signs the requests: flow client create-client.")
@click.option("--app-token", metavar="TOKEN", default="", help="Its token; PARTYD_APP_TOKEN keeps it off the screen.")
@click.option("--token-file", type=click.Path(path_type=Path), help="The file with the daemon's own token instead.")
@click.option("--ca-file", type=click.Path(path_type=Path), help="The authority that signed its certificate (PEM).")
@click.option("--reset", is_flag=True, help="Forget what was kept.")
@names_daemon
def init(flow: Flow, app_id: str, app_token: str, token_file: Path | None, ca_file: Path | None, reset: bool) -> None:
    """Keep which daemon the next commands speak with, and as whom."""
    if reset:
        path = flow_target.config_path(flow.environ)
        path.unlink(missing_ok=True)
        flow.answer({"reset": str(path)}, [f"forgotten; the next command speaks with {DEFAULT_URL}"])
        return
    kept = flow_target.load(flow.environ)
    target = flow_target.Target(
        url=flow.url or kept.url,
        token_file=str(token_file.absolute()) if token_file else kept.token_file,
        ca_file=str(ca_file.absolute()) if ca_file else kept.ca_file,
        app_id=app_id or kept.app_id,
        app_token=app_token or kept.app_token,
    )
    with target.client(timeout_s=3) as client:
        is_there = client.is_ready()
    path = flow_target.save(target, flow.environ)
    if not is_there:
        click.echo(f"flow: no daemon is ready at {target.url} yet; it is kept all the same", err=True)
    flow.answer({**target.shown(), "file": str(path)}, [f"{target.url} is kept in {path}"])


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit status; every error is one line on standard error."""
    is_json = "--json" in arguments
    try:
        result = command.main(args=list(arguments), prog_name="flow", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        return _fail(_Told("usage", _misused(error), "the command line", _usage(error)), error.exit_code, is_json)
    except click.Abort:
        return _fail(_Told("stopped", "stopped", "flow", ""), 130, is_json)
    except Refused as error:
        sentence = f"{len(error.mistakes)} mistakes" if len(error.mistakes) > 1 else str(error)
        told = _Told(error.code, error.what, error.where, error.how, sentence, error.mistakes)
        return _fail(told, 1, is_json)
    except ClientError as error:
        sentence = str(error).removeprefix("flow: ")
        return _fail(_Told(error.code, error.what, error.where, error.how, sentence), 1, is_json)
    except PartydError as error:
        return _fail(_Told(error.code, str(error), "flow", ""), 1, is_json)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        what = f"{where}{error.strerror or error}"
        return _fail(_Told("os", what, "this machine", "check the path and who may read it"), 1, is_json)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))


@dataclass(frozen=True)
class _Told:
    """An error as it is told to programs; ``sentence`` is for people, made of the parts where it is empty."""

    code: str
    what: str
    where: str
    how: str
    sentence: str = ""
    mistakes: tuple[str, ...] = ()


def _misused(error: click.ClickException) -> str:
    """Return what is wrong with a command line, and the nearest right word."""
    if isinstance(error, click.UsageError) and error.ctx is not None and isinstance(error.ctx.command, click.Group):
        import difflib

        known = error.ctx.command.list_commands(error.ctx)
        given = error.message.partition("'")[2].rpartition("'")[0]
        near = difflib.get_close_matches(given, known, n=1) if given not in known else []
        if near:
            return f"there is no command {given!r}: did you mean {near[0]!r}?"
    return error.format_message().rstrip(".")


def _usage(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return f"see {context.command_path} --help" if context is not None else "see flow --help"


def _fail(told: _Told, status: int, is_json: bool) -> int:
    if is_json:
        parts: dict[str, object] = {"code": told.code, "what": told.what, "where": told.where, "how": told.how}
        parts |= {"mistakes": told.mistakes} if told.mistakes else {}
        click.echo(json.dumps({"error": parts}), err=True)
    else:
        sentence = told.sentence or "; ".join(part for part in (told.what, told.how) if part)
        lines = told.mistakes if len(told.mistakes) > 1 else ()
        click.echo("\n  ".join([f"flow: {' '.join(sentence.split())}", *lines]), err=True)
    return status
