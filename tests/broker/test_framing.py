"""Whole packets off the wire, bounded before they are read."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.framing import PacketReader


def _length(size: int) -> bytes:
    encoded = b""
    while True:
        size, digit = divmod(size, 128)
        encoded += bytes([digit | (0x80 if size else 0)])
        if not size:
            return encoded


def _packet(kind: int, body: bytes) -> bytes:
    return bytes([kind << 4]) + _length(len(body)) + body


def _reader(wire: bytes, limit: int = 1 << 20) -> PacketReader:
    stream = asyncio.StreamReader()
    stream.feed_data(wire)
    stream.feed_eof()
    return PacketReader(stream, limit)


@settings(deadline=None)
@given(bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_packets_come_whole_and_in_order(bodies: list[bytes]) -> None:
    packets = [_packet(3, body) for body in bodies]

    async def scenario() -> list[bytes]:
        reader = _reader(b"".join(packets))
        return [await reader.packet() for _ in packets]

    assert asyncio.run(scenario()) == packets


@settings(deadline=None)
@given(body=st.binary(min_size=1, max_size=300), data=st.data())
def test_fields_are_served_from_one_packet(body: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(body)))

    async def scenario() -> bytes:
        reader = _reader(_packet(3, body) + _packet(3, b"next"))
        header = await reader.read(1)
        while (digit := await reader.read(1))[0] & 0x80:
            header += digit
        fields = [await reader.read(size) for size in (cut, len(body) - cut) if size]
        return b"".join(fields)

    assert asyncio.run(scenario()) == body


@pytest.mark.parametrize(
    "wire",
    [
        _packet(3, bytes(1000)),
        bytes([0x30]) + _length(999),
        bytes([0x80]) + _length(70_000),
        b"\x30\xff\xff\xff\xff\x7f",
        b"\x30\xff\xff\xff\x7f",
    ],
)
def test_an_announced_size_beyond_the_limit_ends_the_connection(wire: bytes) -> None:
    async def scenario() -> None:
        await _reader(wire, limit=1000).packet()

    with pytest.raises(ConnectionResetError):
        asyncio.run(scenario())


def test_a_field_longer_than_its_packet_ends_the_connection() -> None:
    async def scenario() -> None:
        reader = _reader(_packet(8, b"ab"))
        assert await reader.read(1) + await reader.read(1) == b"\x80\x02"
        await reader.read(3)

    with pytest.raises(ConnectionResetError, match="beyond its packet"):
        asyncio.run(scenario())


def test_a_cut_packet_is_an_end_of_stream() -> None:
    async def scenario() -> None:
        await _reader(_packet(3, b"abcdef")[:-1]).packet()

    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(scenario())


def test_a_packet_pushed_back_is_read_next() -> None:
    async def scenario() -> bytes:
        reader = _reader(_packet(3, b"later"))
        reader.push_back(b"first")
        return await reader.read(5) + (await reader.packet())[2:]

    assert asyncio.run(scenario()) == b"firstlater"


def test_the_end_can_be_fed() -> None:
    async def scenario() -> None:
        reader = PacketReader(asyncio.StreamReader(), 100)
        reader.feed_eof()
        await reader.read(1)

    with pytest.raises(asyncio.IncompleteReadError):
        asyncio.run(scenario())
