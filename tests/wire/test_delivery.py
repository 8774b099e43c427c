"""Delivery between two ends joined by lists, with a clock that the test moves."""

from __future__ import annotations

import hashlib
import random

import pytest

from partyd.errors import LocalProtocolError, StoreFull
from partyd.wire.bodies import BytesBody, MemorySpool
from partyd.wire.delivery import SUSPECT_S
from partyd.wire.delivery_events import (
    Alive,
    Arrived,
    BodyLost,
    Delivered,
    RecordRejected,
    Refused,
    SpoolFailed,
    Suspect,
)
from partyd.wire.records import Ack, First, More, Ping, Progress, decode, encode
from tests.wire.links import CHUNK, ENDLESS, End, Link, content, drop_once, random_bytes


def test_small_and_large_messages_arrive_and_are_delivered() -> None:
    link = Link()
    bodies = {
        1: b"",
        2: b"x" * 100,
        3: random_bytes(CHUNK),
        4: random_bytes(10 * CHUNK + 7),
        5: random_bytes(CHUNK + 1),
    }
    for seq, body in bodies.items():
        link.left.delivery.submit(seq, b"head %d" % seq, BytesBody(body))
    link.settle()
    assert link.right.bodies() == bodies
    assert {e.header for e in link.right.events if isinstance(e, Arrived)} == {b"head %d" % seq for seq in bodies}
    assert sorted(e.seq for e in link.left.events if isinstance(e, Delivered)) == sorted(bodies)
    assert not link.left.delivery.has_work


def test_nothing_is_delivered_before_it_is_stored() -> None:
    link = Link(right=End("right", stores=False))
    link.left.delivery.submit(7, b"", BytesBody(b"body"))
    link.advance(5.0)
    assert len(link.right.of(Arrived)) == 1
    assert not link.left.of(Delivered)
    link.right.delivery.stored(7, link.now)
    link.settle()
    assert link.left.of(Delivered) == [Delivered(7)]


def test_a_submitted_number_is_taken_once() -> None:
    link = Link()
    for _ in range(3):
        link.left.delivery.submit(1, b"", BytesBody(b"a"))
    link.settle()
    assert len(link.right.of(Arrived)) == len(link.left.of(Delivered)) == 1


def test_a_lost_chunk_is_sent_again_without_waiting_for_the_timer() -> None:
    link = Link()
    body = random_bytes(30 * CHUNK)
    link.left.delivery.submit(1, b"", BytesBody(body))
    link.settle(drop_once(lambda record: isinstance(record, More) and record.index == 5))
    assert link.now == 0.0
    assert link.right.bodies() == {1: body}
    assert link.left.delivery.stats.resent == 1


def test_one_gap_makes_the_sender_go_back_once() -> None:
    link = Link(right=End("right", window=ENDLESS), left=End("left", window=ENDLESS))
    link.left.delivery.submit(1, b"", BytesBody(random_bytes(100 * CHUNK)))
    link.settle(drop_once(lambda record: isinstance(record, More) and record.index == 2))
    chunks = [record for name, record in link.seen if name == "left" and isinstance(record, More)]
    gaps = [p for _, record in link.seen if isinstance(record, Ack) for p in record.progress if p.gap]
    assert len(gaps) == 1
    assert len(chunks) == 99 + 98


def test_a_lost_last_chunk_is_sent_again_after_the_timer() -> None:
    link = Link()
    body = random_bytes(3 * CHUNK)
    link.left.delivery.submit(1, b"", BytesBody(body))
    link.settle(drop_once(lambda record: isinstance(record, More) and record.index == 2))
    assert not link.right.of(Arrived)
    link.advance(1.5)
    assert link.right.bodies() == {1: body}


@pytest.mark.parametrize("size", [10, 5 * CHUNK])
def test_a_lost_acknowledgement_costs_one_probe_or_repetition(size: int) -> None:
    link = Link()
    link.left.delivery.submit(1, b"", BytesBody(random_bytes(size)))
    link.settle(lambda record: not isinstance(record, Ack))
    assert link.right.of(Arrived)
    assert not link.left.of(Delivered)
    link.advance(2.0)
    assert len(link.right.of(Arrived)) == 1
    assert link.left.of(Delivered) == [Delivered(1)]


