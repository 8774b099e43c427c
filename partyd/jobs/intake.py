"""Control messages of peers: read, checked against the job's record, and given to the job machine.

A message is consumed in the transaction that applies it. One that came before the offer it belongs to waits, in the
inbox too, so that a restart loses nothing; how many of a peer's may wait is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog

from partyd import __version__
from partyd.components.base import Component
from partyd.dag.spec import JobSpec, read_dag
from partyd.errors import (
    BadValue,
    JobError,
    JobRejected,
    PartydError,
    RemoteProtocolError,
    StoreCorrupt,
    StoreError,
    StoreFull,
)
from partyd.federation.insist import insist
from partyd.federation.rows import Posted
from partyd.governance import contract as contracts
from partyd.governance.audit import AuditHead, AuditReceipt
from partyd.governance.contract import PartyTerms, Run, SignedContract
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs.commands import Step
from partyd.jobs.conductor import CONTRACTS, Conductor, Event, Live, mark_consumed, read_record
from partyd.jobs.control import (
    KINDS,
    ContractDraft,
    ContractSigned,
    EarlierAnswer,
    JobAnswer,
    JobCleaned,
    JobEnd,
    JobMessage,
    JobOffer,
    JobStart,
    TaskProgress,
)
from partyd.jobs.diary import Progress
from partyd.jobs.ending import decision_bytes
from partyd.jobs.inherit import Inheritances
from partyd.jobs.machine import again
from partyd.jobs.offers import OfferBudget
from partyd.jobs.ports import JobStore, Judge, Transaction, Verify
from partyd.jobs.record import JOB_ENDS, TASK_DONE, JobRecord, JobStatus, Reason, TaskStatus
from partyd.jobs.running import MAX_VERSION
from partyd.jobs.schedule import first_tasks
from partyd.types import Address, MessageId

log = structlog.get_logger()

MAX_PARKED = 256
MAX_PARKED_BYTES = 4 << 20
"""Of each peer: messages that overtook their job's offer."""
MAX_REASON = 4000
MAX_NOTE = 200
MAX_RUN = 10_000
MAX_DECLINED = 4096


