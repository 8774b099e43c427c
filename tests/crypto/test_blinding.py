from __future__ import annotations

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl import bindings

from partyd.crypto import group
from partyd.crypto.blinding import A, P, blind, hash_to_element, random_scalar, reblind
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

PRG = Prg(bytes(32), "blinding")
ORDER_EIGHT_Y = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def encode(u: int) -> bytes:
    return int(u).to_bytes(32, "little")


def on_curve(u: int) -> bool:
    return gmpy2.jacobi(u * (u * (u + A) + 1), P) == 1


def to_u(edwards: bytes) -> bytes:
    y = int.from_bytes(edwards, "little") & ((1 << 255) - 1)
    return encode((1 + y) * gmpy2.invert(1 - y, P) % P)


def torsion(multiple: int) -> bytes:
    """A point of order 8, 4, 2 in Edwards form, as a multiple of the one of order 8."""
    point = ORDER_EIGHT_Y
    for _ in range(multiple - 1):
        point = group.add(point, ORDER_EIGHT_Y)
    return point


def bad_elements() -> dict[str, bytes]:
    bad = {f"small order {u}": encode(u) for u in (0, 1, P - 1)}
    bad |= {f"order eight {i}": to_u(torsion(i)) for i in (1, 3)}
    bad |= {f"not canonical {u - P}": encode(u) for u in range(P, 2**255)}
    bad |= {
        f"high bit {i}": encode(int.from_bytes(blind([b"%d" % i], bytes(32), b""), "little") | 1 << 255)
        for i in range(3)
    }
    bad |= {f"twist {u}": encode(u) for u in [u for u in range(2, 60) if not on_curve(u)][:12]}
    return bad | {"all ones": b"\xff" * 32}


def test_there_are_at_least_32_bad_elements():
    assert len(set(bad_elements().values())) >= 32


@pytest.mark.parametrize("name", sorted(bad_elements()))
def test_bad_elements_are_refused(name):
    bad, good = bad_elements()[name], blind([b"good"], random_scalar(PRG), b"d")
    for elements in (bad, good + bad, bad + good):
        with pytest.raises(CryptoError):
            reblind(elements, random_scalar(PRG))


@pytest.mark.parametrize("multiple", range(1, 8))
def test_a_point_outside_the_subgroup_gives_what_its_part_in_the_subgroup_gives(multiple):
    honest, scalar = group.hash_to_point(b"honest", b"test"), random_scalar(PRG)
    mixed = group.add(honest, torsion(multiple))
    assert to_u(mixed) != to_u(honest)
    assert not bindings.crypto_core_ed25519_is_valid_point(mixed)
    assert reblind(to_u(mixed), scalar) == reblind(to_u(honest), scalar)


def test_results_are_of_the_subgroup_whatever_the_scalar():
    for i in range(20):
        u = int.from_bytes(blind([b"%d" % i], PRG.take(32), b"d"), "little")
        edwards = encode((u - 1) * gmpy2.invert(u + 1, P) % P)
        assert bindings.crypto_core_ed25519_is_valid_point(edwards)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=30), unique=True, max_size=5))
def test_blinding_commutes(ids):
    a, b = random_scalar(PRG), random_scalar(PRG)
    once = blind(ids, a, b"d")
    assert reblind(once, b, len(ids)) == reblind(blind(ids, b, b"d"), a)


def test_different_ids_domains_and_scalars_differ():
    a, b = random_scalar(PRG), random_scalar(PRG)
    elements = [blind([i], s, d) for i in (b"1", b"2") for s in (a, b) for d in (b"", b"x")]
    assert len(set(elements)) == 8
    assert blind([b"bc"], a, b"a") != blind([b"c"], a, b"ab")


@given(st.binary(max_size=40))
def test_hashes_are_on_the_curve(data):
    assert on_curve(int.from_bytes(hash_to_element(data, b"d"), "little"))


def test_known_answer():
    scalar = bytes(range(32))
    assert blind([b"10000"], scalar, b"partyd psi").hex() == KNOWN
    assert bindings.crypto_scalarmult(scalar, hash_to_element(b"10000", b"partyd psi")).hex() == KNOWN


@pytest.mark.parametrize("size", [1, 31, 33, 63])
def test_misshapen_sets_are_refused(size):
    with pytest.raises(CryptoError):
        reblind(bytes(range(size)), random_scalar(PRG))


def test_repeats_and_wrong_counts_are_refused():
    element, scalar = blind([b"1"], random_scalar(PRG), b""), random_scalar(PRG)
    assert len(reblind(element, scalar, 1)) == 32
    assert reblind(b"", scalar, 0) == b""
    for elements, count in ((element + element, None), (element, 2), (element, 0)):
        with pytest.raises(CryptoError):
            reblind(elements, scalar, count)


KNOWN = "d51faae48f4ba6727e12003f2dafc3953cda9bae14c1785cba370e7653fc8d19"
