"""The channel's rules, one by one, on a virtual clock."""

from __future__ import annotations

import itertools

import pytest

from partyd.errors import LocalProtocolError
from partyd.wire import channel as module
from partyd.wire import keypair, keytable
from partyd.wire.channel import Channel
from partyd.wire.events import EpochSeen, EpochStale, Established, Opened, Reason, Rejected
from partyd.wire.frame import FrameType, pack_header
from partyd.wire.hello import Hello
from tests.wire.channel_pair import GUEST, HOST, Pair, card_of
from tests.wire.channels import exchange, kinds


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_at_rest(pair: Pair) -> None:
    side = pair.left.channel
    assert (side.established, side.max_record, side.next_deadline(), side.frames_to_send()) == (False, 0, None, [])
    assert side.tick(pair.now) == []
    assert (side.local, side.peer) == (GUEST, HOST)
    with pytest.raises(LocalProtocolError, match="wait for Established"):
        side.seal(b"x")


@pytest.mark.parametrize("starter", [0, 1])
def test_either_side_starts(pair: Pair, starter: int) -> None:
    first, second = pair.sides[starter], pair.sides[1 - starter]
    first.channel.initiate(pair.now)
    pair.settle()
    assert [event.initiated_by_us for event in first.established_events()] == [True]
    assert [event.initiated_by_us for event in second.established_events()] == [False]
    assert second.last_seen == 101
    exchange(pair)


