"""Peers, documents and the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import msgpack

from partyd.errors import StoreCorrupt, StoreError
from partyd.federation.rows import BlobRef, DocumentRow, EventRow, PeerRow
from partyd.store import faults
from partyd.store.mail import body_columns
from partyd.store.session import Session, WritingSession
from partyd.store.tables import DOCUMENT_BLOBS, DOCUMENTS, EVENTS, MESSAGE, PEERS, SEEN, Row, Value
from partyd.types import Address, MessageId, Role

ORIGIN = bytes(32)
"""What the first event names as its predecessor's hash."""
_STEP = 1000


class RecordReader(Session):
    """Questions about peers, documents and events."""

    def peers(self) -> list[PeerRow]:
        """Return every pinned peer, revoked ones too."""
        return [_peer(row) for row in self._rows(PEERS, "ORDER BY address, local")]

    def peer(self, address: Address, local: Role | None = None) -> PeerRow | None:
        """Return one pinned peer."""
        row = self._row(PEERS, (_label(local), str(address)))
        return _peer(row) if row else None

    def seen_epoch(self, address: Address, local: Role | None = None) -> int:
        """Return the highest epoch a peer has shown, 0 if none."""
        row = self._row(SEEN, (_label(local), str(address)))
        return row.integer("epoch") if row else 0

    def document(self, collection: str, key: str) -> bytes | None:
        """Return one document."""
        row = self._row(DOCUMENTS, (collection, key))
        return self.read_body(self._body(row)) if row else None

    def documents(self, collection: str, prefix: str = "", limit: int = 100, offset: int = 0) -> list[DocumentRow]:
        """Return the documents whose keys begin with ``prefix``, in the order of their keys."""
        where = "WHERE collection = ? AND key >= ? AND substr(key, 1, length(?)) = ? ORDER BY key LIMIT ? OFFSET ?"
        rows = self._rows(DOCUMENTS, where, (collection, prefix, prefix, prefix, limit, offset))
        return [DocumentRow(row.text("key"), self.read_body(self._body(row)), row.real("updated_at")) for row in rows]

    def document_blobs(self, collection: str, key: str) -> list[BlobRef]:
        """Return the blobs a document keeps alive."""
        rows = self._rows(DOCUMENT_BLOBS, "WHERE collection = ? AND key = ? ORDER BY blob", (collection, key))
        return [BlobRef(row.text("blob"), row.integer("size")) for row in rows]

    def events(self, after: int = 0, limit: int = 100, job: str | None = None) -> list[EventRow]:
        """Return events numbered above ``after``, of one job only if given; each is checked against its own hash."""
        which = "" if job is None else "AND job = ?"
        bindings: tuple[Value, ...] = (after, limit) if job is None else (after, job, limit)
        query = f"SELECT {', '.join(EVENTS.columns)} FROM events WHERE seq > ? {which} ORDER BY seq LIMIT ?"  # noqa: S608
        return [_event(values) for values in self._execute(query, bindings)]

    def last_event(self) -> EventRow | None:
        """Return the newest event of the audit log, checked against its own hash."""
        last = self.counter("events")
        if not last:
            return None
        found = self.events(last - 1, 1)
        if not found:
            raise _broken(last, "it is missing")
        return found[0]

    def message_digests(self, job: str, task: str, attempt: int) -> list[tuple[MessageId, bytes]]:
        """Return every message that a task has sent or got, and its SHA-256; known until the job is forgotten."""
        columns, where = f"{', '.join(MESSAGE)}, sha256", "WHERE job = ? AND task = ? AND attempt = ?"
        rows = [
            row
            for table in ("outbox", "inbox")
            for row in self._execute(f"SELECT {columns} FROM {table} {where}", (job, task, attempt))  # noqa: S608
        ]
        ends = {text: Address.parse(str(text)) for text in {end for row in rows for end in row[5:7]}}
        return [
            (MessageId(job, task, attempt, str(scope), str(kind), ends[source], ends[destination]), _bytes(sha256))
            for _, _, _, scope, kind, source, destination, sha256 in rows
        ]

    def verify_events(self) -> int:
        """Check the audit log's chain from its first row to its head and return its length; raises StoreCorrupt."""
        last, previous = 0, ORIGIN
        for event in self._all_events():
            if event.seq != last + 1 or event.previous != previous:
                raise _broken(event.seq, f"it does not follow event {last}")
            last, previous = event.seq, event.hash
        if last != self.counter("events"):
            raise _broken(last, f"it is the last, but {self.counter('events')} were written")
        return last

    def _all_events(self) -> Iterator[EventRow]:
        last = 0
        while page := self.events(last, _STEP):
            yield from page
            last = page[-1].seq


