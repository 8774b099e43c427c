from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partyd.wire.padding import padme, padme_floor


def test_known_lengths() -> None:
    """Worked by hand from the paper's formula."""
    assert [padme(length) for length in (0, 1, 2, 8, 9, 10, 65, 100, 1000, 2**20 + 1)] == [
        0, 1, 2, 8, 10, 10, 72, 104, 1024, 2**20 + 2**15,
    ]  # fmt: skip


@given(st.integers(0, 2**24))
def test_padding_is_small_monotone_and_stable(length: int) -> None:
    padded = padme(length)
    assert length <= padded <= length * 1.12
    assert padme(padded) == padded
    assert padded <= padme(length + 1)


@given(st.integers(0, 2**24))
def test_floor_is_the_greatest_padded_length_within(limit: int) -> None:
    floor = padme_floor(limit)
    assert padme(floor) == floor <= limit
    assert padme(floor + 1) > limit or floor == limit


def test_few_sizes_remain() -> None:
    assert len({padme(length) for length in range(1, 2**17)}) < 300
