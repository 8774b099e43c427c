from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import BadFrame
from partyd.types import Address
from partyd.wire.frame import (
    HEADER_BYTES,
    MAX_FRAME,
    MAX_HANDSHAKE_FRAME,
    MIN_FRAME,
    FrameType,
    ReplayWindow,
    mailboxes,
    pack_header,
    parse_header,
)

SIZE = ReplayWindow.SIZE
LIMIT = 2**24
BODY = bytes(MIN_FRAME - HEADER_BYTES)


def test_header_layout() -> None:
    header = pack_header(FrameType.DATA, 0x01020304, 0x1112131415161718)
    assert header.hex() == "0103000001020304" + "1112131415161718"
    assert parse_header(header + BODY) == (FrameType.DATA, 0x01020304, 0x1112131415161718)


@pytest.mark.parametrize(
    ("kind", "index", "body"),
    [
        (FrameType.COOKIE, 1, BODY),
        (FrameType.INIT, 1, BODY),
        (FrameType.RESPONSE, 0, BODY),
        (FrameType.DATA, 0, BODY),
        (FrameType.DATA, 1, BODY[1:]),
        (FrameType.DATA, 1, bytes(MAX_FRAME)),
        (FrameType.INIT, 0, bytes(MAX_HANDSHAKE_FRAME)),
    ],
)
def test_headers_no_honest_frame_has(kind: FrameType, index: int, body: bytes) -> None:
    with pytest.raises(BadFrame):
        parse_header(pack_header(kind, index, 0) + body)


def test_every_header_bit_of_an_init_has_one_allowed_value() -> None:
    honest = pack_header(FrameType.INIT, 0, 0) + BODY
    for bit in range(HEADER_BYTES * 8):
        flipped = bytearray(honest)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadFrame):
            parse_header(bytes(flipped))


@given(st.binary(max_size=64))
def test_any_bytes_parse_or_are_refused(frame: bytes) -> None:
    try:
        header = parse_header(frame)
    except BadFrame:
        return
    assert pack_header(*header) == frame[:HEADER_BYTES]


def test_mailboxes_cannot_be_shifted() -> None:
    one, two = Address.parse("1/guest"), Address.parse("11/guest")
    assert mailboxes(one, two) != mailboxes(two, one)
    assert mailboxes(one, two).hex() == "0007" + b"1/guest".hex() + "0008" + b"11/guest".hex()


def test_replay_table() -> None:
    """WireGuard's table of counters (its replay self-test), for a window of exactly SIZE."""
    table = [
        (0, True), (1, True), (1, False), (9, True), (8, True), (7, True), (7, False),
        (SIZE, True), (SIZE - 1, True), (SIZE - 1, False), (SIZE - 2, True), (2, True), (2, False),
        (SIZE + 16, True), (3, False), (SIZE + 16, False),
        (SIZE * 4, True), (SIZE * 4 - (SIZE - 1), True), (10, False), (SIZE * 4 - SIZE, False),
        (SIZE * 4 - (SIZE + 1), False), (SIZE * 4 - (SIZE - 2), True), (SIZE * 4 + 1 - SIZE, False), (0, False),
        (LIMIT, False), (LIMIT - 1, True), (LIMIT, False), (LIMIT - 1, False), (LIMIT - 2, True), (LIMIT + 1, False),
        (LIMIT + 2, False), (LIMIT - 2, False), (LIMIT - 3, True), (0, False), (-1, False),
    ]  # fmt: skip
    window = ReplayWindow(LIMIT)
    assert [window.accept(counter) for counter, _ in table] == [wanted for _, wanted in table]


@pytest.mark.parametrize("start", [0, 1, 63, 64])
def test_a_whole_window_in_any_order(start: int) -> None:
    forwards, backwards = ReplayWindow(LIMIT), ReplayWindow(LIMIT)
    counters = range(start, start + SIZE)
    assert all(forwards.accept(counter) for counter in counters)
    assert not any(forwards.accept(counter) for counter in counters)
    assert all(backwards.accept(counter) for counter in reversed(counters))
    assert not any(backwards.accept(counter) for counter in counters)
    assert backwards.accept(start + SIZE)
    assert not backwards.accept(start)


@given(st.lists(st.integers(0, 40_000), max_size=200))
def test_the_window_agrees_with_a_set(counters: list[int]) -> None:
    window, seen, last = ReplayWindow(LIMIT), set[int](), -1
    for counter in counters:
        wanted = counter not in seen and last - counter < SIZE
        assert window.accept(counter) is wanted
        if wanted:
            seen.add(counter)
            last = max(last, counter)
