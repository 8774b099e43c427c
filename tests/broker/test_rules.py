"""The policy itself: nothing that a filter of X matches lies outside X's mailbox."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.rules import is_party_id, matches, may_publish, may_subscribe

PARTIES = st.sampled_from(["10000", "9999", "1", "x_-Z", "10000/9999", "+", "#", ""])
LEVELS = st.sampled_from(
    ["partyd", "1", "10000", "9999", "guest", "host", "", "+", "#", "a+", "#b", "$share", "$SYS", "\0"]
)
TOPICS = st.lists(LEVELS, min_size=1, max_size=7).map("/".join)
MAILBOXES = st.tuples(st.sampled_from(["10000", "9999"]), TOPICS).map(lambda pair: f"partyd/1/{pair[0]}/{pair[1]}")


@settings(deadline=None)
@given(party=PARTIES, topic_filter=TOPICS | MAILBOXES, topic=TOPICS | MAILBOXES)
@example(party="10000", topic_filter="partyd/1/10000/#", topic="partyd/1/10000/9999/guest/host")
@example(party="10000", topic_filter="partyd/1/+/#", topic="partyd/1/9999/10000")
@example(party="10000", topic_filter="$share/g/partyd/1/10000/#", topic="$share/g/partyd/1/10000/x")
def test_no_allowed_filter_matches_a_topic_outside_the_mailbox(party: str, topic_filter: str, topic: str) -> None:
    if may_subscribe(party, topic_filter) and matches(topic_filter, topic):
        assert topic == f"partyd/1/{party}" or topic.startswith(f"partyd/1/{party}/")
        assert is_party_id(party)


@settings(deadline=None)
@given(party=PARTIES, topic=TOPICS | MAILBOXES)
@example(party="10000", topic="partyd/1/9999/10000/guest/host")
def test_an_allowed_topic_names_its_publisher(party: str, topic: str) -> None:
    if may_publish(party, topic):
        assert topic.split("/")[3] == party
        assert not set("+#\0") & set(topic)


@settings(deadline=None)
@given(
    party=st.from_regex(r"[0-9A-Za-z_-]{1,64}", fullmatch=True), other=st.from_regex(r"[0-9a-z]{1,5}", fullmatch=True)
)
def test_a_frame_reaches_the_mailbox_it_is_addressed_to(party: str, other: str) -> None:
    topic = f"partyd/1/{other}/{party}/host/guest"
    assert may_publish(party, topic)
    assert may_publish(party, f"{topic}/presence")
    assert may_subscribe(other, f"partyd/1/{other}/#")
    assert matches(f"partyd/1/{other}/#", topic)


@pytest.mark.parametrize(
    "topic",
    [
        "partyd/1/9999/9999/host/guest",
        "partyd/1/9999",
        "partyd/2/9999/10000/host/guest",
        "partyd/1/+/10000/host/guest",
        "partyd/1/#",
        "partyd/1//10000/x",
        "other",
        "$SYS/10000",
        "/partyd/1/9999/10000/x",
        "partyd/1/9999/10000/" + "x" * 2000,
    ],
)
def test_a_party_may_not_publish_elsewhere(topic: str) -> None:
    assert not may_publish("10000", topic)


@pytest.mark.parametrize(
    "topic_filter",
    ["#", "+/+/+/#", "partyd/#", "partyd/1/+/#", "partyd/1/#", "partyd/1/9999/#", "partyd/1/10000",
     "partyd/1/10000/#/x", "partyd/1/10000/a#", "partyd/1/10000/+x/#", "partyd/1/100000/#", "+/1/10000/#", ""],
)  # fmt: skip
def test_a_party_may_not_subscribe_elsewhere(topic_filter: str) -> None:
    assert not may_subscribe("10000", topic_filter)


@pytest.mark.parametrize("topic_filter", ["#", "+/+/+/+/+/+", "partyd/1/10000/#", "partyd/1/+/9999/guest/host"])
def test_filters_match_as_mqtt_says(topic_filter: str) -> None:
    assert matches(topic_filter, "partyd/1/10000/9999/guest/host")


@pytest.mark.parametrize(
    ("topic_filter", "topic"),
    [("#", "$SYS/a"), ("+/a", "$SYS/a"), ("a/+", "a"), ("a", "a/b"), ("a/#b", "a/#b"), ("a/b", "a")],
)
def test_filters_do_not_match_more(topic_filter: str, topic: str) -> None:
    assert not matches(topic_filter, topic)


def test_a_filter_of_everything_below_includes_the_parent() -> None:
    assert matches("partyd/1/10000/#", "partyd/1/10000")


@pytest.mark.parametrize("text", ["", "a/b", "+", "#", "a b", "ä", "x" * 65, "a\n", "a\0", "%u", "$x"])
def test_other_party_ids_are_refused(text: str) -> None:
    assert not is_party_id(text)
    assert not may_publish(text, f"partyd/1/9999/{text}/x")
    assert not may_subscribe(text, f"partyd/1/{text}/#")
