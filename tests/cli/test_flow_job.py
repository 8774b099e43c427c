"""``flow job``: submit, watch, explain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partyd.cli import reasons
from partyd.cli.flow import run
from partyd.cli.progress import table
from partyd.client import Job
from partyd.client.fields import Fields
from partyd.client.watch import PlainLines
from tests.cli.conftest import Start
from tests.cli.fake_daemon import REASON, Wrapped, job


def read(status: str, tasks: dict[str, str] | None = None, **more: object) -> Job:
    return Job.read(Fields.of(job(status, tasks, **more), "test"))  # type: ignore[arg-type]


def test_submit_prints_the_job(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dag = tmp_path / "job.yaml"
    dag.write_text("dag: {tasks: {}}")
    daemon = start({"/v2/job/submit": [Wrapped({}, {"job_id": "J1"})]})
    assert run(["job", "submit", "-c", str(dag)]) == 0
    assert capsys.readouterr().out.startswith("J1\n")
    assert daemon.asked[0].body == b"dag: {tasks: {}}"


@pytest.mark.parametrize(("end", "status"), [("success", 0), ("failed", 1)])
def test_watching_shows_each_change_once_and_ends_as_the_job_did(
    end: str, status: int, start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dag = tmp_path / "job.yaml"
    dag.write_text("{}")
    states = [job("waiting"), job("running"), job("running"), job(end, reason=None if end == "success" else REASON)]
    daemon = start(
        {
            "/v2/job/submit": [Wrapped({}, {"job_id": "J1"})],
            "/v2/job/query": [[state] for state in states],
            "/v2/job/why": [{"status": end, **REASON, "mend": "upload the table"}],
            "/v2/output/metric/query": [[{"name": "auc", "data": [{"step": 0, "val": 0.75}]}]],
        }
    )
    assert run(["job", "submit", "-c", str(dag), "--watch"]) == status
    said = capsys.readouterr()
    lines = [line.split(" ", 1)[1] for line in said.out.splitlines()[1:8]]
    assert ("toy_example_0  auc     0.75" in said.out) == (end == "success")
    assert ("to do  upload the table" in said.err) == (end == "failed")
    assert lines == [
        "job J1 is waiting",
        "job J1 is running",
        "toy_example_0 at 10000/guest is running",
        "toy_example_0 at 9999/host is running",
        f"toy_example_0 at 10000/guest is {end}",
        f"toy_example_0 at 9999/host is {end}",
        f"job J1 is {end}",
    ]
    assert ("there is no table demo/host" in said.err) == (end == "failed")
    assert [asked.query.get("seen") for asked in daemon.of("/v2/job/query")] == [
        None, "waiting-tag", "running-tag", "running-tag",
    ]  # fmt: skip


def test_watching_for_programs_is_a_line_of_json_a_change(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start({"/v2/job/query": [[job("running")], [job("success")]]})
    assert run(["job", "watch", "-j", "J1", "--json"]) == 0
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["running", "success"]


def test_query_and_list_are_tables(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start(
        {"/v2/job/query": [[job("running")]], "/v2/job/list/query": [{"data": [job("success")]}, {"data": []}]}
    )
    assert run(["job", "query", "-j", "J1", "-r", "guest", "-p", "10000"]) == 0
    out = capsys.readouterr().out
    assert "job J1 is running (0 % of the tasks here), submitted by 10000/guest" in out
    assert "toy_example_0  toy_example  running      running    1/4 rounds" in out
    assert run(["job", "list", "-l", "5"]) == 0
    assert "J1   success  " in capsys.readouterr().out
    assert daemon.asked[-1].query == {"limit": "5"}
    assert run(["job", "list"]) == 0
    assert "flow test toy" in capsys.readouterr().out


def test_stop(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start({"/v2/job/stop": [{"job_id": "J1"}]})
    assert run(["job", "stop", "-j", "J1"]) == 0
    assert "J1" in capsys.readouterr().out
    assert json.loads(daemon.asked[0].body) == {"job_id": "J1"}


def test_why_names_party_task_cause_and_mend(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    own = {**REASON, "party": "10000/guest"}
    line = {"ts": 1.0, "level": "ERROR", "message": "no such table"}
    told = {"status": "failed", **own, "mend": "mend or upload the table"}
    start(
        {
            "/v2/job/query": [[job("failed", {"reader_0": "failed"}, reason=own)]],
            "/v2/log/query": [[line]],
            "/v2/job/why": [told],
        }
    )
    assert run(["job", "why", "-j", "J1"]) == 0
    out = capsys.readouterr().out
    for words in (
        "party  10000/guest",
        "task   reader_0",
        "no table demo/host [data]",
        "to do  mend or",
        "no such table",
    ):
        assert words in out


def test_what_an_open_job_waits_for() -> None:
    waiting = read("waiting", {"a": "waiting"})
    assert reasons.explain(waiting)[1:] == ["  9999/host has yet to answer the offer"]
    assert reasons.explain(read("waiting", {"a": "waiting"}, accepted=["9999/host"]))[1:] == []
    at_host = read("waiting", {"a": "waiting"}, initiator="9999/host")
    assert "9999/host has yet to say start" in reasons.explain(at_host)[1]
    running = reasons.explain(read("running", {"a": "running"}, stalled_by=["9999/host"]))
    assert "9999/host is silent" in running[1]
    assert running[2:] == ["  a runs at 10000/guest (1 of 4, rounds)", "  a runs at 9999/host"]


@pytest.mark.parametrize("code", [*reasons.MENDS, "something new"])
def test_every_reason_has_a_mend(code: str) -> None:
    failed = read("failed", reason={**REASON, "code": code})
    assert failed.reason is not None
    assert "{" not in reasons.mend(failed, failed.reason)
    assert "there is no table demo/host" in reasons.sentence(failed)


def test_an_end_without_a_reason_is_still_said() -> None:
    assert reasons.sentence(read("canceled")) == "job J1 is canceled"


def test_the_live_table_has_a_row_a_task_and_a_column_a_party() -> None:
    from rich.console import Console

    console = Console(width=120, record=True, file=Path("/dev/null").open("w"), force_terminal=False)  # noqa: SIM115
    with console.file:
        console.print(table(read("running", {"psi_0": "running", "lr_0": "pass"}, stalled_by=["9999/host"])))
    text = console.export_text()
    assert "9999/host?" in text
    assert "psi_0" in text
    assert "running" in text


def test_plain_lines_say_nothing_twice() -> None:
    said: list[str] = []
    show = PlainLines(said.append)
    for _ in range(3):
        show(read("running", {"a": "running", "b": "waiting", "c": "pass"}))
    assert len(said) == 3
