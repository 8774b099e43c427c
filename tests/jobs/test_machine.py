from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

import pytest

from partyd.components import COMPONENTS
from partyd.jobs.control import JobAnswer, JobEnd, JobOffer, JobStart, StopRequest, TaskReport
from partyd.jobs.machine import Ended, JobMachine, KillTasks, StartTask, Step, Tell, decision_bytes, first_tasks
from partyd.jobs.record import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    JobRecord,
    JobStatus,
    Reason,
    TaskStatus,
)
from partyd.jobs.spec import read_dag
from partyd.types import GUEST, HOST, Address

G, H, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)
MACHINE = JobMachine(COMPONENTS, sign=lambda text: b"signed:" + text)


def record(me: Address, *parties: Address, tasks: int = 2) -> JobRecord:
    dag = {
        "parties": [{"role": p.role.label, "party_id": [p.party_id]} for p in parties],
        "tasks": {
            f"toy_{i}": {"component_ref": "toy_example", "dependent_tasks": [f"toy_{i - 1}"] if i else []}
            for i in range(tasks)
        },
    }
    spec = read_dag({"dag": dag}, COMPONENTS)
    bare = JobRecord(job="j", me=me, initiator=G, spec=spec, tasks={}, created_at=1.0)
    return bare.change(tasks=first_tasks(bare, COMPONENTS))


def tells(step: Step) -> list[tuple[Address, str]]:
    return [(c.to, type(c.message).__name__) for c in step.commands if isinstance(c, Tell)]


def others(step: Step) -> list[object]:
    return [c for c in step.commands if not isinstance(c, Tell)]


def test_initiator_offers_then_starts_when_all_have_agreed() -> None:
    step = MACHINE.submitted(record(G, G, H, H2))
    assert tells(step) == [(H, "JobOffer"), (H2, "JobOffer")]
    yes = JobAnswer(accepted=True, code="", cause="")
    step = MACHINE.told(step.record, H, yes, 2.0)
    assert step.commands == ()
    step = MACHINE.told(step.record, H2, yes, 3.0)
    assert step.record.status is JobStatus.RUNNING
    assert [t for t in tells(step) if t[1] == "JobStart"] == [(H, "JobStart"), (H2, "JobStart")]
    assert StartTask("toy_0") in step.commands
    assert StartTask("toy_1") not in step.commands


def test_a_refusal_ends_the_job_everywhere_with_its_reason() -> None:
    step = MACHINE.told(record(G, G, H, H2), H, JobAnswer(accepted=False, code="job_rejected", cause="no"), 2.0)
    assert step.record.status is JobStatus.FAILED
    assert step.record.reason == Reason(party=H, code="job_rejected", cause="no")
    assert tells(step) == [(H, "JobEnd"), (H2, "JobEnd")]
    assert others(step) == [KillTasks(), Ended()]


def test_only_the_initiator_can_start_or_end_a_job() -> None:
    waiting = record(H, G, H, H2)
    assert MACHINE.told(waiting, H2, JobStart(started_at=1.0), 2.0).record is waiting
    end = JobEnd(status="failed", party=str(H2), task="", code="x", cause="y", signature=b"")
    assert MACHINE.told(waiting, H2, end, 2.0).record is waiting
    assert MACHINE.told(waiting, G, end, 2.0).record.status is JobStatus.FAILED


def test_a_failed_task_ends_the_job_at_the_initiator_with_party_task_and_cause() -> None:
    running = MACHINE.told(record(G, G, H), H, JobAnswer(accepted=True, code="", cause=""), 2.0).record
    report = TaskReport(task="toy_0", status="failed", code="data", cause="no table")
    step = MACHINE.told(running, H, report, 3.0)
    assert step.record.reason == Reason(party=H, task="toy_0", code="data", cause="no table")
    (end,) = [c.message for c in step.commands if isinstance(c, Tell)]
    assert isinstance(end, JobEnd)
    assert step.record.reason is not None
    assert end.signature == b"signed:" + decision_bytes("j", JobStatus.FAILED, step.record.reason)


