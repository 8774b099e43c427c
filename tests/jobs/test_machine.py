from __future__ import annotations

import itertools

import pytest

from partyd.jobs import commands as c
from partyd.jobs.control import JobEnd, JobStart, StopRequest, TaskReport
from partyd.jobs.ending import decision_bytes
from partyd.jobs.record import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobRecord,
    JobStatus,
    Reason,
    TaskState,
    TaskStatus,
)
from partyd.types import Address
from tests.jobs.worlds import H2, MACHINE, NO, PARK, G, H, World, record, spec

SUCCESS = {JobStatus.SUCCESS}


def running(me: Address, *parties: Address) -> JobRecord:
    return MACHINE.begin(record(me, spec(*parties)).change(contract="c"), 2.0).record


def tells(step: c.Step) -> list[tuple[Address, str]]:
    return [(t.to, type(t.message).__name__) for t in step.commands if isinstance(t, c.Tell)]


# -- one party


def test_only_the_initiator_can_start_or_end_a_job() -> None:
    waiting = record(H, spec(G, H, H2)).change(contract="c")
    assert MACHINE.told(waiting, H2, JobStart(started_at=1.0), 2.0).record is waiting
    end = JobEnd(status="failed", party=str(H2), task="", code="x", cause="y", signature=b"")
    assert MACHINE.told(waiting, H2, end, 2.0).record is waiting
    assert MACHINE.told(waiting, G, end, 2.0).record.status is JobStatus.FAILED


def test_a_job_does_not_begin_before_its_contract_is_signed_here() -> None:
    waiting = record(H, spec(G, H))
    assert MACHINE.told(waiting, G, JobStart(started_at=1.0), 2.0).record is waiting


def test_a_failed_task_ends_the_job_at_the_initiator_with_party_task_and_cause() -> None:
    report = TaskReport(task="toy_0", status="failed", code="data", cause="no table")
    step = MACHINE.told(running(G, G, H), H, report, 3.0)
    assert step.record.reason == Reason(party=H, task="toy_0", code="data", cause="no table")
    (end,) = [t.message for t in step.commands if isinstance(t, c.Tell)]
    assert isinstance(end, JobEnd)
    assert step.record.reason is not None
    assert end.signature == b"signed:" + decision_bytes("j", 0, JobStatus.FAILED, step.record.reason)


def test_a_stop_at_a_host_is_asked_of_everybody_and_decided_by_the_initiator() -> None:
    step = MACHINE.stop(running(H, G, H, H2), "canceled", "stopped", 2.0)
    assert tells(step) == [(G, "StopRequest"), (H2, "StopRequest")]
    assert c.KillTasks() in step.commands
    assert MACHINE.stop(step.record, "canceled", "again", 2.0).commands == ()
    request = StopRequest(code="canceled", cause="stopped")
    there = MACHINE.told(running(H2, G, H, H2), H, request, 3.0)
    assert (there.record.status, there.record.stopping) == (JobStatus.RUNNING, step.record.stopping)
    decided = MACHINE.told(running(G, G, H, H2), H, request, 3.0)
    assert decided.record.status is JobStatus.CANCELED
    assert decided.record.reason == Reason(party=H, code="canceled", cause="stopped")


def test_a_stopped_job_ends_without_its_initiator_whose_word_goes_first_when_it_comes() -> None:
    stopped = MACHINE.stop(running(H, G, H), "canceled", "stopped", 2.0).record
    step = MACHINE.stop_unheard(stopped, 9.0)
    assert (step.record.status, step.record.is_provisional) == (JobStatus.CANCELED, True)
    end = JobEnd(status="failed", party=str(G), task="toy_0", code="x", cause="y", signature=b"")
    corrected = MACHINE.told(step.record, G, end, 10.0)
    assert corrected.record.reason == Reason(party=G, task="toy_0", code="x", cause="y")
    assert (corrected.record.status, corrected.commands) == (JobStatus.FAILED, ())
    assert MACHINE.told(corrected.record, G, end, 11.0).record is corrected.record


def test_a_stopped_job_starts_nothing_after_a_restart() -> None:
    stopped = MACHINE.stop(running(H, G, H), "canceled", "stopped", 2.0).record
    assert not any(isinstance(x, c.StartTask) for x in MACHINE.recovered(stopped, 3.0).commands)
    assert c.AwaitEnd() in MACHINE.recovered(stopped, 3.0).commands


def test_recovery_starts_running_tasks_again() -> None:
    assert c.StartTask("toy_0") in MACHINE.recovered(running(G, G, H), 3.0).commands


def test_a_message_of_another_run_changes_nothing() -> None:
    job = running(G, G, H)
    report = TaskReport(run=1, task="toy_0", status="failed", code="data", cause="no table")
    assert MACHINE.told(job, H, report, 3.0).record is job


