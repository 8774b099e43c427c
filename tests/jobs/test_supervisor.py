from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from partyd.dag.spec import JobSpec
from partyd.errors import DataError, JobError, JobRejected, StoreFull
from partyd.governance.contract import PartyTerms
from partyd.jobs.conductor import ERASING
from partyd.jobs.control import KINDS, JobAnswer, JobOffer, StopRequest, TaskReport
from partyd.jobs.intake import MAX_PARKED
from partyd.jobs.record import JobStatus, TaskStatus
from partyd.jobs.workers import Exit
from partyd.types import Address, MessageId
from tests.federation.offices import GUEST, HOST, run_fast, until
from tests.jobs.desks import (
    OTHER,
    STRANGER,
    Desk,
    FullDisk,
    agree,
    begin,
    desk,
    end,
    offer,
    on_desk,
    spec,
    start,
    values_of,
)

# -- what peers send


@pytest.mark.parametrize("number", range(4))
def test_no_control_message_of_anybody_raises_or_changes_what_is_not_his(tmp_path: Path, number: int) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_, "job1")
        desk_.is_signed = False
        before = await desk_.supervisor.record("job1")
        chance = random.Random(number)
        for turn in range(250):
            source = chance.choice([STRANGER, Address.parse("1/guest")])
            name = chance.choice(list(KINDS))
            job = chance.choice(["job1", f"job-{turn}", "..", "", "a/b"])
            if chance.random() < 0.4:
                await desk_.bring_bytes(source, job, name, chance.randbytes(chance.randrange(300)), f"s{turn}")
            else:
                await desk_.bring(source, job, values_of(chance, KINDS[name]), f"s{turn}")
        await asyncio.sleep(5)
        assert await desk_.supervisor.record("job1") == before
        records = await desk_.supervisor.records(1000)
        assert {record.job for record in records} == {"job1"}

    on_desk(tmp_path, work)


@pytest.mark.parametrize("number", range(4))
def test_no_control_message_of_a_party_of_the_job_raises(tmp_path: Path, number: int) -> None:
    async def work(desk_: Desk) -> None:
        chance = random.Random(number)
        for turn in range(200):
            job = f"job{turn % 20}"
            source = chance.choice([GUEST, OTHER])
            name = chance.choice(list(KINDS))
            if chance.random() < 0.2:
                await desk_.bring_bytes(source, job, name, chance.randbytes(chance.randrange(300)), f"s{turn}")
            elif chance.random() < 0.3:
                await desk_.bring(GUEST, job, offer(), f"s{turn}")
            else:
                await desk_.bring(source, job, values_of(chance, KINDS[name]), f"s{turn}")
        await asyncio.sleep(5)
        for record in await desk_.supervisor.records(1000):
            assert record.initiator in (GUEST, OTHER)

    on_desk(tmp_path, work)


