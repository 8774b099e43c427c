from __future__ import annotations

import asyncio
import socket

import msgpack
import pytest

from partyd.errors import LocalProtocolError
from partyd.jobs.pipe import PREFIX, Pipe, first_frame


def framed(*values: object) -> bytes:
    body: bytes = msgpack.packb(values)
    return bytes(PREFIX.pack(len(body))) + body


def test_the_first_frame_is_read_alone_and_the_rest_is_the_loops() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(framed("order", b"x" * 100_000) + framed("next", 1))
        ours.shutdown(socket.SHUT_WR)
        assert first_frame(theirs) == ["order", b"x" * 100_000]

        async def go_on() -> list[object]:
            pipe = await Pipe.open(theirs)
            frames: list[object] = [await pipe.read(), await pipe.read()]
            pipe.close()
            return frames

        assert asyncio.run(go_on()) == [["next", 1], None]


@pytest.mark.parametrize("cut", [0, 2, 4, 9])
def test_a_stream_that_ends_early_gives_nothing(cut: int) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(framed("order", "text")[:cut])
        assert first_frame(theirs) is None


@pytest.mark.parametrize("body", [b"\xc1", msgpack.packb({"no": "list"}), msgpack.packb([])])
def test_what_is_no_frame_is_refused(body: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(PREFIX.pack(len(body)) + body)
        with pytest.raises(LocalProtocolError, match="frame between processes"):
            first_frame(theirs)
