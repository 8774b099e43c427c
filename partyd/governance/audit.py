"""The audit log between parties: heads that peers countersign, so that nobody can rewrite its own past unseen.

Each event of a party's log carries the hash of the one before (`partyd.store.records`). A head is the number and hash
of the last event, signed; the other parties of a job get it when the job starts and when it ends, countersign it and
send a receipt back. A party that later changes or cuts its log would have to make up receipts of its peers, and they
hold its signed heads themselves. `partyd.governance.audit_check` compares all that with the log.

Every function takes the caller's transaction, so that evidence is written together with what it is about. Taking a
head or a receipt is itself an event: the evidence cannot be taken out again without a trace.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from partyd.components.base import JsonObject
from partyd.errors import BadValue, StoreCorrupt
from partyd.federation.rows import DocumentRow, EventRow
from partyd.types import Address, MessageId
from partyd.wire.codec import Record

HEADS = "audit_head"
"""Our own heads that were given out, by number."""
RECEIPTS = "audit_receipt"
"""Receipts for our heads, by peer and number."""
PEER_HEADS = "audit_peer_head"
"""Heads of peers that we have countersigned, by peer and number."""
PEER_NEWEST = "audit_peer_newest"
"""Of each peer, the head with the highest number."""
TAKEN = "audit_taken"
"""By peer and job: how many heads were noted; who shows one after the other shall fill nobody's log."""
MAX_HEADS = 200
EMPTY = bytes(32)
"""The digest of a log without events."""
MAX_SEQ = 1 << 53
DIGEST_BYTES = 32
SIGNATURE_BYTES = 64
_HEAD_LABEL = "partyd-audit-head/1"
_RECEIPT_LABEL = "partyd-audit-receipt/1"
Sign = Callable[[bytes], bytes]
Verify = Callable[[Address, bytes, bytes], bool]


class AuditHead(Record):
    """A party's log as it stands: how many events, the hash of the last, its signature."""

    seq: int
    digest: bytes
    signature: bytes


class AuditReceipt(Record):
    """A peer has seen that head, and says so with its signature."""

    seq: int
    digest: bytes
    signature: bytes


class Continuity(StrEnum):
    """How a peer's log goes on from what it showed before."""

    GOES_ON = "goes_on"
    SHORTER = "shorter"
    """It has fewer events than it had: restored from a backup, or cut."""
    FORKED = "forked"
    """It shows two events under one number."""


class AuditReader(Protocol):
    """Questions about the log and the documents beside it."""

    def last_event(self) -> EventRow | None: ...
    def events(self, after: int = 0, limit: int = 100, job: str | None = None) -> Sequence[EventRow]: ...
    def message_digests(self, job: str, task: str, attempt: int) -> Sequence[tuple[MessageId, bytes]]: ...
    def document(self, collection: str, key: str) -> bytes | None: ...
    def documents(
        self, collection: str, prefix: str = "", limit: int = 100, offset: int = 0
    ) -> Sequence[DocumentRow]: ...


class AuditWriter(AuditReader, Protocol):
    """Changes to the log and the documents beside it."""

    def append_event(self, kind: str, job: str, detail: bytes) -> int: ...
    def put_document(self, collection: str, key: str, document: bytes) -> None: ...


class Kept(BaseModel):
    """A head or receipt as the store keeps it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int = Field(ge=0, le=MAX_SEQ)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")

    @classmethod
    def of(cls, one: AuditHead | AuditReceipt) -> Self:
        """Return what is kept of a head or receipt; raises BadValue when it is not well formed."""
        if not 0 <= one.seq <= MAX_SEQ or len(one.digest) != DIGEST_BYTES or len(one.signature) != SIGNATURE_BYTES:
            raise BadValue("an audit head or receipt has a number, digest or signature that cannot be one")
        return cls(seq=one.seq, digest=one.digest.hex(), signature=one.signature.hex())

    @classmethod
    def read(cls, key: str, document: bytes) -> Self:
        """Return what a document of the store holds; raises StoreCorrupt when it is something else."""
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            raise StoreCorrupt(f"the audit evidence {key} in the store cannot be read; it was changed") from error

    def to_bytes(self) -> bytes:
        """Return the document."""
        return self.model_dump_json().encode()


def head_bytes(owner: Address, seq: int, digest: bytes) -> bytes:
    """Return what ``owner`` signs about its log."""
    return _labelled(_HEAD_LABEL, owner, seq, digest)


def receipt_bytes(owner: Address, seq: int, digest: bytes) -> bytes:
    """Return what a peer signs about the log of ``owner``."""
    return _labelled(_RECEIPT_LABEL, owner, seq, digest)


def head(store: AuditWriter, me: Address, sign: Sign) -> AuditHead:
    """Return our log's head, signed and kept; call it in the transaction that sends it."""
    last = store.last_event()
    seq, digest = (last.seq, last.hash) if last else (0, EMPTY)
    ours = AuditHead(seq=seq, digest=digest, signature=sign(head_bytes(me, seq, digest)))
    store.put_document(HEADS, _number(seq), Kept.of(ours).to_bytes())
    return ours


def take_head(
    store: AuditWriter, job: str, peer: Address, theirs: AuditHead, verify: Verify, sign: Sign
) -> AuditReceipt | None:
    """Check and keep a peer's head and return the receipt to send, None when its log has two pasts.

    Raises BadValue when the head is not signed by the peer.
    """
    continuity = keep_peer_head(store, job, peer, theirs, verify)
    return None if continuity is Continuity.FORKED else receipt(peer, theirs, sign)


