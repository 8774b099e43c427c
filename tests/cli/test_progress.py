"""How a job and an upload look on a terminal: rows, bars, durations."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from partyd.cli import progress
from partyd.cli.progress import Line, LiveJob, clock, lines_of, table
from partyd.client import Client, Job
from partyd.client.fields import Fields
from tests.cli.fake_daemon import FakeDaemon, job


def read(status: str, tasks: dict[str, str] | None = None, **more: object) -> Job:
    return Job.read(Fields.of(job(status, tasks, **more), "test"))  # type: ignore[arg-type]


def of_tasks(status: str, *tasks: dict[str, object], **more: object) -> Job:
    return Job.read(Fields.of({**job(status), **more, "tasks": list(tasks)}, "test"))


def drawn(job: Job) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(LiveJob(job))
    return console.export_text()


def task(name: str, status: str, **more: object) -> dict[str, object]:
    return {"task_name": name, "component": "psi", "status": status, "progress": {"done": 1, "total": 4}, **more}


def test_parties_where_a_task_stands_the_same_share_a_line() -> None:
    told = of_tasks(
        "running",
        task("psi_0", "success", start_time=1_000, end_time=4_500),
        task("lr_0", "running", start_time=5_000, task_version=1),
        task("eval_0", "waiting"),
        remote_tasks={"9999/host": {"psi_0": "success", "lr_0": "running"}},
    )
    assert lines_of(told, now_s=6.5) == [
        Line("psi_0", ("10000/guest", "9999/host"), "success", 1.0, 3.5, ""),
        Line("lr_0", ("10000/guest",), "running", 0.25, 1.5, "1/4, attempt 2"),
        Line("lr_0", ("9999/host",), "running", 0.0, None, ""),
        Line("eval_0", ("10000/guest",), "waiting", 0.0, None, ""),
        Line("eval_0", ("9999/host",), "?", 0.0, None, ""),
    ]


def test_the_live_table_says_task_party_state_seconds_and_note() -> None:
    text = drawn(read("running", {"psi_0": "running", "lr_0": "pass"}, stalled_by=["9999/host"]))
    for words in ("job J1 is running", "psi_0", "9999/host?", "1/4 rounds", "━", "pass"):
        assert words in text
    without_a_part = of_tasks("running", task("a", "pass"), remote_tasks={"9999/host": {"a": "success"}})
    assert [line.parties for line in lines_of(without_a_part, 0)] == [("9999/host",)]
    waiting = {"party": "9999/host", "code": "cores", "cause": "all cores are taken"}
    assert "job J1 is waiting: all cores are taken" in drawn(read("waiting", waiting=waiting))
    assert "no ids in common" in drawn(of_tasks("failed", task("psi_0", "failed", cause="no ids in common")))
    assert LiveJob().__rich__() == ""


@pytest.mark.parametrize(("seconds", "shown"), [(4.21, "4.2 s"), (187.9, "3:07"), (3765, "1:02:45"), (0, "0.0 s")])
def test_durations(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_watching_on_a_terminal_draws_until_the_job_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with FakeDaemon({"/v2/job/query": [[job("running")], [job("success")]]}) as daemon, Client(daemon.url) as client:
        assert progress.watch(client, "J1").is_success
    assert daemon.asked[1].query["wait"] == "1"
    assert "job J1 is success" in capsys.readouterr().out


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "is_terminal", lambda: True)
    with progress.bytes_sent("guest.csv", 10) as sent:
        sent(10)
    with progress.rows_read("reading rows", is_shown=True) as show:
        show(read("success", rows=1234))
    out = capsys.readouterr().out
    assert "guest.csv" in out
    assert "1,234 rows" in out


def test_no_bars_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.bytes_sent("guest.csv", 10) as sent, progress.rows_read("rows", is_shown=True) as show:
        sent(10)
        show(read("success"))
    assert capsys.readouterr().out == ""


def test_a_table_of_a_job_without_tasks() -> None:
    assert table(of_tasks("waiting"), now_s=0).row_count == 0
