"""Sets of sequence numbers kept as sorted, disjoint ranges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

Range = tuple[int, int]
"""First and last number, both included."""


class RangeSet:
    """Remember numbers compactly; beyond ``limit`` ranges the lowest is forgotten.

    Forgetting is safe where it is used: a message whose number is forgotten is delivered to the inbox once more, and
    the inbox knows it by its identity.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._limit = limit

    def __contains__(self, number: int) -> bool:
        return self.around(number) is not None

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._firsts, self._lasts, strict=True))

    def __len__(self) -> int:
        return len(self._firsts)

    def around(self, number: int) -> Range | None:
        """Return the range that holds ``number``, or None."""
        i = bisect_right(self._firsts, number) - 1
        if i >= 0 and number <= self._lasts[i]:
            return self._firsts[i], self._lasts[i]
        return None

    def add(self, number: int) -> None:
        """Insert ``number``, joining it with its neighbours."""
        i = bisect_right(self._firsts, number)
        if i > 0 and number <= self._lasts[i - 1]:
            return
        joins_left = i > 0 and self._lasts[i - 1] == number - 1
        joins_right = i < len(self._firsts) and self._firsts[i] == number + 1
        if joins_left and joins_right:
            self._lasts[i - 1] = self._lasts[i]
            del self._firsts[i], self._lasts[i]
        elif joins_left:
            self._lasts[i - 1] = number
        elif joins_right:
            self._firsts[i] = number
        else:
            self._firsts.insert(i, number)
            self._lasts.insert(i, number)
            if len(self._firsts) > self._limit:
                del self._firsts[0], self._lasts[0]

    def clear(self) -> None:
        """Forget everything."""
        self._firsts.clear()
        self._lasts.clear()
