"""What was signed counts once: the nonces of the last two minutes, in bounded memory.

A request is fresh when its time lies within 60 s of ours; until that minute has passed on both sides its nonce is
remembered. What was signed before this process began is refused, since its nonces are forgotten. When an app has filled
its memory, its requests are refused until some of it has passed: forgetting early would let a copy in.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Callable

SKEW_S = 60
PER_APP = 1 << 16
IN_ALL = 1 << 18


class Verdict(enum.Enum):
    """What a time and a nonce amount to."""

    FRESH = enum.auto()
    STALE = enum.auto()
    REPEATED = enum.auto()
    FULL = enum.auto()


class Nonces:
    """The nonces in use; ``clock`` gives seconds since 1970."""

    def __init__(self, clock: Callable[[], float], per_app: int = PER_APP, in_all: int = IN_ALL) -> None:
        self._clock = clock
        self._began = int(clock())
        self._per_app, self._in_all = per_app, in_all
        self._seen: set[tuple[str, str]] = set()
        self._count: dict[str, int] = {}
        self._ends: list[tuple[float, str, str]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def judge(self, app: str, nonce: str, ts: float) -> Verdict:
        """Say whether this nonce of an app, signed at ``ts``, is used for the first time, and remember it."""
        now = self._clock()
        self._forget(now)
        if abs(now - ts) > SKEW_S or ts < self._began:
            return Verdict.STALE
        if (app, nonce) in self._seen:
            return Verdict.REPEATED
        if self._count.get(app, 0) >= self._per_app or len(self._seen) >= self._in_all:
            return Verdict.FULL
        self._seen.add((app, nonce))
        self._count[app] = self._count.get(app, 0) + 1
        heapq.heappush(self._ends, (ts + SKEW_S, app, nonce))
        return Verdict.FRESH

    def _forget(self, now: float) -> None:
        while self._ends and self._ends[0][0] < now:
            _, app, nonce = heapq.heappop(self._ends)
            self._seen.discard((app, nonce))
            self._count[app] -= 1
            if not self._count[app]:
                del self._count[app]
