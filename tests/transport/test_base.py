"""URLs and topics."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import ConfigError
from partyd.transport.base import (
    Mail,
    TransportSecurity,
    open_transport,
    parse_topic,
    presence_topic_of,
    subscriptions,
    topic_of,
)
from partyd.types import ARBITER, GUEST, HOST, Address

A, B = Address("10000", GUEST), Address("9999", HOST)
ADDRESSES = st.builds(
    Address, st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True), st.sampled_from([GUEST, HOST, ARBITER])
)


@given(ADDRESSES, ADDRESSES)
def test_topics_are_read_as_they_are_written(source: Address, destination: Address) -> None:
    assert parse_topic(topic_of(source, destination)) == Mail(source, destination, presence=False)
    assert parse_topic(presence_topic_of(source, destination)) == Mail(source, destination, presence=True)


def test_the_topic_is_the_one_the_brokers_rule_allows() -> None:
    assert topic_of(A, B) == "partyd/1/9999/10000/host/guest"
    assert presence_topic_of(A, B) == "partyd/1/9999/10000/host/guest/presence"
    assert subscriptions([B]) == ["partyd/1/9999/+/host/+", "partyd/1/9999/+/host/+/presence"]


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "partyd/1/9999/10000/host",
        "partyd/2/9999/10000/host/guest",
        "partyd/1/9999/10000/host/guest/other",
        "partyd/1/9999/10000/host/guest/presence/x",
        "partyd/1/9999/10 000/host/guest",
        "partyd/1//10000/host/guest",
        "partyd/1/9999/10000/boss/guest",
        "partyd/1/9999/10000/host/guest\n",
        "/partyd/1/9999/10000/host/guest",
        "partyd/1/9999/1000\u0660/host/guest",
    ],
)
def test_other_topics_are_nobodys(topic: str) -> None:
    assert parse_topic(topic) is None


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://broker", "none of memory, mqtt, mqtts"),
        ("mqtt://", "names no host"),
        ("mqtt://user:secret@broker", "not the URL"),
    ],
)
def test_urls_that_cannot_be_opened_say_why(url: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        open_transport(url, [A])


def test_a_transport_needs_somebody_to_listen_for() -> None:
    with pytest.raises(ConfigError, match="no local address"):
        open_transport("memory://x", [])


def test_tls_files_that_do_not_exist_are_told_when_opening() -> None:
    with pytest.raises(ConfigError, match="check the paths"):
        open_transport("mqtts://broker", [A], TransportSecurity(ca_file=Path("/nonexistent")))


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(TransportSecurity(username="10000", password="secret"))
