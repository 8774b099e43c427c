"""Delivery records: one encoding each, and nothing but records is read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.errors import BadValue, LocalProtocolError
from partyd.wire.records import Ack, First, More, Ping, Probe, Progress, Record, Refuse, decode, encode

BOOT = b"8 bytes!"
U64, U32 = st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1)


@st.composite
def firsts(draw: st.DrawFn) -> First:
    data = draw(st.binary(min_size=1, max_size=50))
    count = draw(st.integers(1, 1000))
    total = len(data) if count == 1 else len(data) * (count - 1) + draw(st.integers(1, len(data)))
    return First(draw(U64), draw(U32), total, count, bytes(32), draw(st.binary(max_size=100)), data)


RANGES = st.tuples(U64, U64).map(lambda pair: (min(pair), max(pair)))
PROGRESS = st.builds(Progress, U64, U32, U32, st.booleans())
RECORDS: st.SearchStrategy[Record] = st.one_of(
    firsts(),
    st.builds(More, U64, U32, st.integers(1, 1 << 31), st.binary(min_size=1, max_size=50)),
    st.builds(Probe, U64, U32),
    st.builds(
        Ack,
        U64,
        U64,
        U64,
        st.lists(RANGES, max_size=5).map(tuple),
        st.lists(PROGRESS, max_size=5).map(tuple),
    ),
    st.builds(Refuse, U64, st.from_regex(r"[a-z0-9_]{1,32}", fullmatch=True)),
    st.builds(Ping, U64),
)


@given(RECORDS)
def test_what_is_written_is_read(record: Record) -> None:
    data = encode(BOOT, record)
    assert decode(data) == (BOOT, record)


@given(RECORDS, st.randoms(use_true_random=False))
def test_a_changed_record_is_refused_or_has_this_encoding_only(record: Record, rng: random.Random) -> None:
    data = bytearray(encode(BOOT, record))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    try:
        boot, changed = decode(bytes(data))
    except BadValue:
        return
    assert encode(boot, changed) == bytes(data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_bad_value(data: bytes) -> None:
    try:
        boot, record = decode(data)
    except BadValue:
        return
    assert encode(boot, record) == data


@pytest.mark.parametrize(
    ("name", "record", "expected"),
    [
        (
            "first",
            First(7, 1, 6, 2, bytes(range(32)), b"hd", b"abcd"),
            "01382062797465732100000000000000070000000100000000000000060000000200010203040506070809"
            "0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0002686461626364",
        ),
        ("more", More(7, 1, 1, b"ef"), "02382062797465732100000000000000070000000100000001" + "6566"),
        ("probe", Probe(7, 1), "033820627974657321" + "000000000000000700000001"),
        (
            "ack",
            Ack(5, 1 << 24, 9, ((1, 6),), (Progress(7, 1, 1, True),)),
            "04382062797465732100000000000000050000000001000000000000000000000900010001"
            "00000000000000010000000000000006" + "0000000000000007" + "00000001" + "00000001" + "01",
        ),
        ("refuse", Refuse(7, "quota"), "053820627974657321" + "0000000000000007" + "71756f7461"),
        ("ping", Ping(9), "063820627974657321" + "0000000000000009"),
    ],
)
def test_the_vectors_of_the_documentation_hold(name: str, record: Record, expected: str) -> None:
    assert encode(BOOT, record).hex() == expected, name
    assert decode(bytes.fromhex(expected)) == (BOOT, record)


@pytest.mark.parametrize("record", [Ping(1 << 64), More(-1, 0, 1, b"x"), Probe(1, 1 << 32)])
def test_numbers_out_of_range_are_our_own_mistake(record: Record) -> None:
    with pytest.raises(LocalProtocolError):
        encode(BOOT, record)


def test_the_documentation_shows_these_bytes() -> None:
    text = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text(encoding="utf-8")
    section = text.partition("## 6. Delivery records")[2].partition("## 7.")[0]
    shown = section.partition("Examples, with boot")[2].replace(" ", "").replace("\n", "")
    for record in (Ping(9), Probe(7, 1), Refuse(7, "quota"), More(7, 1, 1, b"ef")):
        assert encode(BOOT, record).hex() in shown