def test_resends_back_off_while_nothing_is_heard() -> None:
    link = Link()
    link.left.delivery.submit(1, b"", BytesBody(b"x"))
    link.settle()
    link.left.delivery.submit(2, b"", BytesBody(b"x"))
    link.advance(300.0, lambda _: False)
    firsts = [record for name, record in link.seen if name == "left" and isinstance(record, First) and record.seq == 2]
    assert 6 <= len(firsts) <= 14
    link.advance(400.0)
    assert Delivered(2) in link.left.events


def test_a_restarted_receiver_gets_everything_again_from_the_start() -> None:
    link = Link()
    body = random_bytes(20 * CHUNK)
    link.left.delivery.submit(1, b"h", BytesBody(body))
    link.carry(link.left, link.right, budget=5 * CHUNK)
    link.right.boot(link.now)
    link.connect()
    link.settle()
    assert link.right.bodies() == {1: body}
    assert link.left.of(Delivered) == [Delivered(1)]


def test_a_restarted_sender_continues_where_the_receiver_is() -> None:
    link = Link()
    body = random_bytes(200 * CHUNK)
    link.left.delivery.submit(1, b"h", BytesBody(body))
    for _ in range(10):
        link.carry(link.left, link.right, budget=16 * CHUNK)
        link.carry(link.right, link.left)
    link.left.boot(link.now)
    link.left.delivery.submit(1, b"h", BytesBody(body))
    link.connect()
    link.seen.clear()
    link.settle()
    assert link.right.bodies() == {1: body}
    assert sum(isinstance(record, More) for name, record in link.seen if name == "left") < 120


def test_records_of_an_earlier_life_are_dropped() -> None:
    link = Link()
    link.left.delivery.submit(1, b"", BytesBody(b"old"))
    late = link.left.delivery.records_to_send(link.now, ENDLESS)
    link.left.boot(link.now)
    link.connect()
    for data in late:
        link.right.take(link.right.delivery.receive(data, link.now), link.now)
    assert not link.right.of(Arrived)
    assert len(link.right.of(RecordRejected)) == len(late)


def test_a_new_store_numbers_anew() -> None:
    link = Link()
    link.left.delivery.submit(1, b"", BytesBody(b"first life"))
    link.settle()
    link.left.boot(link.now)
    link.left.delivery.submit(1, b"", BytesBody(b"second life"))
    link.connect(store=b"another store")
    link.settle()
    assert [content(e.body) for e in link.right.events if isinstance(e, Arrived)] == [b"first life", b"second life"]


def test_the_window_bounds_what_is_unacknowledged() -> None:
    link = Link(left=End("left", window=8 * CHUNK))
    link.left.delivery.submit(1, b"", BytesBody(random_bytes(100 * CHUNK)))
    sent = link.left.delivery.records_to_send(0.0, ENDLESS)
    assert sum(isinstance(decode(data)[1], First | More) for data in sent) == 7


def test_chunks_are_read_only_when_asked_for() -> None:
    class Counting(BytesBody):
        reads = 0

        def read(self, offset: int, length: int) -> bytes:
            Counting.reads += 1
            return super().read(offset, length)

    link = Link()
    link.left.delivery.submit(1, b"", Counting(random_bytes(50 * CHUNK)))
    assert Counting.reads == 0
    link.left.delivery.records_to_send(0.0, CHUNK)
    assert Counting.reads == 1


