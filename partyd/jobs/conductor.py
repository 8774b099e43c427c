"""Carries out what the job machine commands, for one address: stores, tells the peers, runs the tasks.

Each event of a job is applied under that job's lock: the new record, the messages to the peers, the consumed control
message and the audit events go to the store in one transaction; only then are the other commands carried out. After a
restart the records are read again and every open job goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from partyd.errors import PartydError, StoreError
from partyd.federation.insist import insist
from partyd.federation.office import PostOffice
from partyd.federation.rows import JobRow
from partyd.governance import contract as contracts
from partyd.governance.audit import note_traffic
from partyd.governance.contract import PartyTerms, Run
from partyd.governance.grants import note_use
from partyd.jobs.commands import (
    AskSlots,
    Audit,
    AwaitEnd,
    AwaitSlots,
    AwaitTimeout,
    Command,
    Ended,
    FixSlots,
    FreeSlots,
    KillTasks,
    MakeContract,
    NoteUse,
    ShowHead,
    StartTask,
    Step,
    Tell,
)
from partyd.jobs.diary import Progress
from partyd.jobs.evidence import Evidence, Outgoing
from partyd.jobs.machine import JobMachine
from partyd.jobs.ports import JobStore, Transaction
from partyd.jobs.progress import ProgressTeller
from partyd.jobs.record import JobRecord, JobStatus
from partyd.jobs.slots import Ask, Granted, Notice, Short, SlotDesk
from partyd.jobs.tasks import TaskRunner
from partyd.types import Address, MessageId

log = structlog.get_logger()

Event = Callable[[JobRecord], Step]
Extra = Callable[[Transaction], None]
ERASING = "erasing"
"""Jobs that have ended and whose secrets and mail are still to be erased: kept until that is done."""
CONTRACTS = "contract"
"""The contract of each job that this party has signed, by job."""
SLOT_ANSWER_S = 30.0
"""How long a party may take to answer when it is asked for cores, before the others have theirs back."""
STOP_WAIT_S = 8.0
"""How long a stopped job waits for its initiator's word, before it ends here without."""
RETRY_DELAY_S = 0.5
UNTOLD = frozenset({"internal", "config", "local_protocol", "store", "store_corrupt"})
"""Failures whose sentence may quote our data, files or settings: the others hear where to ask, our log has it all."""


@dataclass
class Live:
    """A job that has not ended, or whose secrets are not erased yet, and its tasks under way."""

    record: JobRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: dict[str, tuple[int, asyncio.Task[None]]] = field(default_factory=dict)
    """By task: the attempt and what runs it."""
    timers: set[asyncio.Task[None]] = field(default_factory=set)
    progress: dict[tuple[str, str], Progress] = field(default_factory=dict)
    """By party and task: how far the others' running tasks are."""
    is_making: bool = False
    """Whether the contract is being written."""