@dataclass
class Intake:
    """Takes the control messages of one address."""

    conductor: Conductor
    store: JobStore
    components: Mapping[str, Component]
    judge: Judge
    verify: Verify
    inheritances: Inheritances

    def __post_init__(self) -> None:
        self.me = self.conductor.me
        self.parked: dict[str, list[tuple[MessageId, bytes]]] = {}
        self._ended_lock = asyncio.Lock()
        self._judging = asyncio.Lock()
        """So that offers at one time do not pass a quota together."""
        self._budget = OfferBudget(self.conductor.clock)
        self._declined: dict[tuple[str, int], None] = {}
        """Runs of jobs of which nothing is kept: what is still said about them is dropped."""

    def control(self, message: MessageId, body: bytes) -> None:
        """Take a control message that is in the inbox; while stopping it stays there until the next start."""
        self.conductor.spawn(self._control(message, body))

    def release(self, job: str) -> None:
        """Look again at what waited for this job."""
        for message, body in self.parked.pop(job, []):
            self.control(message, body)

    async def _control(self, message: MessageId, body: bytes) -> None:
        kind = KINDS.get(message.kind)
        try:
            if kind is None:
                raise BadValue(f"no control message is called {message.kind!r}")
            parsed = kind.from_bytes(body)
            if isinstance(parsed, AuditHead | AuditReceipt):
                await insist("control_not_stored", lambda: self._audited(message, parsed), job=message.job)
                return
            if not 0 <= parsed.run <= MAX_RUN:
                raise BadValue(f"{parsed.run} is no run of a job")
            await insist("control_not_stored", lambda: self._take(message, parsed, body), job=message.job)
        except (RemoteProtocolError, JobRejected, ValueError) as error:
            if kind is JobOffer and isinstance(error, BadValue):
                cause = f"{self.me} runs partyd {__version__}, which takes no jobs of earlier versions; upgrade yours"
                answer = EarlierAnswer(accepted=False, code=JobRejected.code, cause=cause)
                await insist("control_not_stored", lambda: self._decline(message, answer), job=message.job)
                return
            log.warning(
                "control_refused", job=message.job, peer=str(message.source), kind=message.kind, error=str(error)[:500]
            )
            await self.conductor.consume(message)
        await insist("inbox_not_read", lambda: self.conductor.office.consumed(message.source))

    async def _audited(self, message: MessageId, told: AuditHead | AuditReceipt) -> None:
        """Take a peer's audit head or receipt about a job that we share, open or ended."""
        live = self.conductor.live.get(message.job)
        record = live.record if live is not None else await self._stored(message.job)
        if record is None or message.source not in record.others:
            await self.conductor.consume(message)
            return
        try:
            await self.conductor.evidence.take(message, told, mark_consumed)
        except StoreCorrupt as error:  # trying again would not mend it: `partyd audit verify` names what is broken
            log.error("evidence_not_readable", job=message.job, peer=str(message.source), error=str(error))
            await self.conductor.consume(message)

    async def _take(self, message: MessageId, parsed: JobMessage, body: bytes) -> None:
        live = self.conductor.live.get(message.job)
        if (message.job, parsed.run) in self._declined:
            await self._drop(message)
        elif live is None and message.job in self.conductor.ended:
            await self._take_late(message, parsed, body)
        elif live is None:
            if isinstance(parsed, JobOffer):
                await self._offered(message, parsed, None)
            else:
                await self._park(message, body)
        elif message.source not in live.record.others or parsed.run < live.record.run:
            await self.conductor.consume(message)
        elif parsed.run > live.record.run:
            await self._park(message, body)
        else:
            await self._apply(message, parsed, live)

    async def _apply(self, message: MessageId, parsed: JobMessage, live: Live) -> None:
        conductor, source, record = self.conductor, message.source, live.record
        machine = conductor.machine
        if isinstance(parsed, TaskProgress):
            self._note_progress(live, source, parsed)
            await conductor.consume(message)
            return
        if isinstance(parsed, ContractDraft):
            await self._drafted(message, parsed, record)
            return
        if isinstance(parsed, JobEnd):
            self._check_decision(message, parsed, record)
        elif isinstance(parsed, ContractSigned) and record.leads:
            contract = await self.store.read(lambda store: store.document(CONTRACTS, message.job))
            if contract and not self.verify(source, parsed.signature, contracts.contract_bytes_to_sign(contract)):
                await self._object(message, f"the signature of {source} under the contract does not hold")
                return
        elif isinstance(parsed, JobStart) and source == record.initiator and record.contract:
            objection = await self._objection(record, parsed)
            if objection:
                await self._object(message, objection)
                return
        await conductor.apply(
            message.job, lambda record: machine.told(record, source, parsed, conductor.clock()), message
        )

    async def _object(self, message: MessageId, cause: str) -> None:
        conductor = self.conductor
        await conductor.apply(
            message.job,
            lambda record: conductor.machine.stop(record, "contract_refused", cause, conductor.clock()),
            message,
        )

    def _note_progress(self, live: Live, source: Address, told: TaskProgress) -> None:
        if told.task in live.record.tasks:
            live.progress[str(source), told.task] = Progress(told.done, told.total, told.note[:MAX_NOTE])
            self.conductor.notify()

    # -- jobs that have ended here

    async def _take_late(self, message: MessageId, parsed: JobMessage, body: bytes) -> None:
        """Take a message about a job that has ended here: an offer to run it again, a correction, or nothing."""
        async with self._ended_lock:
            if message.job not in self.conductor.ended:
                await self._take(message, parsed, body)
                return
            record = await self._stored(message.job)
            if record is None or message.source not in record.others or parsed.run < record.run:
                await self._drop(message)
            elif isinstance(parsed, JobOffer) and parsed.run > record.run and message.source == record.initiator:
                await self._offered(message, parsed, record)
            elif parsed.run > record.run and not isinstance(parsed, JobOffer):
                await self._park(message, body)
            elif isinstance(parsed, JobCleaned | JobEnd):
                await self._correct(message, parsed, record)
            else:
                await self._drop(message)

    async def _stored(self, job: str) -> JobRecord | None:
        row = await self.store.read(lambda store: store.job(job))
        return None if row is None or row.status not in JOB_ENDS else read_record(row)

    async def _drop(self, message: MessageId) -> None:
        def drop(store: Transaction) -> None:
            mark_consumed(store, message)
            store.forget_mail(message.job)

        await self.store.write(drop)

    async def _correct(self, message: MessageId, parsed: JobMessage, record: JobRecord) -> None:
        if isinstance(parsed, JobEnd):
            self._check_decision(message, parsed, record)
        changed = self.conductor.machine.told(record, message.source, parsed, self.conductor.clock()).record

        def correct(store: Transaction) -> None:
            if changed is not record:
                document = changed.model_dump_json().encode()
                store.save_job(changed.job, changed.status.value, document)
            mark_consumed(store, message)
            store.forget_mail(message.job)

        await self.store.write(correct)
        self.conductor.notify()

    async def change_ended(self, job: str, event: Event, then: Callable[[], Awaitable[None]] | None = None) -> None:
        """Apply an event to a job that has ended here, and do ``then`` before it can be run again."""
        conductor = self.conductor
        async with self._ended_lock:
            record = await self._stored(job)
            if record is None or job in conductor.live:
                raise JobError(f"job {job} has not ended yet, or cannot be read; stop it first: flow job stop {job}")
            live = Live(record)
            conductor.live[job] = live
            try:
                await conductor.apply(job, event)
                if then is not None:
                    await then()
            finally:
                del conductor.live[job]
                conductor.ended.add(job)
                conductor.notify()
        self.release(job)

    async def _park(self, message: MessageId, body: bytes) -> None:
        """Keep a message that overtook its job's offer, in the inbox too; beyond the bound the peer's oldest goes."""
        self.parked.setdefault(message.job, []).append((message, body))
        kept = [e for entries in self.parked.values() for e in entries if e[0].source == message.source]
        while len(kept) > MAX_PARKED or sum(len(b) for _, b in kept) > MAX_PARKED_BYTES:
            oldest = kept.pop(0)
            entries = self.parked[oldest[0].job]
            entries.remove(oldest)
            if not entries:
                del self.parked[oldest[0].job]
            log.warning("control_dropped", job=oldest[0].job, peer=str(message.source), kind=oldest[0].kind)
            await self.conductor.consume(oldest[0])

    # -- offers

    async def _offered(self, message: MessageId, offer: JobOffer, earlier: JobRecord | None) -> None:
        async with self._judging:
            live = self.conductor.live.values()
            open_jobs = sum(one.record.initiator == message.source for one in live)
            too_much = self._budget.refuse(message.source, len(offer.spec), open_jobs)
            if too_much:
                await self._decline(message, _no(offer, "too_many_jobs", too_much))
                return
            try:
                spec = await asyncio.to_thread(JobSpec.model_validate_json, offer.spec)
                addresses = spec.dag.addresses()
                if self.me not in addresses or message.source not in addresses:
                    raise BadValue("an offer names parties that are not its own")
            except (ValueError, BadValue) as error:
                log.warning("offer_not_readable", job=message.job, peer=str(message.source), error=str(error)[:500])
                cause = f"{self.me} runs partyd {__version__}, which cannot read this job; compare the versions"
                await self._decline(message, _no(offer, JobRejected.code, cause))
                return
            await self._weigh(message, offer, spec, earlier)
        self.release(message.job)

    async def _weigh(self, message: MessageId, offer: JobOffer, spec: JobSpec, earlier: JobRecord | None) -> None:
        """Let the policy judge an offer, and begin with the job."""
        verdict = await self.judged(spec, message.source)
        if message.job in self.conductor.live:
            await self.conductor.consume(message)
            return
        try:
            record, verdict = await self._record(message, offer, spec, earlier, verdict)
        except BadValue as error:
            await self._decline(message, _no(offer, JobRejected.code, str(error)))
            return
        if message.job in self.conductor.live:
            await self.conductor.consume(message)
            return
        self.conductor.admit(Live(record))
        terms = PartyTerms(limits=verdict.limits).to_bytes().decode()
        try:
            await self.conductor.apply(
                message.job, lambda current: self.conductor.machine.offered(current, verdict, terms), message
            )
        except StoreError:
            del self.conductor.live[message.job]
            if earlier is not None:
                self.conductor.ended.add(message.job)
            raise

    async def _decline(self, message: MessageId, told: JobAnswer | EarlierAnswer) -> None:
        """Refuse an offer of which nothing is kept."""
        log.warning("offer_declined", job=message.job, peer=str(message.source), cause=told.cause[:500])
        run = told.run if isinstance(told, JobAnswer) else 0
        body, office = told.to_bytes(), self.conductor.office
        answer = MessageId(message.job, "", 0, f"answer/{run}", JobAnswer.__name__, self.me, message.source)

        def declined(store: Transaction) -> Posted:
            mark_consumed(store, message)
            return office.post(store, answer, body)

        office.dispatch(answer, await self.store.write(declined), body)
        self._declined[message.job, run] = None
        for old in list(self._declined)[:-MAX_DECLINED]:
            del self._declined[old]
        self.release(message.job)

    async def _record(
        self, message: MessageId, offer: JobOffer, spec: JobSpec, earlier: JobRecord | None, verdict: Verdict
    ) -> tuple[JobRecord, Verdict]:
        """Return the record to begin with, and a refusal when there is nothing here to go on from."""
        if earlier is not None:
            return self._again(offer, spec, earlier, verdict)
        bare = JobRecord(
            job=message.job,
            me=self.me,
            initiator=message.source,
            spec=spec,
            tasks={},
            created_at=self.conductor.clock(),
            run=offer.run,
        )
        if verdict.kind is VerdictKind.REFUSE:
            return bare, verdict
        if offer.run:
            return bare, refusal("nothing_to_go_on_from", f"{self.me} does not know this job; submit it anew")
        record = bare.change(tasks=first_tasks(bare, self.components))
        try:
            return await self.inheritances.taken_over(record), verdict
        except JobRejected as error:
            return record, refusal(error.code, str(error))

    def _again(self, offer: JobOffer, spec: JobSpec, earlier: JobRecord, verdict: Verdict) -> tuple[JobRecord, Verdict]:
        is_sane = all(task in spec.dag.tasks and 0 < v <= MAX_VERSION for task, v in offer.versions.items())
        if spec != earlier.spec or not is_sane:
            raise BadValue(f"this is another job than {self.me} knows under this id; submit it anew")
        if not earlier.tasks:  # it was refused before
            earlier = earlier.change(tasks=first_tasks(earlier, self.components))
        record = again(earlier, offer.run, offer.versions)
        undone = [t for t, s in record.tasks.items() if s.status not in (TaskStatus.WAITING, *TASK_DONE)]
        kept = [t for t, s in record.tasks.items() if s.status is TaskStatus.SUCCESS]
        if undone or (kept and self.me in record.cleaned):
            cause = f"{self.me} has no outputs of task {(undone or kept)[0]} to go on from; run it again too"
            return record, refusal("nothing_to_go_on_from", cause)
        return record, verdict

    async def judged(self, spec: JobSpec, initiator: Address) -> Verdict:
        """Return what becomes of a job here: whether it can be run at all, then what the policy says."""
        if self.store.is_low():
            return refusal(StoreFull.code, f"the disk of {self.me} is almost full")
        try:
            await asyncio.to_thread(read_dag, spec.model_dump(mode="json", exclude_defaults=True), self.components)
            self.check_parties(spec)
            return await self.judge.judge(spec, initiator)
        except JobRejected as error:
            return refusal(error.code, str(error)[:2000])
        except PartydError as error:
            log.error("job_not_judged", error=str(error))
            return refusal("policy_unreadable", f"{self.me} cannot judge jobs now; ask its owner to look at its log")

    def check_parties(self, spec: JobSpec) -> None:
        """Check that every other party of a job is pinned here; raises JobRejected with the command that mends it."""
        known = self.conductor.office.links
        missing = [str(a) for a in spec.dag.addresses() if a != self.me and a not in known]
        if missing:
            raise JobRejected(
                f"{self.me} has pinned no peer {', '.join(missing)}; "
                f"at this party run: partyd peer add {missing[0]} --card FILE --fingerprint F"
            )
        old = [str(a) for a in spec.dag.addresses() if a != self.me and self.conductor.office.is_outdated(a)]
        if old:
            raise JobRejected(f"{', '.join(old)} runs a version of partyd that knows no contracts; upgrade it first")

    # -- contracts and decisions

    async def _drafted(self, message: MessageId, draft: ContractDraft, record: JobRecord) -> None:
        conductor = self.conductor
        if message.source != record.initiator or not record.terms or record.contract:
            await conductor.consume(message)
            return
        why = await asyncio.to_thread(self._refuse_contract, message.source, draft, record)
        text = draft.contract
        digest, limits = contracts.digest(text), record.limits if why else contracts.limits_in(text)
        signature = b"" if why else conductor.machine.sign(contracts.contract_bytes_to_sign(text))

        def signed(current: JobRecord) -> Step:
            return conductor.machine.drafted(current, digest, why, signature, limits)

        await conductor.apply(
            message.job, signed, message, lambda store: store.put_document(CONTRACTS, message.job, text)
        )

    def _refuse_contract(self, initiator: Address, draft: ContractDraft, record: JobRecord) -> str:
        """Return what is wrong with a contract, nothing when it may be signed."""
        terms = PartyTerms.from_bytes(record.terms.encode())
        if not self.verify(initiator, draft.signature, contracts.contract_bytes_to_sign(draft.contract)):
            return f"the signature of {initiator} under the contract does not hold"
        try:
            run = Run(record.run, record.anew)
            contracts.check(
                draft.contract, record.job, record.spec, self.components, self.me, terms, initiator=initiator, run=run
            )
        except JobRejected as error:
            return str(error)
        return ""

    async def _objection(self, record: JobRecord, start: JobStart) -> str:
        text = await self.store.read(lambda store: store.document(CONTRACTS, record.job))
        signatures = {party: signature.hex() for party, signature in start.signatures.items()}
        try:
            signed = SignedContract(contract=(text or b"").decode(), signatures=signatures)
            await asyncio.to_thread(signed.verify, self.verify)
        except (JobRejected, ValueError) as error:
            return str(error)[:MAX_REASON]
        return ""

    def _check_decision(self, message: MessageId, end: JobEnd, record: JobRecord) -> None:
        if max(len(end.task), len(end.code), len(end.cause)) > MAX_REASON:
            raise BadValue(f"the reason of a job's end is longer than {MAX_REASON} characters")
        reason = Reason(party=Address.parse(end.party), task=end.task, code=end.code, cause=end.cause)
        if message.source != record.initiator or end.status not in JOB_ENDS:
            raise BadValue(f"{message.source} may not end this job")
        signed = decision_bytes(record.job, end.run, JobStatus(end.status), reason)
        if not self.verify(record.initiator, end.signature, signed):
            raise BadValue("the signature of a job's end does not hold")


def _no(offer: JobOffer, code: str, cause: str) -> JobAnswer:
    return JobAnswer(run=offer.run, accepted=False, code=code, cause=cause)


def refusal(code: str, cause: str) -> Verdict:
    """Return a verdict that refuses."""
    return Verdict(VerdictKind.REFUSE, code, cause, cause)
