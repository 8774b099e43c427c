"""What a task's time goes into: encrypting, decrypting, sending, waiting for peers, and everything else.

At any moment the time belongs to one of these, so that they add up to the whole: to encryption or decryption while one
is under way, else to sending, else to waiting; what is left is the algorithm's own computing. Times say nothing about
data that their owner does not know; they stay with this party's own log.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

Doing = Literal["encrypt", "decrypt", "transfer", "wait"]
FIRST: tuple[Doing, ...] = ("encrypt", "decrypt", "transfer", "wait")
"""What the time belongs to where two things are under way: the earlier in this list."""
NAMES = frozenset({*(f"{doing}_s" for doing in (*FIRST, "compute")), "sent_bytes", "received_bytes"})
"""What a summary holds."""


class Costs:
    """Adds up the seconds of one task, and the bytes of its messages."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._since = clock, clock()
        self._under_way: dict[Doing, int] = dict.fromkeys(FIRST, 0)
        self._seconds: dict[str, float] = dict.fromkeys((*FIRST, "compute"), 0.0)
        self._bytes = {"sent": 0, "received": 0}

    @contextmanager
    def spent(self, doing: Doing) -> Iterator[None]:
        """Count the time inside as ``doing``; may be nested, and entered by several coroutines at once."""
        self._settle()
        self._under_way[doing] += 1
        try:
            yield
        finally:
            self._settle()
            self._under_way[doing] -= 1

    def sent(self, size: int) -> None:
        """Count a message that was sent."""
        self._bytes["sent"] += size

    def received(self, size: int) -> None:
        """Count a message that was read."""
        self._bytes["received"] += size

    def summary(self) -> dict[str, float]:
        """Return the seconds since the beginning by what they went into (``encrypt_s``), and the bytes each way."""
        self._settle()
        seconds = {f"{doing}_s": round(spent, 3) for doing, spent in self._seconds.items()}
        return seconds | {f"{way}_bytes": float(size) for way, size in self._bytes.items()}

    def _settle(self) -> None:
        now = self._clock()
        doing = next((doing for doing in FIRST if self._under_way[doing]), "compute")
        self._seconds[doing] += now - self._since
        self._since = now


class Counted(Protocol):
    """Who has costs to count on."""

    costs: Costs


S = TypeVar("S", bound=Counted)
P = ParamSpec("P")
R = TypeVar("R")
Method = Callable[Concatenate[S, P], Awaitable[R]]
CountedMethod = Callable[Concatenate[S, P], Coroutine[Any, Any, R]]


def counted(doing: Doing) -> Callable[[Method[S, P, R]], CountedMethod[S, P, R]]:
    """Count the time of an asynchronous method as ``doing``."""

    def wrap(method: Method[S, P, R]) -> CountedMethod[S, P, R]:
        @functools.wraps(method)
        async def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with self.costs.spent(doing):
                return await method(self, *args, **kwargs)

        return run

    return wrap
