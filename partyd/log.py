"""Write structured logs: readable on a terminal, one JSON object a line elsewhere.

``log = structlog.get_logger()`` anywhere, then ``log.info("task_finished", duration_s=1.5)``; the event is a past
participle, job, task, party and role are bound once. What reaches a line is decided here, once: text is escaped and
cut, because part of it was written by peers; bytes, arrays, keys, large numbers and unknown objects appear as type
and size only. So a forgotten ``log.debug(..., message=message)`` shows that there was a message, and nothing of it.
"""

from __future__ import annotations

import datetime as dt
import enum
import json
import logging
import math
import numbers
import sys
import traceback
from collections.abc import MutableMapping
from pathlib import PurePath
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from partyd.types import Address, Role

MAX_TEXT = 256
MAX_BYTES = 64
_MAX_ITEMS = 32
_MAX_DEPTH = 3
_MAX_INT_BITS = 64
_MAX_TRACE = 16_384
_QUIET = ("aiohttp.access", "amqtt", "asyncio", "mqtt", "transitions")
"""Libraries that tell of every packet; their warnings are kept."""

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "pretty"]
Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]


def configure(level: Level = "info", format: Format = "auto", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send our log and the libraries' to ``stream`` (standard output); may be called again, the last call counts."""
    target = sys.stdout if stream is None else stream
    as_json = format == "json" or (format == "auto" and not target.isatty())
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    ends: list[Processor] = [_plain_fields, _json_line if as_json else _pretty_line(colors=target.isatty())]
    structlog.configure(
        processors=[*shared, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[_take_exc_info, structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ends],
            keep_exc_info=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    logging.captureWarnings(True)


def shown(value: object, depth: int = 0) -> Plain:
    """Return what a log line may say about ``value``."""
    match value:
        case None | bool():
            return value
        case enum.Enum():
            return value.label if isinstance(value, Role) and value.name and "|" not in value.name else str(value)
        case int():
            return int(value) if value.bit_length() <= _MAX_INT_BITS else f"<int {value.bit_length()} bits>"
        case float():
            return float(value) if math.isfinite(value) else str(value)
        case numbers.Integral():
            return shown(int(value))
        case str():
            return escaped(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex() if len(value) <= MAX_BYTES else f"<{type(value).__name__} {len(value)} bytes>"
        case Address() | PurePath() | dt.datetime():
            return escaped(str(value))
        case BaseException():
            return escaped(f"{type(value).__name__}: {value}")
        case _:
            return _shown_collection(value, depth)


def _shown_collection(value: object, depth: int) -> Plain:
    if depth < _MAX_DEPTH and type(value) is dict and len(value) <= _MAX_ITEMS:
        return {escaped(str(key)): shown(item, depth + 1) for key, item in value.items()}
    if depth < _MAX_DEPTH and type(value) in (list, tuple, set, frozenset) and _length(value) <= _MAX_ITEMS:
        return [shown(item, depth + 1) for item in _items(value)]
    size = getattr(value, "shape", None) or _length(value)
    return f"<{type(value).__name__} {size}>" if size else f"<{type(value).__name__}>"


def _items(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _length(value: object) -> int:
    try:
        return len(value)  # type: ignore[arg-type]  # objects without a length raise TypeError
    except TypeError:
        return 0


def escaped(text: str) -> str:
    """Escape what could forge or hide part of a log (line ends, terminal codes, lone surrogates) and cut at 256."""
    cut = text[:MAX_TEXT]
    safe = cut if cut.isprintable() else "".join(char if char.isprintable() else _escape(char) for char in cut)
    return safe if len(text) <= MAX_TEXT else f"{safe}...({len(text)} characters)"


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def _plain_fields(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Replace every field by what may be shown, and ``exc_info`` by a traceback without local variables."""
    trace = _trace(event_dict.pop("exc_info", None))
    plain: EventDict = {str(key): shown(value) for key, value in event_dict.items()}
    if trace:
        plain["exception"] = trace
    return plain


def _take_exc_info(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """Move a library's exception into the fields, so that it stays within its line."""
    record = event_dict.get("_record")
    if isinstance(record, logging.LogRecord) and record.exc_info:
        event_dict["exc_info"], record.exc_info, record.exc_text = record.exc_info, None, None
    return event_dict


def _trace(exc_info: object) -> str:
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if not isinstance(error, BaseException):
        return ""
    text = "".join(traceback.format_exception(error))[-_MAX_TRACE:]
    return "".join(char if char.isprintable() or char == "\n" else _escape(char) for char in text).rstrip("\n")


_FIRST = ("ts", "level", "event")


def _json_line(_: WrappedLogger, __: str, event_dict: MutableMapping[str, object]) -> str:
    ordered = {key: event_dict[key] for key in _FIRST if key in event_dict} | dict(event_dict)
    return json.dumps(ordered, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _pretty_line(*, colors: bool) -> Processor:
    render = structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="ts", exception_formatter=_no_exception)

    def line(logger: WrappedLogger, name: str, event_dict: EventDict) -> str:
        trace = event_dict.pop("exception", "")
        text = render(logger, name, event_dict)
        return f"{text}\n{trace}" if trace else text

    return line


def _no_exception(_: TextIO, __: object) -> None:
    """Print nothing: ``_plain_fields`` has already turned the exception into text without locals."""
