"""``flow`` as a whole: help, which daemon is meant, errors in one line, JSON for programs, nothing heavy loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from partyd.cli.flow import command, run
from partyd.errors import JobError
from tests.cli.conftest import Start
from tests.cli.fake_daemon import REASON, job

HEAVY = {"aiohttp", "numpy", "pydantic", "rich", "structlog", "yaml", "sklearn", "asyncio"}


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            part = group.get_command(context, name)
            assert part is not None
            yield from commands(part, (*path, name))
    yield path


@pytest.mark.parametrize("path", list(commands(command)), ids=lambda path: " ".join(path) or "flow")
def test_every_help_has_an_example(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert out.rindex("flow ") > out.index("Example")
    is_leaf = path and path[-1] not in {"data", "job", "log", "output", "server", "site", "table", "test"}
    assert ("--json" in out) or not is_leaf


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
    assert kept == {"url": "http://127.0.0.1:3", "token_file": str(token), "ca_file": ""}
    run(["server", "info"])
    assert "http://127.0.0.1:3 " in capsys.readouterr().err
    monkeypatch.setenv("PARTYD_URL", "http://127.0.0.1:4")
    run(["server", "info"])
    assert "http://127.0.0.1:4 " in capsys.readouterr().err
    run(["--ip", "::1", "--port", "5", "server", "info"])
    assert "http://[::1]:5 " in capsys.readouterr().err
    assert run(["init", "--reset"]) == 0
    assert not (tmp_path / "partyd" / "flow.json").exists()


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
    start({"/v2/job/query": [[job("failed", reason=REASON)]], "/v2/job/list/query": [{"data": [job("running")]}]})
    assert run(["--json", "job", "query", "-j", "J1"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"]["party"] == "9999/host"
    assert run(["job", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["status"] == "running"
    assert run(["job", "why", "-j", "J1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_do"].startswith("mend or upload the table")
