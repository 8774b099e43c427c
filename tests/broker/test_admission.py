"""Who is let in, and what amqtt gets to see of it."""

from __future__ import annotations

import asyncio
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.admission import Admission, Door
from broker.errors import RefusedError
from broker.passwords import hash_password

DOOR = Door({"10000": hash_password("secret"), "a/b": hash_password("secret")}, max_keepalive_s=120)


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text.encode())) + text.encode()


def connect(
    *,
    party: str = "10000",
    password: str | None = "secret",
    level: int = 4,
    flags: int = 0,
    keepalive: int = 60,
    client_id: str = "client",
    will: str | None = None,
) -> bytes:
    """Build a CONNECT packet (MQTT 3.1.1 §3.1)."""
    flags |= 0x80 | (0x40 if password is not None else 0) | (0x04 if will is not None else 0)
    body = _text("MQTT") + bytes([level, flags]) + struct.pack("!H", keepalive) + _text(client_id)
    body += _text(will) + _text("gone") if will is not None else b""
    body += _text(party) + (_text(password) if password is not None else b"")
    return (
        bytes([0x10, len(body)]) + body
        if len(body) < 128
        else bytes([0x10, len(body) % 128 + 128, len(body) // 128]) + body
    )


def _admit(packet: bytes, door: Door = DOOR) -> Admission:
    return asyncio.run(door.admit(packet, None))


def test_a_client_is_rewritten_to_what_the_broker_offers() -> None:
    admission = _admit(connect(flags=0x20, will="partyd/1/9999/10000/host/guest/presence", client_id="abc"))
    assert (admission.party, admission.client_id, admission.keepalive_s) == ("10000", "10000/abc", 60)
    flags, keepalive = admission.packet[9], struct.unpack("!H", admission.packet[10:12])[0]
    assert flags == 0x80 | 0x04 | 0x02  # user name, will, clean session; neither password nor a retained will
    assert keepalive == 0
    assert b"secret" not in admission.packet
    assert _text("10000/abc") in admission.packet


def test_a_client_without_an_id_gets_a_random_one() -> None:
    first, second = (_admit(connect(client_id="", flags=2)).client_id for _ in range(2))
    assert first != second
    assert first.startswith("10000/")


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (connect(password="wrong"), 4),
        (connect(password=None), 4),
        (connect(party="9999"), 4),
        (connect(party=""), 4),
        (connect(party="a/b"), 4),
        (connect(level=5), 1),
        (connect(level=3), 1),
        (connect(flags=1), 1),
        (connect(keepalive=0), 2),
        (connect(keepalive=121), 2),
        (connect(will="partyd/1/10000/9999/guest/host"), 5),
        (connect(will="#"), 5),
        (connect(will=""), 5),
        (b"\xc0\x00", 5),
        (b"\x10\x02ab", 1),
        (b"\x10\x00", 1),
    ],
)
def test_others_are_refused_with_a_return_code(packet: bytes, code: int) -> None:
    with pytest.raises(RefusedError) as caught:
        _admit(packet)
    assert caught.value.return_code == code


def test_without_a_certificate_nobody_is_certified() -> None:
    with pytest.raises(RefusedError, match="certificate"):
        _admit(connect(), Door(None, max_keepalive_s=120))


@settings(max_examples=200, deadline=None)
@given(position=st.integers(0, 60), value=st.integers(0, 255), cut=st.integers(0, 60))
def test_mutated_packets_are_refused_or_still_the_same_party(position: int, value: int, cut: int) -> None:
    packet = bytearray(connect())
    packet[position % len(packet)] = value
    try:
        admission = _admit(bytes(packet[: len(packet) - cut % 4]) or b"\x10")
    except RefusedError:
        return
    assert admission.party == "10000"