def test_an_unsigned_or_foreign_end_ends_nothing(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        desk_.is_signed = False
        await desk_.bring(GUEST, "job1", end(), "unsigned")
        await desk_.all_consumed()
        desk_.is_signed = True
        await desk_.bring(OTHER, "job1", end(), "not the initiator")
        await desk_.bring(GUEST, "job1", end("running"), "no end")
        await desk_.bring(GUEST, "job1", end("nonsense"), "no state")
        await desk_.bring(GUEST, "job1", end(party="nobody"), "no address")
        await desk_.bring(GUEST, "job1", end(cause="z" * 10_000), "too long")
        await desk_.all_consumed()
        assert (await desk_.supervisor.record("job1")).status is JobStatus.RUNNING
        await desk_.bring(GUEST, "job1", end(), "good")
        await desk_.all_consumed()
        assert (await desk_.supervisor.record("job1")).status is JobStatus.FAILED

    on_desk(tmp_path, work)


def test_a_second_offer_of_a_job_changes_nothing(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        before = await desk_.supervisor.record("job1")
        await desk_.bring(OTHER, "job1", offer(spec(GUEST, HOST, OTHER, tasks=1)), "other")
        await desk_.bring(GUEST, "job1", offer(), "again")
        await desk_.all_consumed()
        assert await desk_.supervisor.record("job1") == before

    on_desk(tmp_path, work)


@pytest.mark.parametrize(
    "broken",
    [
        b"", b"{}", b"\xff", b"[" * 100_000, b'{"dag": null}', b'{"dag":{"parties":[],"tasks":{}}}',
        offer().spec.replace(b"toy_0", b"../../x"), offer().spec.replace(b'"toy_0"', b'""'),
        offer().spec.replace(b"toy_example", b"os.system"),
    ],
)  # fmt: skip
def test_an_offer_that_is_no_job_is_refused(tmp_path: Path, broken: bytes) -> None:
    async def work(desk_: Desk) -> None:
        await desk_.bring(GUEST, "job1", JobOffer(spec=broken, created_at=1.0))
        await desk_.all_consumed()
        await asyncio.sleep(1)
        states = [record.status for record in await desk_.supervisor.records()]
        assert states in ([], [JobStatus.FAILED])
        assert "JobAnswer" in await desk_.sent(GUEST)
        assert desk_.runner.started == []

    on_desk(tmp_path, work)


def test_an_offer_of_a_megabyte_is_read_and_the_loop_goes_on(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        document = spec(tasks=400).model_dump(mode="json")
        document["dag"]["tasks"]["toy_0"]["conf"] = {"engine_run": {"note": "x" * 900_000}}
        big = JobSpec.model_validate(document)
        await begin(desk_, "job1", big)
        assert desk_.runner.started == [("job1", "toy_0")]

    on_desk(tmp_path, work)


def test_messages_that_overtook_their_offer_wait_for_it_and_one_peer_cannot_crowd_out_another(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        for turn in range(MAX_PARKED + 50):
            await desk_.bring(OTHER, f"flood{turn}", TaskReport(task="t", status="running", code="", cause=""), "r")
        await desk_.bring(GUEST, "job1", end(), "early")
        await asyncio.sleep(2)
        assert sum(map(len, desk_.supervisor._intake.parked.values())) == MAX_PARKED + 1
        await desk_.bring(GUEST, "job1", offer(), "late")
        await until(lambda: desk_.runner.forgotten == ["job1"])
        assert (await desk_.supervisor.record("job1")).status is JobStatus.FAILED

    on_desk(tmp_path, work)


def test_only_messages_of_open_jobs_and_of_their_parties_are_admitted(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)

        def admitted(source: Address, job: str = "job1", task: str = "toy_0", kind: str = "Share") -> bool:
            return desk_.supervisor.admit(MessageId(job, task, 0, "s", kind, source, HOST))

        assert admitted(GUEST)
        assert not admitted(STRANGER)
        assert not admitted(GUEST, job="job2")
        assert not admitted(GUEST, task="toy_9")
        assert admitted(GUEST, "job2", "", "JobOffer")
        for job in ("", "..", "a.b", "a/b", "x" * 65, "-a"):
            assert not admitted(GUEST, job, "", "JobOffer")
        assert not admitted(GUEST, "job2", "", "Anything")
        await desk_.bring(GUEST, "job1", end())
        await until(lambda: desk_.runner.forgotten == ["job1"])
        assert not admitted(GUEST)
        assert admitted(GUEST, "job1", "", "JobOffer")

    on_desk(tmp_path, work)


# -- a disk that is full


def test_control_messages_are_applied_when_the_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk_: Desk) -> None:
        import hashlib

        body = offer().to_bytes()
        message = MessageId("job1", "", 0, "x", "JobOffer", GUEST, HOST)
        await desk_.store.write(lambda store: store.accept(message, hashlib.sha256(body).digest(), body))
        full = FullDisk(desk_.store, monkeypatch, 3)
        desk_.supervisor.control(message, body)
        await desk_.all_consumed()
        assert full.refused == 3
        assert await desk_.sent(GUEST) == ["JobAnswer", "AuditHead"]

    on_desk(tmp_path, work)


@pytest.mark.parametrize(
    "result", [Exit("done"), Exit("failed", "data", "no table"), DataError("no"), OSError(28, "x"), KeyError("gone")]
)
def test_a_tasks_result_survives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, result: Exit | Exception
) -> None:
    async def work(desk_: Desk) -> None:
        desk_.runner.results["toy_0"] = result
        await agree(desk_)
        brought = await desk_.bring(GUEST, "job1", start(), "start")
        full = FullDisk(desk_.store, monkeypatch, 4)
        await desk_.all_consumed()
        wanted = TaskStatus.SUCCESS if result == Exit("done") else TaskStatus.FAILED
        while (await desk_.supervisor.record("job1")).tasks["toy_0"].status is not wanted:
            await asyncio.sleep(0.2)
        assert full.refused == 4
        assert brought.job == "job1"

    on_desk(tmp_path, work)


def test_the_end_of_a_job_is_vital_and_its_secrets_go_when_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(desk_: Desk) -> None:
        job = await desk_.supervisor.submit(spec(GUEST, HOST).model_dump(mode="json"))
        await desk_.store.write(lambda store: store.begin_attempt(job, "toy_0", 0, b"s" * 32, b"p"))
        full = FullDisk(desk_.store, monkeypatch, 3, passes_vital=True)
        await desk_.supervisor.stop(job)
        assert full.vital == 1
        assert (await desk_.supervisor.record(job)).status is JobStatus.CANCELED
        await until(lambda: job in desk_.conductor.ended and full.refused == 3)
        while await desk_.store.read(lambda store: store.documents(ERASING)):
            await asyncio.sleep(0.2)
        attempt = await desk_.store.read(lambda store: store.attempt(job, "toy_0"))
        assert attempt is not None
        assert attempt.seed == b""

    on_desk(tmp_path, work, GUEST)


def test_a_job_that_cannot_be_stored_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(desk_: Desk) -> None:
        document = spec(GUEST, HOST).model_dump(mode="json")
        FullDisk(desk_.store, monkeypatch, 1)
        with pytest.raises(StoreFull):
            await desk_.supervisor.submit(document)
        assert await desk_.supervisor.records() == []
        assert desk_.supervisor.counts()["waiting"] == 0
        assert await desk_.supervisor.submit(document)

    on_desk(tmp_path, work, GUEST)


def test_a_full_disk_refuses_jobs_and_offers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(desk_: Desk) -> None:
        monkeypatch.setattr(desk_.store, "is_low", lambda: True)
        with pytest.raises(StoreFull, match="free some space"):
            await desk_.supervisor.submit(spec(HOST, GUEST).model_dump(mode="json"))
        await desk_.bring(GUEST, "job1", offer())
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert record.reason is not None
        assert (record.status, record.reason.code) == (JobStatus.FAILED, "store_full")

    on_desk(tmp_path, work)


# -- the life of a job


def test_unread_mail_of_an_ended_job_is_dropped_and_the_window_opens(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        import hashlib

        await begin(desk_)
        unread = MessageId("job1", "toy_0", 0, "s", "Share", GUEST, HOST)
        await desk_.store.write(lambda store: store.accept(unread, hashlib.sha256(b"x" * 9).digest(), b"x" * 9))
        assert await desk_.store.read(lambda store: store.inbox_bytes(GUEST)) == 9
        await desk_.bring(GUEST, "job1", end())
        await desk_.all_consumed()
        while await desk_.store.read(lambda store: store.inbox_bytes(GUEST)):
            await asyncio.sleep(0.1)
        assert desk_.office._inbox_bytes.get(GUEST, 0) == 0

    on_desk(tmp_path, work)


def test_a_later_life_goes_on_with_open_jobs_and_erases_what_was_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with desk(tmp_path) as first:
            await begin(first)
            await first.store.write(lambda store: store.put_document(ERASING, "old", b""))
            await first.store.write(lambda store: store.begin_attempt("old", "t", 0, b"s" * 32, b"p"))
        async with desk(tmp_path) as second:
            await until(lambda: second.runner.started == [("job1", "toy_0")])
            attempt = await second.store.read(lambda store: store.attempt("old", "t"))
            assert attempt is not None
            assert attempt.seed == b""

    run_fast(scenario)


def test_a_job_of_a_version_that_cannot_be_read_does_not_stop_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with desk(tmp_path) as first:
            await first.store.write(lambda store: store.save_job("strange", "running", b"{}"))
        async with desk(tmp_path) as second:
            await second.bring(GUEST, "strange", end())
            await second.bring(GUEST, "strange", offer(), "offer")
            await begin(second)
            assert [record.job for record in await second.supervisor.records()] == ["job1"]
            with pytest.raises(JobError, match="another version"):
                await second.supervisor.record("strange")

    run_fast(scenario)


def test_everybody_who_waits_hears_of_every_change(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        waiting = [asyncio.create_task(desk_.supervisor.changed()) for _ in range(20)]
        await asyncio.sleep(0)
        await desk_.bring(GUEST, "job1", offer())
        await asyncio.wait(waiting)
        assert all(task.done() and task.exception() is None for task in waiting)

    on_desk(tmp_path, work)


def test_a_party_that_wants_to_stop_asks_the_initiator(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.supervisor.stop("job1")
        assert (await desk_.sent(GUEST))[-1] == "StopRequest"
        assert (await desk_.supervisor.record("job1")).status is JobStatus.RUNNING

    on_desk(tmp_path, work)


def test_the_initiator_decides_when_it_is_asked_to_stop(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        job = await desk_.supervisor.submit(spec(GUEST, HOST).model_dump(mode="json"))
        await desk_.bring(HOST, job, JobAnswer(accepted=True, terms=PartyTerms().to_bytes()))
        await desk_.bring(HOST, job, StopRequest(code="canceled", cause="enough"), "stop")
        await desk_.all_consumed()
        record = await desk_.supervisor.record(job)
        assert record.reason is not None
        assert (record.status, record.reason.cause, record.reason.party) == (JobStatus.CANCELED, "enough", HOST)

    on_desk(tmp_path, work, GUEST)


def test_a_job_without_this_party_is_refused_here(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        with pytest.raises(JobRejected, match="not among the parties"):
            await desk_.supervisor.submit(spec(GUEST, OTHER).model_dump(mode="json"))

    on_desk(tmp_path, work)
