"""A token bucket on the owner's clock."""

from __future__ import annotations


class TokenBucket:
    """Allow ``burst`` at once and ``per_second`` in the long run."""

    __slots__ = ("_burst", "_per_second", "_tokens", "_updated")

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._updated = float("-inf")

    def take(self, now: float) -> bool:
        """Take a token if there is one; a clock that goes back gives none."""
        elapsed = max(0.0, now - self._updated)
        self._tokens = min(self._burst, self._tokens + elapsed * self._per_second)
        self._updated = max(self._updated, now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
