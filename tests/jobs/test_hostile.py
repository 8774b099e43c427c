"""What a pinned peer may not do: end others' jobs, replay an earlier run, ask for more than the contract says."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.dag.spec import JobSpec
from partyd.errors import DataError, JobRejected, StoreCorrupt
from partyd.governance import audit
from partyd.governance.audit import AuditHead
from partyd.governance.contract import PartyTerms
from partyd.governance.policy import Verdict, VerdictKind
from partyd.governance.policy_rules import DatasetName
from partyd.jobs import intake
from partyd.jobs.control import JobAnswer, JobOffer, SlotRequest, TaskRetry
from partyd.jobs.record import JobStatus, Reason, TaskStatus
from partyd.jobs.tasks import TaskRunner
from partyd.jobs.workers import Exit, Workers
from partyd.layout import Layout
from partyd.types import MessageId
from tests.federation.offices import GUEST, HOST
from tests.jobs import worlds
from tests.jobs.desks import (
    OTHER,
    SIGNATURE,
    STRANGER,
    Desk,
    begin,
    draft,
    end,
    offer,
    on_desk,
    spec,
)
from tests.nodes import until


async def answers(desk_: Desk, job: str) -> list[JobAnswer]:
    rows = await desk_.store.read(lambda store: store.unacknowledged(GUEST))
    found = [row for row in rows if row.message.kind == "JobAnswer" and row.message.job == job]
    return [
        JobAnswer.from_bytes(await desk_.store.read(lambda store: store.read_body(row.body)))  # noqa: B023
        for row in found
    ]


def test_two_contents_of_a_peer_end_no_job_that_it_has_no_part_in(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        desk_.supervisor.equivocated(MessageId("job1", "", 0, "x", "JobStart", STRANGER, HOST))
        await asyncio.sleep(1)
        assert (await desk_.supervisor.record("job1")).stopping is None
        desk_.supervisor.equivocated(MessageId("job1", "", 0, "x", "JobStart", OTHER, HOST))
        await until_stopping(desk_, "equivocation")

    on_desk(tmp_path, work)


async def until_stopping(desk_: Desk, code: str) -> None:
    while (record := await desk_.supervisor.record("job1")).stopping is None and not record.is_ended:
        await asyncio.sleep(0.1)
    reason = record.stopping or record.reason
    assert reason is not None
    assert reason.code == code


def test_the_signatures_of_one_run_start_no_other(tmp_path: Path) -> None:
    """A verifier that knows which text was signed: those of the first run do not hold under the second's contract."""

    async def work(desk_: Desk) -> None:
        first = draft()
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end(), "end")
        await until(lambda: desk_.runner.forgotten == ["job1"])
        versions = {"toy_0": 1, "toy_1": 1}
        again = JobOffer(run=1, spec=spec().model_dump_json().encode(), created_at=1.0, versions=versions)
        await desk_.bring(GUEST, "job1", again, "offer/1")
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job1", first.model_copy(update={"run": 1}), "draft/1")
        await desk_.all_consumed()
        assert (await desk_.supervisor.record("job1")).contract == ""

    on_desk(tmp_path, work)


def test_the_contract_of_a_rerun_names_the_run_and_what_begins_anew(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end(), "end")
        await until(lambda: desk_.runner.forgotten == ["job1"])
        versions = {"toy_0": 1, "toy_1": 1}
        again = JobOffer(run=1, spec=spec().model_dump_json().encode(), created_at=1.0, versions=versions)
        await desk_.bring(GUEST, "job1", again, "offer/1")
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job1", draft(run=1, versions=versions), "draft/1")
        await desk_.all_consumed()
        assert (await desk_.supervisor.record("job1")).contract

    on_desk(tmp_path, work)


@pytest.mark.parametrize(
    "versions",
    [{"toy_0": 1, "toy_1": 1}, {"toy_0": 9000, "toy_1": 9000}, {"toy_1": -4}, {"toy_0": 1}],
)
def test_a_task_is_not_tried_again_more_often_than_the_job_says(versions: dict[str, int]) -> None:
    running = worlds.record(worlds.H, worlds.spec(worlds.G, worlds.H)).change(status=JobStatus.RUNNING, contract="c")
    step = worlds.MACHINE.told(running, worlds.G, TaskRetry(task="toy_0", versions=versions), 1.0)
    assert step.record.tasks == running.tasks
    assert step.record.stopping is not None
    assert step.record.stopping.code == "contract_refused"


