"""Weight of evidence against a table counted by hand, and what is told of small bins."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from partyd.algorithms.woe import groups, is_monotonic, pooled, told_bits, weigh


def test_weights_are_what_a_cross_table_gives() -> None:
    random = np.random.default_rng(2)
    bins, y = random.integers(0, 6, 500).tolist(), random.integers(0, 2, 500).tolist()
    with_event = Counter(b for b, v in zip(bins, y, strict=True) if v)
    without = Counter(b for b, v in zip(bins, y, strict=True) if not v)
    event = np.array([with_event[b] / sum(y) for b in range(6)])
    other = np.array([without[b] / (500 - sum(y)) for b in range(6)])
    events, rows = np.array([with_event[b] for b in range(6)]), np.bincount(bins)
    found = weigh(events, rows, sum(y), 500, 0.5)
    assert found.woe == pytest.approx(np.log(event / other))
    assert found.iv.sum() == pytest.approx(((event - other) * np.log(event / other)).sum())
    assert found.event_rate.sum() == pytest.approx(1)
    assert found.non_event_rate.sum() == pytest.approx(1)


def test_a_bin_of_one_kind_is_adjusted_and_an_empty_one_weighs_nothing() -> None:
    found = weigh(np.array([0, 10, 0]), np.array([5, 15, 0]), 10, 20, 0.5)
    assert found.woe[0] == pytest.approx(np.log((0.5 / 10) / (5.5 / 10)))
    assert found.woe[1] == pytest.approx(np.log(1.0 / 0.5))
    assert (found.woe[2], found.iv[2], found.event_rate[2]) == (0, 0, 0)


def test_rising_and_falling_are_monotonic() -> None:
    assert is_monotonic(np.array([1.0, 2.0, 2.0]))
    assert is_monotonic(np.array([2.0, 1.0]))
    assert not is_monotonic(np.array([1.0, 2.0, 1.0]))


def test_small_bins_are_told_with_their_neighbours_alone() -> None:
    rows, events = np.array([3, 60, 40, 60, 2, 7]), np.array([3, 30, 0, 40, 0, 7])
    told = groups(events, rows, 50, 5)
    assert told == [(0, 2), (2, 5)], "the last are seven rows without a value, all of one kind"
    woe = pooled(events, rows, told, 0.5)
    total = int(events.sum()), int(rows.sum())
    assert woe[0] == woe[1] == pytest.approx(weigh(np.array(33), np.array(63), *total, 0.5).woe)
    assert woe[2] == woe[3] == woe[4] == pytest.approx(weigh(np.array(40), np.array(102), *total, 0.5).woe)
    assert woe[5] == 0
    assert told_bits(rows, told) == pytest.approx(6 + np.log2(103))


def test_a_column_that_is_too_small_as_a_whole_tells_nothing() -> None:
    assert groups(np.array([3, 4, 0]), np.array([9, 9, 0]), 50, 5) == []
    assert groups(np.array([60, 40, 0]), np.array([60, 40, 0]), 50, 5) == []
