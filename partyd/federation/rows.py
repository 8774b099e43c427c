"""What the store hands out, to the mailbox and to jobs: frozen rows with the project's own types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from partyd.types import Address, MessageId, Role


class BlobRef(NamedTuple):
    """A body kept as a file: its SHA-256 in hex, and its size."""

    digest: str
    size: int


Body = bytes | BlobRef
"""A small body itself, or where a large one lies."""


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a posted message: whether its identity is new, and whether the stored bytes are these."""

    seq: int
    is_new: bool
    is_same: bool


@dataclass(frozen=True, slots=True)
class OutboxRow:
    seq: int
    message: MessageId
    header: bytes
    body: Body
    sha256: bytes
    tries: int


@dataclass(frozen=True, slots=True)
class OutboxDepth:
    count: int
    size: int
    oldest_at: float


@dataclass(frozen=True, slots=True)
class InboxRow:
    message: MessageId
    sha256: bytes
    body: Body
    received_at: float


@dataclass(frozen=True, slots=True)
class AttemptRow:
    job: str
    task: str
    attempt: int
    seed: bytes
    pin: bytes
    started_at: float


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    job: str
    task: str
    attempt: int
    round: int
    scope: str
    state: Body
    saved_at: float


@dataclass(frozen=True, slots=True)
class JobRow:
    job: str
    status: str
    document: bytes
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class TaskRow:
    job: str
    task: str
    status: str
    document: bytes
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True)
class PeerRow:
    """A pinned peer; ``local`` names which of our own roles knows it, None when all of them do."""

    address: Address
    fingerprint: str
    card: bytes
    revoked: bool
    added_at: float
    local: Role | None = None


@dataclass(frozen=True, slots=True)
class DocumentRow:
    key: str
    document: bytes
    updated_at: float


@dataclass(frozen=True, slots=True)
class EventRow:
    seq: int
    at: float
    kind: str
    job: str
    detail: bytes
    previous: bytes
    hash: bytes