def test_as_often_as_the_job_says_it_is_tried_again_in_whatever_order_the_words_come() -> None:
    job = worlds.spec(worlds.G, worlds.H, conf={"auto_retries": 2})
    record = worlds.record(worlds.H, job).change(status=JobStatus.RUNNING, contract="c")
    for version in (2, 1, 3, 4):
        retry = TaskRetry(task="toy_0", versions={"toy_0": version, "toy_1": version})
        record = worlds.MACHINE.told(record, worlds.G, retry, 1.0).record
    assert [record.tasks[t].version for t in ("toy_0", "toy_1")] == [2, 2] or record.stopping is not None


def test_a_rerun_with_versions_beyond_reason_is_refused_and_said(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        await desk_.bring(GUEST, "job1", end(), "end")
        await until(lambda: desk_.runner.forgotten == ["job1"])
        body = spec().model_dump_json().encode()
        await desk_.bring(GUEST, "job1", JobOffer(run=1, spec=body, created_at=1.0, versions={"toy_0": 1 << 40}), "o1")
        await desk_.all_consumed()
        assert [answer.accepted for answer in await answers(desk_, "job1") if answer.run == 1] == [False]
        assert (await desk_.supervisor.record("job1")).run == 0

    on_desk(tmp_path, work)


def test_a_peers_offers_are_bounded_and_what_follows_a_declined_one_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partyd.jobs.offers.MAX_OPEN", 3)

    async def work(desk_: Desk) -> None:
        for number in range(5):
            await desk_.bring(GUEST, f"job{number}", offer(), "offer")
        await desk_.all_consumed()
        assert len(desk_.conductor.live) == 3
        declined = next(f"job{number}" for number in range(5) if f"job{number}" not in desk_.conductor.live)
        [answer] = await answers(desk_, declined)
        assert (answer.accepted, answer.code) == (False, "too_many_jobs")
        assert len(await desk_.store.read(lambda store: store.jobs())) == 3
        await desk_.bring(GUEST, declined, end(), "end")
        await desk_.all_consumed()
        assert not desk_.supervisor._intake.parked
        await desk_.bring(OTHER, "job9", offer(), "offer")
        await desk_.all_consumed()
        assert "job9" in desk_.conductor.live

    on_desk(tmp_path, work)


def test_refused_offers_fill_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partyd.jobs.offers.DAY_BYTES", 20_000)

    async def work(desk_: Desk) -> None:
        desk_.judge.verdict = Verdict(VerdictKind.REFUSE, "policy_denied", "no", "no")
        for number in range(30):
            await desk_.bring(GUEST, f"job{number}", offer(), "offer")
        await desk_.all_consumed()
        assert len(await desk_.store.read(lambda store: store.jobs())) < 20

    on_desk(tmp_path, work)


def test_the_newest_of_what_overtook_its_offer_stays(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        for turn in range(intake.MAX_PARKED + 5):
            await desk_.bring(GUEST, f"flood{turn}", end(), "e")
        await desk_.bring(GUEST, "job1", end(), "early")
        await asyncio.sleep(2)
        assert "job1" in desk_.supervisor._intake.parked
        await desk_.bring(GUEST, "job1", offer(), "late")
        await until(lambda: desk_.runner.forgotten == ["job1"])

    on_desk(tmp_path, work)


@dataclass
class OneOnly:
    """A policy that takes one job, counted when it was taken."""

    desk_: Desk

    async def judge(self, _spec: JobSpec, _initiator: object) -> Verdict:
        taken = len(self.desk_.conductor.live)
        await asyncio.sleep(0.5)
        return Verdict(VerdictKind.ACCEPT) if taken < 1 else Verdict(VerdictKind.REFUSE, "policy_quota", "enough")


def test_offers_at_one_time_do_not_pass_a_quota_together(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        desk_.supervisor._intake.judge = OneOnly(desk_)
        for number in range(4):
            await desk_.bring(GUEST, f"job{number}", offer(), "offer")
        await desk_.all_consumed()
        states = [row.status for row in await desk_.store.read(lambda store: store.jobs())]
        assert sorted(states) == ["failed", "failed", "failed", "waiting"]

    on_desk(tmp_path, work)


def test_a_peer_cannot_ask_for_more_cores_or_a_better_place_than_the_job_says(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await desk_.bring(GUEST, "job1", offer(), "offer")
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job1", draft(), "draft")
        await desk_.all_consumed()
        greedy = SlotRequest(ask=1, cores=4000, priority=1 << 40, created_at=float("-1e300"))
        await desk_.bring(GUEST, "job1", greedy, "slots")
        await desk_.all_consumed()
        slot = (await desk_.supervisor.record("job1")).slot
        assert (slot.cores, slot.priority) == (4, 0)
        assert slot.asked_at >= 0.0

    on_desk(tmp_path, work)


def test_a_damaged_evidence_document_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        monkeypatch.setattr(audit, "keep_peer_head", _damaged)
        await desk_.bring(GUEST, "job1", AuditHead(seq=1, digest=bytes(32), signature=SIGNATURE), "head")
        await desk_.all_consumed()
        assert await desk_.waiting() == 0

    on_desk(tmp_path, work)


def _damaged(*_: object) -> None:
    raise StoreCorrupt("the audit evidence cannot be read")


@pytest.mark.parametrize("code", ["internal", "config", "store"])
def test_peers_are_not_told_what_an_error_of_ours_quotes(tmp_path: Path, code: str) -> None:
    async def work(desk_: Desk) -> None:
        secret = "ValueError: could not convert '12 Main Street' at /srv/bank/customers.csv"
        desk_.runner.results = {"toy_0": Exit("failed", code, secret)}
        await begin(desk_)
        await until_failed(desk_)
        cause = (await desk_.supervisor.record("job1")).tasks["toy_0"].cause
        assert "Main Street" not in cause
        assert str(HOST) in cause
        logged = desk_.runner.diary("job1", "toy_0").lines()
        assert any("Main Street" in str(line) for line in logged)

    on_desk(tmp_path, work)


async def until_failed(desk_: Desk) -> None:
    while (await desk_.supervisor.record("job1")).tasks["toy_0"].status is not TaskStatus.FAILED:
        await asyncio.sleep(0.1)


def test_a_job_too_large_for_a_contract_is_refused_when_it_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("partyd.governance.contract.MAX_CONTRACT_BYTES", 2000)

    async def work(desk_: Desk) -> None:
        with pytest.raises(JobRejected, match="make several jobs of it"):
            await desk_.supervisor.submit(spec().model_dump(mode="json", exclude_defaults=True))
        assert not desk_.conductor.live

    on_desk(tmp_path, work, GUEST)


def test_a_contract_always_fits_into_a_message() -> None:
    from partyd.federation.office import MAX_CONTROL_BODY
    from partyd.governance.contract import MAX_CONTRACT_BYTES
    from partyd.jobs.control import ContractDraft

    largest = ContractDraft(contract=bytes(MAX_CONTRACT_BYTES), signature=SIGNATURE)
    assert len(largest.to_bytes()) <= MAX_CONTROL_BODY


def test_cleaning_and_running_again_do_not_meet(tmp_path: Path) -> None:
    """What is erased late would be the outputs of the new run."""

    async def work(desk_: Desk) -> None:
        desk_.runner.results = {"toy_0": Exit("done")}
        job = await desk_.supervisor.submit(spec(GUEST, HOST, tasks=1).model_dump(mode="json", exclude_defaults=True))
        await desk_.bring(HOST, job, JobAnswer(accepted=False, code="x", cause="y"), "no")
        await until(lambda: job in desk_.conductor.ended)
        order: list[str] = []
        erase = desk_.runner.erase

        async def slowly(which: str, tasks: list[str]) -> None:
            await asyncio.sleep(1)
            order.append("erased")
            await erase(which, tasks)

        desk_.runner.erase = slowly  # type: ignore[method-assign,assignment]

        async def again() -> None:
            await asyncio.sleep(0.1)
            await desk_.supervisor.rerun(job)
            order.append("again")

        await asyncio.gather(desk_.supervisor.clean(job), again())
        assert order == ["erased", "again"]
        assert (await desk_.supervisor.record(job)).cleaned == ()

    on_desk(tmp_path, work, GUEST)


def test_a_stopped_job_that_had_not_begun_ends_after_a_restart_too() -> None:
    record = worlds.record(worlds.H, worlds.spec(worlds.G, worlds.H)).change(
        terms=worlds.TERMS, stopping=Reason(party=worlds.H, code="canceled", cause="x")
    )
    kinds = [type(command).__name__ for command in worlds.MACHINE.recovered(record, 1.0).commands]
    assert "AwaitEnd" in kinds


@pytest.mark.parametrize("status", [JobStatus.WAITING, JobStatus.RUNNING])
@pytest.mark.parametrize("me", [worlds.G, worlds.H])
def test_an_open_job_of_an_earlier_version_ends_with_the_reason(status: JobStatus, me: Any) -> None:
    """Those had no contracts: nothing would ever bring them on."""
    old = worlds.record(me, worlds.spec(worlds.G, worlds.H)).change(status=status)
    step = worlds.MACHINE.recovered(old, 1.0)
    reason = step.record.reason or step.record.stopping
    assert reason is not None
    assert reason.code == "upgraded"
    assert step.record.is_ended == (me == worlds.G)


def test_an_offer_of_an_earlier_version_is_answered_so_that_it_is_understood_there(tmp_path: Path) -> None:
    from partyd.wire.codec import Record

    class OldOffer(Record):
        spec: bytes
        created_at: float

    class OldAnswer(Record):
        accepted: bool
        code: str
        cause: str

    async def work(desk_: Desk) -> None:
        await desk_.bring(GUEST, "job1", OldOffer(spec=offer().spec, created_at=1.0), "offer", "JobOffer")
        await desk_.all_consumed()
        [row] = await desk_.store.read(lambda store: store.unacknowledged(GUEST))
        answer = OldAnswer.from_bytes(await desk_.store.read(lambda store: store.read_body(row.body)))
        assert not answer.accepted
        assert "upgrade" in answer.cause
        assert not desk_.conductor.live

    on_desk(tmp_path, work)


def test_a_success_that_this_party_has_not_reached_is_none() -> None:
    running = worlds.record(worlds.H, worlds.spec(worlds.G, worlds.H)).change(status=JobStatus.RUNNING, contract="c")
    told = end("success", party=str(worlds.G), code="success", cause="")
    step = worlds.MACHINE.told(running, worlds.G, told, 2.0)
    assert step.record.status is JobStatus.FAILED
    assert step.record.reason is not None
    assert step.record.reason.party == worlds.G


def test_a_refused_contract_ends_the_job_here_although_its_initiator_says_nothing(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await desk_.bring(GUEST, "job1", offer())
        await desk_.all_consumed()
        await desk_.bring(GUEST, "job1", draft(terms=PartyTerms(approved_by="somebody else")))
        await until(lambda: desk_.runner.forgotten == ["job1"])
        reason = (await desk_.supervisor.record("job1")).reason
        assert reason is not None
        assert reason.code == "contract_refused"

    on_desk(tmp_path, work)


def test_a_peer_that_knows_no_contracts_is_named_at_once_and_its_open_jobs_end(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        desk_.office.links[GUEST].features = ()
        with pytest.raises(JobRejected, match="knows no contracts"):
            await desk_.supervisor.submit(spec().model_dump(mode="json", exclude_defaults=True))
        desk_.office._silent_since[GUEST] = float("inf")
        desk_.supervisor.end_stalled(3600.0)
        await until_stopping(desk_, "peer_version")

    on_desk(tmp_path, work)


def test_a_job_whose_initiator_is_silent_for_too_long_ends_here(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        desk_.office._silent_since = {OTHER: 0.0, GUEST: float("inf")}
        desk_.supervisor.end_stalled(3600.0)
        await asyncio.sleep(1)
        assert (await desk_.supervisor.record("job1")).stopping is None
        desk_.office._silent_since[GUEST] = -1e6
        desk_.supervisor.end_stalled(3600.0)
        await until(lambda: desk_.runner.forgotten == ["job1"])
        record = await desk_.supervisor.record("job1")
        assert record.reason is not None
        assert (record.reason.code, record.is_provisional) == ("peer_timeout", True)

    on_desk(tmp_path, work)


def test_an_open_job_that_cannot_be_read_is_closed(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await desk_.store.write(lambda store: store.save_job("odd", "running", b'{"job": "odd"}'))
        await desk_.supervisor.load()
        row = await desk_.store.read(lambda store: store.job("odd"))
        assert row is not None
        assert row.status == "failed"
        events = await desk_.store.read(lambda store: store.events())
        assert [event.job for event in events if event.kind == "job_not_readable"] == ["odd"]

    on_desk(tmp_path, work)


def test_the_table_behind_an_alias_is_not_named_to_the_others(tmp_path: Path) -> None:
    class Tables:
        async def open(self, namespace: str, name: str, job: str, task: str) -> Path:
            raise DataError(f"there is no table {namespace}/{name} here ({job}/{task})")

        async def release(self, job: str) -> None:
            raise AssertionError(job)

    async def work(desk_: Desk) -> None:
        own, said = DatasetName("internal", "crm"), DatasetName("credit", "customers")
        runner = TaskRunner(
            desk_.office, desk_.store, Workers(), Layout(tmp_path), COMPONENTS, tables=Tables(), resolve=lambda _: own
        )
        solo = worlds.record(HOST, worlds.spec(worlds.G))
        with pytest.raises(DataError, match="credit/customers") as caught:
            await runner._table(solo, "toy_0", own, said)
        assert "crm" not in str(caught.value)
        assert any("internal/crm" in str(line) for line in runner.diary("j", "toy_0").lines())

    on_desk(tmp_path, work)