def test_small_messages_pass_large_ones_and_both_get_their_share() -> None:
    link = Link(left=End("left", window=ENDLESS), right=End("right", window=ENDLESS))
    for seq in range(6):
        link.left.delivery.submit(seq, b"", BytesBody(random_bytes(40 * CHUNK, seq)))
    link.carry(link.left, link.right, budget=20 * CHUNK)
    for seq in range(10, 30):
        link.left.delivery.submit(seq, b"", BytesBody(random_bytes(CHUNK // 2)))
    link.left.delivery.submit(99, b"", BytesBody(b"urgent"), control=True)
    link.seen.clear()
    link.settle()
    order = [record.seq for name, record in link.seen if name == "left" and isinstance(record, First | More)]
    assert order[0] == 99
    small = [i for i, seq in enumerate(order) if 10 <= seq < 30]
    assert small[-1] < 40
    assert {seq for seq in order[: small[-1]] if seq < 6} == {0, 1, 2, 3}


def test_credit_zero_stops_all_but_control() -> None:
    link = Link()
    link.settle()
    link.right.delivery.set_credit(0, link.now)
    link.settle()
    link.left.delivery.submit(1, b"", BytesBody(b"data"))
    for seq in range(100, 200):
        link.left.delivery.submit(seq, b"", BytesBody(b"control"), control=True)
    link.settle()
    assert {e.seq for e in link.right.events if isinstance(e, Arrived)} == set(range(100, 200))
    link.right.delivery.set_credit(1 << 20, link.now)
    link.settle()
    assert Delivered(1) in link.left.events


def test_at_most_64_control_messages_fly() -> None:
    link = Link()
    for seq in range(100):
        link.left.delivery.submit(seq, b"", BytesBody(b"control"), control=True)
    sent = [decode(data)[1] for data in link.left.delivery.records_to_send(0.0, ENDLESS)]
    assert sum(isinstance(record, First) for record in sent) == 64


def test_the_news_of_an_opened_window_may_be_lost() -> None:
    link = Link()
    link.right.delivery.set_credit(0, link.now)
    link.settle()
    link.left.delivery.submit(1, b"", BytesBody(b"data"))
    link.right.delivery.set_credit(1 << 20, link.now)
    link.settle(lambda record: not isinstance(record, Ack))
    link.advance(4.0)
    assert link.left.of(Delivered) == [Delivered(1)]


def test_a_refused_message_ends_and_is_refused_again() -> None:
    link = Link(right=End("right", stores=False))
    link.left.delivery.submit(1, b"", BytesBody(b"x"))
    link.settle()
    link.right.delivery.refused(1, "quota", link.now)
    link.settle(lambda record: type(record).__name__ != "Refuse")
    assert not link.left.of(Refused)
    link.advance(3.0)
    assert link.left.of(Refused) == [Refused(1, "quota")]
    assert not link.left.delivery.has_work


@pytest.mark.parametrize("count", [1, 3])
def test_a_body_without_its_digest_is_refused_after_twenty_tries(count: int) -> None:
    class Lying(BytesBody):
        @property
        def sha256(self) -> bytes:
            return bytes(32)

    link = Link()
    link.left.delivery.submit(1, b"", Lying(random_bytes(count * CHUNK)))
    link.advance(60.0)
    assert not link.right.of(Arrived)
    assert len(link.right.of(RecordRejected)) == 20
    assert link.left.of(Refused) == [Refused(1, "bad_body")]


def test_a_body_that_cannot_be_read_is_told() -> None:
    class Gone(BytesBody):
        def read(self, offset: int, length: int) -> bytes:
            raise FileNotFoundError("body is gone")

    link = Link()
    link.left.delivery.submit(1, b"", Gone(b"123"))
    link.left.delivery.submit(2, b"", BytesBody(b"fine"))
    link.advance(1.0)
    assert link.left.of(BodyLost) == [BodyLost(1, "body is gone")]
    assert link.left.of(Delivered) == [Delivered(2)]


def test_a_spool_that_is_full_is_tried_again() -> None:
    room = [False]

    class Narrow(MemorySpool):
        def write(self, data: bytes | memoryview) -> None:
            if not room[0]:
                raise StoreFull("disk full")
            super().write(data)

    link = Link(right=End("right", spool=Narrow))
    body = random_bytes(9 * CHUNK)
    link.left.delivery.submit(1, b"", BytesBody(body))
    link.advance(5.0)
    assert link.right.of(SpoolFailed)
    assert not link.right.of(Arrived)
    room[0] = True
    link.advance(60.0)
    assert link.right.bodies() == {1: body}


def test_a_silent_peer_becomes_suspect_within_35_seconds_and_alive_again() -> None:
    link = Link()
    link.advance(100.0)
    assert not link.left.of(Suspect)
    link.advance(100.0 + SUSPECT_S + 10.5, lambda _: False)
    assert len(link.left.of(Suspect)) == len(link.right.of(Suspect)) == 1
    link.advance(160.0)
    assert len(link.left.of(Alive)) == len(link.right.of(Alive)) == 1
    assert link.left.delivery.last_heard > 140.0


def test_idle_sides_send_a_heartbeat_each_ten_seconds() -> None:
    link = Link()
    link.settle()
    link.seen.clear()
    link.advance(101.0)
    pings = [name for name, record in link.seen if isinstance(record, Ping)]
    assert 9 <= len(pings) <= 21
    assert link.left.delivery.stats.round_trip_s == 0.0


def test_a_smaller_peer_gets_smaller_chunks() -> None:
    link = Link()
    body = random_bytes(20 * CHUNK)
    link.left.delivery.submit(1, b"", BytesBody(body))
    link.left.delivery.reconnected(link.now, link.right.boot_id, b"store", 1 << 20, max_record=7000)
    link.settle()
    assert link.right.bodies() == {1: body}


def test_acknowledgements_are_batched() -> None:
    link = Link(left=End("left", window=ENDLESS), right=End("right", window=ENDLESS))
    for seq in range(500):
        link.left.delivery.submit(seq, b"", BytesBody(b"small"))
    link.settle()
    acks = [record for name, record in link.seen if name == "right" and isinstance(record, Ack)]
    assert len(acks) <= 3
    assert len(link.left.of(Delivered)) == 500


@pytest.mark.parametrize(
    ("header", "size", "control"), [(b"h" * 4097, 1, False), (b"", 65537, True)], ids=["header", "control"]
)
def test_what_is_too_large_is_refused_locally(header: bytes, size: int, control: bool) -> None:
    with pytest.raises(LocalProtocolError, match="split it"):
        Link().left.delivery.submit(1, header, BytesBody(bytes(size)), control=control)


def test_hostile_records_change_nothing() -> None:
    link = Link()
    rng = random.Random(5)
    link.left.delivery.submit(1, b"h", BytesBody(random_bytes(3 * CHUNK)))
    honest = link.left.delivery.records_to_send(0.0, ENDLESS)
    for _ in range(3000):
        data = bytearray(rng.choice(honest))
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(min(len(data), 120))] = rng.randrange(256)
        events = link.right.delivery.receive(bytes(data[: rng.randint(0, len(data))]), 0.0)
        assert not [event for event in events if isinstance(event, Delivered)]
        for event in events:
            if isinstance(event, Arrived):
                assert hashlib.sha256(content(event.body)).digest() == event.sha256
    assert link.right.delivery.stats.rejected > 1000


def test_hostile_acknowledgements_are_rejected() -> None:
    link = Link()
    link.left.delivery.submit(1, b"", BytesBody(b"x"))
    link.left.delivery.records_to_send(0.0, ENDLESS)
    told = Ack(1, 1 << 63, 0, (), (Progress(1, 9, 0, False), Progress(5, 1, 0, True)))
    events = link.left.delivery.receive(encode(link.right.boot_id[:8], told), 0.0)
    assert [type(event) for event in events] == [RecordRejected]
    assert link.left.delivery.stats.credit <= link.left.window
    everything_stored = Ack(2, 0, 0, ((0, (1 << 64) - 1),), ())
    assert link.left.delivery.receive(encode(link.right.boot_id[:8], everything_stored), 0.0) == [Delivered(1)]


def test_open_messages_of_a_hostile_peer_are_bounded() -> None:
    opened: list[int] = []

    class Tracked(MemorySpool):
        def __init__(self, total: int) -> None:
            super().__init__(total)
            opened.append(1)

        def abort(self) -> None:
            opened.append(-1)

    link = Link(right=End("right", spool=Tracked))
    for seq in range(1000):
        first = First(seq, 0, 2 * CHUNK, 2, bytes(32), b"", bytes(CHUNK))
        link.right.delivery.receive(encode(link.left.boot_id[:8], first), 0.0)
    assert sum(opened) == 64
    link.right.delivery.close()
    assert sum(opened) == 0


def test_messages_waiting_for_the_owner_are_bounded() -> None:
    link = Link(right=End("right", stores=False))
    for seq in range(6000):
        first = First(seq, 0, 1, 1, hashlib.sha256(b"x").digest(), b"", b"x")
        link.right.take(link.right.delivery.receive(encode(link.left.boot_id[:8], first), 0.0), 0.0)
    assert len(link.right.of(Arrived)) == 4096
