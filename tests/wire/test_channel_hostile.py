"""T2 to T4 of the threat model: forged, flipped, spliced, replayed and re-routed frames have no effect."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from partyd.types import Address
from partyd.wire.events import Opened, Reason, Rejected
from partyd.wire.frame import FrameType, pack_header
from tests.wire.channel_pair import Pair, Side
from tests.wire.hostile import aimed_at, run

FOUR = [Address.parse(text) for text in ("10000/guest", "10000/host", "9999/host", "9998/arbiter")]


def test_bit_flips_and_mutations_are_all_refused() -> None:
    """The full figures: ``python tests/campaigns/mutate_frames.py --frames 1000 --mutations 100000``."""
    tally = run(200, 10_000, random.Random(7))
    assert tally.clean, tally.examples[:5]
    assert tally.tried > 150_000


def test_swapped_senders() -> None:
    """Every frame of every ordered pair of four addresses, at every channel it was not meant for."""
    sides: dict[tuple[Address, Address], Side] = {}
    frames: dict[tuple[Address, Address], list[bytes]] = {ends: [] for ends in itertools.permutations(FOUR, 2)}
    live: list[Pair] = []
    for first, second in itertools.combinations(FOUR, 2):
        pair = Pair(first, second)
        pair.connect()
        pair.left.channel.reset()  # so that a handshake of each kind is in the collection, in both directions
        for starter, other in ((pair.left, pair.right), (pair.right, pair.left)):
            starter.channel.reset()
            starter.channel.initiate(pair.now)
            while waiting := pair.take():
                for receiver, frame in waiting:
                    frames[pair.other(receiver).identity.address, receiver.identity.address].append(frame)
                    receiver.receive(frame, pair.now)
            starter_name, other_name = starter.identity.address, other.identity.address
            frames[starter_name, other_name].append(starter.channel.seal(b"secret"))
            frames[other_name, starter_name].append(other.channel.seal(b"secret"))
        sides[first, second], sides[second, first] = pair.left, pair.right
        live.append(pair)
    now, tried = 2000.0, 0
    for (source, destination), sent in frames.items():
        assert {frame[1] for frame in sent} == {FrameType.INIT, FrameType.RESPONSE, FrameType.DATA}
        for (local, peer), side in sides.items():
            if (local, peer) == (destination, source):
                continue
            for frame in (altered for original in sent for altered in aimed_at(original, side.channel)):
                now += 0.11
                (event,) = side.channel.receive(frame, now)
                assert isinstance(event, Rejected), (source, destination, local, peer)
                tried += 1
    assert tried > 1500
    for pair in live:
        for sender in pair.sides:
            assert pair.send(sender, b"still works") == [Opened(b"still works")]


def test_a_reflected_frame_is_refused() -> None:
    pair = Pair()
    pair.connect()
    for sender in pair.sides:
        for frame in aimed_at(sender.channel.seal(b"x"), sender.channel):
            (event,) = sender.receive(frame, pair.now)
            assert isinstance(event, Rejected)


def test_an_unknown_index_is_dropped_before_any_cryptography() -> None:
    pair = Pair()
    pair.connect()
    keypair = pair.left.channel._keys.current
    assert keypair is not None
    keypair._open = None  # type: ignore[assignment]
    frame = pack_header(FrameType.DATA, 1 + keypair.local_index % (2**32 - 1), 0) + bytes(100)
    assert pair.left.receive(frame, pair.now) == [Rejected(Reason.UNKNOWN_INDEX)]


@given(st.binary(max_size=300), st.sampled_from([b"", *(pack_header(kind, 0, 0) for kind in FrameType)]))
def test_any_bytes_are_rejected(tail: bytes, head: bytes) -> None:
    pair = Pair()
    assert [type(event) for event in pair.left.receive(head + tail, pair.now)] == [Rejected]
    assert pair.left.channel.frames_to_send() == []


def test_forged_counters_do_not_move_the_window() -> None:
    pair = Pair()
    pair.connect()
    frame = pair.left.channel.seal(b"x")
    ahead = frame[:8] + (2**23).to_bytes(8, "big") + frame[16:]
    assert pair.right.receive(ahead, pair.now) == [Rejected(Reason.FORGED)]
    assert pair.right.receive(frame, pair.now) == [Opened(b"x")]