def test_a_late_word_about_a_task_does_not_undo_a_newer_one() -> None:
    job = running(H, G, H)
    for version, status in ((1, "running"), (0, "success"), (1, "success"), (1, "running")):
        report = TaskReport(task="toy_0", version=version, status=status, code="", cause="")
        job = MACHINE.told(job, G, report, 3.0).record
    assert (job.remote[str(G)]["toy_0"].version, job.remote[str(G)]["toy_0"].status) == (1, TaskStatus.SUCCESS)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobStatus, JobStatus)))
def test_job_transitions_are_exactly_the_table(before: JobStatus, after: JobStatus) -> None:
    job = record(G, spec(G, H)).change(status=before)
    if after in JOB_TRANSITIONS[before]:
        assert job.with_status(after).status is after
    else:
        with pytest.raises(ValueError, match="cannot go"):
            job.with_status(after)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TaskStatus, TaskStatus)))
def test_task_transitions_are_exactly_the_table(before: TaskStatus, after: TaskStatus) -> None:
    job = record(G, spec(G, H)).change(tasks={"toy_0": TaskState(status=before)})
    if after in TASK_TRANSITIONS[before]:
        assert job.with_task("toy_0", after, 1.0).tasks["toy_0"].status is after
    else:
        with pytest.raises(ValueError, match="cannot go"):
            job.with_task("toy_0", after, 1.0)


def test_records_of_earlier_versions_are_read() -> None:
    document = record(G, spec(G, H)).model_dump(mode="json")
    document["tasks"] = {"toy_0": "success", "toy_1": "running"}
    document["remote"] = {str(H): {"toy_0": "success"}}
    for name in ("run", "waiting", "notes", "slot", "slots", "contract", "limits"):
        del document[name]
    read = JobRecord.model_validate(document)
    assert read.tasks["toy_1"] == TaskState(status=TaskStatus.RUNNING)
    assert read.remote[str(H)]["toy_0"].status is TaskStatus.SUCCESS


# -- all of them


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("crash", [0.0, 0.15])
def test_every_order_of_messages_and_every_kill_end_equally_everywhere(seed: int, crash: float) -> None:
    world = World(seed, crash)
    world.submit(spec(G, H, H2, tasks=3))
    world.run()
    assert world.states() == SUCCESS
    assert len(world.records) == 3
    assert {s.status for r in world.records.values() for s in r.tasks.values()} == {TaskStatus.SUCCESS}
    assert {r.contract for r in world.records.values()} == {world.of(G).contract}
    assert all(set(r.signatures) == {str(G), str(H), str(H2)} for r in world.records.values())
    assert all(table.free == 8 for table in world.tables.values())


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("crash", [0.0, 0.15])
def test_a_failure_anywhere_ends_the_job_everywhere_with_the_same_reason(seed: int, crash: float) -> None:
    world = World(seed, crash, fails=lambda me, task, _: "x" if (me, task) == (H, "toy_1") else "")
    world.submit(spec(G, H, H2, tasks=3))
    world.run()
    assert world.states() == {JobStatus.FAILED}
    assert world.reasons() == {Reason(party=H, task="toy_1", code="x", cause="y")}


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("refuser", [H, H2])
def test_a_refusal_ends_the_job_everywhere_with_its_reason(seed: int, refuser: Address) -> None:
    world = World(seed, 0.1, verdicts={refuser: NO})
    world.submit(spec(G, H, H2))
    world.run()
    assert world.states() == {JobStatus.FAILED}
    assert world.reasons() == {Reason(party=refuser, code=NO.code, cause=NO.cause)}
    assert world.begun == []


@pytest.mark.parametrize("seed", range(40))
def test_a_single_address_runs_alone(seed: int) -> None:
    world = World(seed, 0.15)
    world.submit(spec(G))
    world.run()
    assert world.states() == SUCCESS


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("who", [G, H])
def test_a_parked_job_waits_for_its_owner_and_says_so_everywhere(seed: int, who: Address) -> None:
    world = World(seed, 0.1, verdicts={who: PARK})
    world.submit(spec(G, H, H2))
    world.run()
    assert world.states() == {JobStatus.WAITING}
    assert world.begun == []
    told = [r.waiting for (me, _), r in world.records.items() if me in (G, who)]
    assert {(w.party, w.code) for w in told if w is not None} == {(who, "approval")}
    world.restart(who)
    from tests.jobs.worlds import TERMS

    world.take(who, MACHINE.approved(world.of(who), TERMS, "ada"))
    world.run()
    assert world.states() == SUCCESS


