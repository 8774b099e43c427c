"""Channels as the tests of the channel want them: joined, at rest, of any identity."""

from __future__ import annotations

from partyd.crypto.identity import LocalIdentity
from partyd.wire.channel import Channel
from partyd.wire.events import Opened
from partyd.wire.frame import FrameType
from partyd.wire.hello import Hello
from tests.wire.channel_pair import Pair, Side, card_of


def exchange(pair: Pair) -> None:
    for sender in pair.sides:
        record = b"record %d" % pair.now
        assert Opened(record) in pair.send(sender, record)


def kinds(frames: list[bytes]) -> list[FrameType]:
    return [FrameType(frame[1]) for frame in frames]


def hello(low: int, high: int) -> Hello:
    return Hello(bytes(16), bytes(16), 1, 4096, low, high)


def channel_with(side: Side, other: LocalIdentity, **changes: object) -> Channel:
    arguments: dict[str, object] = {
        "hello": hello(1, 1),
        "next_epoch": side.next_epoch,
        "last_seen_epoch": 0,
        **changes,
    }
    card = arguments.pop("card", card_of(side.identity))
    peer_card = arguments.pop("peer", card_of(other))
    identity = arguments.pop("identity", side.identity)
    return Channel(identity, card, peer_card, **arguments)  # type: ignore[arg-type]
