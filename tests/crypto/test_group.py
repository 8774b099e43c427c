from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.crypto import group
from partyd.crypto.group import (
    IDENTITY,
    add,
    check_points,
    hash_to_point,
    multiply,
    multiply_base,
    random_scalar,
    subtract,
)
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ORDER = 2**252 + 27742317777372353535851937790883648493
BASE = bytes([0x58] + [0x66] * 31)
PRG = Prg(bytes(32), "group")


def encode(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def on_curve(y: int) -> bool:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    return square == 0 or pow(square, (P - 1) // 2, P) == 1


SMALL_ORDER = [
    IDENTITY,
    encode(P - 1),
    encode(0),
    encode(0, 1),
    *(
        bytes.fromhex(h)
        for h in (
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        )
    ),
]


def bad_encodings() -> dict[str, bytes]:
    bad = {f"small order {i}": point for i, point in enumerate(SMALL_ORDER)}
    bad |= {f"identity, sign {s}": encode(1, s) for s in (1,)}
    bad |= {f"minus one, sign {s}": encode(P - 1, s) for s in (1,)}
    bad |= {f"not canonical {y - P} {s}": encode(y, s) for y in range(P, 2**255) for s in (0, 1)}
    off = [y for y in range(2, 60) if not on_curve(y)][:10]
    bad |= {f"off the curve {y}": encode(y) for y in off}
    bad |= {"all ones": b"\xff" * 32, "all zero": bytes(32)}
    honest = [hash_to_point(bytes([i]), b"test") for i in range(3)] + [BASE]
    for i, point in enumerate(honest):
        for j, torsion in enumerate(SMALL_ORDER[1:]):
            bad[f"mixed order {i} {j}"] = add(point, torsion)
    return bad


def test_there_are_at_least_32_bad_encodings():
    assert len(set(bad_encodings().values())) >= 32


@pytest.mark.parametrize("name", sorted(bad_encodings()))
def test_bad_encodings_are_refused(name):
    bad = bad_encodings()[name]
    good = multiply_base(random_scalar(PRG))
    for call in (
        lambda: multiply(random_scalar(PRG), bad),
        lambda: check_points(bad),
        lambda: check_points(good + bad),
    ):
        with pytest.raises(CryptoError):
            call()


@pytest.mark.parametrize("points", [b"x", BASE[:-1], BASE + b"x", BASE + BASE])
def test_misshapen_and_repeated_points_are_refused(points):
    with pytest.raises(CryptoError):
        check_points(points)


def test_the_count_must_hold():
    check_points(BASE, 1)
    with pytest.raises(CryptoError):
        check_points(BASE, 2)


def test_short_inputs_are_refused():
    for call in (
        lambda: multiply(b"", BASE),
        lambda: multiply(random_scalar(PRG), b""),
        lambda: multiply_base(bytes(32)),
        lambda: add(BASE, b""),
        lambda: add(BASE, encode(2)),
        lambda: subtract(BASE, encode(2)),
    ):
        with pytest.raises(CryptoError):
            call()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=40), st.binary(max_size=10))
def test_hashing_lands_in_the_group(data, domain):
    point = hash_to_point(data, domain)
    check_points(point)
    assert point == hash_to_point(data, domain)
    assert point != hash_to_point(data, domain + b"x")
    assert point != hash_to_point(data + b"x", domain)


def test_domain_and_data_do_not_run_together():
    assert hash_to_point(b"bc", b"a") != hash_to_point(b"c", b"ab")


def test_known_answers():
    assert multiply_base((1).to_bytes(32, "little")) == BASE
    assert multiply((2).to_bytes(32, "little"), BASE) == add(BASE, BASE)
    assert hash_to_point(b"10000", b"partyd psi").hex() == KNOWN


def test_scalars_are_reduced():
    for _ in range(50):
        assert 0 < int.from_bytes(random_scalar(PRG), "little") < ORDER


def test_subtract_undoes_add():
    point, other = hash_to_point(b"1", b""), hash_to_point(b"2", b"")
    assert subtract(add(point, other), other) == point
    assert len(point) == group.POINT_BYTES


KNOWN = "36f70491ed811602942f3aca964f266ad7a37f431fe0ef7fcaf8597c0d0d53ee"