def test_a_stop_at_a_host_is_asked_of_the_initiator() -> None:
    step = MACHINE.stop(record(H, G, H), "canceled", "stopped", 2.0)
    assert tells(step) == [(G, "StopRequest")]
    assert KillTasks() in step.commands
    decided = MACHINE.told(record(G, G, H), H, StopRequest(code="canceled", cause="stopped"), 3.0)
    assert decided.record.status is JobStatus.CANCELED
    assert decided.record.reason == Reason(party=H, code="canceled", cause="stopped")


def test_recovery_starts_running_tasks_again() -> None:
    running = MACHINE.told(record(G, G, H), H, JobAnswer(accepted=True, code="", cause=""), 2.0).record
    assert StartTask("toy_0") in MACHINE.recovered(running).commands
    assert MACHINE.recovered(record(G, G, H)).commands == ()


@pytest.mark.parametrize(("before", "after"), list(itertools.product(JobStatus, JobStatus)))
def test_job_transitions_are_exactly_the_table(before: JobStatus, after: JobStatus) -> None:
    job = record(G, G, H).change(status=before)
    if after in JOB_TRANSITIONS[before]:
        assert job.with_status(after).status is after
    else:
        with pytest.raises(ValueError, match="cannot go"):
            job.with_status(after)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(TaskStatus, TaskStatus)))
def test_task_transitions_are_exactly_the_table(before: TaskStatus, after: TaskStatus) -> None:
    job = record(G, G, H).change(tasks={"toy_0": before})
    if after in TASK_TRANSITIONS[before]:
        assert job.with_task("toy_0", after).tasks["toy_0"] is after
    else:
        with pytest.raises(ValueError, match="cannot go"):
            job.with_task("toy_0", after)


@dataclass
class World:
    """Three machines, and messages that come late, twice and in any order."""

    seed: int
    failing: str | None = None
    records: dict[Address, JobRecord] = field(default_factory=dict)
    mail: list[tuple[Address, Address, object]] = field(default_factory=list)
    started: list[tuple[Address, str]] = field(default_factory=list)
    ended: dict[Address, int] = field(default_factory=dict)

    def take(self, me: Address, step: Step) -> None:
        self.records[me] = step.record
        for command in step.commands:
            if isinstance(command, Tell):
                self.mail += [(me, command.to, command.message)] * 2
            elif isinstance(command, StartTask):
                self.started.append((me, command.task))
            elif isinstance(command, Ended):
                self.ended[me] = self.ended.get(me, 0) + 1

    def run(self) -> None:
        chance = random.Random(self.seed)
        self.take(G, MACHINE.submitted(record(G, G, H, H2)))
        while self.mail or self.started:
            if self.started and (not self.mail or chance.random() < 0.5):
                me, task = self.started.pop(chance.randrange(len(self.started)))
                fails = task == self.failing and me == H
                done = MACHINE.task_failed(self.records[me], task, "x", "y", 5.0) if fails else None
                self.take(me, done or MACHINE.task_succeeded(self.records[me], task, 5.0))
            elif self.mail:
                sender, me, message = self.mail.pop(chance.randrange(len(self.mail)))
                self.deliver(sender, me, message)

    def deliver(self, sender: Address, me: Address, message: object) -> None:
        if isinstance(message, JobOffer):
            if me not in self.records:
                self.take(me, MACHINE.offered(record(me, G, H, H2), None))
        elif me not in self.records:
            self.mail.append((sender, me, message))
        else:
            self.take(me, MACHINE.told(self.records[me], sender, message, 4.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(200))
def test_every_order_of_messages_ends_equally_everywhere(seed: int) -> None:
    world = World(seed)
    world.run()
    assert {r.status for r in world.records.values()} == {JobStatus.SUCCESS}
    assert world.ended == {G: 1, H: 1, H2: 1}
    assert all(set(r.tasks.values()) == {TaskStatus.SUCCESS} for r in world.records.values())


@pytest.mark.parametrize("seed", range(200))
def test_a_failure_ends_every_party_with_the_same_reason(seed: int) -> None:
    world = World(seed, failing="toy_1")
    world.run()
    assert {r.status for r in world.records.values()} == {JobStatus.FAILED}
    assert {r.reason for r in world.records.values()} == {Reason(party=H, task="toy_1", code="x", cause="y")}
