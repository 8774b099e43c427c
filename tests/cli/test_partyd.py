"""The command line as a whole: help, errors in one line, exit statuses, which daemon is meant."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from partyd.cli.partyd import command
from partyd.config import Settings
from tests.cli.owner import Partyd


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(group, click.Group):
        for name, part in group.commands.items():
            yield from commands(part, (*path, name))
    else:
        yield path


@pytest.mark.parametrize("path", [(), *commands(command)], ids=" ".join)
def test_every_help_has_an_example(partyd: Partyd, path: tuple[str, ...]) -> None:
    answer = partyd(*path, "--help")
    assert answer.status == 0
    assert "Example" in answer.out
    assert answer.out.rindex("partyd") > answer.out.index("Example")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (
            ["--role", "guest", "--party-id", "1", "--set", "http.prot=1", "doctor"],
            78,
            "nearest known one is 'http.port'",
        ),
        (["--role", "guest", "--party-id", "1", "--set", "http", "doctor"], 78, "write KEY=VALUE"),
        (["--instance", "guest", "identity", "show"], 78, "write role and party id as guest-10000"),
        (["identity", "show"], 78, "which daemon?"),
        (["--role", "guest", "--party-id", "1", "identity", "show"], 78, "make the keys of 1/guest with `partyd init`"),
        (["--config", "none.toml", "doctor"], 78, "cannot be read"),
        (["peer", "revoke", "9999", "--instance", "guest-1"], 78, "write party id and role as 10000/guest"),
        (["--instance", "guest-1", "card", "import", "none.card"], 78, "none.card: cannot be read"),
        (["standalone", "--guest", "a/b"], 78, "command line, guest"),
    ],
)
def test_an_error_is_one_line_that_says_how_to_mend(
    partyd: Partyd, arguments: list[str], status: int, words: str
) -> None:
    answer = partyd(*arguments)
    assert answer.status == status
    assert words in answer.err
    assert answer.err.startswith("partyd: ")
    assert answer.err.count("\n") == 1
    assert answer.out == ""


def test_a_mistyped_command_is_a_usage_error(partyd: Partyd) -> None:
    answer = partyd("doktor")
    assert answer.status == 2
    assert "No such command 'doktor'" in answer.err


def test_without_a_command_the_daemon_runs_with_the_merged_settings(
    partyd: Partyd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Settings] = []

    def run_daemon(settings: Settings) -> int:
        seen.append(settings)
        return 5

    monkeypatch.setattr("partyd.daemon.run", run_daemon)
    (tmp_path / "a.toml").write_text("[http]\nport = 1\n[store]\nbackups_kept = 9\n")
    monkeypatch.setenv("PARTYD_HTTP__PORT", "2")
    answer = partyd("--role", "guest", "--role", "host", "--party-id", "10000", "--config", tmp_path / "a.toml")
    assert answer.status == 5
    assert [str(address) for address in seen[0].addresses] == ["10000/guest", "10000/host"]
    assert (seen[0].http.port, seen[0].store.backups_kept) == (2, 9)


def test_the_only_daemon_of_an_account_needs_no_name(partyd: Partyd) -> None:
    partyd("init", "--role", "guest", "--party-id", "10000")
    assert "10000/guest" in partyd("identity", "show").out
    partyd("init", "--instance", "host-9999")
    answer = partyd("identity", "show")
    assert answer.status == 78
    assert "guest-10000, host-9999" in answer.err
    assert "9999/host" in partyd("identity", "show", "--instance", "host-9999").out


def test_init_writes_what_it_was_told_and_never_overwrites(partyd: Partyd, tmp_path: Path) -> None:
    line = [
        "init",
        "--instance",
        "guest.host-10000",
        "--org",
        "Bank",
        "--broker",
        "mqtts://b:1",
        "--set",
        "http.port=99",
    ]
    first = partyd(*line)
    assert first.status == 0
    assert first.out.count("keys made") == 2
    state = tmp_path / "state" / "partyd" / "guest.host-10000"
    written = tomllib.loads((state / "conf" / "partyd.toml").read_text())
    assert {key: value for key, value in written.items() if value} == {
        "party_id": "10000",
        "roles": ["guest", "host"],
        "org": "Bank",
        "broker": {"url": "mqtts://b:1"},
        "http": {"port": 99},
    }
    before = {path: path.read_bytes() for path in state.rglob("*") if path.is_file()}
    second = partyd(*line)
    assert second.out.count("keys kept") == 2
    assert "(kept)" in second.out
    assert {path: path.read_bytes() for path in state.rglob("*") if path.is_file()} == before


def test_init_with_a_file_leaves_the_settings_there(partyd: Partyd, tmp_path: Path) -> None:
    file = tmp_path / "guest-10000.toml"
    file.write_text(f'party_id = "10000"\nroles = ["guest"]\nstate_dir = "{tmp_path / "s"}"\n')
    answer = partyd("init", "--config", file)
    assert f"configuration: {file} (kept)" in answer.out
    assert f"partyd --config {file} doctor" in answer.out
    assert [path.name for path in (tmp_path / "s" / "conf").iterdir()] == ["policy.toml"]
    assert partyd("--config", file, "identity", "show").status == 0
