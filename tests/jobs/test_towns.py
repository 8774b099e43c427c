"""Jobs of two whole parties with real workers: their stores, sessions and processes, no broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from partyd.jobs.record import JobRecord, JobStatus, TaskStatus
from partyd.jobs.workers import Workers
from partyd.node import Node
from tests.nodes import BANK, SHOP, TOY, Town, town


@contextlib.asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[Town, Node, Node]]:
    workers = Workers()
    try:
        async with town(folder, workers=workers) as place:
            yield place, place.nodes[BANK], place.nodes[SHOP]
    finally:
        await workers.stop()


async def over(node: Node, job: str, run: int = 0) -> JobRecord:
    """Wait for a job's end at a party."""
    async with asyncio.timeout(60):
        while job not in {r.job for r in await node.supervisor.records()}:
            await node.supervisor.changed()
        while not (record := await node.supervisor.record(job)).is_ended or record.run < run:
            await node.supervisor.changed()
        while job in node.supervisor._conductor.live:
            await node.supervisor.changed()
    return record


def job_of(conf: Mapping[str, object], **tasks: object) -> dict[str, object]:
    return {"dag": {**TOY["dag"], "conf": conf, "tasks": tasks}}


MISSING = {"component_ref": "reader", "parameters": {"namespace": "no", "name": "where"}, "parties": [
    {"role": "host", "party_id": ["9999"]}
]}  # fmt: skip
AFTER = {"component_ref": "toy_example", "dependent_tasks": ["toy_0"]}


def test_a_job_runs_and_is_run_again_and_both_keep_the_same_signed_contract(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path) as (_, bank, shop):
            job = await bank.supervisor.submit(job_of({}, toy_0={"component_ref": "toy_example"}, toy_1=AFTER))
            for node in (bank, shop):
                assert (await over(node, job)).status is JobStatus.SUCCESS
            assert await bank.supervisor.contract(job) == await shop.supervisor.contract(job)
            log = bank.runner.diary(job, "toy_1").lines()
            await bank.supervisor.rerun(job, ["toy_1"])
            for node in (bank, shop):
                record = await over(node, job, 1)
                assert (record.status, record.tasks["toy_0"].version) == (JobStatus.SUCCESS, 0)
                assert record.tasks["toy_1"].version == 1
            assert len(bank.runner.diary(job, "toy_1").lines()) == 2 * len(log)
            seeds = [await node.store.read(lambda store: store.attempt(job, "toy_1")) for node in (bank, shop)]
            assert [row.attempt for row in seeds if row is not None] == [1, 1]
            for node in (bank, shop):
                assert await node.store.read(lambda store: store.verify_events()) > 0
                kinds = {e.kind for e in await node.store.read(lambda store: store.events(limit=1000))}
                assert {"job_accepted", "contract_signed", "job_started", "job_ended", "head_countersigned"} <= kinds

    asyncio.run(scenario())


def test_a_failing_task_is_tried_again_at_both_and_then_ends_the_job_with_its_reason(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path) as (_, bank, shop):
            toy = {"component_ref": "toy_example"}
            job = await bank.supervisor.submit(job_of({"auto_retries": 1}, toy_0=toy, missing=MISSING))
            ends = [await over(node, job) for node in (bank, shop)]
            assert {end.status for end in ends} == {JobStatus.FAILED}
            assert ends[0].reason == ends[1].reason
            assert ends[0].reason is not None
            assert (ends[0].reason.party, ends[0].reason.task, ends[0].reason.code) == (SHOP, "missing", "data")
            assert [end.tasks["missing"].version for end in ends] == [1, 1]
            why = await bank.supervisor.why(job)
            assert (why.party, why.task) == (str(SHOP), "missing")
            assert "9999/host" in why.mend

    asyncio.run(scenario())


def test_a_time_out_of_the_job_ends_it_at_both(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path) as (_, bank, shop):
            slow = {"component_ref": "toy_example", "parameters": {"data_num": 1_000_000}}
            tasks = {f"toy_{i}": {**slow, "dependent_tasks": [f"toy_{i - 1}"] if i else []} for i in range(40)}
            job = await bank.supervisor.submit(job_of({"timeout": 1}, **tasks))
            ends = [await over(node, job) for node in (bank, shop)]
            assert {end.status for end in ends} == {JobStatus.TIMEOUT}
            assert ends[0].reason == ends[1].reason
            assert bank.runner.workers.count == 0

    asyncio.run(scenario())


def test_parallel_branches_run_side_by_side_and_an_heir_takes_them_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path) as (_, bank, shop):
            toy = {"component_ref": "toy_example"}
            first = await bank.supervisor.submit(job_of({}, toy_0=toy, toy_1=toy, toy_2=AFTER))
            for node in (bank, shop):
                assert (await over(node, first)).status is JobStatus.SUCCESS
            conf = {"inheritance": {"job_id": first, "task_list": ["toy_0", "toy_1"]}}
            second = await bank.supervisor.submit(job_of(conf, toy_0=toy, toy_1=toy, toy_2=AFTER))
            for node in (bank, shop):
                record = await over(node, second)
                assert record.status is JobStatus.SUCCESS
                assert record.tasks["toy_0"].cause == f"taken over from job {first}"
                assert record.tasks["toy_2"].status is TaskStatus.SUCCESS
                assert await node.store.read(lambda store: store.attempt(second, "toy_0")) is None

    asyncio.run(scenario())


def test_a_daemon_that_was_away_finds_its_parked_cores_and_tasks_again(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with at_work(tmp_path) as (place, bank, _):
            tasks = {f"toy_{i}": {"component_ref": "toy_example", "dependent_tasks": [f"toy_{i - 1}"] if i else []}
                     for i in range(6)}  # fmt: skip
            job = await bank.supervisor.submit(job_of({}, **tasks))
            await place.stop(SHOP)
            shop = await place.start(SHOP)
            assert (await over(bank, job)).status is JobStatus.SUCCESS
            assert (await over(shop, job)).status is JobStatus.SUCCESS
            assert shop.supervisor._conductor._slots.table.free == shop.supervisor._conductor._slots.table.total

    asyncio.run(scenario())
