"""What daemons tell each other about a job, over the same durable sessions as everything else.

A control message's `MessageId` has no task; its scope makes it unique, so that a repetition after a restart is the same
message. Whatever a peer says is checked against the job's record before it changes anything.
"""

from __future__ import annotations

from partyd.wire.codec import Record


class JobOffer(Record):
    """The initiator asks a party to take part: the whole job, as JSON."""

    spec: bytes
    created_at: float


class JobAnswer(Record):
    """A party agrees, or says why it does not."""

    accepted: bool
    code: str
    cause: str


class JobStart(Record):
    """All have agreed: the initiator lets the tasks begin."""

    started_at: float


class TaskReport(Record):
    """A party's task has changed its state; told to every other party."""

    task: str
    status: str
    code: str
    cause: str


class StopRequest(Record):
    """A party wants the job to end; the initiator decides, so that the reason is the same everywhere."""

    code: str
    cause: str


class JobEnd(Record):
    """The initiator's decision: how the job ended, and why, signed with its identity key."""

    status: str
    party: str
    task: str
    code: str
    cause: str
    signature: bytes


KINDS: dict[str, type[Record]] = {
    kind.__name__: kind for kind in (JobOffer, JobAnswer, JobStart, TaskReport, StopRequest, JobEnd)
}
