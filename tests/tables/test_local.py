"""Local jobs: progress, ends, stopping, restarts; nothing half written stays."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from partyd.config import DataSettings
from partyd.data.formats import Format
from partyd.data.orders import Kept, Order
from partyd.errors import DataError, JobError, StoreFull
from partyd.layout import Layout
from partyd.store import Store
from partyd.store.space import SpaceLimits
from partyd.tables import local, reading
from partyd.tables.catalog import Catalog, TableRecord
from partyd.tables.local import (
    ENDS,
    INTERRUPTED,
    LOCAL_JOBS,
    TRANSITIONS,
    Download,
    LocalJob,
    LocalJobs,
    LocalStatus,
    Transform,
    Upload,
)
from partyd.tables.reading import Progress
from partyd.tables.sources import Sources
from partyd.types import GUEST, Address

BANK = Address("10000", GUEST)
Work = Callable[[LocalJobs, Catalog, Store], Awaitable[None]]


def on_jobs(folder: Path, work: Work, *, at_once: int = 2, runs: bool = True) -> None:
    async def scenario() -> None:
        layout = Layout(folder / "state")
        store = Store.open(layout.store_dir(GUEST), limits=SpaceLimits(reserve_bytes=0, low_bytes=0))
        catalog = Catalog(layout, GUEST, store, Sources(layout, DataSettings(), is_standalone=True))
        jobs = LocalJobs({BANK: catalog}, {BANK: store}, at_once)
        await jobs.recover()
        running = asyncio.create_task(jobs.run()) if runs else None
        await asyncio.sleep(0)
        try:
            await work(jobs, catalog, store)
        finally:
            if running is not None:
                running.cancel()
                await asyncio.wait([running])
            await store.close()

    asyncio.run(scenario())


def record(name: str = "t") -> TableRecord:
    return TableRecord(namespace="n", name=name, created_at=1)


def upload(file: Path, text: str = "id,a\nu,1\nv,2\n", name: str = "t") -> Upload:
    file.write_text(text)
    return Upload(record(name), Format(), str(file), is_received=True, shown_as="the file")


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in (folder / "state").rglob("*.partial*")]


def test_an_upload_ends_well_and_is_remembered(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        job = await jobs.start(BANK, upload(tmp_path / "t.csv"), "owner")
        assert job.component == "upload"
        ended = await jobs.wait(job.job_id)
        assert (ended.status, ended.progress, ended.rows, ended.reason) == (LocalStatus.SUCCESS, 1.0, 2, "")
        assert ended.ended_at is not None
        found = await catalog.find("n", "t")
        assert (found.count, found.job) == (2, job.job_id)
        assert await jobs.find(job.job_id) == ended
        assert await jobs.listing() == [ended]
        assert not (tmp_path / "t.csv").exists()
        assert leftovers(tmp_path) == []
        assert await jobs.stop(job.job_id) == ended

    on_jobs(tmp_path, work)


def test_a_file_that_cannot_be_read_ends_with_the_reason(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        job = await jobs.start(BANK, upload(tmp_path / "t.csv", "id,a\nu,x\n"))
        ended = await jobs.wait(job.job_id)
        assert (ended.status, ended.code) == (LocalStatus.FAILED, "data")
        assert "the file: line 2: a holds 'x'" in ended.reason
        assert await catalog.records() == []
        assert leftovers(tmp_path) == []

    on_jobs(tmp_path, work)


def test_a_running_job_shows_its_progress_and_can_be_stopped(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.csv")
    started = asyncio.Event()

    async def endless(order: Order, tell: reading.Tell) -> Kept:
        order.folder.mkdir(parents=True)
        (order.folder / "ids.npy").write_bytes(b"half")
        tell(Progress(50, 200, 7))
        started.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "read", endless)
            first = await jobs.start(BANK, upload(tmp_path / "t.csv"))
            second = await jobs.start(BANK, upload(tmp_path / "u.csv"))
            await started.wait()
            running = await jobs.find(first.job_id)
            assert running is not None
            assert (running.status, running.progress, running.rows) == (LocalStatus.RUNNING, 0.25, 7)
            waiting = await jobs.find(second.job_id)
            assert waiting is not None
            assert waiting.status is LocalStatus.WAITING
            for job in (second, first):
                assert (await jobs.stop(job.job_id)).status is LocalStatus.CANCELED
        assert leftovers(tmp_path) == []
        assert not (tmp_path / "t.csv").exists()
        assert not (tmp_path / "u.csv").exists()
        assert await catalog.records() == []

    on_jobs(tmp_path, work, at_once=1)


def test_stopping_ends_the_real_process(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.csv")

    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        job = await jobs.start(BANK, Upload(record(), Format(input_format="dense"), str(tmp_path / "endless.csv")))
        writer = await asyncio.to_thread(os.open, tmp_path / "endless.csv", os.O_WRONLY)  # the process has opened it
        assert (await jobs.stop(job.job_id)).status is LocalStatus.CANCELED
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"id,a\n")
        os.close(writer)
        assert leftovers(tmp_path) == []

    on_jobs(tmp_path, work)


def test_a_restart_ends_what_was_under_way(tmp_path: Path) -> None:
    async def before(_: LocalJobs, catalog: Catalog, store: Store) -> None:
        job = LocalJob(job_id="1", component="upload", address="10000/guest", namespace="n", name="t", created_at=1)
        for number, status in (("1", LocalStatus.RUNNING), ("2", LocalStatus.WAITING), ("3", LocalStatus.SUCCESS)):
            packed = job.model_copy(update={"job_id": number, "status": status}).model_dump_json().encode()
            await store.write(lambda writer, key=number, value=packed: writer.put_document(LOCAL_JOBS, key, value))
        catalog.new_folder().mkdir(parents=True)

    async def after(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        found = {job.job_id: (job.status, job.reason) for job in await jobs.listing()}
        assert found["1"] == found["2"] == (LocalStatus.FAILED, INTERRUPTED)
        assert found["3"] == (LocalStatus.SUCCESS, "")
        assert leftovers(tmp_path) == []

    on_jobs(tmp_path, before)
    on_jobs(tmp_path, after)


def test_a_daemon_that_stops_leaves_the_job_for_the_next_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.csv")
    ids = []

    async def before(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        job = await jobs.start(BANK, Upload(record(), Format(input_format="dense"), str(tmp_path / "endless.csv")))
        os.close(await asyncio.to_thread(os.open, tmp_path / "endless.csv", os.O_RDWR))
        ids.append(job.job_id)

    async def after(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        found = await jobs.find(ids[0])
        assert found is not None
        assert (found.status, found.reason, found.code) == (LocalStatus.FAILED, INTERRUPTED, "interrupted")

    on_jobs(tmp_path, before)
    on_jobs(tmp_path, after)


def test_a_table_gets_another_name(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        for name, drop, status in (
            ("frame", False, LocalStatus.SUCCESS),
            ("frame", False, LocalStatus.FAILED),
            ("frame", True, LocalStatus.SUCCESS),
        ):
            job = await jobs.start(BANK, Transform(record(name), "n", "t", drop=drop))
            assert (await jobs.wait(job.job_id)).status is status
        one, two = await catalog.find("n", "t"), await catalog.find("n", "frame")
        assert (one.digest, one.folder) == (two.digest, two.folder)
        await catalog.delete("n", "t")
        assert (catalog.folder(two) / "schema.json").exists()
        job = await jobs.start(BANK, Transform(record("x"), "n", "gone"))
        assert "no table n/gone" in (await jobs.wait(job.job_id)).reason

    on_jobs(tmp_path, work)


def test_a_table_is_written_as_a_file(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        target = tmp_path / "out.csv"
        job = await jobs.start(BANK, Download(await catalog.find("n", "t"), target))
        assert (await jobs.wait(job.job_id)).status is LocalStatus.SUCCESS
        assert target.read_text() == "id,a\nu,1.0\nv,2.0\n"
        job = await jobs.start(BANK, Download(await catalog.find("n", "t"), tmp_path / "no" / "out.csv"))
        assert "cannot be written" in (await jobs.wait(job.job_id)).reason

    on_jobs(tmp_path, work)


def test_what_is_stored_is_shared_where_one_owner_has_several_parties(tmp_path: Path) -> None:
    told: list[tuple[str, str, bool]] = []

    async def share(namespace: str, name: str, folder: Path, only: object) -> None:
        told.append((namespace, name, (folder / "schema.json").exists()))
        assert only == {}
        if len(told) == 2:
            raise DataError("9999/host did not take the table")

    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        jobs.share = share
        good = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        bad = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        assert [good.status, bad.status] == [LocalStatus.SUCCESS, LocalStatus.FAILED]
        assert told == [("n", "t", True)] * 2

    on_jobs(tmp_path, work)


def test_nothing_starts_while_the_daemon_does_not_run(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        with pytest.raises(JobError, match="ask again in a moment"):
            await jobs.start(BANK, upload(tmp_path / "t.csv"))
        with pytest.raises(JobError, match="no local job"):
            await jobs.wait("nope")
        assert await jobs.find("nope") is None

    on_jobs(tmp_path, work, runs=False)


@pytest.mark.parametrize("status", list(LocalStatus))
def test_illegal_transitions_are_refused(status: LocalStatus) -> None:
    job = LocalJob(job_id="1", component="upload", address="", namespace="n", name="t", status=status, created_at=1)
    for target in LocalStatus:
        if target in TRANSITIONS[status]:
            assert job.moved(target).status is target
        else:
            with pytest.raises(ValueError, match="cannot go from"):
                job.moved(target)
    assert job.is_ended == (status in ENDS)


def test_a_process_that_dies_or_talks_nonsense_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "python"
    for script, words in (("exit 3", "ended with status 3"), ("echo '{}'", "something else")):
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(fake))
        with pytest.raises(DataError, match=words):
            asyncio.run(reading.read(Order(folder=tmp_path / "o")))


def test_a_job_that_nobody_foresaw_to_fail_ends_and_the_others_go_on(tmp_path: Path) -> None:
    async def away(*_: object) -> None:
        raise ValueError("said the sibling")

    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        jobs.share = away
        failed = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        assert (failed.status, failed.code) == (LocalStatus.FAILED, "internal")
        jobs.share = None
        good = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "u.csv", name="u"))).job_id)
        assert good.status is LocalStatus.SUCCESS

    on_jobs(tmp_path, work)


def test_a_full_disk_ends_the_job_and_not_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, store: Store) -> None:
        write = store.write

        async def refused(do: Any, *, is_vital: bool = False) -> Any:
            if not (is_vital and has_reserve):
                raise StoreFull("the disk is full")
            return await write(do)

        for has_reserve in (True, False):  # noqa: B007 - `refused` looks at it
            job = await jobs.start(BANK, upload(tmp_path / "t.csv"))
            monkeypatch.setattr(store, "write", refused)
            ended = await jobs.wait(job.job_id)
            monkeypatch.setattr(store, "write", write)
            assert (ended.status, ended.code) == (LocalStatus.FAILED, "store_full")
        again = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        assert again.status is LocalStatus.SUCCESS
        assert leftovers(tmp_path) == []

    on_jobs(tmp_path, work)


def test_only_the_latest_jobs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_KEPT", 2)
    monkeypatch.setattr(local, "FORGET_EVERY", 1)

    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        made = [(await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)).job_id for _ in range(4)]
        assert [job.job_id for job in await jobs.listing()] == made[:1:-1]

    on_jobs(tmp_path, work)


def test_too_many_waiting_jobs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MAX_WAITING", 1)

    async def work(jobs: LocalJobs, _: Catalog, __: Store) -> None:
        first = await jobs.start(BANK, upload(tmp_path / "t.csv"))
        with pytest.raises(JobError, match="ask again"):
            await jobs.start(BANK, upload(tmp_path / "u.csv", name="u"))
        assert (await jobs.wait(first.job_id)).status is LocalStatus.SUCCESS

    on_jobs(tmp_path, work)


def test_two_downloads_into_one_file_do_not_meet(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv", name="t*"))).job_id)
        stale = tmp_path / ".out.csv.partial"
        stale.write_text("of a daemon that was killed")
        table, target = await catalog.find("n", "t*"), tmp_path / "out.csv"
        both = [await jobs.start(BANK, Download(table, target)) for _ in range(2)]
        assert {(await jobs.wait(job.job_id)).status for job in both} == {LocalStatus.SUCCESS}
        assert target.read_text() == "id,a\nu,1.0\nv,2.0\n"
        assert stale.exists()
        assert leftovers(tmp_path) == []

    on_jobs(tmp_path, work)


def test_a_table_of_an_earlier_version_gets_another_name(tmp_path: Path) -> None:
    async def work(jobs: LocalJobs, catalog: Catalog, _: Store) -> None:
        made = await jobs.wait((await jobs.start(BANK, upload(tmp_path / "t.csv"))).job_id)
        assert made.status is LocalStatus.SUCCESS
        found = await catalog.find("n", "t")
        old = tmp_path / "state" / "tables" / "n" / "old"
        old.parent.mkdir(parents=True)
        catalog.folder(found).rename(old)
        await catalog.put(found.model_copy(update={"name": "old", "folder": ""}), "table_uploaded")
        job = await jobs.wait((await jobs.start(BANK, Transform(record("new"), "n", "old"))).job_id)
        assert job.status is LocalStatus.SUCCESS, job.reason
        assert (catalog.folder(await catalog.find("n", "new")) / "schema.json").is_file()

    on_jobs(tmp_path, work)
