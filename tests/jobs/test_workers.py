from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from partyd import errors
from partyd.components import COMPONENTS
from partyd.components.base import Component, TaskContext
from partyd.dag.spec import read_dag
from partyd.federation import costs
from partyd.jobs import worker
from partyd.jobs.order import WorkOrder
from partyd.jobs.pipe import PREFIX, Pipe
from partyd.jobs.record import JobRecord
from partyd.jobs.schedule import first_tasks
from partyd.jobs.tasks import DEATHS_ALLOWED, TaskRunner
from partyd.jobs.worker import pin_of_order, work
from partyd.jobs.workers import Exit, Workers, _exit
from partyd.layout import Layout
from partyd.types import Address
from tests.federation.offices import GUEST, HOST, Site, Wire, run_fast, two_sites

TASK = "toy_0"


def record(me: Address, job: str = "job1") -> JobRecord:
    dag = {
        "parties": [{"role": a.role.label, "party_id": [a.party_id]} for a in (GUEST, HOST)],
        "tasks": {TASK: {"component_ref": "toy_example"}},
    }
    spec = read_dag({"dag": dag}, COMPONENTS)
    bare = JobRecord(job=job, me=me, initiator=GUEST, spec=spec, tasks={}, created_at=1.0)
    return bare.change(tasks=first_tasks(bare, COMPONENTS))


def runner_of(site: Site, workers: Workers, folder: Path) -> TaskRunner:
    return TaskRunner(site.office, site.store, workers, Layout(folder / site.me.role.label), COMPONENTS)


@contextlib.asynccontextmanager
async def two_runners(folder: Path) -> AsyncIterator[tuple[TaskRunner, TaskRunner, Workers]]:
    workers = Workers()
    async with two_sites(folder, Wire(random.Random(1))) as (guest, host):
        try:
            yield runner_of(guest, workers, folder), runner_of(host, workers, folder), workers
        finally:
            await workers.stop()


async def next_worker(workers: Workers, *known: int) -> int:
    """Wait for a worker other than those known."""
    while not (found := workers._running - set(known)):
        await asyncio.sleep(0.1)
    return found.pop()


