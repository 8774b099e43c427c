"""Encode and decode delivery records, the plaintext inside the encrypted frames.

Every field is a number or a byte string of bounded length at a fixed place, so the layout is strict by construction: a
record has exactly one encoding, nothing is allocated before its size is known, and the chunk at the end is sliced, not
copied. ``docs/wire-format.md``, "Delivery records", gives the bytes.

Each record names the boot (process incarnation) that made it. A frame that was delayed in the broker while its sender
died and came back is thereby known and dropped, instead of speaking for the sender's new life.
"""

from __future__ import annotations

import enum
import re
import struct
from dataclasses import dataclass

from partyd.errors import BadValue, LocalProtocolError
from partyd.wire.ranges import Range

BOOT_BYTES = 8
MAX_HEADER = 4096
MAX_RANGES = 512
MAX_PROGRESS = 128
MAX_BODY = 1 << 40
MAX_CONTROL = 64 * 1024
"""A control message's body is at most this long: it must pass while the window for data is closed."""

_PREAMBLE = struct.Struct(">B8s")
_FIRST = struct.Struct(">QIQI32sH")
_MORE = struct.Struct(">QII")
_PROBE = struct.Struct(">QI")
_ACK = struct.Struct(">QQQHH")
_RANGE = struct.Struct(">QQ")
_PROGRESS = struct.Struct(">QIIB")
_REFUSE = struct.Struct(">Q")
_PING = struct.Struct(">Q")
_CODE = re.compile(rb"[a-z0-9_]{1,32}\Z")

OVERHEAD = _PREAMBLE.size + _FIRST.size + MAX_HEADER
"""The most that a record adds to its chunk."""


class Kind(enum.IntEnum):
    """First byte of a record."""

    FIRST = 1
    MORE = 2
    PROBE = 3
    ACK = 4
    REFUSE = 5
    PING = 6


@dataclass(frozen=True, slots=True)
class First:
    """The first chunk of a message: who it is, how long, in how many chunks, with which digest."""

    seq: int
    turn: int
    total: int
    count: int
    sha256: bytes
    header: bytes
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class More:
    """Chunk ``index`` >= 1 of a message."""

    seq: int
    turn: int
    index: int
    data: bytes | memoryview


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask how far a message got whose chunks are all sent."""

    seq: int
    turn: int


@dataclass(frozen=True, slots=True)
class Progress:
    """The receiver holds the first ``chunks`` chunks; ``gap``: later ones of this ``turn`` came too early, go back."""

    seq: int
    chunks: int
    turn: int
    gap: bool


@dataclass(frozen=True, slots=True)
class Ack:
    """What is stored, how far the open messages are, and how many unacknowledged bytes the receiver takes."""

    number: int
    credit: int
    echo: int
    stored: tuple[Range, ...]
    progress: tuple[Progress, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """The receiver will never take this message; ``code`` says why."""

    seq: int
    code: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for an acknowledgement that repeats ``nonce``."""

    nonce: int


Record = First | More | Probe | Ack | Refuse | Ping


def encode(boot: bytes, record: Record) -> bytes:
    """Return the bytes of ``record``, said by the incarnation ``boot``; raises LocalProtocolError if out of bounds."""
    try:
        return _encode(boot, record)
    except struct.error as error:
        raise LocalProtocolError(f"{type(record).__name__} record holds a number out of its range: {error}") from error


def _encode(boot: bytes, record: Record) -> bytes:
    match record:
        case First(seq, turn, total, count, sha256, header, data):
            fixed = _FIRST.pack(seq, turn, total, count, sha256, len(header))
            return b"".join((_PREAMBLE.pack(Kind.FIRST, boot), fixed, header, data))
        case More(seq, turn, index, data):
            return b"".join((_PREAMBLE.pack(Kind.MORE, boot), _MORE.pack(seq, turn, index), data))
        case Probe(seq, turn):
            return _PREAMBLE.pack(Kind.PROBE, boot) + _PROBE.pack(seq, turn)
        case Ack():
            return _PREAMBLE.pack(Kind.ACK, boot) + _encode_ack(record)
        case Refuse(seq, code):
            return _PREAMBLE.pack(Kind.REFUSE, boot) + _REFUSE.pack(seq) + code.encode("ascii")
        case Ping(nonce):
            return _PREAMBLE.pack(Kind.PING, boot) + _PING.pack(nonce)


