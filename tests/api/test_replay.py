"""Nonces: once each, within a minute, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.api.replay import SKEW_S, Nonces, Verdict
from tests.api.frame import NOW, Clock


def test_a_nonce_is_fresh_once_for_each_app() -> None:
    nonces = Nonces(Clock())
    assert nonces.judge("a", "n", NOW) is Verdict.FRESH
    assert nonces.judge("a", "n", NOW) is Verdict.REPEATED
    assert nonces.judge("a", "n", NOW + 1) is Verdict.REPEATED
    assert nonces.judge("b", "n", NOW) is Verdict.FRESH
    assert nonces.judge("a", "m", NOW) is Verdict.FRESH


@pytest.mark.parametrize(("ts", "verdict"), [(-61, "STALE"), (-60, "FRESH"), (60, "FRESH"), (61, "STALE")])
def test_a_minute_either_way_is_fresh(ts: int, verdict: str) -> None:
    clock = Clock(NOW - 1000)
    nonces = Nonces(clock)
    clock.now = NOW
    assert nonces.judge("a", "n", NOW + ts).name == verdict


def test_what_was_signed_before_the_start_is_stale() -> None:
    nonces = Nonces(Clock(NOW + 0.9))
    assert nonces.judge("a", "n", NOW - 1) is Verdict.STALE
    assert nonces.judge("a", "n", NOW) is Verdict.FRESH


def test_memory_is_bounded_and_given_back() -> None:
    clock = Clock()
    nonces = Nonces(clock, per_app=3, in_all=5)
    assert [nonces.judge("a", str(i), NOW) for i in range(4)] == [Verdict.FRESH] * 3 + [Verdict.FULL]
    assert [nonces.judge("b", str(i), NOW) for i in range(3)] == [Verdict.FRESH] * 2 + [Verdict.FULL]
    assert len(nonces) == 5
    clock.now = NOW + SKEW_S + 1
    assert nonces.judge("a", "0", NOW) is Verdict.STALE
    assert len(nonces) == 0
    assert nonces.judge("a", "0", clock.now) is Verdict.FRESH


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-70, 70), st.integers(0, 90)), max_size=60))
def test_no_nonce_is_fresh_twice(asked: list[tuple[int, int, int]]) -> None:
    clock = Clock()
    nonces = Nonces(clock)
    fresh = []
    for nonce, skew, later in asked:
        clock.now += later
        ts = clock.now + skew
        if nonces.judge("a", f"{nonce}", ts) is Verdict.FRESH:
            fresh.append((nonce, ts, clock.now))
    for i, (nonce, ts, _) in enumerate(fresh):
        for other, _, at in fresh[i + 1 :]:
            assert other != nonce or at > ts + SKEW_S, "while its signature is good, a nonce is good once"
