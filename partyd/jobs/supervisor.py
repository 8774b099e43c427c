"""Carries out what the job machine commands, for one address: stores, tells the peers, runs the tasks.

Each event of a job is applied under that job's lock: the new record, the messages to the peers, the consumed control
message and the audit event go to the store in one transaction; only then are the other commands carried out. After a
restart the records are read again and every open job goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from pydantic import ValidationError

from partyd.components.base import Component
from partyd.errors import BadValue, JobError, JobRejected, PartydError, RemoteProtocolError, StoreError, StoreFull
from partyd.federation.insist import insist
from partyd.federation.office import PostOffice
from partyd.federation.rows import Posted
from partyd.jobs.control import KINDS, JobEnd, JobOffer
from partyd.jobs.machine import Ended, JobMachine, KillTasks, StartTask, Step, Tell, decision_bytes, first_tasks
from partyd.jobs.ports import JobStore, Transaction
from partyd.jobs.record import JobRecord, JobStatus, Reason
from partyd.jobs.spec import JobSpec, read_dag
from partyd.jobs.tasks import TaskRunner
from partyd.types import Address, MessageId
from partyd.wire.codec import Record

log = structlog.get_logger()

OPEN = (JobStatus.WAITING.value, JobStatus.RUNNING.value)
MAX_PARKED = 256
MAX_PARKED_BYTES = 4 << 20
"""Of each peer: messages that overtook their job's offer."""
MAX_REASON = 4000
JOB_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}\Z")
ERASING = "erasing"
"""Jobs that have ended and whose secrets and mail are still to be erased: kept until that is done."""