async def gone(pid: int) -> None:
    """Wait until a process has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(handle, ended.set)
    await ended.wait()
    asyncio.get_running_loop().remove_reader(handle)
    os.close(handle)


def lines(runner: TaskRunner, job: str = "job1") -> str:
    return "\n".join(line["message"] for line in runner.diary(job, TASK).lines())


def test_a_killed_worker_is_followed_by_one_that_ends_the_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, host, workers):
            running = asyncio.create_task(guest.run(record(GUEST), TASK))
            os.kill(await next_worker(workers), signal.SIGKILL)
            results = await asyncio.gather(running, host.run(record(HOST), TASK))
            assert [result.verdict for result in results] == ["done", "done"]
            assert "it is 2000.0" in lines(guest)
            assert "another one goes on" in lines(guest)
            assert workers.count == 0

    run_fast(scenario)


def test_a_worker_tells_what_its_task_took(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, host, _):
            result, other = await asyncio.gather(guest.run(record(GUEST), TASK), host.run(record(HOST), TASK))
            assert set(result.costs) == costs.NAMES
            assert result.costs["sent_bytes"] == other.costs["received_bytes"] > 0
            assert sum(result.costs[name] for name in costs.NAMES if name.endswith("_s")) > 0

    run_fast(scenario)


@pytest.mark.parametrize("told", [{"wait_s": 1}, {"wait_s": "1"}, {"other_s": 1.0}, {1: 1.0}, [], None])
def test_other_costs_than_a_tasks_are_refused(told: object) -> None:
    with pytest.raises(errors.LocalProtocolError):
        _exit("done", [0.1, 100, 1.0, 2.0, told])
    assert _exit("done", [0.1, 100, 1.0, 2.0, {"wait_s": 1.5}]).costs == {"wait_s": 1.5}


def test_a_worker_that_dies_again_and_again_without_progress_fails_the_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, _, workers):
            running = asyncio.create_task(guest.run(record(GUEST), TASK))
            pid = 0
            for _ in range(DEATHS_ALLOWED + 1):
                pid = await next_worker(workers, pid)
                os.kill(pid, signal.SIGKILL)
                await gone(pid)
            result = await running
            assert (result.verdict, result.code) == ("failed", "worker_died")
            assert f"died {DEATHS_ALLOWED + 1} times" in result.cause

    run_fast(scenario)


def test_a_killed_fork_server_costs_its_workers_a_restart_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, host, workers):
            running = asyncio.create_task(guest.run(record(GUEST), TASK))
            await next_worker(workers)
            assert workers._process is not None
            workers._process.kill()
            results = await asyncio.gather(running, host.run(record(HOST), TASK))
            assert [result.verdict for result in results] == ["done", "done"]

    run_fast(scenario)


def test_cancelling_a_task_kills_its_worker(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, _, workers):
            running = asyncio.create_task(guest.run(record(GUEST), TASK))
            pid = await next_worker(workers)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()
            await gone(pid)
            assert workers.count == 0

    run_fast(scenario)


def test_a_task_cancelled_while_its_worker_starts_does_not_mix_up_the_next_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, host, workers):
            await workers.start()
            for turns in range(12):
                cut_short = asyncio.create_task(guest.run(record(GUEST, f"job{turns}"), TASK))
                for _ in range(turns):
                    await asyncio.sleep(0)
                cut_short.cancel()
                await asyncio.wait([cut_short])
            results = await asyncio.gather(guest.run(record(GUEST), TASK), host.run(record(HOST), TASK))
            assert [result.verdict for result in results] == ["done", "done"]
            assert workers.count == 0

    run_fast(scenario)


def test_a_worker_ends_when_the_daemon_is_gone(tmp_path: Path) -> None:
    async def scenario() -> None:
        workers = Workers()
        pid, sock = await workers._spawn()
        pipe = await Pipe.open(sock)
        await pipe.write(order(tmp_path).model_dump_json())
        assert (await pipe.read() or [None])[0] == "begin"
        pipe.close()
        await gone(pid)
        assert workers._process is not None
        assert workers._process.poll() is None
        await workers.stop()

    run_fast(scenario)


def order(folder: Path, **changes: Any) -> WorkOrder:
    values: dict[str, Any] = {
        "job": "job1", "task": TASK, "attempt": 0, "component": "toy_example", "parameters": {}, "me": GUEST,
        "parties": (GUEST, HOST), "inputs": {}, "outputs": str(folder / "out"),
    }  # fmt: skip
    return WorkOrder(**{**values, **changes})


def test_an_order_may_be_as_long_as_a_job_may_be(tmp_path: Path) -> None:
    async def scenario() -> None:
        workers = Workers()

        async def refuse(_name: str, _values: list[Any]) -> Any:
            return [b"s" * 32, None] if _name == "begin" else None

        result = await workers.run(order(tmp_path, parameters={"data_num": 1, "x": "y" * 900_000}), refuse)
        assert (result.verdict, result.code) == ("failed", "internal")
        assert "ValidationError" in result.cause
        await workers.stop()

    run_fast(scenario)


async def converse(order_: WorkOrder, handler: Any) -> Exit:
    """Run a worker in this process, and the daemon's side of it."""
    ours, theirs = socket.socketpair()

    async def child() -> None:
        pipe = await Pipe.open(theirs)
        told = await pipe.read()
        assert told is not None
        with contextlib.suppress(Exception, BaseExceptionGroup):
            await work(WorkOrder.model_validate_json(told[0]), pipe)
        pipe.close()

    working = asyncio.create_task(child())
    pipe = await Pipe.open(ours)
    result = await Workers()._converse(pipe, order_, handler)
    pipe.close()
    await working
    return result


def kinds_of_errors() -> list[type[Exception]]:
    kinds: list[type[Exception]] = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PartydError)
    ]
    return [*kinds, ValueError, ZeroDivisionError, KeyError, OSError, MemoryError, AssertionError, TypeError]


@pytest.mark.parametrize("kind", kinds_of_errors())
def test_what_a_component_raises_reaches_the_daemon_as_code_and_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    async def fail(_context: TaskContext) -> None:
        raise kind("the reason")

    async def answer(name: str, _values: list[Any]) -> Any:
        return [b"s" * 32, None] if name == "begin" else None

    broken: Component = replace(COMPONENTS["toy_example"], run=fail)
    monkeypatch.setattr(worker, "COMPONENTS", {"toy_example": broken})
    result = asyncio.run(converse(order(tmp_path), answer))
    assert result.verdict == "failed"
    assert result.code == getattr(kind, "code", "internal")
    assert "the reason" in result.cause


