"""What the job machine wants done: commands, carried out by the conductor once the new record is on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from partyd.jobs.control import JobMessage
from partyd.jobs.record import JobRecord
from partyd.types import Address


@dataclass(frozen=True)
class Tell:
    """Send a control message; ``scope`` makes it one of a kind."""

    to: Address
    scope: str
    message: JobMessage


@dataclass(frozen=True)
class Audit:
    """Append to the audit log, in the same transaction as the record."""

    kind: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class NoteUse:
    """Count this job among those that used our data sets, in the same transaction as the record."""


@dataclass(frozen=True)
class ShowHead:
    """Show these parties the head of our audit log, as it is with this step's own events."""

    scope: str
    to: tuple[Address, ...]


@dataclass(frozen=True)
class MakeContract:
    """Write the contract from everybody's terms and sign it (`JobMachine.contract_made`)."""


@dataclass(frozen=True)
class AskSlots:
    """Ask this daemon's own table for the cores in the record's slot."""


@dataclass(frozen=True)
class FixSlots:
    """The job runs: its cores cannot be wanted back any more."""


@dataclass(frozen=True)
class FreeSlots:
    """Give this address's cores back."""


@dataclass(frozen=True)
class AwaitSlots:
    """Come back (`JobMachine.slots_late`) when the parties have had time to answer."""

    rollbacks: int


@dataclass(frozen=True)
class AwaitEnd:
    """Come back (`JobMachine.stop_unheard`) when the initiator has had time to decide."""


@dataclass(frozen=True)
class AwaitTimeout:
    """Come back (`JobMachine.stop`) when the job has run for as long as it may."""

    at: float


@dataclass(frozen=True)
class StartTask:
    """Run a task of this party in a worker (again after a restart: it resumes)."""

    task: str
    version: int = 0


@dataclass(frozen=True)
class KillTasks:
    """End this job's workers, those of ``tasks`` or all."""

    tasks: frozenset[str] | None = None


@dataclass(frozen=True)
class Ended:
    """The job has ended: give its cores back, erase its secrets, tell whoever watches."""


Command = (
    Tell
    | Audit
    | NoteUse
    | ShowHead
    | MakeContract
    | AskSlots
    | FixSlots
    | FreeSlots
    | AwaitSlots
    | AwaitEnd
    | AwaitTimeout
    | StartTask
    | KillTasks
    | Ended
)


@dataclass(frozen=True)
class Step:
    """What an event leads to."""

    record: JobRecord
    commands: tuple[Command, ...] = ()

    def then(self, *commands: Command) -> Step:
        """Return the step with more to do after it."""
        return Step(self.record, (*self.commands, *commands))

    def after(self, *commands: Command) -> Step:
        """Return the step with something to do before it."""
        return Step(self.record, (*commands, *self.commands))
