"""``flow`` as a whole: help, which daemon is meant, errors in one line, JSON for programs, nothing heavy loaded."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from partyd import signing
from partyd.cli.flow import command, run
from partyd.errors import JobError
from tests.cli.conftest import Start
from tests.cli.fake_daemon import REASON, job

HEAVY = {"aiohttp", "numpy", "pydantic", "rich", "structlog", "yaml", "sklearn", "asyncio"}


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            part = group.get_command(context, name)
            assert part is not None
            yield from commands(part, (*path, name))
    yield path, group


COMMANDS = dict(commands(command))


@pytest.mark.parametrize("path", list(COMMANDS), ids=lambda path: " ".join(path) or "flow")
def test_every_help_has_an_example_that_is_a_right_command_line(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert out.rindex("flow ") > out.index("Example")
    assert "--json" in out or isinstance(COMMANDS[path], click.Group)
    for line in re.findall(r"(?<=  )flow [^(|\n]*", out[out.index("Example") :]):
        words = shlex.split(line.replace("...", ""))[1:]
        assert _parsed(words).command in COMMANDS.values()


def _parsed(words: list[str]) -> click.Context:
    """Return the context of the command that ``words`` name, without running it; raises UsageError."""
    context = command.make_context("flow", list(words))
    while isinstance(context.command, click.Group) and (left := [*context._protected_args, *context.args]):
        name, part, rest = context.command.resolve_command(context, left)
        assert part is not None
        with _existing_files():
            context = part.make_context(name, rest, parent=context)
    return context


@contextmanager
def _existing_files() -> Iterator[None]:
    """Let every file of an example exist."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(click.Path, "convert", lambda _, value, *__: Path(value))
        yield


FATE = {
    "client": "create-client delete-client query-client create-site delete-site query-site create-partner "
    "delete-partner query-partner",
    "data": "upload upload-file download download-component transformer",
    "job": "submit query add-notes stop rerun list download-log clean-queue clean dependency",
    "log": "count query",
    "model": "export import delete",
    "output": "query-metric-key query-metric delete-metric query-model download-model delete-model download-data "
    "query-data-table display-data",
    "permission": "grant delete query grant-resource delete-resource query-resource",
    "provider": "register query delete",
    "server": "info",
    "site": "query",
    "table": "query delete bind",
    "task": "query list",
    "test": "toy",
}
OPTIONS = {
    "-c --conf-path": "job submit, data upload, data upload-file, data transformer, permission grant-resource, "
    "permission delete-resource, provider register",
    "-j --job-id": "job query, job add-notes, job stop, job rerun, job list, job download-log, job clean, "
    "job dependency, task query, task list, log count, log query, output query-metric-key, output query-metric, "
    "output delete-metric, output query-model, output download-model, output delete-model, output download-data, "
    "output query-data-table, output display-data",
    "-r --role -p --party-id": "job query, job add-notes, job list, job dependency, task query, task list, log count, "
    "log query, output query-metric-key, output query-metric, output delete-metric, output query-model, "
    "output download-model, output delete-model, output download-data, output query-data-table, output display-data, "
    "model export, model delete",
    "-p --party-id": "client create-site, client delete-site, client query-site, client create-partner, "
    "client delete-partner, client query-partner, permission query-resource",
    "-tn --task-name": "task query, task list, log query, output query-metric, output download-data, model delete",
    "-s --status": "job query, job list, task query",
    "-l --limit": "job list, task list",
    "-tid --task-id -tv --task-version": "task query",
    "--notes": "job add-notes",
    "-o --path": "job download-log, data download, data download-component, table bind, output download-model, "
    "output download-data, model export",
    "-i --path": "model import",
    "-ns --namespace -n --name": "table query, table delete, table bind, data download, data download-component",
    "-d --display": "table query",
    "-mid --model-id -mv --model-version": "model export, model import, model delete",
    "--output-key": "model delete",
    "--app-id": "client delete-client, client query-client, client create-partner, permission grant, "
    "permission delete, permission query, init",
    "--app-token": "client create-partner, init",
    "--app-name": "client create-client, client query-client",
    "-r --role": "permission grant, permission delete",
    "-n --name --device --version --provider-name": "provider query, provider delete",
    "--log-type --instance-id": "log count, log query",
    "-gid --guest-party-id -hid --host-party-id -t --timeout --task-cores": "test toy",
    "--ip --port --reset": "init",
}


@pytest.mark.parametrize(("group", "names"), FATE.items())
def test_every_command_of_fates_client_is_here(group: str, names: str) -> None:
    assert {(group, name) for name in names.split()} <= COMMANDS.keys()


@pytest.mark.parametrize(("options", "places"), OPTIONS.items())
def test_every_option_of_fates_client_is_taken(options: str, places: str) -> None:
    for place in places.split(", "):
        known = {word for parameter in COMMANDS[tuple(place.split())].params for word in parameter.opts}
        assert set(options.split()) <= known, place


def test_starting_loads_nothing_heavy() -> None:
    code = (
        "import sys; from partyd.cli.flow import run; run(['test', 'toy', '--help']);"
        "import partyd.cli.flow_job, partyd.cli.flow_data; print(','.join(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split(","))
    assert "http.client" in loaded
    assert loaded & HEAVY == set()


def test_no_daemon_names_the_address_and_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--port", "1", "job", "list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("flow: no daemon answers at http://127.0.0.1:1 (connection refused); start one with: partyd ")
    assert err.count("\n") == 1
    assert run(["job", "list", "--port", "1", "--json"]) == 1
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["code"], "partyd standalone" in told["how"]) == ("unreachable", True)


