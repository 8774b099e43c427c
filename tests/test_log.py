"""Logs: one JSON object a line, peer text escaped and cut, and nothing of keys, bytes or tensors."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import gmpy2
import numpy as np
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from partyd import log as logs
from partyd.log import shown
from partyd.types import GUEST, HOST, Address


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def configured(level: logs.Level = "info", form: logs.Format = "json") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, form, stream)
    return stream


def test_a_line_is_one_json_object_with_time_level_event_and_bound_fields() -> None:
    stream = configured()
    structlog.contextvars.bind_contextvars(job="j1")
    structlog.get_logger().bind(role=GUEST).info("task_finished", duration_s=1.5, peer=Address("9999", HOST))
    line = json.loads(stream.getvalue())
    assert datetime.fromisoformat(line.pop("ts")).tzinfo == UTC
    assert line == {
        "level": "info",
        "event": "task_finished",
        "job": "j1",
        "role": "guest",
        "duration_s": 1.5,
        "peer": "9999/host",
    }
    assert stream.getvalue().startswith('{"ts":')


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"\x01" * 64, "01" * 64),
        (b"\x01" * 65, "<bytes 65 bytes>"),
        (bytearray(99), "<bytearray 99 bytes>"),
        (np.zeros((3, 4)), "<ndarray (3, 4)>"),
        (np.int64(3), 3),
        (np.float64(0.5), 0.5),
        (1 << 70, "<int 71 bits>"),
        (gmpy2.mpz(1) << 2047, "<int 2048 bits>"),
        (Ed25519PrivateKey.generate(), "<Ed25519PrivateKey>"),
        (float("nan"), "nan"),
        (Path("/a"), "/a"),
        ([b"k" * 80, 1], ["<bytes 80 bytes>", 1]),
        ({"a": {"b": {"c": {"d": 1}}}}, {"a": {"b": {"c": "<dict 1>"}}}),
        (list(range(99)), "<list 99>"),
        ((True, None), [True, None]),
        (ValueError("x\ny"), "ValueError: x\\ny"),
        (object(), "<object>"),
    ],
)
def test_what_is_not_for_logs_shows_type_and_size_only(value: object, line: object) -> None:
    assert shown(value) == line


def test_text_cannot_forge_lines_or_terminal_codes_and_is_cut() -> None:
    stream = configured(form="pretty")
    structlog.get_logger().info("said", text="a\n2026 forged\x1b[2J\u202e\ud800" + "x" * 999)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "characters)" in text
    assert len(text) < 700


def test_libraries_go_through_the_same_lines() -> None:
    stream = configured()
    logging.getLogger("aiomqtt").warning("lost\n%s", "connection")
    logging.getLogger("amqtt.client").info("packet")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["level"], first["logger"]) == ("lost\\nconnection", "warning", "aiomqtt")
    assert second["logger"] == "py.warnings"


@pytest.mark.parametrize("form", ["json", "pretty"])
def test_a_traceback_shows_no_local_variables(form: logs.Format) -> None:
    stream = configured(form=form)

    def fail(key: str) -> None:
        raise ValueError(f"bad {len(key)}")

    try:
        fail("tops3cret")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("aiohttp.server").exception("failed too")
    text = stream.getvalue()
    assert text.count("ValueError: bad 9") == 2
    assert "tops3cret" not in text.replace('fail("tops3cret")', "").replace('fail(\\"tops3cret\\")', "")
    assert form == "pretty" or all(json.loads(line)["exception"] for line in text.splitlines())


def test_the_level_is_kept_by_both() -> None:
    stream = configured("warning")
    structlog.get_logger().info("quiet")
    logging.getLogger("x").info("quiet")
    structlog.get_logger().warning("loud")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_auto_is_json_where_nobody_watches() -> None:
    stream = configured(form="auto")
    structlog.get_logger().info("x")
    assert json.loads(stream.getvalue())["event"] == "x"