@pytest.mark.parametrize("kind", [errors.StoreFull, errors.StoreError, errors.LocalProtocolError])
def test_what_the_daemon_refuses_ends_the_task_with_the_daemons_code(tmp_path: Path, kind: type[Exception]) -> None:
    async def refuse(name: str, _values: list[Any]) -> Any:
        if name == "begin":
            raise kind("not now")
        return None

    result = asyncio.run(converse(order(tmp_path), refuse))
    assert (result.verdict, result.code, result.cause) == ("failed", kind.code, "not now")  # type: ignore[attr-defined]


def test_another_pin_refuses_to_resume_and_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, _, _):
            await guest.store.write(lambda store: store.begin_attempt("job1", TASK, 0, b"s" * 32, b"another pin"))
            result = await guest.run(record(GUEST), TASK)
            assert (result.verdict, result.code) == ("failed", "store")
            assert "was started with other code, parameters or data" in result.cause

    run_fast(scenario)


def test_the_pin_changes_with_inputs_parameters_and_parties(tmp_path: Path) -> None:
    table = tmp_path / "table"
    table.mkdir()
    (table / "ids.npy").write_bytes(b"1")
    model = tmp_path / "model.json"
    model.write_text("{}")
    base = order(tmp_path, inputs={"data": (str(table),), "model": (str(tmp_path / "model"),)})
    pins = [pin_of_order(base), pin_of_order(base.model_copy(update={"parameters": {"data_num": 7}}))]
    pins.append(pin_of_order(base.model_copy(update={"parties": (GUEST,)})))
    (table / "ids.npy").write_bytes(b"2")
    pins.append(pin_of_order(base))
    model.write_text('{"a": 1}')
    pins.append(pin_of_order(base))
    assert len(set(pins)) == len(pins)
    assert pin_of_order(base.model_copy(update={"outputs": "elsewhere"})) == pins[-1]


CALLS = ["begin", "send", "receive", "save", "progress", "metric", "log", "done", "failed", "", "x"]
VALUES: list[Any] = [
    None, True, 0, -1, 2**63, 1.5, float("nan"), "", "9999/host", "nobody", "..", "x" * 5000, b"", b"\0" * 100, [],
    [[1]], [["s", "k", "9999/host"]], {}, {"a": 1},
]  # fmt: skip


def garbage(chance: random.Random) -> bytes:
    """Return one frame of a mad worker: from pure noise to a call with values of other types."""
    style = chance.randrange(4)
    if style == 0:
        return chance.randbytes(chance.randrange(60))
    if style == 1:
        noise = chance.randbytes(chance.randrange(1, 60))
        return PREFIX.pack(len(noise)) + noise
    frame: list[Any] = [chance.choice(CALLS), chance.randrange(4)] if style == 2 else [chance.choice(VALUES)]
    frame += [chance.choice(VALUES) for _ in range(chance.randrange(6))]
    packed = msgpack.packb(frame)
    return PREFIX.pack(len(packed)) + packed


@pytest.mark.parametrize("number", range(4))
def test_garbage_on_the_pipe_ends_the_task_and_never_the_daemon(tmp_path: Path, number: int) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, _, _):
            chance = random.Random(number)
            for turn in range(100):
                ours, theirs = socket.socketpair()
                theirs.setblocking(False)
                theirs.sendall(b"".join(garbage(chance) for _ in range(chance.randrange(1, 6))))
                theirs.shutdown(socket.SHUT_WR)
                pipe = await Pipe.open(ours)
                result = await Workers()._converse(pipe, order(tmp_path), handler(guest, f"job{turn}"))
                assert result.verdict in ("done", "failed", "died")
                pipe.close()
                theirs.close()

    run_fast(scenario)


def handler(runner: TaskRunner, job: str) -> Any:
    from partyd.jobs.tasks import TaskRun, _Handler

    return _Handler(runner, TaskRun(record(GUEST, job), TASK, runner.diary(job, TASK)))


def test_a_diary_on_a_full_disk_fails_no_task(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_runners(tmp_path) as (guest, host, _):
            blocked = guest.folder("job1", TASK)
            blocked.parent.mkdir(parents=True)
            diary = guest.diary("job1", TASK)
            blocked.write_text("a file where a directory should be")
            diary.log("INFO", "lost")
            diary.metric("loss", 1, 0.5)
            assert (diary.lines(), diary.metrics()) == ([], {})
            blocked.unlink()
            results = await asyncio.gather(guest.run(record(GUEST), TASK), host.run(record(HOST), TASK))
            assert [result.verdict for result in results] == ["done", "done"]

    run_fast(scenario)
