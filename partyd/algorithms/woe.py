"""Weight of evidence and information value of bins, from how many of their rows have the event.

With E events and N others in all, and e and n of them in a bin,

    WOE = ln((e / E) / (n / N)),    IV = sum over bins of (e / E - n / N) WOE

(Siddiqi, "Credit Risk Scorecards", 2006, chapter 6.) Where a bin has no events, or nothing but events, e + a and n + a
stand for e and n: FATE 1.x's adjustment factor. (FATE 2.2 adds the factor to the *rate*, so that an empty bin weighs as
much as half of all events; this is not repeated here.) A bin without rows weighs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Weights:
    """The bins of a column, in order."""

    event_rate: Vector
    non_event_rate: Vector
    woe: Vector
    iv: Vector


def weigh(events: Counts, rows: Counts, all_events: int, all_rows: int, adjustment: float) -> Weights:
    """Return the weights of bins with so many ``events`` among their ``rows``; any shape, entry by entry."""
    others = rows - events
    extra = np.where((events == 0) | (others == 0), adjustment, 0.0)
    event_rate = (events + extra) / max(all_events, 1)
    non_event_rate = (others + extra) / max(all_rows - all_events, 1)
    ratio = np.where(rows > 0, event_rate / np.where(non_event_rate > 0, non_event_rate, 1.0), 1.0)
    woe = np.log(ratio)
    shown = np.where(rows > 0, 1.0, 0.0)
    return Weights(event_rate * shown, non_event_rate * shown, woe, (event_rate - non_event_rate) * woe)


def is_monotonic(woe: Vector) -> bool:
    """Return whether the weights of bins rise or fall throughout."""
    steps = np.diff(woe)
    return bool(np.all(steps >= 0) or np.all(steps <= 0))


def groups(events: Counts, rows: Counts, least_rows: int, least_each: int) -> list[tuple[int, int]]:
    """Return which runs of a column's bins are told to a party that may not learn what few rows have.

    Neighbours are taken together, from the lowest bin on, until they have ``least_rows`` rows and ``least_each`` both
    with and without the event; what remains at the end joins the last group. The last bin, of missing values, is one
    of its own or told nothing of, and so is a column that is below the bounds as a whole.
    """

    def enough(start: int, stop: int) -> bool:
        e, n = int(events[start:stop].sum()), int(rows[start:stop].sum())
        return n >= least_rows and e >= least_each and n - e >= least_each

    known = len(rows) - 1
    edges = [0]
    for stop in range(1, known + 1):
        if enough(edges[-1], stop):
            edges.append(stop)
    if len(edges) > 1:
        edges[-1] = known
    return [*pairwise(edges), *([(known, known + 1)] if enough(known, known + 1) else [])]


def pooled(events: Counts, rows: Counts, told: Sequence[tuple[int, int]], adjustment: float) -> Vector:
    """Return the WOE of a column's bins: for those of a group that of the whole, 0 for bins in none."""
    woe = np.zeros(len(rows))
    for start, stop in told:
        e, n = events[start:stop].sum(), rows[start:stop].sum()
        woe[start:stop] = weigh(e, n, int(events.sum()), int(rows.sum()), adjustment).woe
    return woe


def told_bits(rows: Counts, told: Sequence[tuple[int, int]]) -> float:
    """Return how much the numbers of events in these groups can say, in bits: one of n + 1 numbers for n rows."""
    return float(sum(np.log2(int(rows[start:stop].sum()) + 1) for start, stop in told))