def keep_peer_head(store: AuditWriter, job: str, peer: Address, theirs: AuditHead, verify: Verify) -> Continuity:
    """Check and keep a peer's head and return how its log goes on from what it showed before.

    Of two events under one number the first is kept; that, and a log that became shorter, is noted in our own log.
    Raises BadValue when the head is not signed by the peer, or is one of very many for one job.
    """
    kept = Kept.of(theirs)
    if not verify(peer, theirs.signature, head_bytes(peer, theirs.seq, theirs.digest)):
        raise BadValue(f"the audit head of {peer} is not signed by it")
    before = _kept(store, PEER_HEADS, _key(peer, theirs.seq))
    if before is not None and before.digest == kept.digest:
        return Continuity.GOES_ON
    _count(store, job, peer)
    if before is not None:
        _note(store, "peer_log_forked", job, peer, kept)
        return Continuity.FORKED
    newest = _kept(store, PEER_NEWEST, str(peer))
    store.put_document(PEER_HEADS, _key(peer, theirs.seq), kept.to_bytes())
    if newest is None or newest.seq < kept.seq:
        store.put_document(PEER_NEWEST, str(peer), kept.to_bytes())
        _note(store, "peer_head_countersigned", job, peer, kept)
        return Continuity.GOES_ON
    _note(store, "peer_log_shorter", job, peer, kept)
    return Continuity.SHORTER


def receipt(peer: Address, theirs: AuditHead, sign: Sign) -> AuditReceipt:
    """Return our countersignature under a peer's head that `keep_peer_head` has taken."""
    signature = sign(receipt_bytes(peer, theirs.seq, theirs.digest))
    return AuditReceipt(seq=theirs.seq, digest=theirs.digest, signature=signature)


def keep_receipt(
    store: AuditWriter, job: str, me: Address, peer: Address, theirs: AuditReceipt, verify: Verify
) -> None:
    """Check and keep a peer's receipt; raises BadValue when it is not signed or is about no head that we gave out."""
    kept = Kept.of(theirs)
    if not verify(peer, theirs.signature, receipt_bytes(me, theirs.seq, theirs.digest)):
        raise BadValue(f"the audit receipt of {peer} is not signed by it")
    ours = _kept(store, HEADS, _number(theirs.seq))
    if ours is None or ours.digest != kept.digest:
        raise BadValue(f"{peer} sends a receipt for a head that this party has not given out")
    if store.document(RECEIPTS, _key(peer, theirs.seq)) is None:
        store.put_document(RECEIPTS, _key(peer, theirs.seq), kept.to_bytes())
        _note(store, "head_countersigned", job, peer, kept)


def note_messages(store: AuditWriter, me: Address, job: str, task: str, attempt: int) -> int:
    """Append one event about a finished task's messages; call it before the job's mail is forgotten.

    Some 20 microseconds a message; a caller in a hurry reads `traffic_of` first and appends with `note_traffic`.
    """
    return note_traffic(store, job, task, attempt, traffic_of(me, store.message_digests(job, task, attempt)))


def note_traffic(store: AuditWriter, job: str, task: str, attempt: int, traffic: Mapping[str, JsonObject]) -> int:
    """Append one event about a finished task's messages."""
    detail = {"task": task, "attempt": attempt, "traffic": dict(traffic)}
    return store.append_event("task_messages", job, json.dumps(detail, sort_keys=True).encode())


def traffic_of(me: Address, messages: Iterable[tuple[MessageId, bytes]]) -> dict[str, JsonObject]:
    """Return by peer how many messages went either way, and one digest over all of them, the same at both ends."""
    between: defaultdict[Address, list[bytes]] = defaultdict(list)
    sent: defaultdict[Address, int] = defaultdict(int)
    ends: dict[Address, bytes] = {}
    for message, sha256 in messages:
        peer = message.destination if message.source == me else message.source
        for end in (message.source, message.destination):
            if end not in ends:
                ends[end] = str(end).encode()
        sent[peer] += message.source == me
        parts = (*(str(part).encode() for part in message[:5]), ends[message.source], ends[message.destination])
        between[peer].append(_joined(parts) + sha256)
    return {
        str(peer): _summary(found, sent[peer]) for peer, found in sorted(between.items(), key=lambda one: str(one[0]))
    }


def _summary(packed: list[bytes], sent: int) -> JsonObject:
    digest = hashlib.sha256()
    for one in sorted(packed):
        digest.update(one)
    return {"sent": sent, "received": len(packed) - sent, "sha256": digest.hexdigest()}


def _joined(parts: Iterable[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _labelled(label: str, owner: Address, seq: int, digest: bytes) -> bytes:
    return _joined((label.encode(), str(owner).encode(), str(seq).encode(), digest))


def _note(store: AuditWriter, kind: str, job: str, peer: Address, kept: Kept) -> None:
    detail = {"peer": str(peer), "seq": kept.seq, "digest": kept.digest}
    store.append_event(kind, job, json.dumps(detail, sort_keys=True).encode())


def _count(store: AuditWriter, job: str, peer: Address) -> None:
    key = f"{peer}/{job}"
    noted = int(store.document(TAKEN, key) or b"0")
    if noted >= MAX_HEADS:
        raise BadValue(f"{peer} shows more than {MAX_HEADS} heads of its audit log for one job")
    store.put_document(TAKEN, key, str(noted + 1).encode())


def _kept(store: AuditReader, collection: str, key: str) -> Kept | None:
    found = store.document(collection, key)
    return None if found is None else Kept.read(key, found)


def _number(seq: int) -> str:
    return f"{seq:016d}"


def _key(peer: Address, seq: int) -> str:
    return f"{peer}/{_number(seq)}"
