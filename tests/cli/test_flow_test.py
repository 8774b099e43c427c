"""``flow test``: the toy as FATE prints it, and the millionaires' fortunes, each at its own daemon."""

from __future__ import annotations

import json

import pytest
import yaml

from partyd.cli.flow import run
from tests.cli.conftest import Start
from tests.cli.fake_daemon import REASON, TABLE, Answer, Wrapped, job

SUM = "success to calculate secure_sum, it is 2000.0"
SITE = {"party_id": "10000", "roles": ["guest"], "org": "A"}


def toy_answers(*states: dict[str, object]) -> dict[str, list[Answer]]:
    return {
        "/v2/job/submit": [Wrapped({}, {"job_id": "J1"})],
        "/v2/job/query": [[state] for state in states],
        "/v2/log/query": [[{"ts": 1_700_000_000.25, "level": "INFO", "message": line} for line in ("begin", SUM)]],
        "/v2/job/stop": [{}],
    }


def test_the_toy_prints_its_states_and_the_guests_log(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start(toy_answers(job("waiting"), job("running"), job("running"), job("success")))
    assert run(["test", "toy", "-gid", "10000", "-hid", "9999", "--task-cores", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"toy test job J1 is {state}" for state in ("waiting", "running", "success")]
    assert lines[-1].endswith(f",250 - secure_sum - INFO: {SUM}")
    dag = json.loads(daemon.asked[0].body)["dag"]
    assert dag["parties"] == [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}]
    assert dag["tasks"] == {"toy_example_0": {"component_ref": "toy_example", "parameters": {"data_num": 1000}}}
    assert daemon.asked[-1].query["party_id"] == "10000"


def test_the_toy_for_programs(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(toy_answers(job("success")))
    assert run(["test", "toy", "-gid", "10000", "-hid", "9999", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "job_id": "J1", "status": "success", "log": ["begin", SUM], "reason": None,
    }  # fmt: skip


def test_a_toy_that_fails_says_where_and_why(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start(toy_answers(job("failed", reason=REASON)))
    assert run(["test", "toy", "-gid", "10000", "-hid", "9999"]) == 1
    assert "task reader_0 at 9999/host: there is no table demo/host; mend or upload" in capsys.readouterr().err
    assert daemon.of("/v2/job/stop") == []


def test_a_toy_that_takes_too_long_is_stopped(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    daemon = start(toy_answers(job("waiting", stalled_by=["9999/host"])))
    assert run(["test", "toy", "-gid", "10000", "-hid", "9999", "-t", "5"]) == 1
    err = capsys.readouterr().err
    assert "check job status timeout: toy test job J1 was still waiting after 5 s and has been stopped" in err
    assert "9999/host is silent" in err
    assert json.loads(daemon.of("/v2/job/stop")[0].body) == {"job_id": "J1"}


def fortune_answers(result: str) -> dict[str, list[Answer]]:
    return toy_answers(job("success", {"millionaires_0": "success"})) | {
        "/v2/data/component/upload/file": [TABLE],
        "/v2/output/model/query": [{"metric": {"count": 1, "results": [result]}}],
        "/v2/site/info/query": [SITE],
    }


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ("guest is richer", "guest 10000 is richer than host 9999"),
        ("host is richer", "host 9999 is richer than guest 10000"),
        ("equal", "guest 10000 and host 9999 are equally rich"),
    ],
)
def test_the_guest_uploads_its_own_fortune_and_starts(
    result: str, sentence: str, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon = start(fortune_answers(result))
    assert run(["test", "millionaires", "-gid", "10000", "-hid", "9999", "--guest-value", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == sentence
    (upload,) = daemon.of("/v2/data/component/upload/file")
    assert upload.body == b"id,value\n0,5\n"
    assert (upload.query["namespace"], upload.query["name"], upload.query["role"]) == (
        "millionaires",
        "guest-10000",
        "guest",
    )
    tasks = yaml.safe_load(daemon.of("/v2/job/submit")[0].body)["dag"]["party_tasks"]
    assert tasks["host"]["tasks"]["reader_0"]["parameters"]["name"] == "host-9999"


def test_a_fortune_beyond_a_floats_exactness_goes_as_two_halves(start: Start) -> None:
    daemon = start(fortune_answers("equal"))
    value = 2**64 - 1
    assert run(["test", "millionaires", "-gid", "10000", "-hid", "9999", "--guest-value", str(value)]) == 0
    assert daemon.of("/v2/data/component/upload/file")[0].body == b"id,value_hi,value_lo\n0,4294967295,4294967295\n"
    assert run(["test", "millionaires", "-gid", "10000", "-hid", "9999", "--guest-value", str(value + 1)]) == 2
    assert run(["test", "millionaires", "-gid", "10000", "-hid", "9999", "--guest-value", "-1"]) == 2


def test_the_host_keeps_its_fortune_at_its_own_daemon_and_starts_nothing(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    host = {"party_id": "9999", "roles": ["host"]}
    daemon = start(fortune_answers("equal") | {"/v2/site/info/query": [host]})
    assert run(["test", "millionaires", "--host-value", "7000000"]) == 0
    assert "kept at 9999/host alone" in capsys.readouterr().out
    assert daemon.of("/v2/data/component/upload/file")[0].query["name"] == "host-9999"
    assert daemon.of("/v2/job/submit") == []


def test_the_hosts_fortune_is_refused_elsewhere(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = start(fortune_answers("equal"))
    assert run(["test", "millionaires", "-hid", "9999", "--host-value", "7000000"]) == 1
    assert "at the host's own daemon" in capsys.readouterr().err
    assert daemon.of("/v2/data/component/upload/file") == []


def test_the_demo_gives_each_daemon_its_own_fortune_only(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    host = start({"/v2/data/component/upload/file": [TABLE]})
    siblings = [{"address": "10000/guest", "url": "http://x"}, {"address": "9999/host", "url": host.url}]
    guest = start(fortune_answers("host is richer") | {"/v2/site/info/query": [{**SITE, "siblings": siblings}]})
    assert run(["test", "millionaires", "--demo"]) == 0
    assert capsys.readouterr().out.endswith("host 9999 is richer than guest 10000\n")
    assert [asked.body for asked in host.asked] == [b"id,value\n0,7000000\n"]
    assert [asked.body for asked in guest.of("/v2/data/component/upload/file")] == [b"id,value\n0,5000000\n"]


def test_the_demo_needs_a_standalone_federation(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(fortune_answers("equal"))
    assert run(["test", "millionaires", "--demo"]) == 1
    assert "partyd standalone" in capsys.readouterr().err


@pytest.mark.parametrize("values", [["--guest-value", "1", "--host-value", "2"], ["--guest-value", "1"], []])
def test_fortunes_that_are_not_given_where_they_belong(values: list[str], start: Start) -> None:
    daemon = start(fortune_answers("equal"))
    assert run(["test", "millionaires", *values]) == 2
    assert daemon.asked == []


def test_an_answer_of_another_version_is_named(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    start(fortune_answers("who knows"))
    assert run(["test", "millionaires", "-gid", "10000", "-hid", "9999", "--guest-value", "5"]) == 1
    assert "'who knows'" in capsys.readouterr().err