class RecordWriter(WritingSession, RecordReader):
    """Changes to peers, documents and events."""

    def save_peer(self, peer: PeerRow) -> None:
        """Pin a peer, or replace what is known of it."""
        self._replace(
            PEERS,
            {
                "local": _label(peer.local),
                "address": str(peer.address),
                "fingerprint": peer.fingerprint,
                "card": peer.card,
                "revoked": int(peer.revoked),
                "added_at": float(peer.added_at),
            },
        )

    def revoke_peer(self, address: Address, local: Role | None = None) -> None:
        """Mark a peer as revoked; raises StoreError if it is unknown."""
        if not self._update(PEERS, {"revoked": 1}, {"local": _label(local), "address": str(address)}):
            raise StoreError(f"{address} is no peer of this party: 'partyd peer list' shows them")

    def see_epoch(self, address: Address, epoch: int, local: Role | None = None) -> bool:
        """Note an epoch of a peer; False, and nothing noted, if it is not above the highest seen."""
        row = self._seen(address, local)
        if row is not None and row.integer("epoch") >= epoch:
            return False
        self._note(address, local, row, {"epoch": epoch})
        return True

    def see_store(self, address: Address, store_id: bytes, boot_id: bytes, local: Role | None = None) -> bool:
        """Note a peer's store and boot; return whether the store is another than the one seen before."""
        row = self._seen(address, local)
        is_other = row is not None and row.has("store_id") and row.data("store_id") != store_id
        self._note(address, local, row, {"store_id": store_id, "boot_id": boot_id})
        return is_other

    def _seen(self, address: Address, local: Role | None) -> Row | None:
        return self._row(SEEN, (_label(local), str(address)))

    def _note(self, address: Address, local: Role | None, row: Row | None, changes: dict[str, Value]) -> None:
        if row is None:
            self._insert(SEEN, (_label(local), str(address), 0, None, None))
        self._update(SEEN, changes, {"local": _label(local), "address": str(address)})

    def put_document(self, collection: str, key: str, document: bytes, blobs: Sequence[BlobRef] = ()) -> None:
        """Insert or replace a document, which keeps ``blobs`` alive as long as it is there."""
        body, blob, size, sha256 = body_columns(self._blobs.keep(document))
        now = float(self._clock())
        columns = {"body": body, "blob": blob, "size": size, "sha256": sha256, "updated_at": now}
        self._execute("DELETE FROM document_blobs WHERE collection = ? AND key = ?", (collection, key))
        self._replace(DOCUMENTS, {"collection": collection, "key": key, **columns})
        for ref in set(blobs):
            self._blobs.keep(ref)
            self._insert(DOCUMENT_BLOBS, (collection, key, ref.digest, ref.size))

    def delete_document(self, collection: str, key: str) -> bool:
        """Delete a document; return whether it was there."""
        self._execute("DELETE FROM document_blobs WHERE collection = ? AND key = ?", (collection, key))
        self._execute("DELETE FROM documents WHERE collection = ? AND key = ?", (collection, key))
        return bool(self._connection.changes())

    def append_event(self, kind: str, job: str, detail: bytes) -> int:
        """Append to the audit log and return the event's number."""
        last = self.counter("events")
        previous = self.events(last - 1, 1)[0].hash if last else ORIGIN
        seq, at = last + 1, float(self._clock())
        digest = _event_hash(seq, at, kind, job, detail, previous)
        query = "INSERT INTO events(seq, at, kind, job, detail, previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"
        self._execute(query, (seq, at, kind, job, detail, previous, digest))
        self.set_counter("events", seq)
        return seq


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise StoreCorrupt(f"the digest of a message is no bytes; {faults.RESTORE}")
    return value


def _event_hash(seq: int, at: float, kind: str, job: str, detail: bytes, previous: bytes) -> bytes:
    packed: bytes = msgpack.packb((seq, at, kind, job, detail, previous))
    return hashlib.sha256(packed).digest()


def _event(values: Sequence[Value]) -> EventRow:
    seq, at, kind, job, detail, previous, digest = values
    if not (
        isinstance(seq, int)
        and isinstance(at, float)
        and isinstance(kind, str)
        and isinstance(job, str)
        and isinstance(detail, bytes)
        and isinstance(previous, bytes)
        and digest == _event_hash(seq, at, kind, job, detail, previous)
    ):
        raise _broken(seq, "its hash does not match")
    return EventRow(seq, at, kind, job, detail, previous, digest)


def _broken(seq: Value, why: str) -> StoreCorrupt:
    return StoreCorrupt(f"event {seq!r} of the audit log is damaged: {why}; {faults.RESTORE}")


def _peer(row: Row) -> PeerRow:
    return PeerRow(
        Address.parse(row.text("address")),
        row.text("fingerprint"),
        row.data("card"),
        bool(row.integer("revoked")),
        row.real("added_at"),
        Role.from_label(row.text("local")) if row.text("local") else None,
    )


def _label(local: Role | None) -> str:
    return "" if local is None else local.label
