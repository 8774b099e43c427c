"""Server-sent events from lines."""

from __future__ import annotations

from partyd.client.events import MAX_EVENT_BYTES, Event, EventReader


def read(*lines: bytes) -> list[Event]:
    reader = EventReader("test")
    return [event for line in lines if (event := reader.feed(line)) is not None]


def test_kinds_data_and_what_is_no_event() -> None:
    found = read(
        b": hello\n",
        b"\n",
        b'data: {"a": 1}\r\n',
        b"id: 1\n",
        b"\n",
        b"event: end\n",
        b'data:{"a":\n',
        b"data: 2}\n",
        b"\n",
    )
    assert [(event.kind, event.data.whole("a")) for event in found] == [("message", 1), ("end", 2)]


def test_what_was_cut_off_or_is_too_large_is_dropped() -> None:
    assert read(b'data: {"a": \n', b"\n") == []
    assert read(b"data: " + b"x" * (MAX_EVENT_BYTES + 1) + b"\n", b"\n") == []
    (event,) = read(b"data: {cut\n", b"\n", b'data: {"a": 3}\n', b"\n")
    assert event.data.whole("a") == 3
