from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.api.shopfront import SCALED, Front, at_front

FATES_FIELDS = {
    "job_id", "role", "party_id", "task_name", "component", "task_id", "task_version", "execution_id", "status",
    "scheduler_party_id", "status_code", "component_parameters", "task_run", "memory", "task_cores", "resource_in_use",
    "worker_id", "cmd", "run_ip", "run_port", "run_pid", "party_status", "provider_name", "task_parameters",
    "engine_conf", "kill_status", "error_report", "sync_type", "timeout", "launcher_name", "launcher_conf",
    "start_time", "end_time", "elapsed", "create_time", "update_time", "protocol",
}  # fmt: skip


def test_tasks_are_shown_with_fates_fields_and_filtered(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        tasks = await api.data("/v2/job/task/query", job_id=job)
        assert [task["task_name"] for task in tasks] == ["reader_0", "psi_0", "split_0", "scale_0"]
        assert all(set(task) >= FATES_FIELDS for task in tasks)
        assert tasks[1]["task_id"] == f"{job}_psi_0"
        assert tasks[0]["component_parameters"] == {"namespace": "n", "name": "t"}
        assert {task["status"] for task in tasks} == {"success"}
        assert tasks[0]["end_time"] >= tasks[0]["start_time"]

        async def named(**query: Any) -> list[str]:
            return [task["task_name"] for task in await api.data("/v2/job/task/query", **query)]

        assert await named(job_id=job, task_name="psi_0") == ["psi_0"]
        assert await named(task_id=f"{job}_psi_0") == ["psi_0"]
        assert len(await named(job_id=job, role="guest", party_id="10000", status="success", task_version=0)) == 4
        assert len(await named()) == 4
        for query in ({"status": "failed"}, {"task_name": "lr_0"}, {"task_version": 7}):
            status, reply = await api.get("/v2/job/task/query", job_id=job, **query)
            assert (status, reply["code"]) == (404, 2000)
        status, reply = await api.get("/v2/job/task/query", job_id="2099")
        assert (status, reply["code"]) == (404, 1001)
        assert (await api.get("/v2/job/task/query", job_id=job, task_version="x"))[0] == 400

    at_front(tmp_path, scene)


def test_task_lists_have_pages(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        await api.run()

        async def named(**query: Any) -> tuple[int, list[str]]:
            data = await api.data("/v2/job/task/list/query", **query)
            return data["count"], [task["task_name"] for task in data["data"]]

        assert await named() == (5, ["toy_0", "reader_0", "psi_0", "split_0", "scale_0"])
        assert await named(job_id=job, limit=3) == (4, ["reader_0", "psi_0", "split_0"])
        assert await named(job_id=job, limit=3, page=2) == (4, ["scale_0"])
        assert await named(task_name="psi_0") == (1, ["psi_0"])
        assert await named(job_id=job, order_by="task_name", order="asc") == (
            4,
            ["psi_0", "reader_0", "scale_0", "split_0"],
        )
        assert (await named(job_id="2099"))[0] == 0
        assert (await api.get("/v2/job/task/list/query", order_by="x"))[0] == 400

    at_front(tmp_path, scene)
