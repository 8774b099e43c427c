"""Strict, bounded msgpack: the only way bytes from a peer become values.

``unpack`` accepts nil, booleans, integers, floats, text, bytes, arrays and maps with text keys, and nothing else: no
extension types, no timestamps, no duplicate keys, no trailing bytes. Every length is compared with ``Limits`` before
anything of that length is allocated; the decoder's own stack ends at 1,024 levels, and depth is checked after it.
``Fields`` then takes the values of an array apart by position: exact count, exact types (a boolean is no integer),
exact ranges.

The decoder raises ``BadValue`` for everything a peer can get wrong, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import msgpack

from partyd.errors import BadValue, LocalProtocolError

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""What strict msgpack can hold."""

U8: Final = 2**8 - 1
U16: Final = 2**16 - 1
U32: Final = 2**32 - 1
U64: Final = 2**64 - 1


@dataclass(frozen=True)
class Limits:
    """Bounds of one decoding: total bytes, depth of nesting, and sizes of single values."""

    total: int = 4096
    depth: int = 4
    items: int = 64
    text: int = 256
    binary: int = 1024


_SCALARS: Final = frozenset({bool, int, float, str, bytes})
SMALL: Final = Limits()
"""Fits cards, hellos and record headers."""


def pack(value: Value | tuple[Value, ...]) -> bytes:
    """Encode ``value`` in the shortest form msgpack has (which is what canonical means here)."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True, strict_types=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise LocalProtocolError(f"{type(value).__name__} cannot be encoded: {error}") from error
    return packed


def unpack(data: bytes | memoryview, limits: Limits = SMALL) -> Value:
    """Decode exactly one value that fills ``data``; raises BadValue."""
    value, used = unpack_prefix(data, limits)
    if used != len(data):
        raise BadValue(f"{len(data) - used} bytes follow the value")
    return value


def unpack_canonical(data: bytes, limits: Limits = SMALL) -> Value:
    """Decode like ``unpack`` and refuse any encoding but the one ``pack`` makes; raises BadValue."""
    value = unpack(data, limits)
    if pack(value) != data:
        raise BadValue("the encoding is not canonical")
    return value


def unpack_prefix(data: bytes | memoryview, limits: Limits = SMALL) -> tuple[Value, int]:
    """Decode the value at the start of ``data``; return it and the bytes it took.

    At most ``limits.total`` bytes are looked at, so a long body may follow. Raises BadValue.
    """
    head = bytes(data[: limits.total])
    unpacker = msgpack.Unpacker(
        raw=False,
        strict_map_key=True,
        max_buffer_size=max(1, limits.total),
        max_str_len=limits.text,
        max_bin_len=limits.binary,
        max_array_len=limits.items,
        max_map_len=limits.items,
        max_ext_len=0,
        object_pairs_hook=_unique_keys,
        ext_hook=_no_extension,
    )
    unpacker.feed(head)
    try:
        value = unpacker.unpack()
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise BadValue(f"no valid value within {limits.total} bytes: {type(error).__name__}") from error
    used: int = unpacker.tell()
    _check_types(value, limits.depth)
    return value, used


class Fields:
    """Take an array's values in order, each with its type and range; ``what`` names the array in errors."""

    __slots__ = ("_at", "_values", "_what")

    def __init__(self, value: Value, what: str, count: int) -> None:
        if not isinstance(value, list) or len(value) != count:
            raise BadValue(f"{what}: expected an array of {count} values")
        self._values = value
        self._what = what
        self._at = 0

    def value(self) -> Value:
        """Take the next value as it is."""
        if self._at >= len(self._values):
            raise LocalProtocolError(f"{self._what}: all {len(self._values)} values are taken")
        self._at += 1
        return self._values[self._at - 1]

    def uint(self, name: str, maximum: int = U64, minimum: int = 0) -> int:
        """Take an integer between ``minimum`` and ``maximum``."""
        value = self.value()
        if type(value) is not int or not minimum <= value <= maximum:
            raise BadValue(f"{self._what}: {name} must be an integer from {minimum} to {maximum}")
        return value

    def boolean(self, name: str) -> bool:
        """Take true or false."""
        value = self.value()
        if type(value) is not bool:
            raise BadValue(f"{self._what}: {name} must be true or false")
        return value

    def binary(self, name: str, exactly: int | None = None, maximum: int = U16) -> bytes:
        """Take bytes of ``exactly`` that length, or of at most ``maximum``."""
        value = self.value()
        if type(value) is not bytes or len(value) > maximum or (exactly is not None and len(value) != exactly):
            raise BadValue(f"{self._what}: {name} must be {exactly or f'at most {maximum}'} bytes")
        return value

    def optional_binary(self, name: str, exactly: int) -> bytes | None:
        """Take nil or bytes of ``exactly`` that length."""
        if self._at < len(self._values) and self._values[self._at] is None:
            self._at += 1
            return None
        return self.binary(name, exactly)

    def text(self, name: str, maximum: int = 64) -> str:
        """Take printable text of at most ``maximum`` characters."""
        value = self.value()
        if type(value) is not str or len(value) > maximum or not value.isprintable():
            raise BadValue(f"{self._what}: {name} must be printable text of at most {maximum} characters")
        return value

    def array(self, name: str, maximum: int = 64) -> list[Value]:
        """Take an array of at most ``maximum`` values."""
        value = self.value()
        if not isinstance(value, list) or len(value) > maximum:
            raise BadValue(f"{self._what}: {name} must be an array of at most {maximum} values")
        return value

    def texts(self, name: str, maximum: int = 32, length: int = 32) -> tuple[str, ...]:
        """Take an array of at most ``maximum`` printable texts of at most ``length`` characters, without repeats."""
        values = self.array(name, maximum)
        inner = Fields(values, f"{self._what}: {name}", len(values))
        texts = tuple(inner.text("item", length) for _ in values)
        if len(set(texts)) != len(texts):
            raise BadValue(f"{self._what}: {name} repeats an item")
        return texts


def _unique_keys(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _no_extension(code: int, data: bytes) -> Value:
    raise ValueError(f"extension type {code} of {len(data)} bytes")


def _check_types(value: object, depth: int) -> None:
    """Refuse too deep nesting and what msgpack slips in (an empty extension, a timestamp, bytes as a map key)."""
    if type(value) is list or type(value) is dict:
        if depth <= 0:
            raise BadValue("nested too deep")
        for item in value.values() if isinstance(value, dict) else value:
            _check_types(item, depth - 1)
        if type(value) is dict and not all(type(key) is str for key in value):
            raise BadValue("a map key is not text")
    elif value is not None and type(value) not in _SCALARS:
        raise BadValue("a value of a type that is not allowed")