@dataclass
class _Live:
    """A job that has not ended, and its tasks under way."""

    record: JobRecord
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Supervisor:
    """The jobs of one address."""

    def __init__(
        self,
        me: Address,
        office: PostOffice,
        store: JobStore,
        runner: TaskRunner,
        components: Mapping[str, Component],
        *,
        sign: Callable[[bytes], bytes],
        verify: Callable[[Address, bytes, bytes], bool],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.me = me
        self.office = office
        self.runner = runner
        self._store = store
        self._components = components
        self._machine = JobMachine(components, sign)
        self._verify = verify
        self._clock = clock
        self._live: dict[str, _Live] = {}
        self._ended: set[str] = set()
        self._parked: dict[str, list[tuple[MessageId, bytes]]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Go on with every open job, then serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._recover()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    async def load(self) -> None:
        """Read the jobs of earlier lives, before any mail is admitted."""
        for row in await self._store.read(lambda store: store.jobs(limit=1_000_000)):
            if row.status in OPEN:
                try:
                    self._live[row.job] = _Live(JobRecord.model_validate_json(row.document))
                except ValidationError as error:
                    log.error("job_not_readable", job=row.job, error=str(error)[:500])
                    self._ended.add(row.job)
            else:
                self._ended.add(row.job)

    async def _recover(self) -> None:
        for row in await insist(
            "not_read", lambda: self._store.read(lambda store: store.documents(ERASING, limit=100_000))
        ):
            await self._forget(row.key)
        for job in list(self._live):
            await self._insist(job, self._machine.recovered)
        for mail in await insist("not_read", lambda: self._store.read(lambda store: store.unconsumed_control())):
            if not mail.message.job:
                continue  # not about a job: its owner takes it
            self.control(mail.message, await self._store.read(lambda store: store.read_body(mail.body)))  # noqa: B023

    # -- what the API calls

    async def submit(self, document: object) -> str:
        """Start a job from its parsed document and return its id.

        Raises JobRejected listing every mistake, StoreFull when there is no room for a job.
        """
        if self._store.is_low():
            raise StoreFull("the disk is almost full; free some space, then submit again")
        spec = read_dag(document, self._components)
        if self.me not in spec.dag.addresses():
            raise JobRejected(f"dag.parties: {self.me} is not among the parties; submit at a party of the job")
        self._check_parties(spec)
        job = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f") + f"{secrets.randbelow(1000):03d}"
        record = self._record(job, spec, self.me, self._clock())
        self._live[job] = _Live(record)
        try:
            await self._apply(job, self._machine.submitted)
        except StoreError:
            del self._live[job]
            raise
        return job

    async def stop(self, job: str, cause: str = "stopped by its owner") -> None:
        """End a job at every party; raises JobError when it is unknown here."""
        if job not in self._live:
            await self.record(job)
            return
        await self._apply(job, lambda record: self._machine.stop(record, "canceled", cause, self._clock()))

    async def record(self, job: str) -> JobRecord:
        """Return a job's record; raises JobError when it is unknown here."""
        if job in self._live:
            return self._live[job].record
        row = await self._store.read(lambda store: store.job(job))
        if row is None:
            raise JobError(f"{self.me} knows no job {job!r}; list them with: flow job list")
        return JobRecord.model_validate_json(row.document)

    async def records(self, limit: int = 20, offset: int = 0) -> list[JobRecord]:
        """Return jobs, the newest first."""
        rows = await self._store.read(lambda store: store.jobs(limit=limit, offset=offset))
        return [JobRecord.model_validate_json(row.document) for row in rows]

    async def changed(self) -> None:
        """Wait until any job changes."""
        await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state, for the metrics."""
        states = [live.record.status.value for live in self._live.values()]
        return {state: states.count(state) for state in OPEN} | {"ended": len(self._ended)}

    # -- what the post office calls

    def admit(self, message: MessageId) -> bool:
        """Return whether a message from a pinned peer is wanted: its job is open here, or it may begin one."""
        if message.job in self._ended or not JOB_ID.match(message.job):
            return False
        if message.task == "":
            return message.kind in KINDS
        live = self._live.get(message.job)
        return live is not None and message.source in live.record.others and message.task in live.record.tasks

    def control(self, message: MessageId, body: bytes) -> None:
        """Take a control message that is in the inbox."""
        if self._group is not None:  # else it stays in the inbox until the next start
            self._group.create_task(self._control(message, body))

    def equivocated(self, message: MessageId) -> None:
        """End a job of which a peer sent two contents under one identity."""
        self._end_soon(message.job, "equivocation", f"{message.source} sent two contents as {message.kind}")

    def peer_lost_store(self, peer: Address) -> None:
        """End the running jobs shared with a peer that came back without its memory."""
        for job, live in list(self._live.items()):
            if peer in live.record.others and live.record.status is JobStatus.RUNNING:
                self._end_soon(job, "peer_store_lost", f"{peer} came back with another store; submit the job again")

    def partners(self) -> set[Address]:
        """Return the other parties of the open jobs."""
        return {peer for live in self._live.values() for peer in live.record.others}

    def peer_revoked(self, peer: Address) -> None:
        """End the open jobs shared with a peer that is not to be spoken to any more."""
        for job, live in list(self._live.items()):
            if peer in live.record.others:
                event = self._machine.abandon if peer == live.record.initiator else self._machine.stop
                self._end_soon(job, "peer_revoked", f"{self.me} speaks to {peer} no more", event)

    def end_stalled(self, timeout_s: float) -> None:
        """End the jobs begun here that have waited ``timeout_s`` for a silent peer; call it now and then."""
        for job, live in list(self._live.items()):
            silent = [peer for peer in live.record.others if self.office.silent_s(peer) >= timeout_s]
            if silent and live.record.initiator == self.me and not live.record.is_ended:
                cause = f"{silent[0]} was silent for {timeout_s / 3600:g} h (jobs.peer_timeout_s); see partyd doctor"
                self._end_soon(job, "peer_timeout", cause)

    def _end_soon(
        self, job: str, code: str, cause: str, event: Callable[[JobRecord, str, str, float], Step] | None = None
    ) -> None:
        if job in self._live and self._group is not None:
            end = event or self._machine.stop
            work = self._insist(job, lambda record: end(record, code, cause, self._clock()))
            self._group.create_task(work)

    # -- events

    async def _control(self, message: MessageId, body: bytes) -> None:
        kind = KINDS.get(message.kind)
        try:
            if kind is None:
                raise BadValue(f"no control message is called {message.kind!r}")
            parsed = kind.from_bytes(body)
            await insist("control_not_stored", lambda: self._take(message, parsed, body), job=message.job)
        except (RemoteProtocolError, JobRejected, ValueError) as error:
            log.warning(
                "control_refused", job=message.job, peer=str(message.source), kind=message.kind, error=str(error)[:500]
            )
            await self._consume(message)
        await insist("inbox_not_read", lambda: self.office.consumed(message.source))

    async def _consume(self, message: MessageId) -> None:
        await insist("control_not_consumed", lambda: self._store.write(lambda store: _consume(store, message)))

    async def _take(self, message: MessageId, parsed: Record, body: bytes) -> None:
        live = self._live.get(message.job)
        if isinstance(parsed, JobOffer):
            if live is None and message.job not in self._ended:
                await self._offered(message, parsed)
                return
        elif live is None and message.job not in self._ended:
            await self._park(message, body)
            return
        if live is None or message.source not in live.record.others:
            await self._consume(message)
            return
        if isinstance(parsed, JobEnd):
            self._check_decision(message, parsed, live.record)
        await self._apply(
            message.job, lambda record: self._machine.told(record, message.source, parsed, self._clock()), message
        )

    async def _park(self, message: MessageId, body: bytes) -> None:
        """Keep a message that overtook its job's offer, in the inbox too; beyond the bound it is dropped."""
        parked = [b for entries in self._parked.values() for other, b in entries if other.source == message.source]
        if len(parked) >= MAX_PARKED or sum(map(len, parked)) + len(body) > MAX_PARKED_BYTES:
            log.warning("control_dropped", job=message.job, peer=str(message.source), kind=message.kind)
            await self._consume(message)
            return
        self._parked.setdefault(message.job, []).append((message, body))

    async def _offered(self, message: MessageId, offer: JobOffer) -> None:
        spec = await asyncio.to_thread(JobSpec.model_validate_json, offer.spec)
        addresses = spec.dag.addresses()
        if self.me not in addresses or message.source not in addresses:
            raise BadValue("an offer names parties that are not its own")
        refusal = await asyncio.to_thread(self._refusal, spec)
        if message.job in self._live:
            await self._consume(message)
            return
        record = self._record(message.job, spec, message.source, self._clock()) if refusal is None else None
        if record is None:
            record = JobRecord(
                job=message.job, me=self.me, initiator=message.source, spec=spec, tasks={}, created_at=self._clock()
            )
        self._live[message.job] = _Live(record)
        try:
            await self._apply(message.job, lambda current: self._machine.offered(current, refusal), message)
        except StoreError:
            del self._live[message.job]
            raise
        for parked, body in self._parked.pop(message.job, []):
            self.control(parked, body)

    def _refusal(self, spec: JobSpec) -> Reason | None:
        if self._store.is_low():
            return Reason(party=self.me, code=StoreFull.code, cause=f"the disk of {self.me} is almost full")
        try:
            read_dag(spec.model_dump(mode="json"), self._components)
            self._check_parties(spec)
        except JobRejected as error:
            return Reason(party=self.me, code=error.code, cause=str(error)[:2000])
        return None

    def _check_parties(self, spec: JobSpec) -> None:
        missing = [str(a) for a in spec.dag.addresses() if a != self.me and a not in self.office.links]
        if missing:
            raise JobRejected(
                f"{self.me} has pinned no peer {', '.join(missing)}; "
                f"at this party run: partyd peer add {missing[0]} --card FILE --fingerprint F"
            )

    def _check_decision(self, message: MessageId, end: JobEnd, record: JobRecord) -> None:
        if max(len(end.task), len(end.code), len(end.cause)) > MAX_REASON:
            raise BadValue(f"the reason of a job's end is longer than {MAX_REASON} characters")
        reason = Reason(party=Address.parse(end.party), task=end.task, code=end.code, cause=end.cause)
        if message.source != record.initiator or end.status not in {"success", "failed", "canceled", "timeout"}:
            raise BadValue(f"{message.source} may not end this job")
        if not self._verify(record.initiator, end.signature, decision_bytes(record.job, JobStatus(end.status), reason)):
            raise BadValue("the signature of a job's end does not hold")

    def _record(self, job: str, spec: JobSpec, initiator: Address, now: float) -> JobRecord:
        bare = JobRecord(job=job, me=self.me, initiator=initiator, spec=spec, tasks={}, created_at=now)
        return bare.change(tasks=first_tasks(bare, self._components))

    # -- commands

    async def _apply(self, job: str, event: Callable[[JobRecord], Step], consumed: MessageId | None = None) -> None:
        live = self._live.get(job)
        if live is None:
            if consumed is not None:
                await self._consume(consumed)
            return
        async with live.lock:
            step = event(live.record)
            is_changed = step.record is not live.record
            tells = [command for command in step.commands if isinstance(command, Tell)]
            if is_changed or tells or consumed:
                posted = await self._store.write(
                    lambda store: self._commit(store, step, tells, consumed), is_vital=step.record.is_ended
                )
                for message, entry, body in posted:
                    self.office.dispatch(message, entry, body)
            if live.record.status is not step.record.status:
                log.info("job_changed", job=job, party=str(self.me), status=step.record.status.value)
            live.record = step.record
            self._carry_out(live, step)
        self._notify()

    def _commit(
        self, store: Transaction, step: Step, tells: list[Tell], consumed: MessageId | None
    ) -> list[tuple[MessageId, Posted, bytes]]:
        record = step.record
        store.save_job(record.job, record.status.value, record.model_dump_json().encode())
        if consumed is not None:
            _consume(store, consumed)
        posted = []
        for tell in tells:
            message = MessageId(record.job, "", 0, tell.scope, type(tell.message).__name__, self.me, tell.to)
            body = tell.message.to_bytes()
            posted.append((message, self.office.post(store, message, body), body))
        if record.is_ended:
            reason = None if record.reason is None else record.reason.model_dump(mode="json")
            detail = {"status": record.status.value, "reason": reason}
            store.append_event("job_ended", record.job, json.dumps(detail).encode())
            store.put_document(ERASING, record.job, b"")
        return posted

    def _carry_out(self, live: _Live, step: Step) -> None:
        if self._group is None:
            return  # stopping: the record is written, and the next start goes on from it
        for command in step.commands:
            if isinstance(command, StartTask) and command.task not in live.running:
                live.running[command.task] = self._group.create_task(self._run_task(live, command.task))
            elif isinstance(command, KillTasks):
                for task in live.running.values():
                    task.cancel()
            elif isinstance(command, Ended):
                self._group.create_task(self._finish(live))

    async def _run_task(self, live: _Live, task: str) -> None:
        job = live.record.job
        try:
            result = await self.runner.run(live.record, task)
        except (PartydError, OSError, LookupError, ValueError) as error:
            code = error.code if isinstance(error, PartydError) else "internal"
            cause = str(error) if isinstance(error, PartydError) else f"{type(error).__name__}: {error}"
            await self._from_task(live, task, lambda r: self._machine.task_failed(r, task, code, cause, self._clock()))
            return
        if result.verdict == "done":
            log.info("task_finished", job=job, task=task, cpu_s=result.cpu_s, peak_kib=result.peak_kib)
            await self._from_task(live, task, lambda r: self._machine.task_succeeded(r, task, self._clock()))
        else:
            self.runner.diary(job, task).log("ERROR", result.cause)
            log.warning("task_failed", job=job, task=task, code=result.code, cause=result.cause)
            await self._from_task(
                live, task, lambda r: self._machine.task_failed(r, task, result.code, result.cause, self._clock())
            )

    async def _from_task(self, live: _Live, task: str, event: Callable[[JobRecord], Step]) -> None:
        """Apply a task's result; the asyncio task must not cancel itself when the job's end kills the others."""
        live.running.pop(task, None)
        await self._insist(live.record.job, event)

    async def _insist(self, job: str, event: Callable[[JobRecord], Step]) -> None:
        """Apply an event that nobody would bring again, whatever it takes until the store has it."""
        await insist("job_not_stored", lambda: self._apply(job, event), job=job)

    async def _finish(self, live: _Live) -> None:
        job = live.record.job
        for task in list(live.running.values()):
            task.cancel()
        await asyncio.gather(*live.running.values(), return_exceptions=True)
        self._ended.add(job)
        self._live.pop(job, None)
        self.office.forget(job)
        self.runner.forget(job)
        await self._forget(job)
        for peer in live.record.others:
            await insist("inbox_not_read", lambda: self.office.consumed(peer))  # noqa: B023
        log.info("job_ended", job=job, party=str(self.me), status=live.record.status.value)
        self._notify()

    async def _forget(self, job: str) -> None:
        await insist("job_not_erased", lambda: self._store.write(lambda store: _erase(store, job)), job=job)


def _consume(store: Transaction, message: MessageId) -> None:
    """Consume a control message unless that was done before."""
    if store.take(message) is not None:
        store.consume([message])


def _erase(store: Transaction, job: str) -> None:
    store.forget_secrets(job)
    store.abandon_mail(job)
    store.forget_mail(job)
    store.delete_document(ERASING, job)
