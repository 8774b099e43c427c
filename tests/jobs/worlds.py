"""Several parties' job machines and slot tables in one process; messages come late, twice and in any order.

Each event of a party is followed by a draw whether its daemon is killed: its records are on the disk then, what it had
in memory (its slot table, timers, running tasks) is gone, and its next life begins with what the records say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from partyd.components import COMPONENTS
from partyd.components.limits import Limits
from partyd.dag.spec import JobSpec, read_dag
from partyd.governance import contract as contracts
from partyd.governance.contract import PartyTerms
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs import commands as c
from partyd.jobs.control import ContractDraft, JobMessage, JobOffer
from partyd.jobs.machine import JobMachine, again
from partyd.jobs.record import JobRecord, JobStatus
from partyd.jobs.schedule import first_tasks, to_run_again
from partyd.jobs.slots import Ask, Granted, Notice, Short, SlotTable
from partyd.types import ARBITER, GUEST, HOST, Address

G, H, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)
A = Address("9998", ARBITER)
MACHINE = JobMachine(COMPONENTS, sign=lambda text: b"signed:" + text)
YES = Verdict(VerdictKind.ACCEPT)
PARK = Verdict(VerdictKind.PARK, "approval", "the owner must agree")
NO = Verdict(VerdictKind.REFUSE, "policy_denied", "not with us", "no rule")
TERMS = PartyTerms().to_bytes().decode()
SIGNATURE = b"s" * 64


def spec(*parties: Address, tasks: int = 2, conf: dict[str, object] | None = None, wide: bool = False) -> JobSpec:
    """Return a job of toy examples one after the other, or all side by side."""
    shape: dict[str, object] = {"component_ref": "toy_example"}
    if len(parties) == 1:
        shape = {"component_ref": "reader", "parameters": {"namespace": "n", "name": "t"}}
    dag = {
        "parties": [{"role": p.role.label, "party_id": [p.party_id]} for p in parties],
        "conf": conf or {},
        "tasks": {
            f"toy_{i}": {**shape, "dependent_tasks": [f"toy_{i - 1}"] if i and not wide else []} for i in range(tasks)
        },
    }
    return read_dag({"dag": dag}, COMPONENTS)


def record(
    me: Address, job_spec: JobSpec, job: str = "j", initiator: Address = G, created_at: float = 1.0
) -> JobRecord:
    bare = JobRecord(job=job, me=me, initiator=initiator, spec=job_spec, tasks={}, created_at=created_at)
    return bare.change(tasks=first_tasks(bare, COMPONENTS))


@dataclass
class World:
    """Parties, their jobs, and what is under way between them."""

    seed: int
    crash: float = 0.0
    """How likely a daemon is killed after an event."""
    cores: int = 8
    fails: Callable[[Address, str, int], str] = lambda _party, _task, _version: ""
    """Return the code with which an attempt fails, "" when it succeeds."""
    verdicts: dict[Address, Verdict] = field(default_factory=dict)
    records: dict[tuple[Address, str], JobRecord] = field(default_factory=dict)
    tables: dict[Address, SlotTable] = field(default_factory=dict)
    contracts: dict[tuple[Address, str], bytes] = field(default_factory=dict)
    mail: list[tuple[Address, Address, str, JobMessage]] = field(default_factory=list)
    notices: list[tuple[Address, Notice]] = field(default_factory=list)
    running: dict[tuple[Address, str, str], int] = field(default_factory=dict)
    making: set[tuple[Address, str]] = field(default_factory=set)
    timers: list[tuple[Address, str, c.Command]] = field(default_factory=list)
    audits: list[tuple[Address, str, str]] = field(default_factory=list)
    begun: list[tuple[Address, str, str, int]] = field(default_factory=list)
    ended: dict[tuple[Address, str], int] = field(default_factory=dict)
    now: float = 10.0
    most_held: dict[Address, int] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    """Jobs whose tasks do not end."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def table(self, me: Address) -> SlotTable:
        return self.tables.setdefault(me, SlotTable(self.cores))

    # -- what happens

    def submit(self, job_spec: JobSpec, job: str = "j", initiator: Address = G, created_at: float = 1.0) -> None:
        fresh = record(initiator, job_spec, job, initiator, created_at)
        verdict = self.verdicts.get(initiator, YES)
        self.take(initiator, MACHINE.submitted(fresh, verdict, TERMS, {}))

    def rerun(self, *tasks: str, job: str = "j", initiator: Address = G) -> None:
        old = self.records[initiator, job]
        versions = to_run_again(old, tasks, COMPONENTS)
        self.take(initiator, MACHINE.submitted(again(old, old.run + 1, versions), YES, TERMS, versions))

    def take(self, me: Address, step: c.Step) -> None:
        """Store a step and carry out its commands; sometimes the daemon is killed in between."""
        job = step.record.job
        self.records[me, job] = JobRecord.model_validate_json(step.record.model_dump_json(exclude_defaults=True))
        for command in step.commands:
            if isinstance(command, c.Tell):
                self.mail += [(me, command.to, job, command.message)] * self.chance.choice([1, 1, 2])
            elif isinstance(command, c.Audit):
                self.audits.append((me, job, command.kind))
        if self.chance.random() < self.crash:
            self.restart(me)
            return
        for command in step.commands:
            self.carry_out(me, job, command)

    def carry_out(self, me: Address, job: str, command: c.Command) -> None:
        table = self.table(me)
        current = self.records[me, job]
        match command:
            case c.StartTask():
                if self.running.get((me, job, command.task), -1) < command.version:
                    self.running[me, job, command.task] = command.version
                    self.begun.append((me, job, command.task, command.version))
            case c.KillTasks():
                for key in [k for k in self.running if k[:2] == (me, job)]:
                    if command.tasks is None or key[2] in command.tasks:
                        del self.running[key]
            case c.MakeContract():
                self.making.add((me, job))
            case c.AskSlots():
                self.tell(me, table.ask(_ask(current)))
            case c.FixSlots():
                table.fix(job, me)
            case c.FreeSlots():
                self.tell(me, table.release(job, me))
            case c.Ended():
                self.ended[me, job] = self.ended.get((me, job), 0) + 1
                self.tell(me, table.release(job, me))
            case c.AwaitSlots() | c.AwaitEnd() | c.AwaitTimeout():
                self.timers.append((me, job, command))
        held = table.total - table.free
        self.most_held[me] = max(self.most_held.get(me, 0), held)

    def tell(self, me: Address, notices: list[Notice]) -> None:
        self.notices += [(me, notice) for notice in notices]

    def restart(self, me: Address) -> None:
        """Begin a daemon's next life."""
        self.tables[me] = table = SlotTable(self.cores)
        self.notices = [entry for entry in self.notices if entry[0] != me]
        self.timers = [entry for entry in self.timers if entry[0] != me]
        self.making = {entry for entry in self.making if entry[0] != me}
        self.running = {key: version for key, version in self.running.items() if key[0] != me}
        crash, self.crash = self.crash, 0.0
        mine = [r for (who, _), r in self.records.items() if who == me and not r.is_ended]
        for current in mine:
            if current.slot.state == "granted":
                table.hold(_ask(current))
        for current in mine:
            self.take(me, MACHINE.recovered(self.records[me, current.job], self.now))
        self.crash = crash

    # -- the order of things

    def run(self, stop_when: Callable[[], bool] = lambda: False) -> None:
        """Let everything happen, in any order, until nothing is left."""
        turns = 0
        while not stop_when() and self.turn():
            turns += 1
            assert turns < 20_000, "the parties go round in circles"

    def turn(self) -> bool:
        self.now += 0.01
        tasks = [key for key in self.running if key[1] not in self.endless]
        kinds = [k for k, some in (("mail", self.mail), ("notice", self.notices), ("task", tasks)) if some]
        kinds += ["contract"] if self.making else []
        if not kinds:
            return False
        match self.chance.choice(kinds):
            case "mail":
                self.deliver(*self.mail.pop(self.chance.randrange(len(self.mail))))
            case "notice":
                self.notice(*self.notices.pop(0))
            case "contract":
                self.make_contract(*self.making.pop())
            case "task":
                self.end_task(*self.chance.choice(tasks))
        return True

    def deliver(self, sender: Address, me: Address, job: str, message: JobMessage) -> None:
        current = self.records.get((me, job))
        if isinstance(message, JobOffer) and (current is None or message.run > current.run):
            self.offer(sender, me, job, message, current)
        elif current is None or message.run > current.run:
            self.mail.append((sender, me, job, message))
        elif isinstance(message, ContractDraft):
            if current.terms and not current.contract:
                self.contracts[me, job] = message.contract
                digest = contracts.digest(message.contract)
                self.take(me, MACHINE.drafted(current, digest, "", SIGNATURE, Limits()))
        elif not isinstance(message, JobOffer):
            step = MACHINE.told(current, sender, message, self.now)
            if step.record is not current or step.commands:
                self.take(me, step)

    def offer(self, sender: Address, me: Address, job: str, message: JobOffer, current: JobRecord | None) -> None:
        job_spec = JobSpec.model_validate_json(message.spec)
        if current is not None and not current.is_ended:
            self.mail.append((sender, me, job, message))  # its end is under way
            return
        fresh = record(me, job_spec, job, sender) if current is None else again(current, message.run, message.versions)
        self.take(me, MACHINE.offered(fresh, self.verdicts.get(me, YES), TERMS))

    def make_contract(self, me: Address, job: str) -> None:
        current = self.records[me, job]
        answers = {Address.parse(a): PartyTerms.from_bytes(t.encode()) for a, t in current.answers.items()}
        if current.is_ended or set(answers) != set(current.parties):
            return
        text = contracts.build(job, current.spec, COMPONENTS, answers, initiator=me)
        self.contracts[me, job] = text
        self.take(me, MACHINE.contract_made(current, text, contracts.digest(text), SIGNATURE, Limits()))

    def notice(self, me: Address, notice: Notice) -> None:
        current, number = self.records[me, notice.ask.job], notice.ask.number
        if isinstance(notice, Granted):
            self.take(me, MACHINE.slots_granted(current, number, notice.ask.cores, self.now))
        elif isinstance(notice, Short):
            self.take(me, MACHINE.slots_short(current, number, notice.cause, self.now))
        else:
            self.take(me, MACHINE.slots_wanted(current, number))

    def end_task(self, me: Address, job: str, task: str) -> None:
        version = self.running.pop((me, job, task))
        current, code = self.records[me, job], self.fails(me, task, version)
        if code:
            self.take(me, MACHINE.task_failed(current, task, version, code, "y", self.now))
        else:
            self.take(me, MACHINE.task_succeeded(current, task, version, self.now))

    def states(self, job: str = "j") -> set[JobStatus]:
        return {r.status for (_, j), r in self.records.items() if j == job}

    def reasons(self, job: str = "j") -> set[object]:
        return {r.reason for (_, j), r in self.records.items() if j == job}

    def of(self, me: Address, job: str = "j") -> JobRecord:
        return self.records[me, job]


def _ask(current: JobRecord) -> Ask:
    slot = current.slot
    return Ask(current.job, current.me, slot.ask, slot.cores, slot.priority, slot.asked_at)
