"""The cores of this daemon, sans-IO: who holds how many, and who waits in which order.

A job counts once for each address that this daemon serves. Asking for more than there are means all there are, shared
among the job's addresses here, so that a small machine still runs a job between two roles of one daemon. The order is
that of every party: priority first, then creation time, then job id; what does not fit makes everything behind it wait,
so that a large job is not starved by small ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from partyd.types import Address

LEAST_CORES = 8


def own_cores(configured: int) -> int:
    """Return how many cores jobs may ask for here: as configured, or (0) twice the processors, at least 8."""
    return configured or max(LEAST_CORES, 2 * len(os.sched_getaffinity(0)))


@dataclass(frozen=True)
class Ask:
    """One address's part of one job."""

    job: str
    address: Address
    number: int
    cores: int
    priority: int
    asked_at: float
    shares: int = 1
    """Of how many addresses of the job this daemon takes care."""

    @property
    def key(self) -> tuple[str, Address]:
        return self.job, self.address

    @property
    def order(self) -> tuple[int, float, str, str]:
        return -self.priority, self.asked_at, self.job, str(self.address)


@dataclass(frozen=True)
class Granted:
    """Cores are reserved."""

    ask: Ask


@dataclass(frozen=True)
class Short:
    """The ask waits; ``cause`` is for people."""

    ask: Ask
    cause: str


@dataclass(frozen=True)
class Wanted:
    """A reservation is wanted back for a job that goes first."""

    ask: Ask


Notice = Granted | Short | Wanted


@dataclass
class SlotTable:
    """Holds and queue; every method returns whom to tell what."""

    total: int
    _held: dict[tuple[str, Address], Ask] = field(default_factory=dict)
    _fixed: set[tuple[str, Address]] = field(default_factory=set)
    _wanted: set[tuple[str, Address]] = field(default_factory=set)
    _queue: list[Ask] = field(default_factory=list)

    @property
    def free(self) -> int:
        """How many cores nobody holds."""
        return self.total - sum(ask.cores for ask in self._held.values())

    def ask(self, ask: Ask) -> list[Notice]:
        """Reserve cores or queue up; an earlier ask of the same job and address is over."""
        self._drop(ask.key)
        ask = replace(ask, cores=self._clamped(ask))
        self._queue = sorted([*self._queue, ask], key=lambda other: other.order)
        notices = list(self._serve())
        if ask.key not in self._held:
            notices.append(Short(ask, self._cause(ask)))
        return notices

    def hold(self, ask: Ask) -> None:
        """Hold what was granted in an earlier life of the daemon."""
        self._drop(ask.key)
        self._held[ask.key] = ask

    def fix(self, job: str, address: Address) -> None:
        """The job runs: what it holds cannot be wanted back."""
        self._fixed.add((job, address))

    def release(self, job: str, address: Address) -> list[Notice]:
        """Give back what an address holds for a job, and its place in the queue."""
        self._drop((job, address))
        return list(self._serve())

    def _drop(self, key: tuple[str, Address]) -> None:
        self._held.pop(key, None)
        self._fixed.discard(key)
        self._wanted.discard(key)
        self._queue = [ask for ask in self._queue if ask.key != key]

    def _clamped(self, ask: Ask) -> int:
        return max(1, min(ask.cores, self.total // max(1, ask.shares)))

    def _fits(self, ask: Ask) -> bool:
        return ask.cores <= self.free or all(job == ask.job for job, _ in self._held)

    def _serve(self) -> Iterator[Notice]:
        while self._queue and self._fits(self._queue[0]):
            ask = self._queue.pop(0)
            self._held[ask.key] = ask
            yield Granted(ask)
        if self._queue:
            yield from self._want_back(self._queue[0])

    def _want_back(self, first: Ask) -> Iterator[Notice]:
        """Want reservations of later jobs back, if those suffice."""
        later = [ask for key, ask in self._held.items() if key not in self._fixed and ask.order > first.order]
        if self.free + sum(ask.cores for ask in later) < first.cores:
            return
        missing = first.cores - self.free
        for ask in sorted(later, key=lambda other: other.order, reverse=True):
            if missing <= 0:
                return
            missing -= ask.cores
            if ask.key not in self._wanted:
                self._wanted.add(ask.key)
                yield Wanted(ask)

    def _cause(self, ask: Ask) -> str:
        """Say what is short; every party of the job reads it, so other jobs are counted, not named."""
        held, before = len(self._held), len([other for other in self._queue if other.order < ask.order])
        head = f"{ask.cores} of {self.total} cores asked, {max(0, self.free)} free"
        return f"{head}; jobs that hold the rest: {held}; that go first: {before}"


@dataclass
class SlotDesk:
    """The one table of a daemon, and the addresses that are told what becomes of their asks."""

    table: SlotTable
    _listeners: dict[Address, Callable[[Notice], None]] = field(default_factory=dict)

    @classmethod
    def of(cls, cores: int) -> SlotDesk:
        """Return the desk of a daemon with so many cores."""
        return cls(SlotTable(cores))

    def listen(self, address: Address, listener: Callable[[Notice], None]) -> None:
        """Say who is told about an address's asks."""
        self._listeners[address] = listener

    def shares(self, addresses: list[Address]) -> int:
        """Return how many of a job's addresses this daemon serves."""
        return sum(address in self._listeners for address in addresses)

    def ask(self, ask: Ask) -> None:
        """Reserve cores or queue up."""
        self._tell(self.table.ask(ask))

    def release(self, job: str, address: Address) -> None:
        """Give cores back; whoever gets them is told."""
        self._tell(self.table.release(job, address))

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            self._listeners[notice.ask.address](notice)
