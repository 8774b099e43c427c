"""The codec writes what it reads, and refuses everything else with BadValue."""

from __future__ import annotations

import struct

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from partyd.errors import BadValue, LocalProtocolError
from partyd.federation.message import Message
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Floats, Ints, Octets, Words
from partyd.wire.codec import BigInt, Record, Secret


class Inner(Record):
    name: str
    values: list[float]


class Everything(Record):
    flag: bool
    count: int
    score: float
    text: str
    blob: bytes
    big: BigInt
    floats: Floats
    words: Words
    ints: Ints
    octets: Octets
    bigs: list[BigInt]
    pair: tuple[int, ...]
    table: dict[str, int]
    maybe: Inner | None
    inner: Inner


def shaped(dtype: str, elements: st.SearchStrategy[object] | None = None) -> st.SearchStrategy[object]:
    return arrays(np.dtype(dtype), array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4), elements=elements)


text = st.text(max_size=20)
inner = st.builds(Inner, name=text, values=st.lists(st.floats(allow_nan=False), max_size=4))
big = st.integers(-(2**2100), 2**2100)
everything = st.builds(
    Everything,
    flag=st.booleans(),
    count=st.integers(-(2**63), 2**64 - 1),
    score=st.floats(allow_nan=False),
    text=text,
    blob=st.binary(max_size=40),
    big=big,
    floats=shaped("<f8", st.floats(allow_nan=False)),
    words=shaped("<u8"),
    ints=shaped("<i8"),
    octets=shaped("|u1"),
    bigs=st.lists(big, max_size=4),
    pair=st.lists(st.integers(-5, 5), max_size=4).map(tuple),
    table=st.dictionaries(text, st.integers(-5, 5), max_size=4),
    maybe=st.none() | inner,
    inner=inner,
)


@given(everything)
def test_what_is_written_is_read_back(record: Everything) -> None:
    data = record.to_bytes()
    back = Everything.from_bytes(data)
    assert back.to_bytes() == data
    for name in Everything.model_fields:
        was, now = getattr(record, name), getattr(back, name)
        if isinstance(was, np.ndarray):
            assert now.dtype == was.dtype
            assert now.shape == was.shape
            np.testing.assert_array_equal(now, was)
        else:
            assert now == was


@given(everything, st.data())
def test_anything_else_is_a_bad_value_or_another_record(record: Everything, data: st.DataObject) -> None:
    raw = bytearray(record.to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(raw)))
    for attempt in (bytes(raw), bytes(raw[:cut]), bytes(raw) + b"\x00"):
        try:
            Everything.from_bytes(attempt).to_bytes()
        except BadValue:
            continue


@given(st.binary(max_size=200))
def test_noise_is_a_bad_value(noise: bytes) -> None:
    with pytest.raises(BadValue):
        Everything.from_bytes(noise)


def field(kind: type[Record], value: object) -> bytes:
    (name,) = kind.model_fields
    return bytes(msgpack.packb({name: value}, use_bin_type=True))


class Number(Record):
    n: int


class Real(Record):
    x: float


class Large(Record):
    b: BigInt


class Matrix(Record):
    a: Floats


class Names(Record):
    d: dict[str, int]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Number, True),
        (Number, 1.0),
        (Number, "1"),
        (Number, None),
        (Real, 1),
        (Large, b""),
        (Large, b"\x02\x01"),
        (Large, b"\x00\x00\x01"),
        (Large, b"\x01"),
        (Large, b"\x00" + b"\x01" * ((1 << 14) + 1)),
        (Matrix, b""),
        (Matrix, b"\x00"),
        (Matrix, b"\x05" + bytes(40)),
        (Matrix, struct.pack(">BQ", 1, 2) + bytes(8)),
        (Matrix, struct.pack(">BQQ", 2, 1 << 63, 2)),
        (Matrix, struct.pack(">BQQ", 2, 1 << 63, 0)),
        (Matrix, struct.pack(">BQQ", 2, (1 << 64) - 1, 0)),
        (Names, {1: 2}),
        (Names, [["a", 1]]),
    ],
)
def test_odd_values_are_refused(kind: type[Record], value: object) -> None:
    with pytest.raises(BadValue):
        kind.from_bytes(field(kind, value))


def test_missing_and_unknown_fields_are_refused() -> None:
    with pytest.raises(BadValue):
        Number.from_bytes(msgpack.packb({}))
    with pytest.raises(BadValue):
        Number.from_bytes(msgpack.packb({"n": 1, "m": 2}))


def test_a_deep_nest_is_refused_without_much_memory() -> None:
    with pytest.raises(BadValue):
        Number.from_bytes(b"\xdd\x00\x0f\xff\xff" * 100_000)
    with pytest.raises(BadValue):
        Number.from_bytes(b"\x91" * 100_000)


def test_arrays_of_another_dtype_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError, match=r"Matrix\.a"):
        Matrix.model_construct(a=np.zeros(2, dtype=np.float32)).to_bytes()


def test_an_annotation_without_coder_is_named_at_once() -> None:
    with pytest.raises(LocalProtocolError, match=r"Odd\.x"):

        class Odd(Message, sender=GUEST, receiver=HOST):
            x: set[int]


def test_a_secret_stays_at_home_even_inside_other_records() -> None:
    class Kept(Record):
        key: Secret

    assert Kept.from_bytes(Kept(key=Secret(b"k")).to_bytes()).key == Secret(b"k")
    assert "k'" not in repr(Kept(key=Secret(b"k")))
    with pytest.raises(LocalProtocolError, match="may not leave"):

        class Leak(Message, sender=GUEST, receiver=HOST):
            inside: list[Kept]
