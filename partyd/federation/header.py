"""The header of a message in transit: its identity but for the two ends, which the session vouches for."""

from __future__ import annotations

import re

import msgpack

from partyd.errors import BadValue
from partyd.types import Address, MessageId

_NAME = re.compile(r"[0-9A-Za-z_.-]{0,128}\Z")
_SCOPE = re.compile(r"[0-9A-Za-z_./-]{0,256}\Z")
_KIND = re.compile(r"[A-Za-z][0-9A-Za-z_]{0,63}\Z")
MAX_ATTEMPT = 1 << 16
MAX_HEADER_BYTES = 1024


def encode_header(message: MessageId) -> bytes:
    """Return the header bytes of ``message``."""
    return bytes(msgpack.packb([message.job, message.task, message.attempt, message.scope, message.kind]))


def decode_header(header: bytes, source: Address, destination: Address) -> MessageId:
    """Return the identity that a peer's header names; raises BadValue for anything but exactly that."""
    try:
        value = msgpack.unpackb(header, raw=False, max_array_len=5, max_str_len=256, max_bin_len=0, max_map_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BadValue("a message header is not msgpack") from error
    if not isinstance(value, list) or len(value) != 5 or len(header) > MAX_HEADER_BYTES:
        raise BadValue("a message header does not hold five fields")
    job, task, attempt, scope, kind = value
    texts = ((job, _NAME), (task, _NAME), (scope, _SCOPE), (kind, _KIND))
    if any(type(text) is not str or not pattern.match(text) for text, pattern in texts):
        raise BadValue("a message header holds a name of forbidden form")
    if type(attempt) is not int or not 0 <= attempt < MAX_ATTEMPT:
        raise BadValue("a message header holds no valid attempt")
    return MessageId(job, task, attempt, scope, kind, source, destination)
