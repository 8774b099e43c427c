"""Log lines: JSON for machines, words for a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from broker import log


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("broker")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:], logger.level = handlers, level
    logger.setLevel(level)


def test_a_file_gets_json() -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    log.info("client_connected", party="10000", port=1883)
    event = json.loads(stream.getvalue())
    assert (event["event"], event["level"], event["party"], event["port"]) == (
        "client_connected",
        "info",
        "10000",
        1883,
    )
    assert event["timestamp"].endswith("+00:00")


def test_a_terminal_gets_words() -> None:
    stream = _Terminal()
    log.configure("warning", stream)
    log.info("unseen")
    log.warning("refused", party="9999")
    assert stream.getvalue().rstrip().endswith("warning refused party=9999")
    assert "unseen" not in stream.getvalue()


def test_line_breaks_of_a_client_stay_inside_their_json_string() -> None:
    stream = io.StringIO()
    log.configure("info", stream)
    log.warning("client_refused", why='a\n{"event": "forged"}')
    assert len(stream.getvalue().splitlines()) == 1
