from __future__ import annotations

from partyd.wire.rate import TokenBucket


def test_a_burst_and_then_the_rate() -> None:
    bucket = TokenBucket(10, 3)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert [bucket.take(0.1), bucket.take(0.1)] == [True, False]
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(10, 1)
    assert bucket.take(5.0)
    assert not bucket.take(1.0)
    assert not bucket.take(5.05)
    assert bucket.take(5.11)
