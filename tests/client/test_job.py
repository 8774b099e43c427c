"""A job as an object, over the synchronous client."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from partyd.client import ANY_PARTY, Client, ClientError, Job, JobFailed, Party, Rows, Unreachable
from tests.cli.fake_daemon import REASON, Answer, FakeDaemon, Wrapped, job

LOSS = {"name": "loss", "data": [{"step": 0, "metric": 0.7, "val": 0.7}, {"step": 1, "metric": 0.5, "val": 0.5}]}
DOCUMENT = {"name": "evaluation", "data": {"auc": 0.9}}
ANSWERS: dict[str, list[Answer]] = {
    "/v2/job/submit": [Wrapped({}, {"job_id": "J1"})],
    "/v2/output/metric/query": [[LOSS, DOCUMENT]],
    "/v2/output/model/query": [{"output_model": {"weights": [1.5]}}],
    "/v2/log/query": [[{"ts": 1.5, "level": "INFO", "message": "hello"}]],
    "/v2/job/why": [{"status": "failed", **REASON, "mend": "upload it"}],
    "/v2/job/contract": [{"plain_words": ["guest learns"]}],
    **{f"/v2/job/{verb}": [{}] for verb in ("stop", "rerun", "approve", "reject")},
}


def states(*jobs: dict[str, object]) -> dict[str, list[Answer]]:
    return {**{path: list(answers) for path, answers in ANSWERS.items()}, "/v2/job/query": [[each] for each in jobs]}


def test_submit_wait_and_look(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon(states(job("running"), job("running"), job("success"))) as daemon, Client(daemon.url) as client:
        handle = client.jobs.submit({"dag": {}})
        assert handle.wait().is_success
        assert handle.status == "success"
        assert handle.curve("lr_0") == ([0, 1], [0.7, 0.5])
        assert list(handle.metrics("lr_0")) == ["loss"]
        assert handle.model("lr_0") == {"output_model": {"weights": [1.5]}}
        assert handle.log("lr_0")[0].message == "hello"
        assert handle.contract() == {"plain_words": ["guest learns"]}
        assert handle.why().mend == "upload it"
        with pytest.raises(ClientError, match="it has: loss"):
            handle.curve("lr_0", "los")
        for verb in (handle.stop, handle.approve, lambda: handle.reject("no"), lambda: handle.rerun(["lr_0"])):
            verb()
    assert "job J1 is success" in capsys.readouterr().out
    assert [asked.path.rsplit("/", 1)[1] for asked in daemon.asked[-4:]] == ["stop", "approve", "reject", "rerun"]
    assert b'"task_list": ["lr_0"]' in daemon.asked[-1].body


def test_every_submission_has_a_request_id_of_its_own() -> None:
    with FakeDaemon(states(job("running"))) as daemon, Client(daemon.url) as client:
        client.jobs.submit("{}")
        client.jobs.submit("{}")
        client.submit("{}", request_id="mine")
    first, second, third = (asked.query["request_id"] for asked in daemon.asked)
    assert len({first, second, third}) == 3
    assert third == "mine"


def test_waiting_says_why_it_failed() -> None:
    with FakeDaemon(states(job("failed", reason=REASON))) as daemon, Client(daemon.url) as client:
        with pytest.raises(JobFailed, match="task reader_0 at 9999/host: job J1 is failed: there is no table"):
            client.jobs.get("J1").wait(progress=False)
        assert client.jobs.get("J1").wait(progress=False, check=False).status == "failed"
    with (
        FakeDaemon(states(job("canceled"))) as daemon,
        Client(daemon.url) as client,
        pytest.raises(JobFailed, match="job J1 is canceled"),
    ):
        client.jobs.get("J1").wait(progress=False)


def test_waiting_no_longer_than_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    with FakeDaemon(states(job("running"))) as daemon, Client(daemon.url) as client:
        assert client.jobs.get("J1").wait(progress=False, timeout_s=5).status == "running"


class Restarting(Client):
    """A client of a daemon that is away for some of the requests."""

    away = 0

    def job(self, job_id: str, party: Party = ANY_PARTY, *, seen: str = "", wait_s: int = 0) -> Job:
        if seen and self.away > 0:
            self.away -= 1
            raise Unreachable("away", where="test", how="wait")
        return super().job(job_id, party, seen=seen, wait_s=wait_s)


def test_a_daemon_that_restarts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    with FakeDaemon(states(job("running"), job("success"))) as daemon, Restarting(daemon.url) as client:
        client.away = 3
        assert client.jobs.get("J1").wait(progress=False).is_success
    assert len(naps) == 3


def test_a_daemon_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 10_000, 20))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with FakeDaemon(states(job("running"))) as daemon, Restarting(daemon.url) as client:
        client.away = 1000
        with pytest.raises(Unreachable):
            client.jobs.get("J1").wait(progress=False)


def test_output_is_read_page_by_page_up_to_a_limit() -> None:
    def page(begin: int, count: int) -> dict[str, object]:
        return {"count": 250, "header": ["id", "x"], "rows": [[f"r{begin + i}", 0.5] for i in range(count)]}

    answers: dict[str, list[Answer]] = {"/v2/output/data/display": [page(0, 100), page(100, 100), page(200, 20)]}
    with FakeDaemon(answers) as daemon, Client(daemon.url) as client:
        rows = client.jobs.get("J1", Party("guest")).output("psi_0", limit=220)
    assert (rows.count, len(rows.rows)) == (250, 220)
    assert rows.column("id")[-1] == "r219"
    assert [asked.query["limit"] for asked in daemon.asked] == ["100", "100", "20"]
    assert [asked.query.get("begin") for asked in daemon.asked] == [None, "100", "200"]
    with pytest.raises(ClientError, match="its columns are id, x"):
        rows.column("y")


def test_output_ends_where_the_daemon_gives_no_more() -> None:
    answers: dict[str, list[Answer]] = {"/v2/output/data/display": [{"count": 9, "header": ["id"], "rows": []}]}
    with FakeDaemon(answers) as daemon, Client(daemon.url) as client:
        assert client.jobs.get("J1").output("psi_0").rows == ()


def test_rows_as_html_and_as_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(9, ("id", "<x>"), (("a", 0.123456789), ("<b>", None)))
    assert "<th>&lt;x&gt;</th>" in rows._repr_html_()
    assert "<td>&lt;b&gt;</td><td></td>" in rows._repr_html_()
    assert "0.123457" in rows._repr_html_()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ClientError, match="pip install pandas"):
        rows.frame()
    frame = SimpleNamespace(DataFrame=lambda data, columns: (data, columns))
    monkeypatch.setitem(sys.modules, "pandas", frame)
    made: object = rows.frame()
    assert made == ([["a", 0.123456789], ["<b>", None]], ["id", "<x>"])


def test_in_a_notebook_the_cell_is_drawn_anew_and_ended_tasks_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    monkeypatch.setattr("partyd.client.notebook.cell", lambda: drawn.append)
    first = job("running", {"psi_0": "success", "lr_0": "running"})
    last = job("success", {"psi_0": "success", "lr_0": "success"})
    with FakeDaemon(states(first, first, last)) as daemon, Client(daemon.url) as client:
        handle = client.jobs.get("J1")
        handle.wait()
        assert "polyline" in handle._repr_html_()
    assert "running" in drawn[0]
    assert "lr_0 loss: 0.7 to 0.5" in drawn[-1]
    asked = [a.query["task_name"] for a in daemon.of("/v2/output/metric/query")]
    assert asked.count("psi_0") == 1
    assert repr(handle) == f"JobHandle('J1', '{daemon.url}')"


def test_the_newest_jobs() -> None:
    with FakeDaemon({"/v2/job/list/query": [{"data": [job("success")]}]}) as daemon, Client(daemon.url) as client:
        assert [each.job_id for each in client.jobs.list(5)] == ["J1"]
