"""Cores before the start, the part of the job machine that asks for them: all parties grant, or all is given back.

The initiator asks every party, itself among them, for the same number of cores. A party reserves them at once or puts
the job into its queue and says why; when cores become free it reserves them for the first in the queue and says so.
There is no polling. As soon as one party has none, what the others had reserved is given back, so that nothing stands
idle meanwhile; when the waiting ones have granted, the others are asked again.

Every party's queue has the same order (priority, then creation time, then job id). A job that was rolled back
`PATIENCE` times keeps what it gets; to keep two of those from holding what the other waits for, a party may want a
reservation back for a job that goes first, never cores that are at work. So the first job of all gets its cores in the
end, whatever comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from partyd.dag.job_conf import JobConf
from partyd.jobs.commands import AskSlots, AwaitSlots, Command, FixSlots, FreeSlots, Step, Tell
from partyd.jobs.control import JobStart, JobWaiting, SlotAnswer, SlotRelease, SlotRequest, SlotRevoke
from partyd.jobs.ending import MAX_CAUSE, tell_all
from partyd.jobs.record import JobRecord, JobStatus, PeerSlot, Slot, Waiting
from partyd.jobs.running import Running
from partyd.types import Address

CORES = 4
"""What a job asks for when it says nothing."""
PATIENCE = 3
MAX_ASK = 1 << 31
MAX_AGE_S = 7 * 86_400.0
"""How much older than its offer a job may say it is: its place in the queue."""


@dataclass(frozen=True)
class Asking(Running):
    """Between the signed contract and the start."""

    # -- at the initiator

    def ask_all(self, record: JobRecord) -> Step:
        """Ask every party for cores."""
        return self._ask(record, record.parties).then(AwaitSlots(record.rollbacks))

    def _ask(self, record: JobRecord, addresses: list[Address]) -> Step:
        conf = record.spec.dag.conf
        commands: list[Command] = []
        for address in addresses:
            ask = record.slots[str(address)].ask + 1 if str(address) in record.slots else 1
            record = record.change(slots={**record.slots, str(address): PeerSlot(ask=ask)})
            request = SlotRequest(
                run=record.run,
                ask=ask,
                cores=_cores(conf),
                priority=conf.priority,
                created_at=record.created_at,
            )
            if address == record.me:
                record = record.change(slot=_slot(record, request))
                commands.append(AskSlots())
            else:
                commands.append(Tell(address, f"slots/{record.run}/{ask}", request))
        return Step(record, tuple(commands))

    def slot_answered(self, record: JobRecord, sender: Address, answer: SlotAnswer, now: float) -> Step:
        """Take a party's grant, or its reason to wait."""
        slot = record.slots.get(str(sender))
        if slot is None or slot.ask != answer.ask or slot.state not in ("asked", "waiting"):
            return Step(record)
        state = PeerSlot(ask=slot.ask, state="granted" if answer.granted else "waiting", cause=answer.cause[:MAX_CAUSE])
        if state == slot:
            return Step(record)
        return self._weigh(record.change(slots={**record.slots, str(sender): state}), now)

    def _weigh(self, record: JobRecord, now: float) -> Step:
        """Start, wait, roll back or ask again, as the answers stand."""
        states = {slot.state for slot in record.slots.values()}
        if states == {"granted"}:
            return self._start(record, now)
        if "waiting" in states:
            back = self._roll_back(record) if record.rollbacks < PATIENCE else Step(record)
            return self._say_why(back.record).after(*back.commands)
        if "asked" not in states:
            released = [a for a in record.parties if record.slots[str(a)].state == "released"]
            step = self._ask(record.change(rollbacks=record.rollbacks + 1), released)
            return step.then(AwaitSlots(step.record.rollbacks))
        return Step(record)

    def _roll_back(self, record: JobRecord) -> Step:
        commands: list[Command] = []
        for address in record.parties:
            slot = record.slots[str(address)]
            if slot.state == "granted":
                step = self._release(record, address)
                record = step.record
                commands += step.commands
        return Step(record, tuple(commands))

    def _release(self, record: JobRecord, address: Address) -> Step:
        slot = record.slots[str(address)]
        record = record.change(slots={**record.slots, str(address): PeerSlot(ask=slot.ask, state="released")})
        if address == record.me:
            return Step(record.change(slot=Slot(ask=slot.ask)), (FreeSlots(),))
        return Step(
            record,
            (Tell(address, f"release/{record.run}/{slot.ask}", SlotRelease(run=record.run, ask=slot.ask)),),
        )

    def slot_revoked(self, record: JobRecord, sender: Address, ask: int) -> Step:
        """Give a reservation back that a job before this one needs, and queue up again; too late once started.

        The word may overtake that of the grant.
        """
        slot = record.slots.get(str(sender))
        if slot is None or slot.ask != ask or slot.state == "released" or record.status is not JobStatus.WAITING:
            return Step(record)
        step = self._release(record, sender)
        return self._ask(step.record, [sender]).after(*step.commands)

    def slots_late(self, record: JobRecord, rollbacks: int) -> Step:
        """Hold nothing for a party that does not answer: give the others' cores back until it does."""
        silent = [a for a in record.parties if (s := record.slots.get(str(a))) is not None and s.state == "asked"]
        if record.status is not JobStatus.WAITING or record.rollbacks != rollbacks or not silent:
            return Step(record)
        step = self._roll_back(record)
        cause = f"{silent[0]} has not answered when it was asked for cores"
        return self.wait_for(step.record, silent[0], "peer_silent", cause).after(*step.commands)

    def _say_why(self, record: JobRecord) -> Step:
        for address in record.parties:
            slot = record.slots[str(address)]
            if slot.state == "waiting":
                return self.wait_for(record, address, "cores", slot.cause)
        return Step(record)

    def wait_for(self, record: JobRecord, party: Address, code: str, cause: str) -> Step:
        """As the initiator: note what the job waits for, and tell it everybody who may be asked."""
        old = record.waiting
        if old is not None and (old.party, old.code, old.cause) == (party, code, cause):
            return Step(record)
        number = 1 if old is None else old.number + 1
        waiting = Waiting(party=party, code=code, cause=cause, number=number)
        notice = JobWaiting(run=record.run, number=number, party=str(party), code=code, cause=cause)
        return Step(record.change(waiting=waiting), tell_all(record, f"waiting/{record.run}/{number}", notice))

    def _start(self, record: JobRecord, now: float) -> Step:
        signatures = {party: bytes.fromhex(text) for party, text in record.signatures.items()}
        start = JobStart(run=record.run, started_at=now, signatures=signatures)
        return self.begin(record, now).after(*tell_all(record, f"start/{record.run}", start))

    # -- at every party

    def slot_requested(self, record: JobRecord, request: SlotRequest) -> Step:
        """Ask our own table; it answers with `slots_granted` or `slots_short`."""
        is_sane = record.slot.ask < request.ask < MAX_ASK
        if record.status is not JobStatus.WAITING or not record.contract or not is_sane:
            return Step(record)
        return Step(record.change(slot=_slot(record, request)), (AskSlots(),))

    def slot_released(self, record: JobRecord, ask: int) -> Step:
        """Give a reservation back, or leave the queue; an asking that this overtook is then passed over."""
        if record.status is not JobStatus.WAITING or not record.slot.ask <= ask < MAX_ASK:
            return Step(record)
        if record.slot == Slot(ask=ask):
            return Step(record)
        return Step(record.change(slot=Slot(ask=ask)), (FreeSlots(),))

    def slots_granted(self, record: JobRecord, ask: int, cores: int, now: float) -> Step:
        """Our own table has reserved cores."""
        slot = record.slot
        if record.status is not JobStatus.WAITING or slot.ask != ask or slot.state != "waiting":
            return Step(record)
        record = record.change(slot=slot.model_copy(update={"state": "granted", "cores": cores}))
        return self._answer(record, SlotAnswer(run=record.run, ask=ask, granted=True), now)

    def slots_short(self, record: JobRecord, ask: int, cause: str, now: float) -> Step:
        """Our own table has none now; the job is in its queue."""
        slot = record.slot
        if record.status is not JobStatus.WAITING or slot.ask != ask or slot.state != "waiting":
            return Step(record)
        return self._answer(record, SlotAnswer(run=record.run, ask=ask, granted=False, cause=cause), now)

    def slots_wanted(self, record: JobRecord, ask: int) -> Step:
        """Our own table wants a reservation back."""
        slot = record.slot
        if record.status is not JobStatus.WAITING or slot.ask != ask or slot.state != "granted":
            return Step(record)
        if record.leads:
            return self.slot_revoked(record, record.me, ask)
        return Step(
            record, (Tell(record.initiator, f"revoke/{record.run}/{ask}", SlotRevoke(run=record.run, ask=ask)),)
        )

    def _answer(self, record: JobRecord, answer: SlotAnswer, now: float) -> Step:
        if record.leads:
            return self.slot_answered(record, record.me, answer, now)
        word = "granted" if answer.granted else "waiting"
        return Step(record, (Tell(record.initiator, f"slots/{record.run}/{answer.ask}/{word}", answer),))

    def started(self, record: JobRecord, start: JobStart, now: float) -> Step:
        """The initiator says that all have signed and granted."""
        if record.status is not JobStatus.WAITING or not record.contract:
            return Step(record)
        signatures = {party: signature.hex() for party, signature in start.signatures.items()}
        return self.begin(record.change(signatures=signatures), now)

    def told_why(self, record: JobRecord, told: JobWaiting) -> Step:
        """Note what the initiator says the job waits for."""
        old = record.waiting
        if record.status is not JobStatus.WAITING or record.is_parked or (old and old.number >= told.number):
            return Step(record)
        waiting = Waiting(
            party=Address.parse(told.party), code=told.code[:64], cause=told.cause[:MAX_CAUSE], number=told.number
        )
        return Step(record.change(waiting=waiting))

    def queue_again(self, record: JobRecord) -> Step:
        """After a restart of this daemon: stand in its queue again, and in the initiator's place ask again."""
        commands: tuple[Command, ...] = ()
        if record.slot.state == "waiting":
            commands += (AskSlots(),)
        elif record.slot.state == "granted" and record.status is JobStatus.RUNNING:
            commands += (FixSlots(),)
        if record.leads and any(slot.state == "asked" for slot in record.slots.values()):
            commands += (AwaitSlots(record.rollbacks),)
        return Step(record, commands)


def _cores(conf: JobConf) -> int:
    return conf.cores or (conf.task_cores or 0) * (conf.task_parallelism or 1) or CORES


def _slot(record: JobRecord, request: SlotRequest) -> Slot:
    """Return what is asked for: cores and priority as the job itself says, an age that can be."""
    oldest = max(0.0, record.created_at - MAX_AGE_S)
    age = request.created_at if math.isfinite(request.created_at) else record.created_at
    return Slot(
        ask=request.ask,
        cores=_cores(record.spec.dag.conf),
        priority=record.spec.dag.conf.priority,
        asked_at=max(oldest, age),
        state="waiting",
    )