class Conductor:
    """The open jobs of one address."""

    def __init__(
        self,
        office: PostOffice,
        store: JobStore,
        runner: TaskRunner,
        machine: JobMachine,
        slots: SlotDesk,
        clock: Callable[[], float],
        ended: Callable[[str], None],
        evidence: Evidence,
    ) -> None:
        self.me = office.me
        self.office = office
        self.store = store
        self.runner = runner
        self.machine = machine
        self.clock = clock
        self.live: dict[str, Live] = {}
        self.ended: set[str] = set()
        self.group: asyncio.TaskGroup | None = None
        self._slots = slots
        self._tell_ended = ended
        self.evidence = evidence
        self._changed = asyncio.Event()
        self._teller = ProgressTeller(office, store)
        runner.progressed = self._progressed
        slots.listen(self.me, self._noticed)

    # -- watching

    async def changed(self) -> None:
        """Wait until any job changes."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wake everybody who waits for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # -- events

    def admit(self, live: Live) -> None:
        """Take up a job, new or from an earlier life."""
        self.live[live.record.job] = live
        self.ended.discard(live.record.job)
        if live.record.slot.state == "granted":
            self._slots.table.hold(self._ask_of(live.record))

    async def apply(
        self, job: str, event: Event, consumed: MessageId | None = None, extra: Extra | None = None
    ) -> None:
        """Apply an event to a live job; one of a job that is gone only consumes its message."""
        live = self.live.get(job)
        if live is None:
            if consumed is not None:
                await self.consume(consumed)
            return
        async with live.lock:
            step = event(live.record)
            if step.record is not live.record or step.commands or consumed:
                posted = await self.store.write(
                    lambda store: self._commit(store, live, step, consumed, extra), is_vital=step.record.is_ended
                )
                self.evidence.dispatch(posted)
            if live.record.status is not step.record.status:
                log.info("job_changed", job=job, party=str(self.me), status=step.record.status.value)
            live.record = step.record
            self._carry_out(live, step.commands)
        self.notify()

    def _commit(
        self, store: Transaction, live: Live, step: Step, consumed: MessageId | None, extra: Extra | None
    ) -> Outgoing:
        record = step.record
        posted: Outgoing = []
        if record is not live.record or step.commands:
            store.save_job(record.job, record.status.value, record.model_dump_json().encode())
        if consumed is not None:
            mark_consumed(store, consumed)
        if extra is not None:
            extra(store)
        for command in step.commands:
            if isinstance(command, Tell):
                kind = type(command.message).__name__
                message = MessageId(record.job, "", 0, command.scope, kind, self.me, command.to)
                body = command.message.to_bytes()
                posted.append((message, self.office.post(store, message, body), body))
            elif isinstance(command, Audit):
                store.append_event(command.kind, record.job, json.dumps(dict(command.detail), sort_keys=True).encode())
            elif isinstance(command, ShowHead):
                posted += self.evidence.show(store, record.job, command.scope, command.to)
            elif isinstance(command, NoteUse):
                name = f"{record.job}#{record.run}" if record.run else record.job
                note_use(store, name, record.initiator, record.datasets, self.clock())
            elif isinstance(command, Ended):
                store.put_document(ERASING, record.job, b"")
        return posted

    async def insist(self, job: str, event: Event, extra: Extra | None = None) -> None:
        """Apply an event that nobody would bring again, whatever it takes until the store has it."""
        await insist("job_not_stored", lambda: self.apply(job, event, extra=extra), job=job)

    async def consume(self, message: MessageId) -> None:
        """Mark a control message as read, whatever it takes."""
        await insist("control_not_consumed", lambda: self.store.write(lambda store: mark_consumed(store, message)))

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None] | None:
        """Do something in the background; not while stopping, for the next start goes on from the records."""
        if self.group is None:
            work.close()
            return None
        return self.group.create_task(work)

    # -- commands

    def _carry_out(self, live: Live, commands: tuple[Command, ...]) -> None:
        if self.group is None:
            return
        record = live.record
        for command in commands:
            match command:
                case StartTask():
                    self._start(live, command)
                case KillTasks():
                    for task, (_, running) in live.running.items():
                        if command.tasks is None or task in command.tasks:
                            running.cancel()
                case MakeContract():
                    if not live.is_making:
                        live.is_making = True
                        self.spawn(self._make_contract(live))
                case AskSlots():
                    self._slots.ask(self._ask_of(record))
                case FixSlots():
                    self._slots.table.fix(record.job, self.me)
                case FreeSlots():
                    self._slots.release(record.job, self.me)
                case Ended():
                    self.spawn(self._finish(live))
                case AwaitSlots() | AwaitEnd() | AwaitTimeout():
                    self._await(live, command)
                case Audit():
                    self.runner.schedule_log(record.job).log("INFO", _sentence(command))
                case _:
                    pass

    def _await(self, live: Live, command: AwaitSlots | AwaitEnd | AwaitTimeout) -> None:
        machine = self.machine
        if isinstance(command, AwaitSlots):
            rollbacks = command.rollbacks
            self._later(live, SLOT_ANSWER_S, lambda record: machine.slots_late(record, rollbacks))
        elif isinstance(command, AwaitEnd):
            self._later(live, STOP_WAIT_S, lambda record: machine.stop_unheard(record, self.clock()))
        else:
            cause = f"the job ran longer than {live.record.spec.dag.conf.timeout} s, the timeout of its conf"
            delay_s = max(0.0, command.at - self.clock())
            self._later(live, delay_s, lambda record: machine.stop(record, "timeout", cause, self.clock()))

    def _later(self, live: Live, delay_s: float, event: Event) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay_s)
            await self.insist(live.record.job, event)

        timer = self.spawn(wait())
        if timer is not None:
            live.timers.add(timer)
            timer.add_done_callback(live.timers.discard)

    def _ask_of(self, record: JobRecord) -> Ask:
        slot = record.slot
        shares = self._slots.shares(record.parties)
        return Ask(record.job, self.me, slot.ask, slot.cores, slot.priority, slot.asked_at, shares)

    def _noticed(self, notice: Notice) -> None:
        """Take what the daemon's table says to one of our asks."""
        ask = notice.ask
        machine, number = self.machine, ask.number
        event: Event
        if isinstance(notice, Granted):
            live = self.live.get(ask.job)
            asked = live.record.slot.cores if live is not None else ask.cores
            if asked > ask.cores:
                log.info("cores_fewer", job=ask.job, asked=asked, granted=ask.cores, what="all that are here for it")
            event = lambda record: machine.slots_granted(record, number, ask.cores, self.clock())  # noqa: E731
        elif isinstance(notice, Short):
            cause = notice.cause
            event = lambda record: machine.slots_short(record, number, cause, self.clock())  # noqa: E731
        else:
            event = lambda record: machine.slots_wanted(record, number)  # noqa: E731
        self.spawn(self.insist(ask.job, event))

    # -- the contract

    async def _make_contract(self, live: Live) -> None:
        record = live.record
        try:
            text = await asyncio.to_thread(self._build, record)
            limits = contracts.limits_in(text)
        except (PartydError, ValueError) as error:
            cause = str(error)
            await self.insist(
                record.job, lambda record: self.machine.stop(record, "contract_refused", cause, self.clock())
            )
            return
        finally:
            live.is_making = False
        digest = contracts.digest(text)
        signature = self.machine.sign(contracts.contract_bytes_to_sign(text))
        await self.insist(
            record.job,
            lambda record: self.machine.contract_made(record, text, digest, signature, limits),
            lambda store: store.put_document(CONTRACTS, record.job, text),
        )

    def _build(self, record: JobRecord) -> bytes:
        answers = {Address.parse(a): PartyTerms.from_bytes(terms.encode()) for a, terms in record.answers.items()}
        run = Run(record.run, record.anew)
        components = self.machine.components
        return contracts.build(record.job, record.spec, components, answers, initiator=record.initiator, run=run)

    # -- tasks

    def _start(self, live: Live, command: StartTask) -> None:
        version, before = live.running.get(command.task, (-1, None))
        if version >= command.version:
            return
        work = self.spawn(self._run_task(live, command.task, command.version, before))
        if work is not None:
            live.running[command.task] = (command.version, work)

    async def _run_task(self, live: Live, task: str, version: int, before: asyncio.Task[None] | None) -> None:
        """Run one attempt, after the worker of the one before has ended."""
        if before is not None:
            await asyncio.wait([before])
        if live.record.tasks[task].retries:
            await asyncio.sleep(RETRY_DELAY_S)
        job, machine = live.record.job, self.machine
        try:
            result = await self.runner.run(live.record, task)
        except (PartydError, OSError, LookupError, ValueError) as error:
            code = error.code if isinstance(error, PartydError) else "internal"
            cause = str(error) if isinstance(error, PartydError) else f"{type(error).__name__}: {error}"
            await self._failed(live, task, version, code, cause)
            return
        if result.verdict == "done":
            scheduled_at = live.record.tasks[task].started_at or 0.0
            await self._from_task(live, task, version, lambda r: machine.task_succeeded(r, task, version, self.clock()))
            log.info(
                "task_finished",
                me=str(self.me),
                job=job,
                task=task,
                cpu_s=result.cpu_s,
                peak_kib=result.peak_kib,
                before_s=round(result.first_at - scheduled_at, 4),
                after_s=round(self.clock() - result.last_at, 4),
                **result.costs,
            )
            return
        await self._failed(live, task, version, result.code, result.cause)

    async def _failed(self, live: Live, task: str, version: int, code: str, cause: str) -> None:
        job = live.record.job
        self.runner.diary(job, task).log("ERROR", cause)
        log.warning("task_failed", job=job, task=task, code=code, cause=cause)
        is_told = code not in UNTOLD or not live.record.others
        told = cause if is_told else f"{self.me} cannot go on; its own log of the task has the cause"
        await self._from_task(
            live, task, version, lambda r: self.machine.task_failed(r, task, version, code, told, self.clock())
        )

    async def _from_task(self, live: Live, task: str, version: int, event: Event) -> None:
        """Apply a task's result; the asyncio task must not cancel itself when the job's end kills the others."""
        if live.running.get(task, (-1, None))[0] == version:
            del live.running[task]
        await self.insist(live.record.job, event)

    def _progressed(self, record: JobRecord, task: str, progress: Progress) -> None:
        """Let the others know how far a task is, now and then; what cannot be stored is not said."""
        live = self.live.get(record.job)
        if live is not None and not live.record.is_ended and self._teller.is_due(record, task):
            self.spawn(self._tell_progress(record, task, progress))

    async def _tell_progress(self, record: JobRecord, task: str, progress: Progress) -> None:
        with contextlib.suppress(StoreError):
            await self._teller.tell(record, task, progress)

    # -- the end

    async def _finish(self, live: Live) -> None:
        job = live.record.job
        under_way = [task for _, task in live.running.values()] + list(live.timers)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._slots.release(job, self.me)
        self.office.forget(job)
        self.runner.forget(job)
        self._teller.forget(job)
        await self.forget(job)
        for peer in live.record.others:
            await insist("inbox_not_read", lambda: self.office.consumed(peer))  # noqa: B023
        await insist("tables_not_released", lambda: self.runner.release(job), job=job)
        self.live.pop(job, None)
        self.ended.add(job)
        log.info("job_ended", job=job, party=str(self.me), status=live.record.status.value)
        self.notify()
        self._tell_ended(job)

    async def forget(self, job: str) -> None:
        """Note what was exchanged for a job and erase its secrets and mail, whatever it takes."""
        await insist("job_not_erased", lambda: self._forget(job), job=job)

    async def _forget(self, job: str) -> None:
        row = await self.store.read(lambda store: store.job(job))
        record = read_record(row) if row is not None else None
        traffic = {} if record is None else await self.evidence.traffic(record)

        def erase(store: Transaction) -> None:
            if record is not None:
                for task, exchanged in traffic.items():
                    note_traffic(store, job, task, record.tasks[task].version, exchanged)
            store.forget_secrets(job)
            store.abandon_mail(job)
            store.forget_mail(job)
            store.delete_document(ERASING, job)

        await self.store.write(erase)

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state, for the metrics."""
        states = [live.record.status for live in self.live.values()]
        still = {state.value: states.count(state) for state in (JobStatus.WAITING, JobStatus.RUNNING)}
        return still | {"ended": len(self.ended)}


def mark_consumed(store: Transaction, message: MessageId) -> None:
    """Consume a control message unless that was done before."""
    if store.take(message) is not None:
        store.consume([message])


def read_record(row: JobRow) -> JobRecord | None:
    """Return a stored job's record, None when another version of partyd wrote it."""
    try:
        return JobRecord.model_validate_json(row.document)
    except ValidationError as error:
        log.error("job_not_readable", job=row.job, error=str(error)[:500])
        return None


def _sentence(audit: Audit) -> str:
    detail = " ".join(f"{key}={value}" for key, value in audit.detail.items())
    return f"{audit.kind.replace('_', ' ')} {detail}".strip()
