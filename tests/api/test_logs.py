from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler
from tests.api.shopfront import SCALED, Front, at_front, write_all


def of(job: str, **more: Any) -> dict[str, Any]:
    return {"job_id": job, "role": "guest", "party_id": "10000", **more}


def test_fates_log_types_are_levels_with_those_above(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        expected = {
            "task_debug": ["debug", "info", "warning"],
            "task_info": ["info", "warning"],
            "task_warning": ["warning"],
            "task_error": [],
        }
        for log_type, levels in expected.items():
            lines = await api.data("/v2/log/query", **of(job, log_type=log_type, task_name="toy_0"))
            assert [line["message"] for line in lines] == [f"toy_0 says {level}" for level in levels]
            assert [line["line_num"] for line in lines] == list(range(1, len(levels) + 1))
            status, reply = await api.get("/v2/log/count", **of(job, log_type=log_type, task_name="toy_0"))
            assert (status, reply["data"]) == (200, len(levels))
        assert reply["counts"] == {"DEBUG": 0, "INFO": 0, "WARNING": 0, "ERROR": 0}
        (line, *_) = await api.data("/v2/log/query", **of(job, log_type="task_info", task_name="toy_0"))
        assert set(line) >= {"line_num", "content", "ts", "level", "message", "task_name"}
        assert line["content"].endswith("[toy_0][secure_add_guest]: toy_0 says info")

    at_front(tmp_path, scene)


def test_lines_are_cut_out_by_number(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()

        async def numbers(**query: Any) -> list[int]:
            lines = await api.data("/v2/log/query", **of(job, log_type="task_debug", task_name="toy_0", **query))
            return [line["line_num"] for line in lines]

        assert await numbers() == [1, 2, 3]
        assert await numbers(begin=2) == [2, 3]
        assert await numbers(begin=2, end=2) == [2]
        assert await numbers(end=2) == [1, 2]
        assert await numbers(begin=9) == []
        for wrong in ({"begin": 3, "end": 2}, {"begin": -1}, {"end": "x"}):
            assert (await api.get("/v2/log/query", **of(job, log_type="task_debug", **wrong)))[0] == 400, wrong

    at_front(tmp_path, scene)


def test_without_a_type_begin_is_what_the_caller_has(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        lines = await api.data("/v2/log/query", job_id=job, task_name="toy_0", begin=1)
        assert [(line["level"], line["message"]) for line in lines] == [
            ("INFO", "toy_0 says info"),
            ("WARNING", "toy_0 says warning"),
        ]

    at_front(tmp_path, scene)


def test_without_a_task_the_partys_tasks_are_one_log_and_the_job_has_its_own(tmp_path: Path) -> None:
    async def scene(api: Front) -> None:
        job = await api.run(SCALED)
        lines = await api.data("/v2/log/query", **of(job, log_type="task_warning"))
        assert [line["task_name"] for line in lines] == ["reader_0", "psi_0", "split_0", "scale_0"]
        for log_type in ("schedule_info", "fate_flow_schedule"):
            lines = await api.data("/v2/log/query", **of(job, log_type=log_type))
            assert len(lines) >= 2
            assert (await api.get("/v2/log/count", job_id=job, log_type=log_type))[1]["data"] == len(lines)
        assert isinstance(await api.data("/v2/log/query", **of(job, log_type="schedule_error")), list)

    at_front(tmp_path, scene)


@pytest.mark.parametrize("path", ["count", "query", "stream"])
def test_what_is_not_there_is_named(tmp_path: Path, path: str) -> None:
    async def scene(api: Front) -> None:
        job = await api.run()
        status, reply = await api.get(f"/v2/log/{path}", job_id=job, log_type="task_gossip")
        assert (status, "task_info" in reply["message"]) == (400, True)
        status, reply = await api.get(f"/v2/log/{path}", job_id="2099", log_type="task_info")
        assert (status, reply["code"]) == (404, 1001)
        status, reply = await api.get(f"/v2/log/{path}", job_id=job, log_type="task_info", task_name="nope")
        assert (status, reply["code"]) == (404, 2000)
        assert (await api.get("/v2/log/query", job_id=job))[0] == 400

    at_front(tmp_path, scene)


async def events(api: Front, **query: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return everything that a stream sends, as (event, data)."""
    found = []
    async with api.http.get("/v2/log/stream", params=query) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/event-stream")
        for block in (await reply.text()).split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if fields:
                found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found


def test_a_log_is_followed_until_the_job_has_ended(tmp_path: Path) -> None:
    go_on, has_begun = asyncio.Event(), asyncio.Event()

    async def slowly(order: WorkOrder, handler: Handler) -> Exit:
        await handler("log", ["info", "one"])
        has_begun.set()
        await go_on.wait()
        await handler("log", ["info", "two"])
        return Exit("done")

    async def scene(api: Front) -> None:
        job = await api.submit()
        following = asyncio.create_task(events(api, **of(job, task_name="toy_0")))
        early = asyncio.create_task(events(api, **of(job, log_type="schedule_info")))
        await has_begun.wait()
        go_on.set()
        found = await following
        assert [data.get("message") for event, data in found if not event] == ["one", "two"]
        assert found[-1][0] == "end"
        assert found[-1][1] == {"status": "success", "after": 2}
        assert (await early)[-1][0] == "end"
        again = await events(api, **of(job, task_name="toy_0", after=1))
        assert [data.get("message") for event, data in again if not event] == ["two"]

    at_front(tmp_path, scene, slowly)


def test_a_follower_who_leaves_is_forgotten(tmp_path: Path) -> None:
    async def never(order: WorkOrder, handler: Handler) -> Exit:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def scene(api: Front) -> None:
        job = await api.submit()
        while (await api.data("/v2/job/query", job_id=job))[0]["status"] != "running":
            await api.node.supervisor.changed()
        async with api.http.get("/v2/log/stream", params=of(job, task_name="toy_0")) as reply:
            diary = api.node.runner.diary(job, "toy_0")
            diary.log("INFO", "hello")
            assert b"hello" in await reply.content.readuntil(b"\n\n")
        await api.post("/v2/job/stop", {"job_id": job})
        await api.ended(job)
        assert diary.bell.followers == 0

    at_front(tmp_path, scene, never)


def test_a_peers_failure_reaches_the_caller_as_code_and_cause(tmp_path: Path) -> None:
    async def one_fails(order: WorkOrder, handler: Handler) -> Exit:
        await write_all(order, handler)
        if str(order.me) == "9999/host":
            return Exit("failed", "data", "there is no table n/t")
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def scene(api: Front) -> None:
        job = await api.run()
        (view,) = await api.data("/v2/job/query", job_id=job)
        reason = view["reason"]
        assert (reason["party"], reason["task"], reason["code"]) == ("9999/host", "toy_0", "data")
        assert view["remote_tasks"]["9999/host"]["toy_0"] == "failed"
        assert view["remote_reasons"]["9999/host"]["toy_0"]["code"] == "data"

    at_front(tmp_path, scene, one_fails)