@pytest.mark.parametrize("who", [G, H])
def test_an_owner_who_does_not_agree_ends_the_job(who: Address) -> None:
    world = World(1, verdicts={who: PARK})
    world.submit(spec(G, H, H2))
    world.run()
    world.take(who, MACHINE.rejected(world.of(who), "ada", "not today", 3.0))
    world.run()
    assert world.reasons() == {Reason(party=who, code="not_approved", cause="not today")}


# -- attempts


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("crash", [0.0, 0.15])
def test_a_failed_task_is_tried_again_at_every_party_at_once(seed: int, crash: float) -> None:
    def fails(me: Address, task: str, version: int) -> str:
        return "internal" if (me, task) in ((H, "toy_1"), (G, "toy_0")) and version < 2 else ""

    world = World(seed, crash, fails=fails)
    world.submit(spec(G, H, H2, tasks=3, conf={"auto_retries": 3}))
    world.run()
    assert world.states() == SUCCESS
    versions = {task: {r.tasks[task].version for r in world.records.values()} for task in world.of(G).tasks}
    assert all(len(found) == 1 for found in versions.values()), versions
    assert versions["toy_1"] >= {2} or max(versions["toy_1"]) >= 2
    assert (G, "j", "task_retried") in world.audits


@pytest.mark.parametrize("seed", range(30))
def test_retries_come_to_an_end(seed: int) -> None:
    world = World(seed, 0.1, fails=lambda me, task, _: "x" if (me, task) == (H, "toy_0") else "")
    world.submit(spec(G, H, H2, tasks=2, conf={"auto_retries": 2}))
    world.run()
    assert world.reasons() == {Reason(party=H, task="toy_0", code="x", cause="y")}
    assert world.of(H).tasks["toy_0"].version == 2


def test_what_another_attempt_would_only_repeat_is_not_tried_again() -> None:
    world = World(1, fails=lambda me, task, _: "below_floor" if (me, task) == (H, "toy_0") else "")
    world.submit(spec(G, H, conf={"auto_retries": 2}))
    world.run()
    assert world.states() == {JobStatus.FAILED}
    assert world.of(H).tasks["toy_0"].version == 0


def test_a_task_that_ran_too_long_is_a_time_out_everywhere() -> None:
    world = World(1, fails=lambda me, task, _: "timeout" if (me, task) == (H, "toy_1") else "")
    world.submit(spec(G, H))
    world.run()
    assert world.states() == {JobStatus.TIMEOUT}
    assert world.of(H).tasks["toy_1"].status is TaskStatus.TIMEOUT
    assert world.of(G).remote[str(H)]["toy_1"].status is TaskStatus.TIMEOUT


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("named", [(), ("toy_1",)])
def test_a_job_is_run_again_from_what_failed(seed: int, named: tuple[str, ...]) -> None:
    broken = {(H, "toy_1")}
    world = World(seed, 0.1, fails=lambda me, task, _: "x" if (me, task) in broken else "")
    world.submit(spec(G, H, H2, tasks=3))
    world.run()
    assert world.states() == {JobStatus.FAILED}
    broken.clear()
    world.rerun(*named)
    world.run()
    assert world.states() == SUCCESS
    assert {r.run for r in world.records.values()} == {1}
    for job in world.records.values():
        assert [job.tasks[t].version for t in ("toy_1", "toy_2")] == [1, 1]
        assert job.tasks["toy_0"].version == world.of(G).tasks["toy_0"].version
        assert job.reason is None


@pytest.mark.parametrize("seed", range(30))
def test_a_good_job_is_run_again_from_a_component(seed: int) -> None:
    world = World(seed, 0.1)
    world.submit(spec(G, H, tasks=4))
    world.run()
    world.begun.clear()
    world.rerun("toy_2")
    world.run()
    assert world.states() == SUCCESS
    assert {task for _, _, task, _ in world.begun} == {"toy_2", "toy_3"}
    assert [world.of(H).tasks[f"toy_{i}"].version for i in range(4)] == [0, 0, 1, 1]


# -- stopping in any phase


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("who", [G, H, H2])
def test_a_stop_in_any_phase_ends_the_job_everywhere(seed: int, who: Address) -> None:
    world = World(seed, 0.1)
    world.submit(spec(G, H, H2, tasks=3))
    left = world.chance.randrange(40)
    for _ in range(left):
        world.turn()
    if (who, "j") not in world.records:
        return
    already = world.of(who).is_ended
    world.take(who, MACHINE.stop(world.of(who), "canceled", "stopped", 3.0))
    world.run()
    assert len(world.states()) == 1
    assert world.states() <= {JobStatus.CANCELED, JobStatus.SUCCESS}
    if world.states() == SUCCESS:
        assert already or who != G
    else:
        assert world.reasons() == {Reason(party=who, code="canceled", cause="stopped")}
    assert world.running == {}
    assert all(table.free == 8 for table in world.tables.values())
