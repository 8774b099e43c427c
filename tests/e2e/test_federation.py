"""Real daemons, a real broker, sessions between them: what a user does first."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.federation import Federation, running, toy


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with running(tmp_path_factory.mktemp("federation") / "f", "embedded") as federation:
        yield federation


def reader(name: str) -> dict[str, object]:
    return {"component_ref": "reader", "parameters": {"namespace": "tests", "name": name}}


def test_toy_ends_in_2000_at_both(federation: Federation) -> None:
    job = federation.submit(toy())
    assert federation.wait(job)["status"] == "success"
    assert federation.wait(job, at=2)["status"] == "success"
    lines = [line["message"] for line in federation.get("/v2/log/query", job_id=job, task_name="toy_0")]
    assert lines[-1] == "success to calculate secure_sum, it is 2000.0"
    metrics = federation.get("/v2/output/metric/query", job_id=job, task_name="toy_0")
    (metric,) = [metric for metric in metrics if metric["name"] == "secure_sum"]
    assert metric["data"][0]["val"] == 2000.0


def test_failure_at_the_host_ends_the_job_everywhere_with_the_same_reason(federation: Federation) -> None:
    federation.upload(0, "id,y\na,1\n", "tests", "only-guest")
    dag = toy(host="9999")
    dag["tasks"] = {"reader_0": reader("only-guest")}
    elsewhere = {"parameters": {"namespace": "tests", "name": "nowhere"}}
    dag["party_tasks"] = {"host": {"parties": dag["parties"][1:], "tasks": {"reader_0": elsewhere}}}
    job = federation.submit(dag)
    guest, host = federation.wait(job), federation.wait(job, at=1)
    assert guest["status"] == host["status"] == "failed"
    assert guest["reason"] == host["reason"]
    assert guest["reason"]["party"] == "9999/host"
    assert guest["reason"]["task"] == "reader_0"
    assert "upload" in guest["reason"]["cause"]


def test_a_job_with_a_party_nobody_pinned_is_refused_with_the_command_to_run(federation: Federation) -> None:
    with pytest.raises(AssertionError, match="partyd peer add 4711/host"):
        federation.submit(toy(host="4711"))


def test_stop_ends_the_job_at_every_party(federation: Federation) -> None:
    dag = toy(host="9999", data_num=1_000_000)
    dag["tasks"] |= {
        f"toy_{i}": {"component_ref": "toy_example", "dependent_tasks": [f"toy_{i - 1}"]} for i in range(1, 20)
    }
    job = federation.submit(dag)
    federation.wait_until_known(job, at=1)
    federation.post("/v2/job/stop", {"job_id": job}, at=1)
    guest, host = federation.wait(job, 15), federation.wait(job, 15, at=1)
    assert guest["status"] == host["status"] == "canceled"
    assert guest["reason"] == host["reason"]
    assert guest["reason"]["party"] == "9999/host"


def test_a_second_start_finds_the_jobs_and_tables(federation: Federation) -> None:
    federation.upload(0, "id,y\na,1\n", "tests", "kept")
    job = federation.submit(toy())
    assert federation.wait(job)["status"] == "success"
    assert federation.stop() == 0
    federation.start()
    (view,) = federation.get("/v2/job/query", job_id=job)
    assert view["status"] == "success"
    assert federation.get("/v2/table/query", namespace="tests", name="kept")["count"] == 1


def test_upload_names_the_bad_line(federation: Federation) -> None:
    with pytest.raises(AssertionError, match=r"line 3: x0 holds 'oops', which is no number"):
        federation.upload(0, "id,x0\na,1\nb,oops\n", "tests", "bad")


@pytest.mark.parametrize("victim", ["guest", "host", "broker"])
def test_a_killed_process_costs_no_job(federation: Federation, victim: str) -> None:
    dag = toy(host="9999")
    dag["tasks"] |= {
        f"toy_{i}": {"component_ref": "toy_example", "dependent_tasks": [f"toy_{i - 1}"]} for i in range(1, 8)
    }
    job = federation.submit(dag)
    assert federation.kill(victim)
    assert federation.wait(job)["status"] == "success"
    assert federation.wait(job, at=1)["status"] == "success"
    federation.wait_until_met()


def test_a_silent_peer_makes_the_job_stalled_and_not_failed(federation: Federation) -> None:
    federation.signal("host", signal.SIGSTOP)
    try:
        began = time.monotonic()
        job = federation.submit(toy(host="9999"))
        while "9999/host" not in federation.get("/v2/job/query", job_id=job)[0]["stalled_by"]:
            assert time.monotonic() - began < 40
            time.sleep(0.5)
    finally:
        federation.signal("host", signal.SIGCONT)
    assert federation.wait(job)["status"] == "success"


def test_state_directories_are_private(federation: Federation) -> None:
    for path in (federation.directory / "guest-10000").rglob("*"):
        assert Path(path).stat().st_mode & 0o077 == 0 or path.is_dir() or "tables" in str(path) or "jobs" in str(path)
