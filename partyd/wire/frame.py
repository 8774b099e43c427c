"""The clear header of a frame, and the window that refuses a counter seen before.

One frame is one publish at the broker. Its first 16 bytes are in the clear, big-endian:

    ver u8 | type u8 | flags u16 | receiver_index u32 | counter u64

``receiver_index`` names the receiver's session, so a frame that belongs to none is dropped before any cryptography.
``flags`` is 0. INIT carries index 0 and counter 0, RESPONSE counter 0: every bit of every header has one allowed
value or is authenticated. COOKIE is reserved and refused.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

from partyd.errors import BadFrame
from partyd.types import Address

WIRE_VERSION: Final = 1
HEADER: Final = struct.Struct(">BBHIQ")
HEADER_BYTES: Final = HEADER.size
MAX_FRAME: Final = 1 << 20
"""No frame is longer, whatever peers negotiate."""
MIN_FRAME: Final = HEADER_BYTES + 16
MAX_HANDSHAKE_FRAME: Final = 2048


class FrameType(enum.IntEnum):
    INIT = 1
    RESPONSE = 2
    DATA = 3
    COOKIE = 4


class Header(NamedTuple):
    type: FrameType
    receiver_index: int
    counter: int


_TYPES: Final = {int(kind): kind for kind in FrameType}


def pack_header(kind: FrameType, receiver_index: int, counter: int) -> bytes:
    """Return the 16 clear bytes."""
    return HEADER.pack(WIRE_VERSION, kind, 0, receiver_index, counter)


def parse_header(frame: bytes) -> Header:
    """Read the clear header; raises BadFrame for a size, version, type, flag or field that no honest frame has."""
    if not MIN_FRAME <= len(frame) <= MAX_FRAME:
        raise BadFrame("size")
    version, kind, flags, receiver_index, counter = HEADER.unpack_from(frame)
    if version != WIRE_VERSION or flags != 0 or kind not in _TYPES or kind == FrameType.COOKIE:
        raise BadFrame("header")
    if kind != FrameType.DATA and (counter != 0 or len(frame) > MAX_HANDSHAKE_FRAME):
        raise BadFrame("header")
    if (kind == FrameType.INIT) != (receiver_index == 0):
        raise BadFrame("header")
    return Header(_TYPES[kind], receiver_index, counter)


def length_prefixed(text: str) -> bytes:
    """lp(): the UTF-8 bytes after their length as u16."""
    raw = text.encode()
    return len(raw).to_bytes(2, "big") + raw


def mailboxes(destination: Address, source: Address) -> bytes:
    """Return the part of a data frame's associated data that follows the header."""
    return length_prefixed(str(destination)) + length_prefixed(str(source))


class ReplayWindow:
    """Remember which of the last 8,192 counters were seen, in a ring of words (RFC 6479).

    Ask only after the AEAD has accepted the frame: before that, a forger could move the window.
    """

    SIZE: Final = 8192
    _WORD: Final = 64
    _WORDS: Final = SIZE // _WORD + 1  # one spare word, so that moving on never erases part of the window

    __slots__ = ("_last", "_limit", "_words")

    def __init__(self, limit: int) -> None:
        """``limit`` is the first counter that is refused for good."""
        self._last = -1
        self._limit = limit
        self._words = [0] * self._WORDS

    def accept(self, counter: int) -> bool:
        """Say whether ``counter`` is new, and remember it."""
        if not 0 <= counter < self._limit or self._last - counter >= self.SIZE:
            return False
        word = counter // self._WORD
        if counter > self._last:
            passed = self._last // self._WORD
            for index in range(passed + 1, min(word, passed + self._WORDS) + 1):
                self._words[index % self._WORDS] = 0
            self._last = counter
        bit = 1 << (counter % self._WORD)
        if self._words[word % self._WORDS] & bit:
            return False
        self._words[word % self._WORDS] |= bit
        return True