def _encode_ack(ack: Ack) -> bytes:
    parts = [_ACK.pack(ack.number, ack.credit, ack.echo, len(ack.stored), len(ack.progress))]
    parts += [_RANGE.pack(first, last) for first, last in ack.stored]
    parts += [_PROGRESS.pack(p.seq, p.chunks, p.turn, p.gap) for p in ack.progress]
    return b"".join(parts)


def decode(data: bytes) -> tuple[bytes, Record]:
    """Return the incarnation and the record in ``data``; raises BadValue for anything but a well-formed record."""
    view = memoryview(data)
    try:
        kind, boot = _PREAMBLE.unpack_from(view)
        return boot, _decode(kind, view[_PREAMBLE.size :])
    except struct.error as error:
        raise BadValue(f"delivery record cut short: {len(data)} bytes") from error


def _decode(kind: int, rest: memoryview) -> Record:
    match kind:
        case Kind.FIRST:
            return _decode_first(rest)
        case Kind.MORE:
            return _decode_more(rest)
        case Kind.PROBE:
            return Probe(*_PROBE.unpack(rest))
        case Kind.ACK:
            return _decode_ack(rest)
        case Kind.REFUSE:
            return _decode_refuse(rest)
        case Kind.PING:
            return Ping(*_PING.unpack(rest))
    raise BadValue(f"delivery record of unknown kind {kind}")


def _decode_first(rest: memoryview) -> First:
    seq, turn, total, count, sha256, header_length = _FIRST.unpack_from(rest)
    if header_length > MAX_HEADER or len(rest) < _FIRST.size + header_length:
        raise BadValue(f"message {seq}: header of {header_length} bytes does not fit")
    body = rest[_FIRST.size + header_length :]
    if count == 0 or total > MAX_BODY or len(body) != expected_first(total, count, len(body)):
        raise BadValue(f"message {seq}: {total} bytes in {count} chunks of which the first has {len(body)}")
    return First(seq, turn, total, count, sha256, bytes(rest[_FIRST.size : _FIRST.size + header_length]), body)


def expected_first(total: int, count: int, chunk: int) -> int:
    """Return the length the first chunk must have: all of one chunk, else such that ``count`` is exact (or -1)."""
    if count == 1:
        return total
    return chunk if chunk > 0 and -(-total // chunk) == count else -1


def _decode_more(rest: memoryview) -> More:
    seq, turn, index = _MORE.unpack_from(rest)
    if index == 0 or len(rest) == _MORE.size:
        raise BadValue(f"message {seq}: chunk {index} of {len(rest) - _MORE.size} bytes")
    return More(seq, turn, index, rest[_MORE.size :])


def _decode_ack(rest: memoryview) -> Ack:
    number, credit, echo, range_count, progress_count = _ACK.unpack_from(rest)
    size = _ACK.size + range_count * _RANGE.size + progress_count * _PROGRESS.size
    if range_count > MAX_RANGES or progress_count > MAX_PROGRESS or len(rest) != size:
        raise BadValue(f"acknowledgement of {range_count} ranges and {progress_count} messages in {len(rest)} bytes")
    middle = _ACK.size + range_count * _RANGE.size
    stored = tuple((first, last) for first, last in _RANGE.iter_unpack(rest[_ACK.size : middle]))
    entries = tuple(_PROGRESS.iter_unpack(rest[middle:]))
    if any(first > last for first, last in stored) or any(entry[3] > 1 for entry in entries):
        raise BadValue("acknowledgement with a backward range or an unknown flag")
    progress = tuple(Progress(seq, chunks, turn, bool(gap)) for seq, chunks, turn, gap in entries)
    return Ack(number, credit, echo, stored, progress)


def _decode_refuse(rest: memoryview) -> Refuse:
    (seq,) = _REFUSE.unpack_from(rest)
    code = bytes(rest[_REFUSE.size :])
    if not _CODE.match(code):
        raise BadValue(f"message {seq}: refusal code is not 1 to 32 of a-z 0-9 _")
    return Refuse(seq, code.decode("ascii"))
