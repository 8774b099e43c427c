"""What daemons tell each other about a job, over the same durable sessions as everything else.

A control message's `MessageId` has no task; its scope makes it unique, so that a repetition after a restart is the same
message. Whatever a peer says is checked against the job's record before it changes anything. ``run`` rises with each
rerun of a job: what was said about an earlier run changes nothing, what is said about a later one waits for its offer.
"""

from __future__ import annotations

from pydantic import Field

from partyd.governance.audit import AuditHead, AuditReceipt
from partyd.wire.codec import Record


class JobOffer(Record):
    """The initiator asks a party to take part: the whole job, as JSON.

    For a rerun, ``versions`` names the tasks that begin anew and their attempts.
    """

    run: int = 0
    spec: bytes
    created_at: float
    versions: dict[str, int] = Field(default_factory=dict)


class JobParked(Record):
    """A party's owner must approve the job first."""

    run: int = 0
    code: str
    cause: str


class JobAnswer(Record):
    """A party agrees, under its terms (JSON), or says why it does not."""

    run: int = 0
    accepted: bool
    terms: bytes = b""
    code: str = ""
    cause: str = ""


class EarlierAnswer(Record):
    """The answer as versions without contracts read it: what they cannot read they would wait for without end."""

    accepted: bool
    code: str
    cause: str


class ContractDraft(Record):
    """All have agreed: the initiator's contract, signed by it."""

    run: int = 0
    contract: bytes
    signature: bytes


class ContractSigned(Record):
    """A party has found its own terms in the contract and signs it."""

    run: int = 0
    signature: bytes


class SlotRequest(Record):
    """The initiator asks for cores; priority, creation time and job id are the order at every party."""

    run: int = 0
    ask: int
    cores: int
    priority: int
    created_at: float


class SlotAnswer(Record):
    """Cores are reserved, or the job waits for them here and is told when they are."""

    run: int = 0
    ask: int
    granted: bool
    cause: str = ""


class SlotRelease(Record):
    """The initiator gives cores back, because another party has none; asking again has a higher ``ask``."""

    run: int = 0
    ask: int


class SlotRevoke(Record):
    """A party wants reserved cores back for a job that goes before this one."""

    run: int = 0
    ask: int


class JobWaiting(Record):
    """What the job waits for, for whoever asks at another party."""

    run: int = 0
    number: int
    party: str
    code: str
    cause: str


class JobStart(Record):
    """All have signed and all have cores: the initiator lets the tasks begin."""

    run: int = 0
    started_at: float
    signatures: dict[str, bytes] = Field(default_factory=dict)


class TaskReport(Record):
    """A party's task has changed its state; told to every other party."""

    run: int = 0
    task: str
    version: int = 0
    status: str
    code: str
    cause: str


class TaskProgress(Record):
    """How far a party's running task is; thinned out, and nothing depends on it."""

    run: int = 0
    task: str
    version: int
    done: int
    total: int
    note: str


class TaskRetry(Record):
    """The initiator lets a failed task, and what depends on it, begin anew at every party."""

    run: int = 0
    task: str
    versions: dict[str, int]


class StopRequest(Record):
    """A party wants the job to end; the initiator decides, so that the reason is the same everywhere."""

    run: int = 0
    code: str
    cause: str


class JobEnd(Record):
    """The initiator's decision: how the job ended, and why, signed with its identity key."""

    run: int = 0
    status: str
    party: str
    task: str
    code: str
    cause: str
    signature: bytes


class JobCleaned(Record):
    """A party has erased its outputs of an ended job: nothing can go on from them."""

    run: int = 0


JobMessage = (
    JobOffer
    | JobParked
    | JobAnswer
    | ContractDraft
    | ContractSigned
    | SlotRequest
    | SlotAnswer
    | SlotRelease
    | SlotRevoke
    | JobWaiting
    | JobStart
    | TaskReport
    | TaskProgress
    | TaskRetry
    | StopRequest
    | JobEnd
    | JobCleaned
)

KINDS: dict[str, type[JobMessage | AuditHead | AuditReceipt]] = {
    kind.__name__: kind
    for kind in (
        JobOffer,
        JobParked,
        JobAnswer,
        ContractDraft,
        ContractSigned,
        SlotRequest,
        SlotAnswer,
        SlotRelease,
        SlotRevoke,
        JobWaiting,
        JobStart,
        TaskReport,
        TaskProgress,
        TaskRetry,
        StopRequest,
        JobEnd,
        JobCleaned,
        AuditHead,
        AuditReceipt,
    )
}
"""By name; the last two belong to no run of a job."""
