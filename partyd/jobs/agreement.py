"""What comes before the start, the part of the job machine in which the parties agree.

The initiator offers the job; each party's policy judges it: it answers with its terms, refuses, or parks the job until
its owner approves. From everybody's terms the initiator makes the contract and signs it; each party finds its own terms
in it and signs too. Then cores are asked for (`partyd.jobs.asking`).
"""

from __future__ import annotations

from dataclasses import dataclass

from partyd.components.limits import Limits
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs.asking import Asking
from partyd.jobs.commands import Audit, Command, MakeContract, NoteUse, ShowHead, Step, Tell
from partyd.jobs.control import ContractDraft, ContractSigned, JobAnswer, JobOffer, JobParked
from partyd.jobs.ending import MAX_CAUSE, MAX_CODE, tell_all
from partyd.jobs.record import JobRecord, JobStatus, Reason, Waiting
from partyd.types import Address

REFUSED = "contract_refused"


@dataclass(frozen=True)
class Agreement(Asking):
    """The first part of a job's life."""

    def submitted(self, record: JobRecord, verdict: Verdict, terms: str, versions: dict[str, int]) -> Step:
        """Begin as the initiator, under our own policy's verdict: offer the job to the others."""
        offer = JobOffer(
            run=record.run,
            spec=record.spec.to_json().encode(),
            created_at=record.created_at,
            versions=versions,
        )
        again = {"run": record.run, "tasks": sorted(versions)} if versions else {}
        audit = Audit(
            "job_rerun" if versions else "job_submitted", {"parties": list(map(str, record.parties)), **again}
        )
        step = self._judged(record, verdict, terms)
        return self._advance(step.record).after(audit, *tell_all(record, f"offer/{record.run}", offer), *step.commands)

    def offered(self, record: JobRecord, verdict: Verdict, terms: str) -> Step:
        """Answer an offer; a refused job ends here at once."""
        if verdict.kind is VerdictKind.REFUSE:
            reason = Reason(party=record.me, code=verdict.code[:MAX_CODE], cause=verdict.cause[:MAX_CAUSE])
            return self._refuse(record, reason, verdict.detail)
        step = self._judged(record, verdict, terms)
        if step.record.is_parked:
            notice = JobParked(run=record.run, code=verdict.code, cause=verdict.cause)
            return step.then(Tell(record.initiator, f"parked/{record.run}", notice))
        return step.then(*self._yes(step.record))

    def _judged(self, record: JobRecord, verdict: Verdict, terms: str) -> Step:
        record = record.change(limits=verdict.limits, datasets=tuple(map(str, verdict.datasets)))
        if verdict.kind is VerdictKind.PARK:
            waiting = Waiting(party=record.me, code="approval", cause=verdict.cause[:MAX_CAUSE])
            return Step(
                record.change(is_parked=True, waiting=waiting), (Audit("job_parked", {"cause": verdict.cause}),)
            )
        return self._taken(record, terms, {})

    def _taken(self, record: JobRecord, terms: str, how: dict[str, object]) -> Step:
        record = record.change(is_parked=False, terms=terms, waiting=None)
        if record.leads:
            record = record.change(answers={**record.answers, str(record.me): terms})
        return Step(record, (Audit("job_accepted", {"initiator": str(record.initiator), **how}), NoteUse()))

    def _yes(self, record: JobRecord) -> tuple[Command, ...]:
        answer = JobAnswer(run=record.run, accepted=True, terms=record.terms.encode())
        tell = Tell(record.initiator, f"answer/{record.run}", answer)
        return tell, ShowHead(f"audit/{record.run}/accepted", (record.initiator,))

    def approved(self, record: JobRecord, terms: str, who: str) -> Step:
        """This party's owner agrees to a parked job."""
        if record.is_ended or not record.is_parked:
            return Step(record)
        step = self._taken(record, terms, {"approved_by": who})
        if record.leads:
            return self._advance(step.record).after(*step.commands)
        return step.then(*self._yes(step.record))

    def rejected(self, record: JobRecord, who: str, cause: str, now: float) -> Step:
        """This party's owner does not agree to a parked job."""
        if record.is_ended or not record.is_parked:
            return Step(record)
        reason = Reason(party=record.me, code="not_approved", cause=cause[:MAX_CAUSE])
        audit = Audit("job_refused", {"by": who, "cause": cause[:MAX_CAUSE]})
        if record.leads:
            return self.decide(record, JobStatus.FAILED, reason, now).after(audit)
        return self._refuse(record, reason, f"{who}: {cause}"[:MAX_CAUSE])

    def _refuse(self, record: JobRecord, reason: Reason, detail: str) -> Step:
        answer = JobAnswer(run=record.run, accepted=False, code=reason.code, cause=reason.cause)
        step = self.ended(record, JobStatus.FAILED, reason, record.created_at)
        audit = Audit("job_refused", {"initiator": str(record.initiator), "code": reason.code, "why": detail})
        return step.after(Tell(record.initiator, f"answer/{record.run}", answer), audit)

    # -- at the initiator

    def answered(self, record: JobRecord, sender: Address, answer: JobAnswer, now: float) -> Step:
        """Take a party's answer; a refusal ends the job everywhere with its reason."""
        if record.status is not JobStatus.WAITING or str(sender) in record.answers:
            return Step(record)
        if not answer.accepted:
            reason = Reason(party=sender, code=answer.code[:MAX_CODE], cause=answer.cause[:MAX_CAUSE])
            return self.decide(record, JobStatus.FAILED, reason, now)
        terms = answer.terms.decode(errors="replace")
        accepted = tuple(sorted({*record.accepted, sender}, key=str))
        return self._advance(record.change(accepted=accepted, answers={**record.answers, str(sender): terms}))

    def parked(self, record: JobRecord, sender: Address, notice: JobParked) -> Step:
        """Note, and tell everybody, that a party's owner must approve first."""
        if record.status is not JobStatus.WAITING or str(sender) in record.answers:
            return Step(record)
        return self.wait_for(record, sender, "approval", notice.cause[:MAX_CAUSE])

    def _advance(self, record: JobRecord) -> Step:
        """Go to the contract when everybody has answered; until then say for whom the job waits."""
        missing = [address for address in record.parties if str(address) not in record.answers]
        if not missing:
            waiting = Waiting(party=record.me, code="contract", cause="the contract is being signed")
            return Step(record.change(waiting=waiting), (MakeContract(),))
        old = record.waiting
        if old is None or (old.code == "answer" and old.party not in missing):
            cause = f"{missing[0]} has not answered yet"
            number = 0 if old is None else old.number
            waiting = Waiting(party=missing[0], code="answer", cause=cause, number=number)
            return Step(record.change(waiting=waiting))
        return Step(record)

    def contract_made(self, record: JobRecord, contract: bytes, digest: str, signature: bytes, limits: Limits) -> Step:
        """Sign and send the contract; ask for cores when there is nobody else."""
        if record.contract or record.status is not JobStatus.WAITING:
            return Step(record)
        record = record.change(contract=digest, limits=limits, signatures={str(record.me): signature.hex()})
        draft = ContractDraft(run=record.run, contract=contract, signature=signature)
        tells = tell_all(record, f"contract/{record.run}", draft)
        show = ShowHead(f"audit/{record.run}/contract", tuple(record.others))
        return self._ask_when_signed(record).after(Audit("contract_signed", {"contract": digest}), show, *tells)

    def contract_signed(self, record: JobRecord, sender: Address, signed: ContractSigned) -> Step:
        """Take a party's signature, which the caller has verified; cores are asked for after the last."""
        if not record.contract or str(sender) in record.signatures or record.status is not JobStatus.WAITING:
            return Step(record)
        signatures = {**record.signatures, str(sender): signed.signature.hex()}
        return self._ask_when_signed(record.change(signatures=signatures))

    def _ask_when_signed(self, record: JobRecord) -> Step:
        if any(str(address) not in record.signatures for address in record.parties):
            return Step(record)
        return self.ask_all(record)

    # -- at another party

    def drafted(self, record: JobRecord, digest: str, refusal: str, signature: bytes, limits: Limits) -> Step:
        """Sign the contract that the caller has checked against our terms, or say what is wrong with it."""
        if not record.terms or record.contract or record.status is not JobStatus.WAITING:
            return Step(record)
        if refusal:
            audit = Audit("contract_refused", {"contract": digest, "cause": refusal[:MAX_CAUSE]})
            return self.stop(record, REFUSED, refusal, record.created_at).after(audit)
        signed = ContractSigned(run=record.run, signature=signature)
        record = record.change(contract=digest, limits=limits)
        audit = Audit("contract_signed", {"contract": digest})
        return Step(record, (audit, Tell(record.initiator, f"contract/{record.run}", signed)))
