"""Sets of numbers as ranges, against a plain set."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from partyd.wire.ranges import RangeSet


@given(st.lists(st.integers(0, 60), max_size=80))
def test_it_holds_what_a_set_holds(numbers: list[int]) -> None:
    ranges = RangeSet()
    for number in numbers:
        ranges.add(number)
    expected = set(numbers)
    assert {n for n in range(62) if n in ranges} == expected
    held = list(ranges)
    assert all(a_last + 1 < b_first for (_, a_last), (b_first, _) in itertools.pairwise(held))
    assert all(ranges.around(n) is not None for n in expected)


def test_beyond_the_limit_the_lowest_is_forgotten() -> None:
    ranges = RangeSet(limit=3)
    for number in (2, 4, 6, 8):
        ranges.add(number)
    assert list(ranges) == [(4, 4), (6, 6), (8, 8)]
    ranges.clear()
    assert len(ranges) == 0