def test_init_keeps_a_daemon_until_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("PARTYD_URL", raising=False)
    token = tmp_path / "token"
    token.write_text("T" * 20)
    assert run(["init", "--ip", "127.0.0.1", "--port", "3", "--token-file", str(token)]) == 0
    kept = json.loads((tmp_path / "partyd" / "flow.json").read_text())
    assert kept == {
        "url": "http://127.0.0.1:3", "token_file": str(token), "ca_file": "", "app_id": "", "app_token": "",
    }  # fmt: skip
    assert "no daemon is ready at http://127.0.0.1:3 yet" in capsys.readouterr().err
    run(["server", "info"])
    assert "http://127.0.0.1:3 " in capsys.readouterr().err
    monkeypatch.setenv("PARTYD_URL", "http://127.0.0.1:4")
    run(["server", "info"])
    assert "http://127.0.0.1:4 " in capsys.readouterr().err
    run(["--ip", "::1", "--port", "5", "server", "info"])
    assert "http://[::1]:5 " in capsys.readouterr().err
    assert run(["init", "--reset"]) == 0
    assert not (tmp_path / "partyd" / "flow.json").exists()


def test_an_app_is_kept_for_this_account_alone_and_signs(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = start({"/readyz": [{}], "/v2/server/fateflow": [{"host": "h", "port": 1, "version": "2"}]})
    assert run(["init", "--app-id", "A1", "--app-token", "secret-token", "--json"]) == 0
    said = capsys.readouterr()
    assert "secret-token" not in said.out + said.err
    kept = tmp_path / "config" / "partyd" / "flow.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert run(["server", "info"]) == 0
    asked = daemon.of("/v2/server/fateflow")[0]
    signed = signing.parse(asked.headers["Authorization"])
    assert signed is not None
    assert signed.signature == signing.signature(
        "secret-token", "GET", "/v2/server/fateflow", signed.ts, signed.nonce, signing.EMPTY_BODY
    )


def test_a_near_miss_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["job", "quary"]) == 2
    assert capsys.readouterr().err == "flow: there is no command 'quary': did you mean 'query'?; see flow job --help\n"
    assert run(["job", "quary", "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["how"] == "see flow job --help"
    assert run(["job", "stop", "J1", "-j", "J2"]) == 2
    assert "one job at a time: J1 or J2?" in capsys.readouterr().err
    assert run(["job", "stop"]) == 2
    assert "say which job" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_line_that_completes(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert f"_FLOW_COMPLETE={shell}_source flow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("flow job st", ["stop"]),
        ("flow job stop J", ["J1", "J2"]),
        ("flow job stop -j J2", ["J2"]),
        ("flow output query-metric -j J1 -tn psi", ["psi_0"]),
        ("flow --port 1 job stop J", []),
    ],
)
def test_completion_offers_commands_jobs_and_tasks(
    words: str, wanted: list[str], start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start({"/v2/job/list/query": [{"data": [job("running", {"psi_0": "running"}), job("failed", job_id="J2")]}]})
    monkeypatch.setenv("_FLOW_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        run([])
    assert [line.split(",")[1] for line in capsys.readouterr().out.splitlines() if line] == wanted


def test_a_token_is_sent(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.write_text("secret-secret-secret\n")
    daemon = start({"/v2/server/fateflow": [{"host": "h", "port": 1, "version": "2"}]})
    monkeypatch.setenv("PARTYD_TOKEN_FILE", str(token))
    assert run(["server", "info"]) == 0
    assert daemon.asked[0].headers["Authorization"] == "Bearer secret-secret-secret"
    token.unlink()
    assert run(["server", "info"]) == 1


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_file_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "partyd").mkdir()
    (tmp_path / "partyd" / "flow.json").write_text(content)
    assert run(["job", "list"]) == 1
    assert "flow init --reset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["init", "--url", "ftp://x"], 1, "this is no address of a daemon"),
        (["job", "submit", "-c", "none.yaml"], 2, "none.yaml"),
        (["job", "quary"], 2, "quary"),
        (["nothing"], 2, "nothing"),
        (["test", "toy", "-gid", "1"], 2, "-hid"),
        (["data", "upload", "--file", __file__], 2, "--namespace NS"),
    ],
)
def test_wrong_command_lines(arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == status
    assert words in capsys.readouterr().err


def test_a_refusal_is_the_daemons_own_sentence(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start({"/v2/job/query": [JobError("10000/guest knows no job 'J9'; list them with: flow job list")]})
    assert run(["job", "query", "-j", "J9"]) == 1
    assert capsys.readouterr().err == "flow: 10000/guest knows no job 'J9'; list them with: flow job list\n"


def test_every_answer_is_json_for_programs(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(
        {
            "/v2/job/query": [[job("failed", reason=REASON)]],
            "/v2/job/list/query": [{"data": [job("running")]}],
            "/v2/job/why": [{"status": "failed", **REASON, "mend": "upload it"}],
        }
    )
    assert run(["--json", "job", "query", "-j", "J1"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"]["party"] == "9999/host"
    assert run(["job", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "running"
    assert run(["job", "why", "-j", "J1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_do"] == "upload it"
