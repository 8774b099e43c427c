"""Write structured log lines without loading more than the standard library.

The embedded broker should listen a few hundred milliseconds after its command; so its log is one formatter, JSON where
nobody watches and ``event key=value`` on a terminal. Library users get silence until they configure logging themselves.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

Field = str | int | float | bool | None
_LOGGER = logging.getLogger("broker")
_LOGGER.addHandler(logging.NullHandler())


def info(event: str, **fields: Field) -> None:
    """Log an event with its fields."""
    _LOGGER.info(event, extra={"fields": fields})


def warning(event: str, **fields: Field) -> None:
    """Log an event that an operator should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def configure(level: str, stream: TextIO | None = None) -> None:
    """Send the broker's events to the stream (stderr): readable on a terminal, JSON lines elsewhere."""
    target = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(target)
    handler.setFormatter(_Lines(as_json=not target.isatty()))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(level.upper())


class _Lines(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Field] = getattr(record, "fields", {})
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        level, event = record.levelname.lower(), record.getMessage()
        if self._as_json:
            return json.dumps({"timestamp": time, "level": level, "event": event} | fields)
        return f"{time} {level:7} {event}" + "".join(f" {key}={value}" for key, value in fields.items())
