"""Typed records to bytes and back: what parties send, and what a party writes down about itself.

A `Record` is a frozen pydantic model. Its annotations are its schema: they are turned into coders when the class is
first used, and decoding follows them strictly: exact keys, exact types, declared dtypes, bounded sizes. Nothing else is
ever constructed from bytes; there is no pickle and no type name on the wire.

====================  =====================================================================================
annotation            encoding (msgpack)
====================  =====================================================================================
bool int float str    the same; ``int`` within 64 bits, ``str`` at most 64 KiB, ``float`` finite unless NaN is stored
bytes                 bin
BigInt                bin: sign byte, big-endian magnitude, at most 16 KiB
Floats Words Ints ... bin: dimensions, shape, raw little-endian elements of the one declared dtype
list[T] tuple[T, ...] array
dict[str, T]          map
T | None              nil or T
Record                map of its fields
`Secret`              bin; in a `State` only, refused in a message
a `WireType`          bin of its own ``to_bytes()``
====================  =====================================================================================
"""

from __future__ import annotations

import hmac
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Protocol, Self, Union, get_args, get_origin, runtime_checkable

import msgpack
from pydantic import BaseModel, ConfigDict, ValidationError

from partyd.errors import BadValue, LocalProtocolError

MAX_RECORD_BYTES = 1 << 31
MAX_STR_BYTES = 1 << 16
MAX_BIG_INT_BYTES = 1 << 14
MAX_ITEMS = 1 << 20


@runtime_checkable
class WireType(Protocol):
    """A value that may travel: it writes itself to bytes and reads itself back, refusing anything odd with BadValue."""

    def to_bytes(self) -> bytes: ...

    @classmethod
    def from_bytes(cls, data: bytes) -> Self: ...


class ArrayMark(Protocol):
    """Marks an array field; ``partyd.wire.arrays`` has the marks, apart, for a daemon has no use for numpy."""

    def array_coder(self) -> Coder: ...


@dataclass(frozen=True)
class Big:
    """Marks an int of any size."""


BigInt = Annotated[int, Big()]


class Secret:
    """Bytes that stay with their party: a checkpoint may hold them, a message may not, and ``repr`` hides them."""

    local_only: ClassVar[bool] = True
    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._data, other._data)

    def __hash__(self) -> int:
        return hash(self._data)

    def __repr__(self) -> str:
        return f"<Secret of {len(self._data)} bytes>"

    def to_bytes(self) -> bytes:
        """Return the bytes."""
        return self._data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the secret that ``data`` is."""
        return cls(data)


@dataclass(frozen=True)
class Coder:
    """How one annotation is written and read; ``local_only`` types may not be part of a message."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    local_only: bool = False


