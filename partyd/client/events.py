"""Server-sent events, as a daemon streams a log: lines in, events out; the same for both clients."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from partyd.client.fields import Fields

MAX_EVENT_BYTES = 1 << 20


@dataclass(frozen=True)
class Event:
    """One event: its kind (``message`` where none was said) and its JSON object."""

    kind: str
    data: Fields


@dataclass
class EventReader:
    """Puts the lines of a stream together; lines beyond `MAX_EVENT_BYTES` of one event are dropped."""

    where: str
    _kind: str = ""
    _data: list[str] = field(default_factory=list)
    _size: int = 0

    def feed(self, line: bytes) -> Event | None:
        """Take the next line and return the event that it ends, if it ends one."""
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        if text:
            self._take(text)
            return None
        if not self._data:
            return None
        kind, joined = self._kind or "message", "\n".join(self._data)
        self._kind, self._data, self._size = "", [], 0
        try:
            return Event(kind, Fields.of(json.loads(joined), self.where))
        except ValueError:
            return None  # cut off on its way: what it said is asked for again

    def _take(self, text: str) -> None:
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data" and self._size + len(value) <= MAX_EVENT_BYTES:
            self._data.append(value)
            self._size += len(value)
