from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import BadFrame
from partyd.wire import keypair as module
from partyd.wire.events import Reason
from partyd.wire.frame import FrameType, Header, pack_header, parse_header
from partyd.wire.hello import Hello
from partyd.wire.keypair import KeyPair, longest_record
from partyd.wire.noise import TransportKeys
from partyd.wire.padding import padme
from tests.wire.channel_pair import GUEST, HOST

KEYS = TransportKeys(b"1" * 32, b"2" * 32, b"h" * 32)
HELLO = Hello(bytes(16), bytes(16), 1, 4096)


def make(*, initiator: bool, max_frame: int = 1 << 20) -> KeyPair:
    local, peer = (GUEST, HOST) if initiator else (HOST, GUEST)
    return KeyPair(
        KEYS, initiator=initiator, local=local, peer=peer, indexes=(1, 1), hello=HELLO, max_frame=max_frame, now=0.0
    )


@given(st.binary(max_size=5000))
def test_both_directions(record: bytes) -> None:
    one, two = make(initiator=True), make(initiator=False)
    for sender, receiver in ((one, two), (two, one)):
        frame = sender.seal(record)
        assert len(frame) == 16 + padme(4 + len(record)) + 16
        assert receiver.open(parse_header(frame), frame, 1.0) == record


@given(st.integers(1024, 1 << 20))
def test_the_longest_record_fits_exactly(max_frame: int) -> None:
    longest = longest_record(max_frame)
    assert 32 + padme(4 + longest) <= max_frame < 32 + padme(4 + longest + 1)


def sealed(inner: bytes) -> tuple[Header, bytes]:
    """Seal ``inner`` as an authentic but misbehaving peer could."""
    peer = make(initiator=True)
    header = pack_header(FrameType.DATA, 1, 0)
    frame = header + peer._seal(bytes(12), inner, header + peer._seal_ad)
    return parse_header(frame), frame


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\x05abcd",
        b"\0\0\0\x01a\0",
        b"\0\0\0\x01ab",
        b"\xff\xff\xff\xff" + bytes(12),
        b"\0\0\0\x05abcde\x01",
    ],
)
def test_an_authentic_peer_must_pad_as_told(inner: bytes) -> None:
    with pytest.raises(BadFrame) as raised:
        make(initiator=False).open(*sealed(inner), 1.0)
    assert raised.value.args == (Reason.CONTENT,)


def test_limits_of_age_and_count() -> None:
    sender, receiver = make(initiator=True), make(initiator=False)
    frame = sender.seal(b"x")
    with pytest.raises(BadFrame):
        receiver.open(parse_header(frame), frame, module.REJECT_AFTER_S)
    assert (sender.wants_rekey(599.9), sender.wants_rekey(600.0)) == (False, True)
    assert (receiver.wants_rekey(659.9), receiver.wants_rekey(660.0)) == (False, True)
    for each, frames in ((sender, 2**20), (receiver, int(2**20 * 1.1) + 1)):
        each.counter = frames
        assert each.wants_rekey(1.0)
    header = Header(FrameType.DATA, 1, module.REJECT_AFTER_FRAMES)
    with pytest.raises(BadFrame) as raised:
        receiver.open(header, frame, 1.0)
    assert raised.value.args == (Reason.EXPIRED,)
