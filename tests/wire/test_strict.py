from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import BadValue, LocalProtocolError
from partyd.wire.strict import Fields, Limits, Value, pack, unpack, unpack_canonical, unpack_prefix

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.binary(max_size=20)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)
WIDE = Limits(depth=64)


@given(values)
def test_what_is_packed_comes_back(value: Value) -> None:
    assert unpack_canonical(pack(value), WIDE) == value


@given(values, st.binary(max_size=30))
def test_a_prefix_is_found_and_trailing_bytes_are_refused(value: Value, rest: bytes) -> None:
    packed = pack(value)
    assert unpack_prefix(packed + rest, WIDE) == (value, len(packed))
    if rest:
        with pytest.raises(BadValue):
            unpack(packed + rest, WIDE)


@given(values, st.integers(1, 40))
def test_truncation_is_refused(value: Value, cut: int) -> None:
    with pytest.raises(BadValue):
        unpack(pack(value)[:-cut], WIDE)


@given(st.binary(max_size=120))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = unpack(data)
    except BadValue:
        return
    assert isinstance(value, bool | int | float | str | bytes | list | dict | None)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xd4\x01\x00",  # fixext 1
        b"\xc7\x00\x05",  # empty extension
        b"\xd6\xff\x00\x00\x00\x00",  # timestamp
        b"\xc7\x0c\xff" + bytes(12),
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdc\x00\x41" + b"\x01" * 65,  # 65 items
        b"\x91" * 5 + b"\x01",  # depth 5
        b"\x91" * 5 + b"\x90",
        b"\x81\xa1a" * 5 + b"\x01",
        b"\x91" * 4000 + b"\x01",
        b"\x82\xa1a\x01\xa1a\x02",  # the same key twice
        b"\x81\x01\x02",  # a number as key
        b"\x81\xc4\x01a\x02",  # bytes as key
        b"\xa2\xff\xfe",  # not UTF-8
        b"\xc4\x02\x01",
        pack("a" * 257),
        pack(b"a" * 1025),
        b"\x01\x01",
    ],
)
def test_hostile_encodings_are_refused(data: bytes) -> None:
    with pytest.raises(BadValue):
        unpack(data)


def test_the_total_is_bounded() -> None:
    with pytest.raises(BadValue):
        unpack(pack([b"a" * 1000] * 5))


def test_only_the_shortest_encoding_is_canonical() -> None:
    long_one = b"\xcf" + struct.pack(">Q", 1)
    assert unpack(long_one) == 1
    with pytest.raises(BadValue):
        unpack_canonical(long_one)


def test_fields_take_typed_values_in_order() -> None:
    fields = Fields([7, True, b"ab", None, "x", ["a", "b"], [1]], "thing", 7)
    assert fields.uint("n", 7) == 7
    assert fields.boolean("flag") is True
    assert fields.binary("raw", exactly=2) == b"ab"
    assert fields.optional_binary("maybe", 4) is None
    assert fields.text("name") == "x"
    assert fields.texts("tags") == ("a", "b")
    assert fields.array("items") == [1]
    with pytest.raises(LocalProtocolError):
        fields.value()


@pytest.mark.parametrize(
    ("value", "take"),
    [
        (True, lambda f: f.uint("n")),
        (1.0, lambda f: f.uint("n")),
        (-1, lambda f: f.uint("n")),
        (8, lambda f: f.uint("n", 7)),
        (1, lambda f: f.uint("n", 7, 2)),
        (1, lambda f: f.boolean("n")),
        ("ab", lambda f: f.binary("n")),
        (b"ab", lambda f: f.binary("n", exactly=3)),
        (b"ab", lambda f: f.binary("n", maximum=1)),
        (b"ab", lambda f: f.optional_binary("n", 3)),
        (b"ab", lambda f: f.text("n")),
        ("abc", lambda f: f.text("n", 2)),
        ("a\nb", lambda f: f.text("n")),
        ("\u202eabc", lambda f: f.text("n")),
        ([1, 2], lambda f: f.array("n", 1)),
        ({}, lambda f: f.array("n")),
        (["a", "a"], lambda f: f.texts("n")),
        (["a", 1], lambda f: f.texts("n")),
    ],
)
def test_fields_refuse_other_types_and_ranges(value, take) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadValue, match="thing"):
        take(Fields([value], "thing", 1))


@pytest.mark.parametrize("value", [None, [], [1, 2], {"a": 1}, "a"])
def test_fields_refuse_another_count(value: Value) -> None:
    with pytest.raises(BadValue):
        Fields(value, "thing", 1)


def test_what_cannot_be_packed_is_our_fault() -> None:
    with pytest.raises(LocalProtocolError):
        pack([2**64])
    with pytest.raises(LocalProtocolError):
        pack([object()])  # type: ignore[list-item]


def test_packing_is_plain_msgpack() -> None:
    assert msgpack.unpackb(pack((1, "a", b"b", [None])), raw=False) == [1, "a", b"b", [None]]
