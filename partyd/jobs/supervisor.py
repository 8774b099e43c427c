"""The jobs of one address, for those who ask: the API above, the post office below.

`partyd.jobs.intake` takes what peers say, `partyd.jobs.conductor` applies events and carries out what the machine
commands; this is their front.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import structlog

from partyd.components.base import Component
from partyd.components.limits import Limits
from partyd.dag.spec import JobSpec, read_dag
from partyd.errors import JobError, JobRejected, StoreError, StoreFull
from partyd.federation.insist import insist
from partyd.federation.office import PostOffice
from partyd.federation.rows import JobRow
from partyd.governance import contract as contracts
from partyd.governance.contract import PartyTerms, SignedContract
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs.commands import Step
from partyd.jobs.conductor import CONTRACTS, ERASING, Conductor, Live, read_record
from partyd.jobs.control import KINDS
from partyd.jobs.diary import Progress
from partyd.jobs.evidence import Evidence
from partyd.jobs.inherit import Inheritances
from partyd.jobs.intake import Intake
from partyd.jobs.machine import JobMachine, again
from partyd.jobs.ports import JobStore, Judge, Transaction, Verify
from partyd.jobs.record import JobRecord, JobStatus
from partyd.jobs.schedule import first_tasks, to_run_again
from partyd.jobs.slots import SlotDesk, own_cores
from partyd.jobs.tasks import TaskRunner
from partyd.jobs.why import Why, why_of
from partyd.types import Address, MessageId

log = structlog.get_logger()

OPEN = (JobStatus.WAITING.value, JobStatus.RUNNING.value)
JOB_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}\Z")
REQUESTS = "job_request"
"""By request id: the job that it began."""
MAX_REQUEST_ID = 128
MAX_NOTES = 4000


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
        verify: Verify,
        judge: Judge,
        slots: SlotDesk | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.me = me
        self.office = office
        self.runner = runner
        self._store = store
        self._components = components
        self._machine = JobMachine(components, sign)
        self._clock = clock
        self._submitting = asyncio.Lock()
        table = slots or SlotDesk.of(own_cores(0))
        evidence = Evidence(office, store, sign, verify)
        self._conductor = Conductor(office, store, runner, self._machine, table, clock, self._gone, evidence)
        self._inheritances = Inheritances(store, runner, components, me)
        self._intake = Intake(self._conductor, store, components, judge, verify, self._inheritances)

    async def run(self) -> None:
        """Go on with every open job, then serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._conductor.group = group
            try:
                await self._recover()
                await asyncio.get_running_loop().create_future()
            finally:
                self._conductor.group = None

    async def load(self) -> None:
        """Read the jobs of earlier lives, before any mail is admitted."""
        for row in await self._store.read(lambda store: store.jobs(limit=1_000_000)):
            self._conductor.ended.add(row.job)
            if row.status not in OPEN:
                continue
            if (record := read_record(row)) is not None:
                self._conductor.admit(Live(record))
            else:
                await self._store.write(lambda store: _give_up(store, row))  # noqa: B023

    async def _recover(self) -> None:
        for row in await insist(
            "not_read", lambda: self._store.read(lambda store: store.documents(ERASING, limit=100_000))
        ):
            await self._conductor.forget(row.key)
        for job in list(self._conductor.live):
            await self._conductor.insist(job, lambda record: self._machine.recovered(record, self._clock()))
        for mail in await insist("not_read", lambda: self._store.read(lambda store: store.unconsumed_control())):
            if not mail.message.job:
                continue  # not about a job: its owner takes it
            body = await self._store.read(lambda store: store.read_body(mail.body))  # noqa: B023
            self._intake.control(mail.message, body)

    def _gone(self, job: str) -> None:
        self._intake.release(job)

    # -- beginning

    async def submit(self, document: object, *, request_id: str = "") -> str:
        """Start a job from its parsed document and return its id; the same ``request_id`` again means the same job.

        Raises JobRejected listing every mistake or saying what our own policy refuses, StoreFull when there is no room.
        """
        if len(request_id) > MAX_REQUEST_ID:
            raise JobRejected(f"request_id has {len(request_id)} characters; at most {MAX_REQUEST_ID} are kept")
        async with self._submitting:
            known = await self._store.read(lambda store: store.document(REQUESTS, request_id)) if request_id else None
            if known is not None:
                return known.decode()
            return await self._submit(document, request_id)

    async def _submit(self, document: object, request_id: str) -> str:
        if self._store.is_low():
            raise StoreFull("the disk is almost full; free some space, then submit again")
        spec = await asyncio.to_thread(read_dag, document, self._components)
        if self.me not in spec.dag.addresses():
            raise JobRejected(f"dag.parties: {self.me} is not among the parties; submit at a party of the job")
        self._intake.check_parties(spec)
        verdict = await self._judged(spec)
        job = datetime.now(UTC).strftime("%Y%m%d%H%M%S%f") + f"{secrets.randbelow(1000):03d}"
        record = self._new(job, spec, request_id)
        await asyncio.to_thread(_check_size, record, self._components)
        record = await self._inheritances.taken_over(record)
        terms = _terms(verdict, "initiator")

        def keep(store: Transaction) -> None:
            if request_id:
                store.put_document(REQUESTS, request_id, job.encode())

        self._conductor.admit(Live(record))
        try:
            await self._conductor.apply(
                job, lambda current: self._machine.submitted(current, verdict, terms, {}), extra=keep
            )
        except StoreError:
            del self._conductor.live[job]
            raise
        return job

    def _new(self, job: str, spec: JobSpec, request_id: str) -> JobRecord:
        bare = JobRecord(
            job=job,
            me=self.me,
            initiator=self.me,
            spec=spec,
            tasks={},
            created_at=self._clock(),
            request_id=request_id,
        )
        return bare.change(tasks=first_tasks(bare, self._components))

    async def _judged(self, spec: JobSpec) -> Verdict:
        verdict = await self._intake.judged(spec, self.me)
        if verdict.kind is VerdictKind.REFUSE:
            raise JobRejected(verdict.detail or verdict.cause)
        return verdict

    async def approve(self, job: str, who: str) -> None:
        """Let a job in that waits for this party's owner; raises JobError when it does not."""
        record = await self._parked(job)
        terms = PartyTerms(limits=record.limits, approved_by=who or "owner").to_bytes().decode()
        await self._conductor.apply(job, lambda current: self._machine.approved(current, terms, who))

    async def reject(self, job: str, who: str, cause: str = "") -> None:
        """Refuse a job that waits for this party's owner; raises JobError when it does not."""
        await self._parked(job)
        told = cause or f"the owner of {self.me} did not approve the job"
        await self._conductor.apply(job, lambda current: self._machine.rejected(current, who, told, self._clock()))

    async def _parked(self, job: str) -> JobRecord:
        record = await self.record(job)
        if not record.is_parked or record.is_ended:
            raise JobError(f"job {job} does not wait for an approval at {self.me}; see: flow job why {job}")
        return record

    # -- ending, and again

    async def stop(self, job: str, cause: str = "stopped by its owner") -> None:
        """End a job at every party; raises JobError when it is unknown here."""
        if job not in self._conductor.live:
            await self.record(job)
            return
        await self._conductor.apply(job, lambda record: self._machine.stop(record, "canceled", cause, self._clock()))

    async def rerun(self, job: str, tasks: Sequence[str] = ()) -> None:
        """Run an ended job again from ``tasks``, or from what failed, and everything behind it; its id stays.

        Raises JobError when it has not ended, when another party began it, or when outputs were erased.
        """
        record = await self.record(job)
        if record.initiator != self.me:
            raise JobError(f"job {job} was begun by {record.initiator}; only there can it be run again")
        if not record.is_ended:
            raise JobError(f"job {job} is {record.status.value}; stop it first, or wait for its end")
        while job in self._conductor.live:
            await self.changed()
        record = await self.record(job)
        versions = to_run_again(record, tasks, self._components)
        left = [task for task in record.tasks if task not in versions]
        if left and record.cleaned:
            raise JobError(f"{record.cleaned[0]} has erased its outputs of job {job}; run all of it again")
        self._intake.check_parties(record.spec)
        verdict = await self._judged(record.spec)
        if job in self._conductor.live:
            raise JobError(f"job {job} is being run again already")
        self._conductor.admit(Live(again(record, record.run + 1, versions)))
        terms = _terms(verdict, "initiator")
        try:
            await self._conductor.apply(job, lambda current: self._machine.submitted(current, verdict, terms, versions))
        except StoreError:
            del self._conductor.live[job]
            self._conductor.ended.add(job)
            raise

    async def clean(self, job: str) -> None:
        """Erase this party's outputs and diaries of an ended job; the others are told, and keep theirs."""
        record = await self._closed(job)
        await self._intake.change_ended(
            job,
            lambda current: self._machine.cleaned(current),
            lambda: self.runner.erase(job, list(record.tasks)),
        )

    async def clean_queue(self) -> list[str]:
        """Cancel every job that waits and return their ids."""
        waiting = [job for job, live in self._conductor.live.items() if live.record.status is JobStatus.WAITING]
        for job in waiting:
            await self.stop(job, "the queue was cleaned")
        return waiting

    async def note(self, job: str, text: str) -> None:
        """Keep the owner's notes on a job, here alone."""

        def noted(record: JobRecord) -> Step:
            return Step(record.change(notes=text[:MAX_NOTES]))

        if job in self._conductor.live:
            await self._conductor.apply(job, noted)
        else:
            await self.record(job)
            await self._intake.change_ended(job, noted)

    async def _closed(self, job: str) -> JobRecord:
        record = await self.record(job)
        if not record.is_ended or job in self._conductor.live:
            raise JobError(f"job {job} has not ended yet; stop it first: flow job stop {job}")
        return record

    # -- asking

    async def record(self, job: str) -> JobRecord:
        """Return a job's record; raises JobError when it is unknown here."""
        if job in self._conductor.live:
            return self._conductor.live[job].record
        row = await self._store.read(lambda store: store.job(job))
        if row is None:
            raise JobError(f"{self.me} knows no job {job!r}; list them with: flow job list")
        record = read_record(row)
        if record is None:
            raise JobError(f"job {job} was written by another version of partyd, which alone can show it")
        return record

    async def records(self, limit: int = 20, offset: int = 0) -> list[JobRecord]:
        """Return jobs, the newest first."""
        rows = await self._store.read(lambda store: store.jobs(limit=limit, offset=offset))
        return [record for row in rows if (record := read_record(row)) is not None]

    async def why(self, job: str) -> Why:
        """Return what a job waits for or why it ended, which party and step, and what to do."""
        record = await self.record(job)
        silent = [peer for peer in record.others if peer not in self.office.links or self._is_silent(peer)]
        return why_of(record, silent)

    def _is_silent(self, peer: Address) -> bool:
        return self.office.links[peer].is_suspect

    async def contract(self, job: str) -> bytes | None:
        """Return the contract of a job with the signatures known here (`SignedContract`), None before there is one."""
        record = await self.record(job)
        text = await self._store.read(lambda store: store.document(CONTRACTS, job))
        if text is None or not record.contract:
            return None
        return SignedContract(contract=text.decode(), signatures=record.signatures).to_bytes()

    def remote_progress(self, job: str) -> dict[str, dict[str, Progress]]:
        """Return, by address and task, how far the other parties' running tasks are, as far as it was heard."""
        live = self._conductor.live.get(job)
        found: dict[str, dict[str, Progress]] = {}
        for (party, task), progress in live.progress.items() if live is not None else ():
            found.setdefault(party, {})[task] = progress
        return found

    async def changed(self) -> None:
        """Wait until any job changes."""
        await self._conductor.changed()

    def counts(self) -> dict[str, int]:
        """Return how many jobs are in each state, for the metrics."""
        return self._conductor.counts()

    # -- what the post office calls

    def admit(self, message: MessageId) -> bool:
        """Return whether a message from a pinned peer is wanted: its job is open here, or it may begin one."""
        if not JOB_ID.match(message.job):
            return False
        if message.task == "":
            return message.kind in KINDS
        live = self._conductor.live.get(message.job)
        if live is None or live.record.is_ended or message.source not in live.record.others:
            return False
        state = live.record.tasks.get(message.task)
        return state is not None and message.attempt >= state.version

    def control(self, message: MessageId, body: bytes) -> None:
        """Take a control message that is in the inbox."""
        self._intake.control(message, body)

    def equivocated(self, message: MessageId) -> None:
        """End a job of which a party of it sent two contents under one identity."""
        live = self._conductor.live.get(message.job)
        if live is None or message.source not in live.record.others:
            return
        self._end_soon(message.job, "equivocation", f"{message.source} sent two contents as {message.kind}")

    def peer_lost_store(self, peer: Address) -> None:
        """End the running jobs shared with a peer that came back without its memory."""
        for job, live in list(self._conductor.live.items()):
            if peer in live.record.others and live.record.status is JobStatus.RUNNING:
                self._end_soon(job, "peer_store_lost", f"{peer} came back with another store; submit the job again")

    def partners(self) -> set[Address]:
        """Return the other parties of the open jobs."""
        return {peer for live in self._conductor.live.values() for peer in live.record.others}

    def peer_revoked(self, peer: Address) -> None:
        """End the open jobs shared with a peer that is not to be spoken to any more."""
        for job, live in list(self._conductor.live.items()):
            if peer in live.record.others:
                event = self._machine.abandon if peer == live.record.initiator else self._machine.stop
                self._end_soon(job, "peer_revoked", f"{self.me} speaks to {peer} no more", event)

    def end_stalled(self, timeout_s: float) -> None:
        """End the open jobs that no peer will bring on; call it now and then.

        They are those begun here of which a peer was silent for ``timeout_s``, those of a silent initiator, and those
        of a peer that came back with a version without contracts.
        """
        for job, live in list(self._conductor.live.items()):
            record = live.record
            if record.is_ended or record.stopping is not None:
                continue
            waited_for = record.others if record.leads else [record.initiator]
            silent = [peer for peer in waited_for if self.office.silent_s(peer) >= timeout_s > 0]
            outdated = [peer for peer in waited_for if self.office.is_outdated(peer)]
            if silent:
                cause = f"{silent[0]} was silent for {timeout_s / 3600:g} h (jobs.peer_timeout_s); see partyd doctor"
                self._end_soon(job, "peer_timeout", cause)
            elif outdated:
                cause = f"{outdated[0]} runs a version of partyd that knows no contracts"
                self._end_soon(job, "peer_version", cause)

    def _end_soon(
        self, job: str, code: str, cause: str, event: Callable[[JobRecord, str, str, float], Step] | None = None
    ) -> None:
        if job in self._conductor.live:
            end = event or self._machine.stop
            self._conductor.spawn(self._conductor.insist(job, lambda record: end(record, code, cause, self._clock())))


def _check_size(record: JobRecord, components: Mapping[str, Component]) -> None:
    """Raise JobRejected when the contract would be too large, before anybody has agreed to the job."""
    longest = PartyTerms(version="9" * 32, limits=Limits(min_rows=1 << 40), approved_by="?" * 128)
    contracts.build(
        record.job, record.spec, components, dict.fromkeys(record.parties, longest), initiator=record.initiator
    )


def _give_up(store: Transaction, row: JobRow) -> None:
    """Close an open job whose record another version of partyd wrote: nobody could ever end it."""
    store.save_job(row.job, JobStatus.FAILED.value, row.document)
    store.append_event("job_not_readable", row.job, b"{}")


def _terms(verdict: Verdict, approved_by: str) -> str:
    return PartyTerms(limits=verdict.limits, approved_by=approved_by).to_bytes().decode()
