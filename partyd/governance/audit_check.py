"""Compare an audit log with what was signed about it: our heads, the peers' receipts, and heads that peers hand in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from partyd.errors import BadValue, StoreCorrupt
from partyd.federation.rows import EventRow
from partyd.governance.audit import (
    EMPTY,
    HEADS,
    PEER_HEADS,
    RECEIPTS,
    AuditReader,
    Kept,
    head_bytes,
    receipt_bytes,
)
from partyd.types import Address

Known = Callable[[Address, bytes, bytes], bool | None]
"""Whether a signer has signed these bytes; None when no key of that signer is known here any more."""
_PAGE = 1000


class LogReader(AuditReader, Protocol):
    """A store's log that can say how many events were written."""

    def counter(self, name: str) -> int: ...


@dataclass
class Report:
    """What was found."""

    events: int = 0
    head: bytes = EMPTY
    countersigned: dict[str, int] = field(default_factory=dict)
    """By peer, the highest number that it has countersigned and that still lies on the log."""
    problems: list[str] = field(default_factory=list)
    """What cannot be with a log that nobody has touched, the earliest place first."""
    remarks: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing speaks against the log."""
        return not self.problems


@dataclass(frozen=True)
class _Evidence:
    kept: Kept
    what: str
    peer: Address | None = None


def check_log(store: LogReader, me: Address, known: Known, handed_in: Iterable[Kept] = ()) -> Report:
    """Check the chain, our own heads, the receipts for them, our countersignatures, and heads that peers hand in.

    ``handed_in`` are heads of ours as a peer kept them (`partyd audit heads`): they show a cut that took the receipts
    with it. Nothing is raised for what is found; it is in the report.
    """
    report = Report()
    evidence = sorted(_signed(store, me, known, handed_in, report), key=lambda one: one.kept.seq)
    receipts = {(peer, kept.seq, kept.digest) for peer, kept in _by_peer(store, RECEIPTS, report)}
    heads = {(peer, kept.seq, kept.digest) for peer, kept in _by_peer(store, PEER_HEADS, report)}
    expected = {"head_countersigned": receipts, "peer_head_countersigned": heads}
    hashes = {one.kept.seq: b"" for one in evidence}
    try:
        for event in _chain(store):
            report.events, report.head = event.seq, event.hash
            if event.seq in hashes:
                hashes[event.seq] = event.hash
            _insist_on_evidence(event, expected, report)
    except StoreCorrupt as error:
        report.problems.append(str(error))
        evidence = [one for one in evidence if one.kept.seq <= report.events]
    hashes[0] = EMPTY
    for one in evidence:
        _place(one, hashes, report)
    return report


def _chain(store: LogReader) -> Iterator[EventRow]:
    """Yield every event; raises StoreCorrupt at the first that does not follow the one before."""
    last, previous = 0, EMPTY
    while page := store.events(last, _PAGE):
        for event in page:
            if event.seq != last + 1 or event.previous != previous:
                raise StoreCorrupt(f"event {event.seq} of the audit log does not follow event {last}")
            yield event
            last, previous = event.seq, event.hash
    if last != store.counter("events"):
        raise StoreCorrupt(f"the audit log ends at event {last}, but {store.counter('events')} were written")


def _place(one: _Evidence, hashes: dict[int, bytes], report: Report) -> None:
    """Compare one head with the event of its number."""
    seq, found = one.kept.seq, hashes.get(one.kept.seq, b"")
    if seq > report.events:
        report.problems.append(f"{one.what} says that there was an event {seq}: the log was cut")
    elif found.hex() != one.kept.digest:
        report.problems.append(f"{one.what} has another event {seq}: the log was rewritten there or before")
    elif one.peer is not None:
        report.countersigned[str(one.peer)] = max(seq, report.countersigned.get(str(one.peer), 0))


def _signed(
    store: LogReader, me: Address, known: Known, handed_in: Iterable[Kept], report: Report
) -> Iterator[_Evidence]:
    """Yield every head and receipt whose signature holds; the others are problems, or remarks when no key is known."""
    for key, document in _documents(store, HEADS):
        kept = _read(key, document, report)
        if kept and _holds(known, me, kept, head_bytes, me, f"our own head {kept.seq}", report):
            yield _Evidence(kept, f"our own signed head {kept.seq}")
    for peer, kept in _by_peer(store, RECEIPTS, report):
        what = f"the receipt of {peer} for event {kept.seq}"
        if _holds(known, peer, kept, receipt_bytes, me, what, report):
            yield _Evidence(kept, what, peer)
    for peer, kept in _by_peer(store, PEER_HEADS, report):
        _holds(known, peer, kept, head_bytes, peer, f"the head {kept.seq} of {peer} that we hold", report)
    for kept in handed_in:
        what = f"the head {kept.seq} that was handed in"
        if _holds(known, me, kept, head_bytes, me, what, report):
            yield _Evidence(kept, what)


def _holds(
    known: Known,
    signer: Address,
    kept: Kept,
    signed: Callable[[Address, int, bytes], bytes],
    owner: Address,
    what: str,
    report: Report,
) -> bool:
    text = signed(owner, kept.seq, bytes.fromhex(kept.digest))
    holds = known(signer, bytes.fromhex(kept.signature), text)
    if holds is None:
        report.remarks.append(f"{what} cannot be checked: no key of {signer} is here any more")
    elif not holds:
        report.problems.append(f"{what} is not signed by {signer} with a key that we know")
    return bool(holds)


def _insist_on_evidence(event: EventRow, expected: dict[str, set[tuple[Address, int, str]]], report: Report) -> None:
    """Note when the log says that a head was countersigned and the countersignature is gone."""
    if event.kind not in expected:
        return
    try:
        detail = json.loads(event.detail)
        wanted = (Address.parse(str(detail["peer"])), int(detail["seq"]), str(detail["digest"]))
    except (ValueError, LookupError, TypeError):
        report.problems.append(f"event {event.seq} ({event.kind}) cannot be read")
        return
    if wanted not in expected[event.kind]:
        report.problems.append(
            f"event {event.seq} ({event.kind}) tells of a countersignature with {wanted[0]} that is gone"
        )


def _by_peer(store: LogReader, collection: str, report: Report) -> Iterator[tuple[Address, Kept]]:
    for key, document in _documents(store, collection):
        kept = _read(key, document, report)
        if kept is not None:
            yield Address.parse(key.rpartition("/")[0]), kept


def _read(key: str, document: bytes, report: Report) -> Kept | None:
    try:
        return Kept.read(key, document)
    except (StoreCorrupt, BadValue) as error:
        if str(error) not in report.problems:
            report.problems.append(str(error))
        return None


def _documents(store: LogReader, collection: str) -> Iterator[tuple[str, bytes]]:
    offset = 0
    while page := store.documents(collection, "", _PAGE, offset):
        yield from ((row.key, row.document) for row in page)
        offset += len(page)
