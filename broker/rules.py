"""Decide what a party may publish and read: the broker's only policy.

A frame from party S to party D travels on ``partyd/1/D/S/<role of D>/<role of S>``: D's mailbox, in the compartment
that only S may fill. A presence hint (last will) lies deeper under the same prefix. So for party X:

    publish     partyd/1/+/X/#      any mailbox, only under its own sender id
    subscribe   partyd/1/X/#        only its own mailbox

The party id is the certificate's common name or the user name; it stands alone for one topic level, hence its alphabet.
A ``/`` in an id would let it write under a shorter id's name (mosquitto's patterns do not refuse that), ``+`` and ``#``
would widen a filter. The functions are pure; mosquitto and EMQX express the same in their own words.
"""

from __future__ import annotations

import re

ROOT = ("partyd", "1")
_PARTY_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_MAX_TOPIC_CHARS = 1024


def is_party_id(text: str) -> bool:
    """Say whether the text is a party id: 1 to 64 ASCII letters, digits, ``_`` and ``-``."""
    return _PARTY_ID.fullmatch(text) is not None


def may_publish(party: str, topic: str) -> bool:
    """Say whether the party may publish on the topic: ``partyd/1/<any party>/<party>/...``."""
    if not is_party_id(party) or len(topic) > _MAX_TOPIC_CHARS or any(char in topic for char in "+#\0"):
        return False
    levels = topic.split("/")
    return len(levels) >= 4 and (*levels[:2],) == ROOT and is_party_id(levels[2]) and levels[3] == party


def may_subscribe(party: str, topic_filter: str) -> bool:
    """Say whether every topic that the filter matches lies in the party's own mailbox ``partyd/1/<party>/...``."""
    if not is_party_id(party) or len(topic_filter) > _MAX_TOPIC_CHARS or "\0" in topic_filter:
        return False
    levels = topic_filter.split("/")
    return len(levels) >= 4 and (*levels[:3],) == (*ROOT, party) and _is_filter(levels)


def matches(topic_filter: str, topic: str) -> bool:
    """Say whether the filter matches the topic (MQTT 3.1.1 §4.7)."""
    filter_levels, levels = topic_filter.split("/"), topic.split("/")
    if not _is_filter(filter_levels) or (topic.startswith("$") and filter_levels[0] in ("+", "#")):
        return False
    for index, wanted in enumerate(filter_levels):
        if wanted == "#":
            return len(levels) >= index
        if index >= len(levels) or wanted not in ("+", levels[index]):
            return False
    return len(filter_levels) == len(levels)


def _is_filter(levels: list[str]) -> bool:
    return all(
        not any(char in level for char in "+#") or level == "+" or (level == "#" and index == len(levels) - 1)
        for index, level in enumerate(levels)
    )
