"""A party's durable state: one SQLite database, one writer thread, large bodies as files.

What a party must not forget is here: messages until the other side has stored or used them, attempts and checkpoints,
jobs, peers, documents and the audit log. A write is durable when it returns: power may fail, the process may be
killed. What a damaged disk returns is detected, not believed.
"""

from __future__ import annotations

from partyd.federation.rows import (
    AttemptRow,
    BlobRef,
    Body,
    CheckpointRow,
    DocumentRow,
    EventRow,
    InboxRow,
    JobRow,
    OutboxDepth,
    OutboxRow,
    PeerRow,
    Posted,
    TaskRow,
)
from partyd.store.backup import Manifest
from partyd.store.blobs import INLINE_LIMIT, Blobs
from partyd.store.space import SpaceLimits, Usage
from partyd.store.store import Store, restore
from partyd.store.transaction import Reader, Transaction
from partyd.store.writer import GroupCommit

__all__ = [
    "INLINE_LIMIT",
    "AttemptRow",
    "BlobRef",
    "Blobs",
    "Body",
    "CheckpointRow",
    "DocumentRow",
    "EventRow",
    "GroupCommit",
    "InboxRow",
    "JobRow",
    "Manifest",
    "OutboxDepth",
    "OutboxRow",
    "PeerRow",
    "Posted",
    "Reader",
    "SpaceLimits",
    "Store",
    "TaskRow",
    "Transaction",
    "Usage",
    "restore",
]
