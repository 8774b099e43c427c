"""Time operations in turns, so that what else the machine does falls on all of them alike.

An operation is timed once in each round, beside those that it is compared with; its best round counts. One-core figures
are CPU seconds of this process, pinned to one core, so that neighbours on the machine matter little. What several
processes do is timed on the wall, beside the same done by one, and wants a quiet machine; therefore the CPU seconds of
the busiest of them are kept as well.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Cell:
    """One operation of one library: ``run`` does it ``count`` times."""

    row: str
    who: str
    count: int
    run: Callable[[], object]
    on_the_wall: bool = False
    """Timed on the wall and on any core, for what several processes do, and for what that is compared with."""
    varies: bool = False
    """The work differs from run to run (a search for primes), so that its median is told instead of its best."""
    prepare: Callable[[], object] | None = None
    """What must be done before each run and is not timed."""
    seconds: list[float] = field(default_factory=list)
    longest: list[float] = field(default_factory=list)
    """CPU seconds of this process and of the busiest of its children: the time that free cores would have taken."""

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.count / (statistics.median if self.varies else min)(self.seconds)

    @property
    def rate_on_free_cores(self) -> float | None:
        """Operations a second if nobody else had wanted the cores; None for what is not timed on the wall."""
        return self.count / min(self.longest) if self.longest else None


class Cores:
    """Where this process may run: on all cores, or pinned to one of them."""

    def __init__(self) -> None:
        self._all = os.sched_getaffinity(0)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._all)

    def one(self) -> None:
        """Pin this thread, and those that it starts from now on, to one core."""
        os.sched_setaffinity(0, {max(self._all)})

    def all(self) -> None:
        """Let this thread run anywhere."""
        os.sched_setaffinity(0, self._all)


def time_in_turns(cells: Sequence[Cell], rounds: int, cores: Cores, tell: Callable[[str], None]) -> None:
    """Run every cell once in each of ``rounds``, in the order given: those to be compared belong side by side."""
    for turn in range(rounds):
        tell(f"round {turn + 1} of {rounds}")
        for cell in cells:
            if cell.prepare is not None:
                cores.all()
                cell.prepare()
            cell.seconds.append(_wall_s(cell, cores) if cell.on_the_wall else _one_core_s(cell, cores))
    cores.all()


def _one_core_s(cell: Cell, cores: Cores) -> float:
    cores.one()
    began = time.process_time()
    cell.run()
    return time.process_time() - began


def _wall_s(cell: Cell, cores: Cores) -> float:
    cores.all()
    before, own, began = _children_s(), time.process_time(), time.perf_counter()
    cell.run()
    took = time.perf_counter() - began
    others = [spent - before.get(pid, 0.0) for pid, spent in _children_s().items()]
    cell.longest.append(time.process_time() - own + max(others, default=0.0))
    return took


def _children_s() -> dict[str, float]:
    """Return the CPU seconds of each child of this process."""
    pids = [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return {pid: int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in pids}
