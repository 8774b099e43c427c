"""Heads, receipts and what a check of the log finds: any change of an event, a cut, a forged or a swapped paper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from partyd.crypto.identity import LocalIdentity, generate_identity, verify_signature
from partyd.errors import BadValue, StoreCorrupt
from partyd.governance import audit
from partyd.governance.audit import AuditHead, AuditReceipt, Continuity, Kept
from partyd.governance.audit_check import Report, check_log
from partyd.store import Store
from partyd.store.offline import reading
from partyd.store.records import _event_hash
from partyd.store.tables import COUNTERS, row_sum
from partyd.types import Address, MessageId
from tests.store.samples import opened

ME, PEER, OTHER = (Address.parse(text) for text in ("10000/host", "9999/guest", "7/arbiter"))
KEYS = {address: generate_identity(address, 0) for address in (ME, PEER, OTHER)}


def verify(signer: Address, signature: bytes, text: bytes) -> bool:
    try:
        verify_signature(KEYS[signer].id_pub, signature, text)
    except BadValue:
        return False
    return True


def known(signer: Address, signature: bytes, text: bytes) -> bool | None:
    return verify(signer, signature, text) if signer in KEYS else None


@contextmanager
def log_of(folder: Path, events: int = 5) -> Iterator[Store]:
    """A log with some events, of which PEER has countersigned the third and OTHER the last."""
    with opened(folder) as store:
        for number in range(1, events + 1):
            note(store, number)
            if number == 3:
                countersign(store, PEER)
        countersign(store, OTHER)
        yield store


def note(store: Store, number: int) -> None:
    store.write_now(lambda t: t.append_event("job_accepted", f"j{number}", b'{"n": %d}' % number))


def countersign(store: Store, peer: Address) -> AuditReceipt:
    head = store.write_now(lambda t: audit.head(t, ME, KEYS[ME].sign))
    # the peer signs what it was given about our log
    signature = KEYS[peer].sign(audit.receipt_bytes(ME, head.seq, head.digest))
    receipt = AuditReceipt(seq=head.seq, digest=head.digest, signature=signature)
    store.write_now(lambda t: audit.keep_receipt(t, "j", ME, peer, receipt, verify))
    return receipt


def checked(store: Store, *handed_in: Kept) -> Report:
    return store.read_now(lambda r: check_log(r, ME, known, handed_in))


def tampered(folder: Path, *statements: str | Callable[[apsw.Connection], None]) -> Report:
    """Change the closed database past its triggers and check it through a connection that only reads."""
    connection = apsw.Connection(str(folder / "partyd.db"))
    triggers = list(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        if callable(statement):
            statement(connection)
        else:
            connection.execute(statement)
    for _, sql in triggers:
        connection.execute(str(sql))
    connection.close()
    return offline(folder)


def offline(folder: Path, *handed_in: Kept) -> Report:
    with reading(folder) as reader:
        return check_log(reader, ME, known, handed_in)


def rewrite(connection: apsw.Connection, first: int, detail: bytes) -> None:
    """Change one event and mend every hash after it, as somebody who knows the format would."""
    rows = list(connection.execute("SELECT seq, at, kind, job, detail, previous FROM events ORDER BY seq"))
    previous = bytes(32)
    for seq, at, kind, job, old, _ in rows:
        body = detail if seq == first else old
        digest = _event_hash(seq, at, kind, job, body, previous)
        values = (body, previous, digest, seq)
        connection.execute("UPDATE events SET detail = ?, previous = ?, hash = ? WHERE seq = ?", values)
        previous = digest


def cut(connection: apsw.Connection, last: int) -> None:
    """Drop the newest events and lower the counter, row sum included."""
    connection.execute("DELETE FROM events WHERE seq > ?", (last,))
    values = (last, row_sum(COUNTERS.name, ("events", last)))
    connection.execute("UPDATE counters SET value = ?, sum = ? WHERE name = 'events'", values)


# -- exchange


def test_a_head_is_signed_countersigned_and_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "here") as store, opened(tmp_path / "there") as peer:
        for number in (1, 2):
            note(store, number)
        head = store.write_now(lambda t: audit.head(t, ME, KEYS[ME].sign))
        assert head.seq == 2
        assert AuditHead.from_bytes(head.to_bytes()) == head
        receipt = peer.write_now(lambda t: audit.take_head(t, "j", ME, head, verify, KEYS[PEER].sign))
        assert receipt is not None
        again = peer.write_now(lambda t: audit.take_head(t, "j", ME, head, verify, KEYS[PEER].sign))
        assert again == receipt
        store.write_now(lambda t: audit.keep_receipt(t, "j", ME, PEER, receipt, verify))
        store.write_now(lambda t: audit.keep_receipt(t, "j", ME, PEER, receipt, verify))
        assert [event.kind for event in store.read_now(lambda r: r.events())] == ["job_accepted"] * 2 + [
            "head_countersigned"
        ]
        assert [event.kind for event in peer.read_now(lambda r: r.events())] == ["peer_head_countersigned"]
        assert checked(store).countersigned == {"9999/guest": 2}
        assert peer.read_now(lambda r: check_log(r, PEER, known)).is_sound


def test_an_empty_log_has_a_head_too(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert countersign(store, PEER).seq == 0
        report = checked(store)
    assert (report.events, report.problems, report.countersigned) == (1, [], {"9999/guest": 0})


def signed_head(owner: Address, seq: int, digest: bytes, by: LocalIdentity | None = None) -> AuditHead:
    signature = (by or KEYS[owner]).sign(audit.head_bytes(owner, seq, digest))
    return AuditHead(seq=seq, digest=digest, signature=signature)


def test_a_head_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for wrong in (
            signed_head(PEER, 3, b"d" * 32, KEYS[OTHER]),
            signed_head(PEER, 3, b"short"),
            signed_head(PEER, -1, b"d" * 32),
            AuditHead(seq=3, digest=b"d" * 32, signature=b""),
        ):
            with pytest.raises(BadValue, match="audit head"):
                store.write_now(lambda t, wrong=wrong: audit.keep_peer_head(t, "j", PEER, wrong, verify))
        assert store.read_now(lambda r: r.last_event()) is None


def test_a_peers_second_past_and_a_shorter_log_are_noted(tmp_path: Path) -> None:
    with opened(tmp_path) as store:

        def take(seq: int, digest: bytes) -> Continuity:
            head = signed_head(PEER, seq, digest)
            return store.write_now(lambda t: audit.keep_peer_head(t, "j", PEER, head, verify))

        assert take(5, b"a" * 32) is Continuity.GOES_ON
        assert take(9, b"b" * 32) is Continuity.GOES_ON
        assert take(5, b"c" * 32) is Continuity.FORKED
        assert take(7, b"d" * 32) is Continuity.SHORTER
        forked = signed_head(PEER, 9, b"e" * 32)
        assert store.write_now(lambda t: audit.take_head(t, "j", PEER, forked, verify, KEYS[ME].sign)) is None
        kinds = [event.kind for event in store.read_now(lambda r: r.events())]
        assert checked(store).is_sound
    assert kinds == [*["peer_head_countersigned"] * 2, "peer_log_forked", "peer_log_shorter", "peer_log_forked"]


def test_a_peer_that_shows_head_after_head_fills_nobodys_log(tmp_path: Path) -> None:
    with opened(tmp_path) as store:

        def take(seq: int, job: str = "j") -> Continuity:
            head = signed_head(PEER, seq, b"%032d" % seq)
            return store.write_now(lambda t: audit.keep_peer_head(t, job, PEER, head, verify))

        for seq in range(audit.MAX_HEADS):
            assert take(seq) is Continuity.GOES_ON
        with pytest.raises(BadValue, match="more than 200 heads"):
            take(1000)
        assert take(3) is Continuity.GOES_ON
        assert take(1000, "another") is Continuity.GOES_ON


def test_a_receipt_must_be_signed_and_about_a_head_of_ours(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        note(store, 1)
        head = store.write_now(lambda t: audit.head(t, ME, KEYS[ME].sign))
        good = KEYS[PEER].sign(audit.receipt_bytes(ME, head.seq, head.digest))
        forged = AuditReceipt(seq=head.seq, digest=head.digest, signature=KEYS[OTHER].sign(b"x"))
        about_head = AuditReceipt(
            seq=1, digest=head.digest, signature=KEYS[PEER].sign(audit.head_bytes(ME, 1, head.digest))
        )
        elsewhere = AuditReceipt(
            seq=1, digest=b"d" * 32, signature=KEYS[PEER].sign(audit.receipt_bytes(ME, 1, b"d" * 32))
        )
        for wrong, said in ((forged, "not signed"), (about_head, "not signed"), (elsewhere, "has not given out")):
            with pytest.raises(BadValue, match=said):
                store.write_now(lambda t, wrong=wrong: audit.keep_receipt(t, "j", ME, PEER, wrong, verify))
        swapped = AuditReceipt(seq=head.seq, digest=head.digest, signature=good)
        with pytest.raises(BadValue, match="not signed"):
            store.write_now(lambda t: audit.keep_receipt(t, "j", ME, OTHER, swapped, verify))


# -- what a check finds


def test_an_untouched_log_is_sound(tmp_path: Path) -> None:
    with log_of(tmp_path) as store:
        while_open = checked(store)
    report = offline(tmp_path)
    assert report == while_open
    assert report.is_sound
    assert report.events == 7
    assert report.countersigned == {"9999/guest": 3, "7/arbiter": 6}
    assert report.remarks == []
    with opened(tmp_path) as store:
        assert checked(store).head == report.head


@pytest.mark.parametrize("seq", range(1, 8))
@pytest.mark.parametrize("column", ["at", "kind", "job", "detail", "previous", "hash"])
def test_every_changed_byte_of_an_event_shows(tmp_path: Path, seq: int, column: str) -> None:
    with log_of(tmp_path):
        pass

    def change(connection: apsw.Connection) -> None:
        (value,) = next(iter(connection.execute(f"SELECT {column} FROM events WHERE seq = ?", (seq,))))
        spoilt = value + 1.0 if isinstance(value, float) else value[:-1] + (b"~" if isinstance(value, bytes) else "~")
        connection.execute(f"UPDATE events SET {column} = ? WHERE seq = ?", (spoilt, seq))

    report = tampered(tmp_path, change)
    assert f"event {seq} of the audit log is damaged" in report.problems[0]


@pytest.mark.parametrize("seq", range(1, 4))
def test_a_rewritten_past_with_mended_hashes_contradicts_the_countersignatures(tmp_path: Path, seq: int) -> None:
    with log_of(tmp_path):
        pass
    report = tampered(tmp_path, lambda connection: rewrite(connection, seq, b'{"n": 666}'))
    assert report.problems[0] == "our own signed head 3 has another event 3: the log was rewritten there or before"
    assert "the receipt of 9999/guest for event 3 has another event 3: the log was rewritten there or before" in (
        report.problems
    )
    assert any("the receipt of 7/arbiter for event 6" in problem for problem in report.problems)


def test_a_rewrite_after_the_first_countersignature_is_placed_between_the_two(tmp_path: Path) -> None:
    with log_of(tmp_path):
        pass
    report = tampered(tmp_path, lambda connection: rewrite(connection, 5, b'{"n": 666}'))
    assert report.countersigned == {"9999/guest": 3}
    assert all("event 6" in problem for problem in report.problems)


@pytest.mark.parametrize("last", range(6))
def test_dropped_last_events_show_even_when_the_counter_is_lowered(tmp_path: Path, last: int) -> None:
    with log_of(tmp_path):
        pass
    report = tampered(tmp_path, lambda connection: cut(connection, last))
    assert "the receipt of 7/arbiter for event 6 says that there was an event 6: the log was cut" in report.problems


def test_events_dropped_without_lowering_the_counter_show(tmp_path: Path) -> None:
    with log_of(tmp_path):
        pass
    report = tampered(tmp_path, "DELETE FROM events WHERE seq = 7")
    assert report.problems == ["the audit log ends at event 6, but 7 were written"]


def test_a_cut_that_takes_all_evidence_with_it_needs_what_a_peer_kept(tmp_path: Path) -> None:
    with log_of(tmp_path) as store:
        row = store.read_now(lambda r: r.documents(audit.HEADS))[-1]
    kept = Kept.read(row.key, row.document)
    report = tampered(
        tmp_path,
        lambda connection: cut(connection, 2),
        f"DELETE FROM documents WHERE collection IN ('{audit.HEADS}', '{audit.RECEIPTS}')",
    )
    assert report.is_sound
    handed = offline(tmp_path, kept)
    assert handed.problems == ["the head 6 that was handed in says that there was an event 6: the log was cut"]
    foreign = kept.model_copy(update={"signature": "0" * 128})
    assert "not signed by 10000/host" in offline(tmp_path, foreign).problems[0]


def test_evidence_that_was_taken_out_is_missed(tmp_path: Path) -> None:
    with log_of(tmp_path) as store:
        head = signed_head(PEER, 4, b"p" * 32)
        store.write_now(lambda t: audit.keep_peer_head(t, "j", PEER, head, verify))
    report = tampered(tmp_path, f"DELETE FROM documents WHERE collection IN ('{audit.RECEIPTS}', '{audit.PEER_HEADS}')")
    assert [problem.split(" tells")[0] for problem in report.problems] == [
        "event 4 (head_countersigned)",
        "event 7 (head_countersigned)",
        "event 8 (peer_head_countersigned)",
    ]


def document(store: Store, collection: str, key: str, kept: Kept) -> None:
    store.write_now(lambda t: t.put_document(collection, key, kept.to_bytes()))


def test_forged_and_swapped_papers_show(tmp_path: Path) -> None:
    with log_of(tmp_path) as store:
        rows = store.read_now(lambda r: r.documents(audit.RECEIPTS))
        ours, theirs = (Kept.read(row.key, row.document) for row in rows)
        document(store, audit.RECEIPTS, rows[0].key, theirs)
        document(store, audit.RECEIPTS, rows[1].key, ours)
        swapped = checked(store)
        document(store, audit.RECEIPTS, rows[0].key, ours)
        document(store, audit.RECEIPTS, rows[1].key, theirs)
        assert checked(store).is_sound
        head = store.read_now(lambda r: r.documents(audit.HEADS))[0]
        document(store, audit.HEADS, head.key, Kept(seq=3, digest="ab" * 32, signature="cd" * 64))
        forged = checked(store)
        store.write_now(lambda t: t.put_document(audit.HEADS, head.key, b"no json"))
        unreadable = checked(store)
    assert any("receipt of 9999/guest" in p and "not signed by" in p for p in swapped.problems)
    assert any("receipt of 7/arbiter" in p and "not signed by" in p for p in swapped.problems)
    assert forged.problems == ["our own head 3 is not signed by 10000/host with a key that we know"]
    assert any("cannot be read; it was changed" in problem for problem in unreadable.problems)


def test_a_paper_whose_signer_is_gone_is_a_remark(tmp_path: Path) -> None:
    with log_of(tmp_path) as store:
        receipts = store.read_now(
            lambda r: check_log(r, ME, lambda who, s, t: None if who == PEER else known(who, s, t))
        )
    assert receipts.is_sound
    assert receipts.remarks == [
        "the receipt of 9999/guest for event 3 cannot be checked: no key of 9999/guest is here any more"
    ]


def test_an_unreadable_event_about_evidence_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.append_event("head_countersigned", "", b"no json"))
        assert checked(store).problems == ["event 1 (head_countersigned) cannot be read"]


def test_kept_papers_have_a_form() -> None:
    with pytest.raises(StoreCorrupt, match="it was changed"):
        Kept.read("k", b'{"seq": 1, "digest": "x", "signature": "y"}')


# -- messages


def message(number: int, source: Address, destination: Address) -> MessageId:
    return MessageId("j", "psi_0", 1, f"round/{number}", "Points", source, destination)


def test_both_ends_of_a_task_note_the_same_digest(tmp_path: Path) -> None:
    bodies = {
        message(number, *ends): b"%d" % number for number, ends in enumerate([(ME, PEER), (PEER, ME), (ME, PEER)])
    }
    noted = []
    for me in (ME, PEER):
        with opened(tmp_path / me.role.label) as store:
            for one, body in reversed(bodies.items()) if me == PEER else bodies.items():
                if one.source == me:
                    store.write_now(lambda t, one=one, body=body: t.post(one, b"", body))
                else:
                    digest = hashlib.sha256(body).digest()
                    store.write_now(lambda t, one=one, body=body, digest=digest: t.accept(one, digest, body))
            store.write_now(lambda t, me=me: t.post(elsewhere(me), b"", b"another task"))
            store.write_now(lambda t, me=me: audit.note_messages(t, me, "j", "psi_0", 1))
            event = store.read_now(lambda r: r.last_event())
            assert event is not None
            assert (event.kind, event.job) == ("task_messages", "j")
            noted.append(json.loads(event.detail))
    mine, theirs = noted[0]["traffic"]["9999/guest"], noted[1]["traffic"]["10000/host"]
    assert (mine["sent"], mine["received"]) == (2, 1)
    assert (theirs["sent"], theirs["received"]) == (1, 2)
    assert mine["sha256"] == theirs["sha256"]
    assert set(noted[0]["traffic"]) == {"9999/guest"}


def elsewhere(me: Address) -> MessageId:
    return message(9, me, OTHER)._replace(task="other_0")


def test_another_content_or_identity_gives_another_digest() -> None:
    one = message(1, ME, PEER)
    base = audit.traffic_of(ME, [(one, b"a" * 32)])
    assert base != audit.traffic_of(ME, [(one, b"b" * 32)])
    assert base != audit.traffic_of(ME, [(one._replace(scope="round/2"), b"a" * 32)])
    assert audit.traffic_of(ME, []) == {}


def test_a_log_whose_last_event_is_gone_gives_no_head(tmp_path: Path) -> None:
    with log_of(tmp_path):
        pass
    connection = apsw.Connection(str(tmp_path / "partyd.db"))
    for (name,) in list(connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'")):
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM events WHERE seq = 7")
    connection.close()
    with reading(tmp_path) as reader, pytest.raises(StoreCorrupt, match=r"event 7 .* it is missing"):
        reader.last_event()
