"""What a party's owner does with its jobs: submit twice, approve, run again, clean, note, ask why."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from partyd.errors import JobError, JobRejected
from partyd.governance.contract import PartyTerms, SignedContract
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs.control import (
    ContractSigned,
    JobAnswer,
    JobCleaned,
    JobEnd,
    JobOffer,
    SlotAnswer,
    SlotRequest,
    TaskProgress,
    TaskReport,
)
from partyd.jobs.record import JobStatus, TaskStatus
from partyd.jobs.workers import Exit
from tests.federation.offices import GUEST, HOST, run_fast, until
from tests.jobs.desks import OTHER, SIGNATURE, Desk, agree, begin, desk, draft, end, offer, on_desk, spec, start

PARK = Verdict(VerdictKind.PARK, "approval", "the owner must agree")
NO = Verdict(VerdictKind.REFUSE, "policy_denied", "not with us", "no rule opens it")
TOY = spec(GUEST, HOST).model_dump(mode="json", exclude_defaults=True)


async def lead(desk_: Desk, document: object = TOY) -> str:
    """Submit a job at this guest and bring it to where it runs."""
    job = await desk_.supervisor.submit(document)
    await desk_.bring(HOST, job, JobAnswer(accepted=True, terms=PartyTerms().to_bytes()), "answer")
    while not (await desk_.supervisor.record(job)).contract:
        await asyncio.sleep(0.1)
    await desk_.bring(HOST, job, ContractSigned(signature=SIGNATURE), "signed")
    await desk_.all_consumed()
    await desk_.bring(HOST, job, SlotAnswer(ask=1, granted=True), "slots")
    await desk_.all_consumed()
    assert (await desk_.supervisor.record(job)).status is JobStatus.RUNNING
    return job


async def is_over(desk_: Desk, job: str) -> None:
    while job not in desk_.conductor.ended:
        await asyncio.sleep(0.1)


def test_the_same_request_is_the_same_job_also_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with desk(tmp_path, GUEST) as first:
            jobs = await asyncio.gather(*(first.supervisor.submit(TOY, request_id="r1") for _ in range(5)))
            assert len(set(jobs)) == 1
            assert await first.supervisor.submit(TOY, request_id="r2") != jobs[0]
            assert (await first.supervisor.record(jobs[0])).request_id == "r1"
        async with desk(tmp_path, GUEST) as second:
            assert await second.supervisor.submit(TOY, request_id="r1") == jobs[0]
            with pytest.raises(JobRejected, match="at most 128"):
                await second.supervisor.submit(TOY, request_id="x" * 129)

    run_fast(scenario)


def test_a_job_goes_from_offer_to_contract_to_cores_to_start(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        job = await lead(desk_)
        sent = [kind for kind in await desk_.sent(HOST) if kind not in ("AuditHead", "TaskReport")]
        assert sent == ["JobOffer", "ContractDraft", "SlotRequest", "JobStart"]
        document = await desk_.supervisor.contract(job)
        assert document is not None
        signed = SignedContract.from_bytes(document)
        assert set(signed.signatures) == {str(GUEST), str(HOST)}
        events = await desk_.store.read(lambda store: store.events(job=job))
        kinds = [event.kind for event in events]
        assert kinds == ["job_submitted", "job_accepted", "contract_signed", "job_started"]
        assert desk_.supervisor._conductor._slots.table.free == 4
        await desk_.supervisor.stop(job)
        await is_over(desk_, job)
        assert desk_.supervisor._conductor._slots.table.free == 8

    on_desk(tmp_path, work, GUEST)


def test_our_own_policy_refuses_at_once(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.judge.verdict = NO
        with pytest.raises(JobRejected, match="no rule opens it"):
            await desk_.supervisor.submit(TOY)
        assert await desk_.supervisor.records() == []

    on_desk(tmp_path, work, GUEST)


def test_a_refused_offer_tells_the_peer_the_cause_and_the_owner_the_detail(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.judge.verdict = NO
        await desk_.bring(GUEST, "job1", offer())
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert record.reason is not None
        assert (record.reason.code, record.reason.cause) == ("policy_denied", "not with us")
        (refused,) = [
            e for e in await desk_.store.read(lambda store: store.events(job="job1")) if e.kind == "job_refused"
        ]
        assert b"no rule opens it" in refused.detail

    on_desk(tmp_path, work)


@pytest.mark.parametrize("says_yes", [True, False])
def test_a_parked_job_waits_through_a_restart_until_its_owner_speaks(tmp_path: Path, says_yes: bool) -> None:
    async def scenario() -> None:
        async with desk(tmp_path) as first:
            first.judge.verdict = PARK
            await first.bring(GUEST, "job1", offer())
            await first.all_consumed()
            assert await first.sent(GUEST) == ["JobParked"]
        async with desk(tmp_path) as second:
            why = await second.supervisor.why("job1")
            assert (why.code, why.party) == ("approval", str(HOST))
            assert "flow job approve job1" in why.mend
            if says_yes:
                await second.supervisor.approve("job1", "ada")
                await second.all_consumed()
                assert (await second.sent(GUEST))[1] == "JobAnswer"
                terms = PartyTerms(approved_by="ada")
                assert (await second.supervisor.record("job1")).terms == terms.to_bytes().decode()
            else:
                await second.supervisor.reject("job1", "ada", "not this data")
                record = await second.supervisor.record("job1")
                assert record.reason is not None
                assert (record.reason.code, record.reason.cause) == ("not_approved", "not this data")
            with pytest.raises(JobError, match="does not wait for an approval"):
                await second.supervisor.approve("job1", "ada")

    run_fast(scenario)


def test_a_contract_with_other_terms_than_ours_is_not_signed(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await desk_.bring(GUEST, "job1", offer())
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job1", draft(terms=PartyTerms(approved_by="somebody else")))
        await desk_.all_consumed()
        assert (await desk_.sent(GUEST))[-1] == "StopRequest"
        assert (await desk_.supervisor.record("job1")).contract == ""

    on_desk(tmp_path, work)


def test_a_start_without_everybodys_signature_begins_nothing(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await agree(desk_)
        bad = start().model_copy(update={"signatures": {str(GUEST): SIGNATURE}})
        await desk_.bring(GUEST, "job1", bad)
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert (record.status, desk_.runner.started) == (JobStatus.WAITING, [])
        assert record.stopping is not None
        assert "has not signed" in record.stopping.cause

    on_desk(tmp_path, work)


def test_an_ended_job_is_run_again_under_its_id_with_higher_versions(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.runner.results["toy_0"] = Exit("done")
        job = await lead(desk_)
        await desk_.bring(HOST, job, TaskReport(task="toy_0", status="success", code="", cause=""), "t0")
        await desk_.bring(HOST, job, TaskReport(task="toy_1", status="failed", code="data", cause="no"), "t1")
        await is_over(desk_, job)
        assert (await desk_.supervisor.why(job)).mend.endswith(f"flow job rerun {job}")
        await desk_.supervisor.rerun(job)
        record = await desk_.supervisor.record(job)
        assert (record.status, record.run, record.reason) == (JobStatus.WAITING, 1, None)
        assert [record.tasks[t].version for t in ("toy_0", "toy_1")] == [0, 1]
        assert record.tasks["toy_0"].status is TaskStatus.SUCCESS
        with pytest.raises(JobError, match="stop it first"):
            await desk_.supervisor.rerun(job)
        await desk_.supervisor.stop(job)
        await is_over(desk_, job)
        with pytest.raises(JobError, match="has no task 'toy_7'"):
            await desk_.supervisor.rerun(job, ["toy_7"])

    on_desk(tmp_path, work, GUEST)


def test_only_its_initiator_runs_a_job_again(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end())
        await is_over(desk_, "job1")
        with pytest.raises(JobError, match="begun by 10000/guest; only there"):
            await desk_.supervisor.rerun("job1")

    on_desk(tmp_path, work)


def test_a_party_takes_part_in_another_run_and_refuses_one_that_it_has_nothing_left_for(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.runner.results["toy_0"] = Exit("done")
        await begin(desk_)
        await until(lambda: ("job1", "toy_1") in desk_.runner.started)
        await desk_.bring(GUEST, "job1", end())
        await is_over(desk_, "job1")
        again = offer().model_copy(update={"run": 1, "versions": {"toy_1": 1}})
        await desk_.bring(GUEST, "job1", again, "again")
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert (record.status, record.run, record.tasks["toy_1"].version) == (JobStatus.WAITING, 1, 1)
        assert (record.tasks["toy_0"].status, record.terms != "") == (TaskStatus.SUCCESS, True)
        await desk_.bring(GUEST, "job1", end().model_copy(update={"run": 1}), "end")
        await is_over(desk_, "job1")
        await desk_.supervisor.clean("job1")
        assert desk_.runner.erased == [("job1", "toy_0"), ("job1", "toy_1")]
        assert "JobCleaned" in await desk_.sent(GUEST)
        third = again.model_copy(update={"run": 2, "versions": {"toy_1": 2}})
        await desk_.bring(GUEST, "job1", third, "third")
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert record.reason is not None
        assert (record.run, record.reason.code) == (2, "nothing_to_go_on_from")

    on_desk(tmp_path, work)


def test_an_offer_to_run_again_of_a_stranger_or_with_another_job_changes_nothing(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end())
        await is_over(desk_, "job1")
        before = await desk_.supervisor.record("job1")
        changed = offer(spec(GUEST, HOST, OTHER, tasks=3))
        for who, message in ((OTHER, offer()), (GUEST, changed), (GUEST, offer())):
            run = 0 if message is not changed and who == GUEST else 1
            versions = {"toy_0": 1}
            told = message.model_copy(update={"run": run, "versions": versions})
            await desk_.bring(who, "job1", told, f"{who}{run}{len(told.spec)}")
        await desk_.all_consumed()
        assert await desk_.supervisor.record("job1") == before

    on_desk(tmp_path, work)


def test_outputs_that_a_peer_erased_are_not_gone_on_from(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        job = await lead(desk_)
        await desk_.supervisor.stop(job)
        await is_over(desk_, job)
        await desk_.bring(HOST, job, JobCleaned(), "cleaned")
        await desk_.all_consumed()
        assert (await desk_.supervisor.record(job)).cleaned == (HOST,)
        await desk_.supervisor.rerun(job)  # all of it: nothing of the first run is needed
        assert (await desk_.supervisor.record(job)).run == 1

    on_desk(tmp_path, work, GUEST)


def test_an_initiator_that_was_silent_corrects_an_end_that_was_chosen_without_it(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.supervisor.stop("job1", "enough")
        await is_over(desk_, "job1")
        record = await desk_.supervisor.record("job1")
        assert (record.status, record.is_provisional) == (JobStatus.CANCELED, True)
        await desk_.bring(GUEST, "job1", end("failed"), "late")
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert record.reason is not None
        assert (record.status, record.reason.code, record.is_provisional) == (JobStatus.FAILED, "x", False)

    on_desk(tmp_path, work)


def test_the_queue_is_cleaned_and_notes_are_kept(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        running, waiting = await lead(desk_), await desk_.supervisor.submit(TOY)
        assert await desk_.supervisor.clean_queue() == [waiting]
        await is_over(desk_, waiting)
        assert (await desk_.supervisor.record(running)).status is JobStatus.RUNNING
        with pytest.raises(JobError, match="has not ended"):
            await desk_.supervisor.clean(running)
        for job in (running, waiting):
            await desk_.supervisor.note(job, f"about {job}")
            assert (await desk_.supervisor.record(job)).notes == f"about {job}"

    on_desk(tmp_path, work, GUEST)


def test_a_job_ends_when_its_time_is_over(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        document = {**TOY, "dag": {**TOY["dag"], "conf": {"timeout": 30}}}
        job = await lead(desk_, document)
        await is_over(desk_, job)
        record = await desk_.supervisor.record(job)
        assert record.reason is not None
        assert (record.status, record.reason.code) == (JobStatus.TIMEOUT, "timeout")
        assert "longer than 30 s" in record.reason.cause

    on_desk(tmp_path, work, GUEST)


def test_the_others_progress_is_heard_and_kept_in_memory_alone(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        job = await lead(desk_)
        told = TaskProgress(task="toy_0", version=0, done=3, total=9, note="half way")
        await desk_.bring(HOST, job, told, "p1")
        await desk_.all_consumed()
        progress = desk_.supervisor.remote_progress(job)[str(HOST)]["toy_0"]
        assert (progress.done, progress.total, progress.note) == (3, 9, "half way")
        assert desk_.supervisor.remote_progress("unknown") == {}

    on_desk(tmp_path, work, GUEST)


def test_ours_is_told_at_most_once_a_second(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        from partyd.jobs.diary import Progress

        await begin(desk_)
        record = await desk_.supervisor.record("job1")
        for done in range(1, 100):
            desk_.runner.progressed(record, "toy_0", Progress(done, 100))
            await asyncio.sleep(1)
        sent = [kind for kind in await desk_.sent(GUEST) if kind == "TaskProgress"]
        assert 0 < len(sent) <= 100

    on_desk(tmp_path, work)


def test_a_host_asks_its_table_and_says_why_a_job_waits(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_, "job1", spec(GUEST, HOST))
        large = spec(GUEST, HOST, cores=6)
        await desk_.bring(GUEST, "job2", offer(large), "offer")
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job2", draft("job2", large), "draft")
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job2", SlotRequest(ask=1, cores=6, priority=0, created_at=2.0), "slots")
        await desk_.all_consumed()
        rows = await desk_.store.read(lambda store: store.unacknowledged(GUEST))
        (answer,) = [SlotAnswer.from_bytes(r.body) for r in rows if r.message.scope == "slots/0/1/waiting"]
        assert answer.cause == "6 of 8 cores asked, 4 free; jobs that hold the rest: 1; that go first: 0"
        await desk_.bring(GUEST, "job1", end(), "end")
        await desk_.all_consumed()
        rows = await desk_.store.read(lambda store: store.unacknowledged(GUEST))
        assert [r.message.scope for r in rows if r.message.job == "job2"][-1] == "slots/0/1/granted"

    on_desk(tmp_path, work)


def test_an_inherited_task_is_taken_over_or_the_reason_is_said(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.runner.results["toy_0"] = Exit("done")
        first = await lead(desk_)
        await until(lambda: (first, "toy_1") in desk_.runner.started)
        await desk_.supervisor.stop(first)
        await is_over(desk_, first)

        def heir(*tasks: str, **parameters: object) -> dict[str, object]:
            dag = {**TOY["dag"], "conf": {"inheritance": {"job_id": first, "task_list": list(tasks)}}}
            if parameters:
                dag["tasks"] = {**dag["tasks"], "toy_0": {**dag["tasks"]["toy_0"], "parameters": parameters}}
            return {**TOY, "dag": dag}

        desk_.runner.started.clear()
        second = await lead(desk_, heir("toy_0"))
        assert desk_.runner.linked == [(first, second, "toy_0")]
        assert desk_.runner.started == [(second, "toy_1")]
        record = await desk_.supervisor.record(second)
        assert record.remote[str(HOST)]["toy_0"].status is TaskStatus.SUCCESS
        with pytest.raises(JobRejected, match="has not succeeded"):
            await desk_.supervisor.submit(heir("toy_0", "toy_1"))
        with pytest.raises(JobRejected, match="another component, other parameters"):
            await desk_.supervisor.submit(heir("toy_0", data_num=7))

    on_desk(tmp_path, work, GUEST)


def test_a_party_that_cannot_inherit_refuses_with_the_reason(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        document = spec().model_dump(mode="json", exclude_defaults=True)
        document["dag"]["conf"] = {"inheritance": {"job_id": "older", "task_list": ["toy_0"]}}
        heir = type(spec()).model_validate(document)
        await desk_.bring(GUEST, "job1", JobOffer(spec=heir.model_dump_json().encode(), created_at=1.0))
        await desk_.all_consumed()
        reason = (await desk_.supervisor.record("job1")).reason
        assert reason is not None
        assert reason.code == "not_inheritable"
        assert "knows no job 'older'" in reason.cause

    on_desk(tmp_path, work)


def test_heads_of_the_audit_log_are_shown_with_the_answer_and_at_the_end(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end())
        await is_over(desk_, "job1")
        rows = await desk_.store.read(lambda store: store.unacknowledged(GUEST))
        scopes = [row.message.scope for row in rows if row.message.kind == "AuditHead"]
        assert scopes == ["audit/0/accepted", "audit/0/ended"]

    on_desk(tmp_path, work)


def test_an_end_that_overtakes_the_offer_to_run_again_waits_for_it(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end())
        await is_over(desk_, "job1")
        late: JobEnd = end("canceled").model_copy(update={"run": 1})
        await desk_.bring(GUEST, "job1", late, "early")
        await asyncio.sleep(2)
        again = offer().model_copy(update={"run": 1, "versions": {"toy_0": 1, "toy_1": 1}})
        await desk_.bring(GUEST, "job1", again, "again")
        await desk_.all_consumed()
        record = await desk_.supervisor.record("job1")
        assert (record.run, record.status) == (1, JobStatus.CANCELED)

    on_desk(tmp_path, work)