def test_the_responder_may_send_only_after_the_first_data_frame(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    (init,) = pair.left.channel.frames_to_send()
    assert pair.right.receive(init, pair.now) == [EpochSeen(101)]
    assert not pair.right.channel.established
    (response,) = pair.right.channel.frames_to_send()
    (established,) = pair.left.receive(response, pair.now)
    assert isinstance(established, Established)
    assert pair.left.channel.established
    (keep_alive,) = pair.left.channel.frames_to_send()
    assert kinds([init, response, keep_alive]) == [FrameType.INIT, FrameType.RESPONSE, FrameType.DATA]
    (event,) = pair.right.receive(keep_alive, pair.now)
    assert isinstance(event, Established)
    assert pair.right.channel.established
    assert kinds(pair.right.channel.frames_to_send()) == [FrameType.DATA]


def test_a_lost_confirmation_is_repeated(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    pair.right.receive(pair.left.channel.frames_to_send()[0], pair.now)
    pair.left.receive(pair.right.channel.frames_to_send()[0], pair.now)
    pair.left.channel.frames_to_send()  # lost
    pair.pass_time(2)
    assert pair.right.channel.established
    exchange(pair)
    assert len(pair.left.established_events()) == 1


def test_initiate_is_idempotent(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    pair.left.channel.initiate(pair.now)
    assert len(pair.left.channel.frames_to_send()) == 1
    pair.left.channel.initiate(pair.now)
    assert pair.left.channel.frames_to_send() == []
    assert pair.left.epoch == 101


def test_an_unanswered_init_is_repeated_with_back_off_and_fresh_keys(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    start, sent = pair.now, []
    inits = pair.left.channel.frames_to_send()
    while pair.now < start + 120:
        deadline = pair.left.channel.next_deadline()
        assert deadline is not None
        pair.now = deadline
        pair.left.channel.tick(pair.now)
        inits += pair.left.channel.frames_to_send()
        sent.append(pair.now - start)
    assert len(set(inits)) == len(inits)
    assert 5 <= sent[0] <= 5.5
    assert (
        max(later - earlier for earlier, later in itertools.pairwise(sent))
        <= module.HANDSHAKE_RETRY_CAP_S + module.JITTER_S
    )
    pair.settle()
    pair.pass_time(31)
    exchange(pair)


def test_records_of_every_size_arrive(pair: Pair) -> None:
    pair.connect()
    for size in (1, 2, 15, 16, 1000, 65_535, 65_536, 2**19, pair.left.channel.max_record):
        record = bytes([size % 251]) * size
        assert pair.send(pair.left, record) == [Opened(record)]
    with pytest.raises(LocalProtocolError, match="frames agreed on"):
        pair.left.channel.seal(bytes(pair.left.channel.max_record + 1))


def test_the_smaller_max_frame_counts() -> None:
    pair = Pair()
    pair.right.max_frame = 4096
    pair.right.boot()
    pair.connect()
    assert pair.left.channel.max_record == pair.right.channel.max_record
    frame = pair.left.channel.seal(bytes(pair.left.channel.max_record))
    assert len(frame) <= 4096


def test_frames_may_come_in_any_order_and_only_once(pair: Pair) -> None:
    pair.connect()
    frames = [pair.left.channel.seal(b"%d" % number) for number in range(300)]
    for frame in reversed(frames):
        pair.right.receive(frame, pair.now)
    for frame in frames:
        assert pair.right.receive(frame, pair.now) == [Rejected(Reason.REPLAYED)]
    assert sorted(pair.right.inbox, key=int) == [b"%d" % number for number in range(300)]


def test_empty_records_are_swallowed(pair: Pair) -> None:
    pair.connect()
    assert pair.send(pair.left, b"") == []


# Rekeying


def test_the_initiator_rekeys_after_ten_minutes_and_old_keys_receive_for_a_minute(pair: Pair) -> None:
    pair.connect()
    pair.pass_time(keypair.REKEY_AFTER_S - 1)
    late, later = pair.left.channel.seal(b"late"), pair.left.channel.seal(b"later")
    pair.pass_time(2)
    assert len(pair.left.established_events()) == 2
    rekeyed = pair.left.established_events()[1]
    assert (rekeyed.new_boot, rekeyed.new_store, rekeyed.initiated_by_us) == (False, False, True)
    assert pair.right.established_events()[1].initiated_by_us is False
    assert pair.right.receive(late, pair.now) == [Opened(b"late")]
    exchange(pair)
    pair.pass_time(keytable.RECEIVE_ONLY_S)
    assert pair.right.receive(later, pair.now) == [Rejected(Reason.UNKNOWN_INDEX)]
    exchange(pair)


def test_the_responder_rekeys_when_the_initiator_does_not(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.connect()
    monkeypatch.setattr(pair.left.channel, "tick", lambda now: [])
    monkeypatch.setattr(pair.left.channel, "next_deadline", lambda: None)
    pair.pass_time(keypair.REKEY_AFTER_S * 1.1 - 1)
    assert len(pair.right.established_events()) == 1
    pair.pass_time(2)
    assert [event.initiated_by_us for event in pair.right.established_events()] == [False, True]
    exchange(pair)


def test_rekey_under_traffic_loses_nothing(pair: Pair) -> None:
    pair.connect()
    sent = 0
    for _ in range(2000):
        pair.pass_time(1)
        for sender in pair.sides:
            pair.send(sender, b"%d" % sent)
        sent += 1
    assert len(pair.left.inbox) == len(pair.right.inbox) == sent
    assert len(pair.left.established_events()) == 4


@pytest.mark.parametrize("name", ["REKEY_AFTER_FRAMES", "REKEY_AFTER_BYTES"])
def test_the_initiator_rekeys_after_use(pair: Pair, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pair.connect()
    monkeypatch.setattr(keypair, name, 50)
    for _ in range(60):
        pair.send(pair.left, b"x")
    pair.pass_time(0)
    assert [event.initiated_by_us for event in pair.left.established_events()] == [True, True]
    exchange(pair)


def test_without_an_answer_the_session_ends_after_twenty_minutes(pair: Pair) -> None:
    pair.connect()
    frame = pair.right.channel.seal(b"x")
    pair.pass_time(keypair.REJECT_AFTER_S - 1, deliver=False)
    assert pair.left.channel.established
    pair.pass_time(1, deliver=False)
    assert not pair.left.channel.established
    assert pair.left.receive(frame, pair.now) == [Rejected(Reason.UNKNOWN_INDEX)]
    pair.pass_time(40)
    exchange(pair)


def test_an_old_frame_is_refused_even_before_the_tick_that_drops_its_keys(pair: Pair) -> None:
    pair.connect()
    frame = pair.right.channel.seal(b"x")
    assert pair.left.receive(frame, pair.now + keypair.REJECT_AFTER_S) == [Rejected(Reason.EXPIRED)]


def test_no_counter_beyond_the_limit(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.connect()
    monkeypatch.setattr(keypair, "REJECT_AFTER_FRAMES", 5)
    for _ in range(4):
        pair.left.channel.seal(b"x")
    assert not pair.left.channel.established
    with pytest.raises(LocalProtocolError, match="rekey first"):
        pair.left.channel.seal(b"x")
    pair.pass_time(60)  # nor does a keep-alive go beyond it; silence leads to new keys
    assert pair.left.channel.established


# Both begin at once


def test_when_both_begin_the_lower_address_wins(pair: Pair) -> None:
    for side in pair.sides:
        side.channel.initiate(pair.now)
    pair.settle()
    assert [event.initiated_by_us for event in pair.left.established_events()] == [True]  # "10000/" < "9999/"
    assert [event.initiated_by_us for event in pair.right.established_events()] == [False]
    exchange(pair)
    pair.pass_time(120)
    assert len(pair.left.established_events()) == len(pair.right.established_events()) == 1


def test_a_winner_whose_first_init_was_lost_repeats_it_at_once(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    pair.left.channel.frames_to_send()  # lost
    pair.now += 1
    pair.right.channel.initiate(pair.now)
    pair.settle()
    assert pair.left.channel.established
    exchange(pair)


def test_a_winner_repeats_its_init_at_most_every_half_second(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    pair.left.channel.frames_to_send()  # lost
    pair.now += 0.1
    pair.right.channel.initiate(pair.now)
    (init,) = pair.right.channel.frames_to_send()
    assert pair.left.receive(init, pair.now) == [EpochSeen(101)]
    assert pair.left.channel.frames_to_send() == []
    pair.pass_time(0.5)
    assert pair.left.channel.established
    exchange(pair)


def test_a_winner_who_gets_no_answer_gives_way(pair: Pair) -> None:
    """The peer cannot open our INIT (here it never arrives), but we can open the peer's."""
    for side in pair.sides:
        side.channel.initiate(pair.now)
    for _ in range(60):
        for side in pair.sides:
            side.channel.tick(pair.now)
        for receiver, frame in pair.take():
            if frame[1] != FrameType.INIT or receiver is pair.left:
                receiver.receive(frame, pair.now)
        pair.now += 1
    assert pair.left.channel.established
    assert pair.right.channel.established
    exchange(pair)


# Restarts and epochs


@pytest.mark.parametrize("restarted", [0, 1])
@pytest.mark.parametrize("initiates", [True, False])
def test_a_side_restarts(pair: Pair, restarted: int, initiates: bool) -> None:
    pair.connect()
    exchange(pair)
    side, other = pair.sides[restarted], pair.sides[1 - restarted]
    old = other.channel.seal(b"lost")
    side.boot()
    assert side.receive(old, pair.now) == [Rejected(Reason.UNKNOWN_INDEX)]
    if initiates:
        side.channel.initiate(pair.now)
        pair.settle()
    else:
        pair.pass_time(module.SILENCE_S)
    event = other.established_events()[-1]
    assert (event.new_boot, event.new_store) == (True, False)
    assert event.initiated_by_us is not initiates
    exchange(pair)


def test_a_new_store_is_seen(pair: Pair) -> None:
    pair.connect()
    pair.right.store += 1
    pair.right.boot().initiate(pair.now)
    pair.settle()
    assert pair.left.established_events()[-1].new_store


def test_known_ids_are_compared_across_our_own_restart(pair: Pair) -> None:
    pair.connect()
    hello = pair.left.established_events()[0].hello
    side = pair.left
    side.channel = Channel(
        side.identity,
        card_of(side.identity),
        card_of(pair.right.identity),
        hello=Hello(bytes(16), bytes(16), 1, 1024),
        next_epoch=side.next_epoch,
        last_seen_epoch=side.last_seen,
        known_boot=hello.boot_id,
        known_store=hello.store_id,
    )
    side.channel.initiate(pair.now)
    pair.settle()
    event = side.established_events()[-1]
    assert (event.new_boot, event.new_store) == (False, False)


def test_an_epoch_that_went_back_is_told_and_mended(pair: Pair) -> None:
    pair.connect()
    pair.left.epoch = 50  # restored from a backup, with a bad clock
    pair.left.boot().initiate(pair.now)
    pair.settle()
    assert EpochStale(101) in pair.left.events
    assert Reason.STALE_EPOCH in pair.right.rejections()
    assert not pair.left.channel.established
    exchange_before = len(pair.left.established_events())
    pair.pass_time(0.1)
    assert len(pair.left.established_events()) == exchange_before + 1
    assert pair.right.last_seen == 102
    exchange(pair)


def test_a_stale_answer_does_not_turn_into_a_storm(pair: Pair) -> None:
    pair.right.last_seen = 10**6
    pair.right.boot()
    pair.left.next_epoch = lambda: 7  # type: ignore[method-assign]
    pair.left.boot().initiate(pair.now)
    pair.pass_time(60)
    assert 2 <= len([event for event in pair.left.events if isinstance(event, EpochStale)]) <= 10
    assert not pair.left.channel.established


def test_a_replayed_init_does_nothing(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    (init,) = pair.left.channel.frames_to_send()
    pair.right.receive(init, pair.now)
    assert pair.right.receive(init, pair.now) == [Rejected(Reason.DUPLICATE_INIT)]
    pair.left.receive(pair.right.channel.frames_to_send()[0], pair.now)
    pair.settle()
    pair.left.channel.reset()
    pair.left.channel.initiate(pair.now)
    pair.settle()
    for _ in range(2):
        assert pair.right.receive(init, pair.now) == [Rejected(Reason.STALE_EPOCH)]
        pair.right.boot()
        assert not pair.right.channel.established


def test_nothing_of_a_recorded_session_works_again(pair: Pair) -> None:
    """Every frame of a session, injected at both sides during, after, and after a restart of either."""
    pair.left.channel.initiate(pair.now)
    recorded: list[bytes] = []
    while frames := pair.take():
        for receiver, frame in frames:
            recorded.append(frame)
            receiver.receive(frame, pair.now)
    for sender in pair.sides:
        recorded.append(sender.channel.seal(b"secret"))
        pair.other(sender).receive(recorded[-1], pair.now)
    before = ([*pair.left.inbox], [*pair.right.inbox])
    for restart in ((), (pair.left,), (pair.right,), pair.sides):
        for side in restart:
            side.boot()
        for frame in recorded * 3:
            pair.now += 0.2
            for side in pair.sides:
                assert all(isinstance(event, Rejected) for event in side.receive(frame, pair.now))
    assert (pair.left.inbox, pair.right.inbox) == before
    assert not pair.left.channel.established


def test_handshakes_are_limited_to_ten_a_second_before_any_key_agreement(pair: Pair) -> None:
    garbage = pack_header(FrameType.INIT, 0, 0) + bytes(200)
    reasons = []
    for number in range(100):
        reasons += [
            event.reason
            for event in pair.left.receive(garbage + bytes([number]), pair.now)
            if isinstance(event, Rejected)
        ]
    assert reasons.count(Reason.HANDSHAKE) == 10
    assert reasons.count(Reason.RATE) == 90
    pair.now += 1
    assert pair.left.receive(garbage + b"x", pair.now) == [Rejected(Reason.HANDSHAKE)]


def test_forged_answers_are_limited_and_spoil_nothing(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    (init,) = pair.left.channel.frames_to_send()
    pair.right.receive(init, pair.now)
    (response,) = pair.right.channel.frames_to_send()
    for number in range(50):
        forged = response[:-1] + bytes([response[-1] ^ (number + 1)])
        (event,) = pair.left.receive(forged, pair.now)
        assert event in (Rejected(Reason.HANDSHAKE), Rejected(Reason.RATE))
    pair.now += 1
    assert isinstance(pair.left.receive(response, pair.now)[0], Established)


# Silence, keep-alives, reset


def test_silence_after_data_leads_to_a_new_handshake(pair: Pair) -> None:
    pair.connect()
    pair.left.channel.seal(b"into the void")
    pair.pass_time(module.SILENCE_S - 1)
    assert len(pair.left.established_events()) == 1
    pair.pass_time(2)
    assert len(pair.left.established_events()) == 2


def test_silence_is_counted_from_the_record_and_not_from_the_idle_time_before(pair: Pair) -> None:
    pair.connect()
    pair.now += 300
    pair.left.channel.seal(b"lost")
    pair.pass_time(module.SILENCE_S - 1)
    assert len(pair.left.established_events()) == 1
    pair.pass_time(1.5)
    assert len(pair.left.established_events()) == 2


def test_keys_that_are_never_confirmed_lead_to_a_new_handshake(pair: Pair) -> None:
    pair.left.channel.initiate(pair.now)
    pair.right.receive(pair.left.channel.frames_to_send()[0], pair.now)
    pair.left.receive(pair.right.channel.frames_to_send()[0], pair.now)
    pair.right.boot()
    pair.pass_time(module.SILENCE_S + 1)
    exchange(pair)


def test_a_lost_rekey_answer_does_not_make_the_owner_spin(pair: Pair) -> None:
    pair.connect()
    pair.right.channel.seal(b"lost")
    pair.now += 12
    pair.right.channel.tick(pair.now)
    pair.left.boot().initiate(pair.now)
    (init,) = pair.left.channel.frames_to_send()
    pair.right.receive(init, pair.now)
    pair.right.channel.frames_to_send()  # the answer is lost
    for _ in range(20):
        deadline = pair.right.channel.next_deadline()
        assert deadline is not None
        assert deadline > pair.now
        pair.now = deadline
        pair.right.channel.tick(pair.now)


def test_a_side_that_only_receives_says_that_it_lives(pair: Pair) -> None:
    pair.connect()
    pair.send(pair.left, b"x")
    pair.pass_time(60)
    assert len(pair.left.established_events()) == 1


def test_an_idle_channel_is_quiet(pair: Pair) -> None:
    pair.connect()
    deadline = pair.left.channel.next_deadline()
    assert deadline is not None
    assert deadline >= pair.now + keypair.REKEY_AFTER_S
