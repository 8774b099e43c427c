"""Outbox and inbox: first write wins, nothing is numbered twice, bodies go when they are no longer needed."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from partyd.errors import Equivocation, StoreError
from partyd.store import INLINE_LIMIT, BlobRef, Reader, Store
from partyd.types import Address, MessageId
from tests.store.samples import (
    ELSEWHERE,
    HERE,
    JOB,
    THERE,
    accept,
    content,
    incoming,
    open_store,
    opened,
    outgoing,
    sha256,
)


def test_first_post_wins(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        first = store.write_now(lambda t: t.post(outgoing(1), b"h", b"one"))
        same = store.write_now(lambda t: t.post(outgoing(1), b"h", b"one"))
        other = store.write_now(lambda t: t.post(outgoing(1), b"h", b"two"))
        rows = store.read_now(lambda r: r.unacknowledged(THERE))
    assert (first.seq, first.is_new, first.is_same) == (1, True, True)
    assert (same.seq, same.is_new, same.is_same) == (1, False, True)
    assert (other.seq, other.is_new, other.is_same) == (1, False, False)
    assert [(row.seq, row.message, row.header, row.body, row.sha256, row.tries) for row in rows] == [
        (1, outgoing(1), b"h", b"one", sha256(b"one"), 0)
    ]


def test_numbers_rise_by_destination_and_are_never_used_twice(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: [t.post(outgoing(n), b"", b"x") for n in (1, 2)])
        elsewhere = store.write_now(lambda t: t.post(outgoing(1, ELSEWHERE), b"", b"x"))
        store.write_now(lambda t: t.acknowledge(THERE, [1, 2]))
        assert store.write_now(lambda t: t.forget_mail(JOB)) == 2
        again = store.write_now(lambda t: t.post(outgoing(1), b"", b"x"))
    assert elsewhere.seq == 1
    assert (again.seq, again.is_new) == (3, True)


def test_acknowledging_drops_the_body_and_keeps_the_identity(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.post(outgoing(1), b"", b"secret body"))
        assert store.write_now(lambda t: t.acknowledge(THERE, [1, 1, 7])) == 1
        assert store.read_now(lambda r: (r.unacknowledged(THERE), r.outbox_depth())) == ([], {})
        again = store.write_now(lambda t: t.post(outgoing(1), b"", b"secret body"))
    assert (again.seq, again.is_new, again.is_same) == (1, False, True)
    assert b"secret body" not in (tmp_path / "partyd.db").read_bytes()


def test_unacknowledged_pages_and_filters_by_source(tmp_path: Path) -> None:
    with opened(tmp_path, clock=lambda: 5.0) as store:
        store.write_now(lambda t: [t.post(outgoing(n), b"", b"four") for n in range(5)])
        page = store.read_now(lambda r: r.unacknowledged(THERE, 2, 2))
        none = store.read_now(lambda r: r.unacknowledged(THERE, source=ELSEWHERE))
        ours = store.read_now(lambda r: r.unacknowledged(THERE, source=HERE))
        depth = store.read_now(lambda r: r.outbox_depth())
    assert [row.seq for row in page] == [3, 4]
    assert none == []
    assert len(ours) == 5
    assert (depth[THERE].count, depth[THERE].size, depth[THERE].oldest_at) == (5, 20, 5.0)


def test_tries_are_counted(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: [t.post(outgoing(n), b"", b"x") for n in (1, 2)])
        store.write_now(lambda t: t.count_tries(THERE, [2, 9]))
        assert [row.tries for row in store.read_now(lambda r: r.unacknowledged(THERE))] == [0, 1]


def test_a_large_body_becomes_a_blob(tmp_path: Path) -> None:
    body = b"b" * (INLINE_LIMIT + 1)
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.post(outgoing(1), b"", body))
        row = store.read_now(lambda r: r.unacknowledged(THERE))[0]
        assert row.body == BlobRef(sha256(body).hex(), len(body))
        assert store.read_now(lambda r: r.read_body(row.body)) == body


def test_a_reference_must_lead_to_a_blob(tmp_path: Path) -> None:
    with opened(tmp_path) as store, pytest.raises(StoreError, match="adopt it before"):
        store.write_now(lambda t: t.post(outgoing(1), b"", BlobRef("0" * 64, 7)))


def test_accept_tells_new_from_repeated_and_refuses_equivocation(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        assert not store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        with pytest.raises(Equivocation, match="9999/host sent two different contents"):
            store.write_now(lambda t: t.accept(incoming(1), sha256(b"b"), b"b"))
        assert store.read_now(lambda r: r.take(incoming(1))) == b"a"


def test_a_repeat_is_known_after_it_was_consumed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        store.write_now(lambda t: t.consume([incoming(1)]))
        assert store.read_now(lambda r: r.take(incoming(1))) is None
        assert not store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        assert store.read_now(lambda r: r.take(incoming(1))) is None
        with pytest.raises(Equivocation):
            store.write_now(lambda t: t.accept(incoming(1), sha256(b"b"), b"b"))


def test_a_body_must_have_its_digest(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="does not have the digest"):
            store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"b"))
        assert store.read_now(lambda r: r.take(incoming(1))) is None


def test_consuming_what_never_arrived_fails(tmp_path: Path) -> None:
    with opened(tmp_path) as store, pytest.raises(StoreError, match="never arrived"):
        store.write_now(lambda t: t.consume([incoming(1)]))


def test_control_messages_come_back_in_the_order_they_came(tmp_path: Path) -> None:
    with opened(tmp_path, clock=lambda: 3.0) as store:
        for number in (3, 1, 2):
            store.write_now(accept(incoming(number, task=""), b"%d" % number))
        store.write_now(lambda t: t.accept(incoming(9), sha256(b"x"), b"x"))
        store.write_now(lambda t: t.consume([incoming(1, task="")]))
        rows = store.read_now(lambda r: r.unconsumed_control())
    assert [(row.message, row.body, row.sha256, row.received_at) for row in rows] == [
        (incoming(3, task=""), b"3", sha256(b"3"), 3.0),
        (incoming(2, task=""), b"2", sha256(b"2"), 3.0),
    ]


def test_waiting_bytes_count_for_their_source(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: [t.accept(incoming(n), sha256(b"12345"), b"12345") for n in (1, 2)])
        store.write_now(lambda t: t.consume([incoming(1)]))
        assert store.read_now(lambda r: (r.inbox_bytes(THERE), r.inbox_bytes(ELSEWHERE))) == (5, 0)


def test_forgetting_mail_keeps_what_still_waits(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.write_now(lambda t: t.post(outgoing(1), b"", b"x"))
        store.write_now(lambda t: t.accept(incoming(1), sha256(b"a"), b"a"))
        assert store.write_now(lambda t: t.forget_mail(JOB)) == 0
        assert store.read_now(lambda r: (len(r.unacknowledged(THERE)), r.take(incoming(1)))) == (1, b"a")


NUMBERS = st.integers(0, 6)
BODIES = st.sampled_from([b"", b"a", b"b" * 100, b"c" * (INLINE_LIMIT + 1)])
DESTINATIONS = st.sampled_from([THERE, ELSEWHERE])


class MailMachine(RuleBasedStateMachine):
    """The store against dictionaries, with restarts in between."""

    directory: Path

    @initialize()
    def start(self) -> None:
        number = len(list(self.directory.iterdir()))
        self.place = self.directory / str(number)
        self.store: Store = open_store(self.place)
        self.outbox: dict[MessageId, tuple[int, bytes, bool]] = {}
        self.inbox: dict[MessageId, tuple[bytes, bool]] = {}
        self.last: dict[Address, int] = {}

    def teardown(self) -> None:
        self.store.close_now()

    @rule(number=NUMBERS, to=DESTINATIONS, body=BODIES)
    def post(self, number: int, to: Address, body: bytes) -> None:
        message = outgoing(number, to)
        posted = self.store.write_now(lambda t: t.post(message, b"", body))
        if message not in self.outbox:
            self.last[to] = self.last.get(to, 0) + 1
            self.outbox[message] = (self.last[to], body, False)
            assert posted.is_new
        seq, stored, _ = self.outbox[message]
        assert (posted.seq, posted.is_same) == (seq, stored == body)

    @rule(to=DESTINATIONS, seq=st.integers(1, 8))
    def acknowledge(self, to: Address, seq: int) -> None:
        self.store.write_now(lambda t: t.acknowledge(to, [seq]))
        for message, (known, body, _) in self.outbox.items():
            if message.destination == to and known == seq:
                self.outbox[message] = (known, body, True)

    @rule(number=NUMBERS, body=BODIES)
    def accept(self, number: int, body: bytes) -> None:
        message = incoming(number)
        known = self.inbox.get(message)
        if known is not None and known[0] != body:
            with pytest.raises(Equivocation):
                self.store.write_now(lambda t: t.accept(message, sha256(body), body))
            return
        assert self.store.write_now(lambda t: t.accept(message, sha256(body), body)) == (known is None)
        self.inbox.setdefault(message, (body, False))

    @rule(number=NUMBERS)
    def consume(self, number: int) -> None:
        message = incoming(number)
        if message not in self.inbox:
            with pytest.raises(StoreError):
                self.store.write_now(lambda t: t.consume([message]))
            return
        self.store.write_now(lambda t: t.consume([message]))
        self.inbox[message] = (self.inbox[message][0], True)

    @rule()
    def forget(self) -> None:
        self.store.write_now(lambda t: t.forget_mail(JOB))
        self.outbox = {message: row for message, row in self.outbox.items() if not row[2]}
        self.inbox = {message: row for message, row in self.inbox.items() if not row[1]}

    @rule()
    def restart(self) -> None:
        self.store.close_now()
        self.store = open_store(self.place)

    @invariant()
    def agrees(self) -> None:
        for to in (THERE, ELSEWHERE):
            mine = [(m, seq, body) for m, (seq, body, done) in self.outbox.items() if m.destination == to and not done]
            assert self.store.read_now(partial(_waiting_for, to=to)) == sorted(mine, key=lambda row: row[1])
        for number in range(7):
            body, done = self.inbox.get(incoming(number), (None, False))
            assert self.store.read_now(partial(_taken, number=number)) == (None if done else body)


def _waiting_for(reader: Reader, to: Address) -> list[tuple[MessageId, int, bytes]]:
    return [(row.message, row.seq, reader.read_body(row.body)) for row in reader.unacknowledged(to)]


def _taken(reader: Reader, number: int) -> bytes | None:
    return content(reader, reader.take(incoming(number)))


def test_mail_agrees_with_a_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    MailMachine.directory = tmp_path_factory.mktemp("mail")
    run_state_machine_as_test(
        MailMachine,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
    assert list(MailMachine.directory.iterdir())