class Record(BaseModel):
    """A frozen, typed value with one byte form."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True, extra="forbid")

    def to_bytes(self) -> bytes:
        """Return the record's bytes; raises LocalProtocolError when a field does not hold what it declares."""
        return bytes(msgpack.packb(_encode_record(type(self), self), use_bin_type=True))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the record that ``data`` holds; raises BadValue for anything but exactly that."""
        if len(data) > MAX_RECORD_BYTES:
            raise BadValue(f"{cls.__name__}: {len(data)} bytes exceed {MAX_RECORD_BYTES}")
        try:
            value = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                max_ext_len=0,
                max_str_len=MAX_STR_BYTES,
                max_array_len=min(MAX_ITEMS, len(data)),
                max_map_len=min(MAX_ITEMS, len(data)),
                max_bin_len=len(data),
            )
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise BadValue(f"{cls.__name__}: not a msgpack value of this schema") from error
        decoded = _decode_record(cls, value)
        assert isinstance(decoded, cls)
        return decoded


@cache
def coders(kind: type[Record]) -> dict[str, Coder]:
    """Return the coder of each field of ``kind``; raises LocalProtocolError for an annotation not in the table."""
    found = {}
    for name, field in kind.model_fields.items():
        annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        try:
            found[name] = _coder(annotation)
        except TypeError as error:
            raise LocalProtocolError(f"{kind.__name__}.{name}: {error}") from error
    return found


def _encode_record(kind: type[Record], record: Record) -> dict[str, Any]:
    encoded = {}
    for name, coder in coders(kind).items():
        try:
            encoded[name] = coder.encode(getattr(record, name))
        except (BadValue, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise LocalProtocolError(f"{kind.__name__}.{name} cannot be encoded: {error}") from error
    return encoded


def _decode_record(kind: type[Record], value: Any) -> Record:
    table = coders(kind)
    if not isinstance(value, dict) or value.keys() != table.keys():
        raise BadValue(f"{kind.__name__}: the fields are not {', '.join(table)}")
    try:
        return kind(**{name: coder.decode(value[name]) for name, coder in table.items()})
    except ValidationError as error:
        raise BadValue(f"{kind.__name__}: {error.error_count()} fields are invalid") from error


def _coder(annotation: Any) -> Coder:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (list, tuple):
        return _sequence(origin, arguments)
    if origin is dict and arguments[0] is str:
        return _mapping(_coder(arguments[1]))
    if origin in (Union, types.UnionType) and len(arguments) == 2 and type(None) in arguments:
        return _optional(_coder(next(a for a in arguments if a is not type(None))))
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return _nested(annotation)
    if isinstance(annotation, type) and hasattr(annotation, "to_bytes") and hasattr(annotation, "from_bytes"):
        return _wire_type(annotation)
    raise TypeError(f"{annotation!r} has no encoding; see partyd.wire.codec")


def _annotated(base: Any, metadata: tuple[Any, ...]) -> Coder:
    for mark in metadata:
        if hasattr(mark, "array_coder"):
            array: ArrayMark = mark
            return array.array_coder()
        if isinstance(mark, Big):
            return Coder(_encode_big, _decode_big)
    return _coder(base)


def _exactly(kind: type, name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise BadValue(f"expected {name}, got {type(value).__name__}")
        return value

    return check


def _int64(value: Any) -> int:
    if type(value) is not int or not -(1 << 63) <= value < 1 << 64:
        raise BadValue("expected an integer of 64 bits")
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value.encode("utf-8", "surrogatepass")) > MAX_STR_BYTES:
        raise BadValue(f"expected text of at most {MAX_STR_BYTES} bytes")
    return value


_SCALARS: dict[Any, Coder] = {
    bool: Coder(_exactly(bool, "bool"), _exactly(bool, "bool")),
    int: Coder(_int64, _int64),
    float: Coder(float, _exactly(float, "float")),
    str: Coder(_text, _text),
    bytes: Coder(bytes, _exactly(bytes, "bytes")),
}


def _encode_big(value: int) -> bytes:
    magnitude = abs(value)
    data = magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")
    if len(data) > MAX_BIG_INT_BYTES:
        raise ValueError(f"an integer of {len(data)} bytes exceeds {MAX_BIG_INT_BYTES}")
    return (b"\x01" if value < 0 else b"\x00") + data


def _decode_big(value: Any) -> int:
    if type(value) is not bytes or not 1 <= len(value) <= MAX_BIG_INT_BYTES + 1 or value[0] > 1:
        raise BadValue("expected a big integer")
    magnitude = int.from_bytes(value[1:], "big")
    if value[1:2] == b"\x00" or (value[0] == 1 and magnitude == 0):
        raise BadValue("a big integer is not in its shortest form")
    return -magnitude if value[0] else magnitude


def _sequence(origin: type, arguments: tuple[Any, ...]) -> Coder:
    if origin is tuple and (len(arguments) != 2 or arguments[1] is not Ellipsis):
        raise TypeError("only tuple[T, ...] has an encoding")
    item = _coder(arguments[0])

    def decode(value: Any) -> Any:
        if type(value) is not list:
            raise BadValue("expected a sequence")
        return origin(item.decode(element) for element in value)

    return Coder(lambda value: [item.encode(element) for element in value], decode, item.local_only)


def _mapping(item: Coder) -> Coder:
    def decode(value: Any) -> Any:
        if type(value) is not dict or any(type(key) is not str for key in value):
            raise BadValue("expected a map with text keys")
        return {key: item.decode(element) for key, element in value.items()}

    return Coder(lambda value: {_text(k): item.encode(v) for k, v in value.items()}, decode, item.local_only)


def _optional(item: Coder) -> Coder:
    return Coder(
        lambda value: None if value is None else item.encode(value),
        lambda value: None if value is None else item.decode(value),
        item.local_only,
    )


def _nested(kind: type[Record]) -> Coder:
    local_only = any(coder.local_only for coder in coders(kind).values())
    return Coder(lambda value: _encode_record(kind, value), lambda value: _decode_record(kind, value), local_only)


def _wire_type(kind: type[Any]) -> Coder:
    def encode(value: Any) -> bytes:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
        return bytes(value.to_bytes())

    def decode(value: Any) -> Any:
        if type(value) is not bytes:
            raise BadValue(f"expected the bytes of a {kind.__name__}")
        return kind.from_bytes(value)

    return Coder(encode, decode, getattr(kind, "local_only", False))
