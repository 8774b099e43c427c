"""Outbox and inbox: messages kept by identity, first write wins at both ends (architecture §4 rules 1 and 2).

A posted message stays until the receiver has acknowledged it; an accepted one until a checkpoint has consumed it.
Then the body goes, but the identity and its digest stay until the job is forgotten: a repeated message must be told
from a new one, however late it comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from partyd.errors import Equivocation, StoreError
from partyd.federation.rows import BlobRef, Body, InboxRow, OutboxDepth, OutboxRow, Posted
from partyd.store.session import Session, WritingSession, message_key, message_of, message_where
from partyd.store.tables import INBOX, OUTBOX, Value
from partyd.types import Address, MessageId

DEFAULT_LIMIT = 256


class MailReader(Session):
    """Questions about messages."""

    def unacknowledged(
        self, destination: Address, after_seq: int = 0, limit: int = DEFAULT_LIMIT, source: Address | None = None
    ) -> list[OutboxRow]:
        """Return the messages to ``destination`` that it has not acknowledged, in the order they were posted."""
        where = "WHERE acknowledged = 0 AND destination = :destination AND seq > :after"
        bindings: dict[str, Value] = {"destination": str(destination), "after": after_seq, "limit": limit}
        if source is not None:
            where += " AND source = :source"
            bindings["source"] = str(source)
        rows = self._rows(OUTBOX, f"{where} ORDER BY seq LIMIT :limit", bindings)
        return [
            OutboxRow(
                row.integer("seq"),
                message_of(row),
                row.data("header"),
                self._body(row),
                row.data("sha256"),
                row.integer("tries"),
            )
            for row in rows
        ]

    def outbox_depth(self) -> dict[Address, OutboxDepth]:
        """Return what waits for each destination: how many messages, how many bytes, since when."""
        rows = self._execute(
            "SELECT destination, count(*), sum(size), min(created_at) FROM outbox "
            "WHERE acknowledged = 0 GROUP BY destination"
        )
        return {
            Address.parse(str(to)): OutboxDepth(int(n or 0), int(size or 0), float(at or 0)) for to, n, size, at in rows
        }

    def take(self, message: MessageId) -> Body | None:
        """Return the body of a message that has arrived; None before that, and after it was consumed."""
        row = self._row(INBOX, message_key(message))
        return None if row is None or row.integer("consumed") else self._body(row)

    def unconsumed_control(self, limit: int = -1) -> list[InboxRow]:
        """Return messages about jobs themselves (no task) that were not consumed yet, in the order they came."""
        rows = self._rows(INBOX, "WHERE consumed = 0 AND task = '' ORDER BY number LIMIT ?", (limit,))
        return [InboxRow(message_of(row), row.data("sha256"), self._body(row), row.real("received_at")) for row in rows]

    def inbox_bytes(self, source: Address) -> int:
        """Return how many bytes from ``source`` wait to be consumed."""
        return self._number("SELECT sum(size) FROM inbox WHERE consumed = 0 AND source = ?", (str(source),))


class MailWriter(WritingSession, MailReader):
    """Changes to messages."""

    def post(self, message: MessageId, header: bytes, body: Body) -> Posted:
        """Put a message into the outbox; a message already there keeps its first bytes and its number.

        Numbers rise by destination and are never used twice. The caller compares ``is_same``: a repeated round that
        computes other bytes for the same identity must fail.
        """
        body = self._blobs.keep(body)
        sha256 = _sha256(body)
        known = self._row(OUTBOX, message_key(message))
        if known is not None:
            return Posted(known.integer("seq"), is_new=False, is_same=known.data("sha256") == sha256)
        name = f"seq:{message.destination}"
        seq = self.counter(name) + 1
        self.set_counter(name, seq)
        columns = _columns(body, sha256)
        self._insert(OUTBOX, (*message_key(message), seq, header, *columns, 0, 0, float(self._clock())))
        return Posted(seq, is_new=True, is_same=True)

    def acknowledge(self, destination: Address, seqs: Iterable[int]) -> int:
        """Drop the bodies of messages that ``destination`` has stored; return how many were still waiting."""
        changes: dict[str, Value] = {"acknowledged": 1, "body": None, "blob": None}
        where = "acknowledged = 0 AND destination = :to AND seq = :which"
        return sum(self._update(OUTBOX, changes, {"to": str(destination), "which": seq}, where) for seq in seqs)

    def count_tries(self, destination: Address, seqs: Iterable[int]) -> None:
        """Note that these messages were sent once more."""
        for row in self._waiting(destination, seqs):
            changes: dict[str, Value] = {"tries": row.tries + 1}
            self._update(OUTBOX, changes, message_where(row.message))

    def _waiting(self, destination: Address, seqs: Iterable[int]) -> Iterable[OutboxRow]:
        for seq in seqs:
            yield from (row for row in self.unacknowledged(destination, seq - 1, 1) if row.seq == seq)

    def accept(self, message: MessageId, sha256: bytes, body: Body) -> bool:
        """Keep an arrived message; return False if it was there already.

        Raises Equivocation if it was there with other bytes: stop the job and raise an alarm.
        """
        known = self._row(INBOX, message_key(message))
        if known is not None:
            if known.data("sha256") == sha256:
                return False
            raise Equivocation(
                f"{message.source} sent two different contents as {message.kind} of task {message.task!r}, "
                f"attempt {message.attempt}, scope {message.scope!r}: the first is kept, the job must stop; "
                "ask the peer's operator what runs there"
            )
        body = self._blobs.keep(body)
        if _sha256(body) != sha256:
            raise StoreError(
                f"the body of {message.kind} from {message.source} does not have the digest it was accepted with"
            )
        self._insert(INBOX, (*message_key(message), *_columns(body, sha256), 0, float(self._clock())))
        return True

    def consume(self, messages: Iterable[MessageId]) -> None:
        """Mark messages as used and drop their bodies; raises StoreError for one that never arrived."""
        changes: dict[str, Value] = {"consumed": 1, "body": None, "blob": None}
        for message in messages:
            if not self._update(INBOX, changes, message_where(message)):
                raise StoreError(
                    f"{message.kind} of scope {message.scope!r} from {message.source} is consumed but never arrived"
                )

    def abandon_mail(self, job: str) -> None:
        """Drop the bodies of a job's messages that no task will consume any more; those about the job itself stay."""
        changes: dict[str, Value] = {"consumed": 1, "body": None, "blob": None}
        self._update(INBOX, changes, {"job": job}, "job = :job AND task <> '' AND consumed = 0")

    def forget_mail(self, job: str) -> int:
        """Delete a job's messages that are acknowledged or consumed; return how many."""
        self._execute("DELETE FROM outbox WHERE job = ? AND acknowledged = 1", (job,))
        count = self._connection.changes()
        self._execute("DELETE FROM inbox WHERE job = ? AND consumed = 1", (job,))
        return count + self._connection.changes()


def _sha256(body: Body) -> bytes:
    return bytes.fromhex(body.digest) if isinstance(body, BlobRef) else hashlib.sha256(body).digest()


def _columns(body: Body, sha256: bytes) -> tuple[Value, ...]:
    if isinstance(body, BlobRef):
        return None, body.digest, body.size, sha256
    return body, None, len(body), sha256


def body_columns(body: Body) -> tuple[Value, ...]:
    """Return the columns body, blob, size and sha256 for a body that ``Blobs.keep`` has returned."""
    return _columns(body, _sha256(body))
