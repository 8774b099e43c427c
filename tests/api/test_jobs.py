from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from partyd.errors import StoreFull
from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler
from tests.api.shopfront import SCALED, TOY, Front, at_front, dag, source, write_all
from tests.nodes import SHOP

FATES_FIELDS = {
    "job_id", "flow_id", "protocol", "user_name", "role", "party_id", "initiator_party_id", "scheduler_party_id",
    "parties", "dag", "inheritance", "status", "status_code", "progress", "tag", "description", "model_id",
    "model_version", "engine_name", "cores", "memory", "remaining_cores", "remaining_memory", "resource_in_use",
    "apply_resource_time", "return_resource_time", "create_time", "update_time", "start_time", "end_time", "elapsed",
}  # fmt: skip
OURS = {
    "initiator",
    "stalled_by",
    "waiting",
    "accepted",
    "reason",
    "tasks",
    "remote_tasks",
    "seen",
    "notes",
    "contract",
}


async def never(order: WorkOrder, handler: Handler) -> Exit:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def fails(order: WorkOrder, handler: Handler) -> Exit:
    await write_all(order, handler)
    return Exit("failed", "task_failed", "the numbers do not add up")


def test_a_job_runs_and_is_shown_with_fates_fields(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.submit()
        view = await api.ended(job)
        assert (view["status"], view["progress"], view["role"], view["party_id"]) == ("success", 100, "guest", "10000")
        assert set(view) >= FATES_FIELDS | OURS
        assert view["dag"]["dag"]["tasks"]["toy_0"]["component_ref"] == "toy_example"
        assert view["elapsed"] == view["end_time"] - view["start_time"]
        assert view["remote_tasks"] == {"9999/host": {"toy_0": "success"}}
        (again,) = await api.data("/v2/job/query", job_id=job, role="guest", party_id="10000", status="success")
        assert again["job_id"] == job

    at_front(tmp_path, scene)


def test_the_answer_to_a_submission_is_fates(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        for body in ({"dag_schema": TOY}, TOY, {"dag_schema": json.dumps(TOY)}):
            status, reply = await api.post("/v2/job/submit", body)
            assert (status, reply["code"], reply["message"]) == (200, 0, "success")
            assert reply["data"]["model_id"] == reply["job_id"]
            assert reply["data"]["model_version"] == "0"
        status, reply = await api.post("/v2/job/submit", b"dag:\n  parties: []\n  tasks: {}\n")
        assert (status, reply["code"]) == (400, 1000)

    at_front(tmp_path, scene, never)


def test_the_same_request_id_is_the_same_job(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        first = await api.submit(request_id="r-1")
        assert await api.submit(request_id="r-1") == first
        _, reply = await api.post("/v2/job/submit", {"dag_schema": TOY, "request_id": "r-1"})
        assert reply["job_id"] == first
        async with api.http.post(
            "/v2/job/submit", data=io.BytesIO(json.dumps(TOY).encode()), headers={"Idempotency-Key": "r-1"}
        ) as answer:
            assert json.loads(await answer.text())["job_id"] == first
        assert await api.submit(request_id="r-2") != first
        assert (await api.post("/v2/job/submit", {"dag_schema": TOY, "request_id": "x" * 200}))[0] == 400

    at_front(tmp_path, scene, never)


def test_every_mistake_of_a_job_comes_in_one_answer(tmp_path: Path) -> None:
    wrong = dag(
        {
            "psi_0": {"component_ref": "pssi", "inputs": {"data": {"input_data": source("reader_0")}}},
            "toy_0": {"component_ref": "toy_example", "parameters": {"data_nun": 5}},
        }
    )

    async def scene(api: Front) -> None:
        status, reply = await api.post("/v2/job/submit", {"dag_schema": wrong})
        assert (status, reply["code"]) == (400, 1000)
        mistakes = reply["data"]["mistakes"]
        assert len(mistakes) >= 2
        assert any("psi_0" in mistake["path"] and "psi" in mistake["hint"] for mistake in mistakes)
        assert any("data_num" in mistake["hint"] for mistake in mistakes)
        assert set(mistakes[0]) == {"path", "message", "hint"}

    at_front(tmp_path, scene)


def test_a_job_that_is_not_here_has_fates_code(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", "query", {}), ("POST", "stop", {}), ("POST", "rerun", {}), ("POST", "clean", {}),
            ("POST", "notes/add", {"notes": "x"}), ("GET", "dag/dependency", {}), ("GET", "data/view", {}),
            ("POST", "log/download", {}),
        ]  # fmt: skip
        for method, path, more in asked:
            call = api.get if method == "GET" else api.post
            fields = {"job_id": "2099", **more}
            status, reply = await (
                api.get(f"/v2/job/{path}", **fields) if call == api.get else api.post(f"/v2/job/{path}", fields)
            )
            assert (status, reply["code"]) == (404, 1001), path
            assert "flow job list" in reply["message"]

    at_front(tmp_path, scene)


def test_another_partys_view_is_not_ours_to_give(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        status, reply = await api.get("/v2/job/query", job_id=job, role="host", party_id="9999")
        assert status == 404
        assert "10000/guest" in reply["message"]
        assert "owner" in reply["message"]

    at_front(tmp_path, scene)


def test_waiting_for_a_change_ends_with_the_change(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.submit()
        view: dict[str, Any] = {"seen": ""}
        while view.get("status") != "running":
            (view,) = await api.data("/v2/job/query", job_id=job, wait=20, seen=view["seen"])
        watching = asyncio.create_task(api.data("/v2/job/query", job_id=job, wait=30, seen=view["seen"]))
        await asyncio.sleep(0)
        assert (await api.post("/v2/job/stop", {"job_id": job}))[0] == 200
        (changed,) = await watching
        assert changed["seen"] != view["seen"]
        assert (await api.ended(job))["status"] == "canceled"
        assert (await api.get("/v2/job/query", job_id=job, wait=31))[0] == 400
        status, reply = await api.get("/v2/job/query", job_id=job, status="running")
        assert (status, reply["code"]) == (404, 1001)
        assert "canceled" in reply["message"]

    at_front(tmp_path, scene, never)


def test_a_failed_job_says_who_where_and_why_and_runs_again(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        view = await api.ended(job)
        assert view["status"] == "failed"
        assert view["reason"]["code"] == "task_failed"
        assert view["reason"]["cause"] == "the numbers do not add up"
        assert view["reason"]["task"] == "toy_0"
        api.crew.work = write_all
        status, reply = await api.post("/v2/job/rerun", {"job_id": job})
        assert (status, reply["job_id"]) == (200, job)
        view = await api.ended(job)
        assert view["status"] == "success"
        assert view["tasks"][0]["task_version"] == 1
        assert (await api.post("/v2/job/rerun", {"job_id": job, "task_list": ["nope"]}))[0] in (400, 409)

    at_front(tmp_path, scene, fails)


def test_a_running_job_is_neither_run_again_nor_cleaned(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.submit()
        for path in ("rerun", "clean"):
            status, reply = await api.post(f"/v2/job/{path}", {"job_id": job})
            assert (status, reply["code"]) == (409, 1003), path

    at_front(tmp_path, scene, never)


def test_a_list_is_paged_filtered_and_ordered(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        jobs = [await api.run() for _ in range(3)]
        await api.post(
            "/v2/job/notes/add", {"job_id": jobs[1], "role": "guest", "party_id": "10000", "notes": "the best"}
        )

        async def listed(**query: Any) -> tuple[int, list[str]]:
            data = await api.data("/v2/job/list/query", **query)
            return data["count"], [view["job_id"] for view in data["data"]]

        assert await listed() == (3, jobs[::-1])
        assert await listed(limit=2) == (3, [jobs[2], jobs[1]])
        assert await listed(limit=2, page=2) == (3, [jobs[0]])
        assert await listed(order="asc", order_by="job_id") == (3, jobs)
        for field in ("create_time", "update_time", "start_time", "end_time", "elapsed", "status", "progress"):
            assert (await listed(order_by=field))[0] == 3
        assert await listed(job_id=jobs[0][-12:]) == (1, [jobs[0]])
        assert await listed(description="best") == (1, [jobs[1]])
        assert (await listed(partner="99"))[0] == 3
        assert await listed(partner="4711") == (0, [])
        assert await listed(status="failed,running") == (0, [])
        assert (await listed(status="success"))[0] == 3
        assert (await api.data("/v2/job/list/query", limit=1))["data"][0]["partners"] == ["9999"]
        assert (await api.data("/v2/job/query", job_id=jobs[1]))[0]["description"] == "the best"
        for bad in ({"order_by": "password"}, {"order": "up"}, {"limit": 1001}, {"limit": -1}, {"page": "x"}):
            assert (await api.get("/v2/job/list/query", **bad))[0] == 400, bad
        assert len(await api.data("/v2/job/query")) == 3
        assert await api.data("/v2/job/query", status="failed") == []

    at_front(tmp_path, scene)


def test_the_queue_is_cleaned(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        assert (await api.post("/v2/job/queue/clean"))[1]["data"] == {}
        assert (await api.post("/v2/job/queue/clean", b""))[0] == 200

    at_front(tmp_path, scene, never)


def test_cleaning_erases_outputs_and_models(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        assert len(await api.data("/v2/model/query", job_id=job)) == 1
        assert (await api.post("/v2/job/clean", {"job_id": job}))[0] == 200
        assert await api.data("/v2/model/query", job_id=job) == []
        status, reply = await api.get("/v2/output/data/table", job_id=job, task_name="psi_0")
        assert (status, reply["code"]) == (404, 7001)
        assert (await api.data("/v2/job/query", job_id=job))[0]["status"] == "success"

    at_front(tmp_path, scene)


def test_dependencies_are_as_fate_draws_them(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        data = await api.data("/v2/job/dag/dependency", job_id=job, role="guest", party_id="10000")
        assert data["component_list"] == ["reader_0", "psi_0", "split_0", "scale_0"]
        assert data["component_module"]["scale_0"] == "feature_scale"
        assert set(data["component_need_run"].values()) == {True}
        assert set(data["dependencies"]) == {"psi_0", "split_0", "scale_0"}
        (link,) = data["dependencies"]["scale_0"]
        assert link["component_name"] == "split_0"
        assert (link["type"], link["up_output_info"]) == ("train_data", ["train_data", 0])
        view = await api.data("/v2/job/data/view", job_id=job)
        assert view["dataset"]["guest"]["10000"] == {"reader_0": "n.t"}

    at_front(tmp_path, scene)


def test_logs_are_downloaded_where_fates_scripts_look_for_them(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        status, kind, content = await api.fetch("POST", "/v2/job/log/download", {"job_id": job})
        assert (status, kind) == (200, "application/gzip")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            names = set(archive.getnames())
            assert {f"guest/10000/toy_0/root/{level}" for level in ("DEBUG", "INFO", "WARNING", "ERROR")} <= names
            assert {"guest/10000/INFO", "guest/10000/ERROR", "fate_flow_schedule.log"} <= names
            text = archive.extractfile("guest/10000/toy_0/root/INFO")
            assert text is not None
            lines = text.read().decode().splitlines()
        assert [line.split(": ")[-1] for line in lines] == ["toy_0 says info", "toy_0 says warning"]
        assert lines[0].startswith("[INFO][")

    at_front(tmp_path, scene)


def test_a_full_disk_takes_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(api: Front) -> None:
        async def full(*_: object, **__: object) -> str:
            raise StoreFull("the disk is almost full; free some space, then submit again")

        monkeypatch.setattr(api.node.supervisor, "submit", full)
        status, reply = await api.post("/v2/job/submit", TOY)
        assert (status, "free some space" in reply["message"]) == (507, True)

    at_front(tmp_path, scene)


def test_the_other_party_stops_it_too(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.submit()
        assert (await api.post("/v2/job/stop", {"job_id": job, "cause": "lunch"}))[0] == 200
        view = await api.ended(job)
        assert (view["status"], view["reason"]["cause"]) == ("canceled", "lunch")
        while api.other.supervisor.counts()["ended"] == 0:
            await api.other.supervisor.changed()
        assert (await api.other.supervisor.record(job)).me == SHOP
        assert (await api.post("/v2/job/stop", {"job_id": job}))[0] == 200

    at_front(tmp_path, scene, never)


def test_a_job_of_fate_1_is_translated_and_says_what_has_no_counterpart(tmp_path: Path) -> None:
    dsl = {"components": {"toy_0": {"module": "SecureAddExample"}}}
    conf = {
        "dsl_version": 2,
        "initiator": {"role": "guest", "party_id": 10000},
        "role": {"guest": [10000], "host": [9999]},
        "job_parameters": {"common": {"task_parallelism": 1, "computing_partitions": 4}},
        "component_parameters": {"common": {"toy_0": {"data_num": 16}}},
    }

    async def scene(api: Front) -> None:
        for names in (("dsl", "conf"), ("job_dsl", "job_runtime_conf")):
            status, reply = await api.post("/v2/job/submit", dict(zip(names, (dsl, conf), strict=True)))
            assert status == 200, reply
            assert reply["data"]["notes"]
            view = await api.ended(reply["job_id"])
            assert view["tasks"][0]["component"] == "toy_example"

    at_front(tmp_path, scene)
