"""Shamir's sharing: every large enough set of shares opens, smaller ones say nothing, odd ones are refused."""

from __future__ import annotations

from itertools import combinations

import gmpy2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partyd.crypto.prg import Prg
from partyd.crypto.shamir import MOST_SHARES, PRIME, SHARE_BYTES, join, split
from partyd.errors import BadValue, CryptoError

SECRET = bytes(range(32))


def prg(label: str = "test") -> Prg:
    return Prg(bytes(32), label)


def test_the_modulus_is_the_smallest_prime_above_every_secret() -> None:
    assert gmpy2.is_prime(PRIME, 64)
    assert gmpy2.next_prime(1 << 256) == PRIME


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, SECRET])
@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 2), (2, 3), (3, 5), (5, 5)])
def test_every_set_of_threshold_shares_opens_the_secret(secret: bytes, threshold: int, count: int) -> None:
    shares = split(secret, threshold, count, prg())
    assert sorted(shares) == list(range(1, count + 1))
    for size in range(threshold, count + 1):
        for points in combinations(shares, size):
            assert join({point: shares[point] for point in points}, threshold) == secret


@given(st.binary(min_size=32, max_size=32), st.integers(1, 12), st.integers(0, 12), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_any_secret_comes_back(secret: bytes, threshold: int, more: int, label: int) -> None:
    shares = split(secret, threshold, threshold + more, prg(str(label)))
    last = dict(sorted(shares.items())[-threshold:])
    assert join(last, threshold) == secret


def test_fewer_shares_fit_every_secret_equally() -> None:
    """For the two shares held there is, for any other secret, exactly one third share: they rule nothing out."""
    shares = split(SECRET, 3, 3, prg())
    held = {1: int.from_bytes(shares[1], "big"), 2: int.from_bytes(shares[2], "big")}
    for other in (0, 1, (1 << 256) - 1):
        # The parabola through (0, other), (1, held[1]), (2, held[2]), at 3.
        third = (other - 3 * held[1] + 3 * held[2]) % PRIME
        assert join({**{p: shares[p] for p in held}, 3: third.to_bytes(SHARE_BYTES, "big")}, 3) == other.to_bytes(32)


def test_shares_of_equal_secrets_differ_with_the_stream_and_not_otherwise() -> None:
    assert split(SECRET, 2, 3, prg()) == split(SECRET, 2, 3, prg())
    first, second = split(SECRET, 2, 3, prg("one")), split(SECRET, 2, 3, prg("two"))
    assert all(first[point] != second[point] for point in first)
    assert not any(SECRET in share for share in first.values())


@pytest.mark.parametrize(("threshold", "count"), [(0, 3), (4, 3), (1, MOST_SHARES + 1), (-1, 2)])
def test_a_sharing_that_makes_no_sense_is_refused(threshold: int, count: int) -> None:
    with pytest.raises(CryptoError, match="make no sharing"):
        split(SECRET, threshold, count, prg())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(CryptoError, match="cannot be shared"):
        split(bytes(length), 2, 3, prg())


def test_too_few_or_odd_shares_are_refused() -> None:
    shares = split(SECRET, 2, 3, prg())
    with pytest.raises(BadValue, match="1 shares do not open"):
        join({1: shares[1]}, 2)
    with pytest.raises(BadValue, match="do not open"):
        join({}, 0)
    for point in (0, -1, MOST_SHARES + 1):
        with pytest.raises(BadValue, match="point"):
            join({1: shares[1], point: shares[2]}, 2)
    for share in (b"", shares[2][1:], shares[2] + b"\0", PRIME.to_bytes(33), b"\xff" * 33):
        with pytest.raises(BadValue, match="below the prime"):
            join({1: shares[1], 2: share}, 2)


def test_a_wrong_share_gives_another_secret_or_is_noticed() -> None:
    shares = split(SECRET, 2, 2, prg())
    wrong = {1: shares[1], 2: bytes(33)}
    assert join(wrong, 2) != SECRET
    # The constant line at PRIME - 1 has that value at 0 too, and no secret is that large.
    with pytest.raises(BadValue, match="one of them is wrong"):
        join({1: (PRIME - 1).to_bytes(33), 2: (PRIME - 1).to_bytes(33)}, 2)
