"""Peers, documents and the audit log."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import apsw
import pytest

from partyd.errors import StoreCorrupt, StoreError
from partyd.store import BlobRef, PeerRow, Transaction
from partyd.types import ARBITER, GUEST
from tests.store.samples import ELSEWHERE, THERE, open_store, opened, sha256


def test_peers_are_saved_replaced_and_revoked(tmp_path: Path) -> None:
    peer = PeerRow(THERE, "ab:cd", b"card", revoked=False, added_at=1.0)
    special = PeerRow(THERE, "ef", b"card 2", revoked=False, added_at=2.0, local=ARBITER)
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.save_peer(peer))
        store.write_now(lambda t: t.save_peer(special))
        assert store.read_now(lambda r: r.peers()) == [peer, special]
        store.write_now(lambda t: t.revoke_peer(THERE))
        assert [row.revoked for row in store.read_now(lambda r: r.peers())] == [True, False]
        assert store.read_now(lambda r: (r.peer(THERE, ARBITER), r.peer(ELSEWHERE))) == (special, None)
        store.write_now(lambda t: t.save_peer(peer))
        assert store.read_now(lambda r: r.peer(THERE)) == peer
        with pytest.raises(StoreError, match="no peer"):
            store.write_now(lambda t: t.revoke_peer(ELSEWHERE))


def test_epochs_only_rise(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.read_now(lambda r: r.seen_epoch(THERE)) == 0
        seen = [store.write_now(partial(Transaction.see_epoch, address=THERE, epoch=epoch)) for epoch in (5, 5, 4, 6)]
        assert seen == [True, False, False, True]
        assert store.write_now(lambda t: t.see_epoch(THERE, 1, GUEST))
        assert store.read_now(lambda r: (r.seen_epoch(THERE), r.seen_epoch(THERE, GUEST))) == (6, 1)


def test_another_store_is_noticed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        seen = [
            store.write_now(partial(Transaction.see_store, address=THERE, store_id=store_id, boot_id=b"boot"))
            for store_id in (b"1" * 16, b"1" * 16, b"2" * 16, b"2" * 16)
        ]
        store.write_now(lambda t: t.see_epoch(THERE, 7))
        assert not store.write_now(lambda t: t.see_store(THERE, b"2" * 16, b"boot 2"))
        assert store.read_now(lambda r: r.seen_epoch(THERE)) == 7
    assert seen == [False, False, True, False]


def test_documents(tmp_path: Path) -> None:
    large = b"l" * 100_000
    with opened(tmp_path, clock=lambda: 4.0) as store:
        for key, document in (("b/1", b"one"), ("a", b"a"), ("b/2", large), ("b_", b"not under b/")):
            store.write_now(partial(Transaction.put_document, collection="tables", key=key, document=document))
        store.write_now(lambda t: t.put_document("tables", "a", b"new"))
        assert store.read_now(lambda r: r.document("tables", "a")) == b"new"
        assert store.read_now(lambda r: r.document("other", "a")) is None
        under = store.read_now(lambda r: r.documents("tables", "b/"))
        assert [(row.key, row.document, row.updated_at) for row in under] == [("b/1", b"one", 4.0), ("b/2", large, 4.0)]
        assert [row.key for row in store.read_now(lambda r: r.documents("tables", limit=1, offset=1))] == ["b/1"]
        assert store.write_now(lambda t: t.delete_document("tables", "a"))
        assert not store.write_now(lambda t: t.delete_document("tables", "a"))


def test_a_document_keeps_its_blobs_alive(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        ref = BlobRef(store.blobs.write(b"model"), 5)
        store.write_now(lambda t: t.put_document("artifacts", "m", b"{}", [ref, ref]))
        store.write_now(lambda t: t.put_document("artifacts", "m", b"{ }", [ref]))
        assert store.read_now(lambda r: r.document_blobs("artifacts", "m")) == [ref]
        assert store.read_now(lambda r: r.blob_references()) == {ref.digest}
        store.write_now(lambda t: t.delete_document("artifacts", "m"))
        assert store.read_now(lambda r: r.blob_references()) == set()


def test_events_are_chained_and_filtered(tmp_path: Path) -> None:
    with opened(tmp_path, clock=lambda: 1.5) as store:
        assert store.read_now(lambda r: r.verify_events()) == 0
        numbers = [
            store.write_now(partial(Transaction.append_event, kind="k", job=job, detail=b"d")) for job in ("a", "", "a")
        ]
        events = store.read_now(lambda r: r.events())
        of_a = store.read_now(lambda r: r.events(0, 10, "a"))
        assert store.read_now(lambda r: r.verify_events()) == 3
    assert numbers == [1, 2, 3]
    assert [event.seq for event in of_a] == [1, 3]
    assert (events[0].previous, events[1].previous) == (bytes(32), events[0].hash)
    assert (events[0].at, events[0].kind, events[0].job, events[0].detail) == (1.5, "k", "a", b"d")


@pytest.mark.parametrize(
    ("tampering", "complaint"),
    [
        ("UPDATE events SET detail = x'00' WHERE seq = 2", "event 2 .* hash does not match"),
        ("DELETE FROM events WHERE seq = 2", "event 3 .* does not follow event 1"),
        ("DELETE FROM events WHERE seq = 3", "event 2 .* is the last, but 3 were written"),
    ],
)
def test_tampering_with_the_audit_log_shows(tmp_path: Path, tampering: str, complaint: str) -> None:
    with opened(tmp_path) as store:
        for _ in range(3):
            store.write_now(lambda t: t.append_event("k", "j", b"d"))
    (tmp_path / "clean").unlink()
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    triggers = [
        (name, sql) for name, sql in connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'")
    ]
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(tampering)
    for _, sql in triggers:
        connection.execute(sql)
    connection.close()
    with pytest.raises(StoreCorrupt, match=complaint):
        open_store(tmp_path)


def test_the_audit_log_refuses_changes(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.append_event("k", "j", b"d"))
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    for statement in ("UPDATE events SET kind = 'x'", "DELETE FROM events"):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_blob_reference_of_a_document_is_the_digest(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.blobs.write(b"x") == sha256(b"x").hex()
