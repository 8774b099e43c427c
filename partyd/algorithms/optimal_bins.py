"""Which neighbouring fine bins to join, so that at most ``n_bins`` remain and a criterion is best.

Information value, Gini impurity and chi-square are sums over bins, so the best division of m fine bins into at most k
is found exactly, by dynamic programming over where the last bin begins (Fisher, "On grouping for maximum homogeneity",
JASA 1958), in k m^2 steps; FATE 1.x joins neighbours greedily, which may miss it. KS is no such sum: there the bin with
the largest Kolmogorov-Smirnov distance is split where it is largest, again and again.

Bounds of a bin's size and the demand that it be mixed hold for every bin, if there is a division of that kind; if not,
first the upper bound is given up, then the mixture, then the lower bound. Labels of several classes count one against
the rest, their criteria added up.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.binning_parameters import Criterion, OptimalBinningParam
from partyd.algorithms.woe import weigh

Counts = NDArray[np.int64]
Matrix = NDArray[np.float64]
Allowed = NDArray[np.bool_]


def kept_cuts(events: Counts, rows: Counts, n_bins: int, params: OptimalBinningParam, adjustment: float) -> list[int]:
    """Return which cuts remain, cut i being between the fine bins i and i + 1.

    ``events`` (fine bins, classes) are among ``rows`` (fine bins); missing values are in none of them.
    """
    if len(rows) < 2 or not rows.sum():
        return []
    sizes = _between(rows)
    inside = [_between(column) for column in events.T]
    mixed = np.all([(some > 0) & (some < sizes) for some in inside], axis=0)
    total = int(rows.sum())
    least = sizes >= np.ceil(params.min_bin_pct * total)
    most = sizes <= np.floor(params.max_bin_pct * total)
    mixture = mixed if params.mixture else np.ones_like(mixed)
    everything = np.ones_like(least)
    for floor, ceiling in (
        (least & mixture, most),
        (least & mixture, everything),
        (least, everything),
        (everything, everything),
    ):
        divide = _split_by_ks if params.metric_method == "ks" else _best_division
        cuts = divide(events, rows, n_bins, floor, ceiling, params.metric_method, adjustment)
        if cuts is not None:
            return cuts
    return []


def _between(values: Counts) -> Counts:
    """Return the sum of ``values[i:j]`` at (i, j), 0 where j is not after i."""
    reached = np.concatenate([[0], np.cumsum(values)])
    return np.asarray(np.maximum(reached[None, :] - reached[:, None], 0), dtype=np.int64)


def _best_division(
    events: Counts,
    rows: Counts,
    n_bins: int,
    floor: Allowed,
    ceiling: Allowed,
    criterion: Criterion,
    adjustment: float,
) -> list[int] | None:
    m = len(rows)
    sizes = _between(rows)
    score = CRITERIA[criterion]
    value = sum((score(_between(column), sizes, adjustment) for column in events.T), np.zeros((m + 1, m + 1)))
    ahead = np.triu(np.ones((m + 1, m + 1), dtype=np.bool_), 1)
    value = np.where(floor & ceiling & ahead, value, -np.inf)
    best, came_from = [value[0]], [np.zeros(m + 1, dtype=np.int64)]
    for _ in range(1, min(n_bins, m)):
        through = best[-1][:, None] + value
        came_from.append(np.argmax(through, axis=0))
        best.append(np.max(through, axis=0))
    ends = np.array([some[m] for some in best])
    if not np.isfinite(ends.max()):
        return None
    cuts, at = list[int](), m
    for k in range(int(np.argmax(ends)), 0, -1):
        at = int(came_from[k][at])
        cuts.append(at - 1)
    return cuts[::-1]


def _split_by_ks(
    events: Counts,
    rows: Counts,
    n_bins: int,
    floor: Allowed,
    ceiling: Allowed,
    _criterion: Criterion,
    _adjustment: float,
) -> list[int] | None:
    """Split what is too large first, then where the distance is largest, as long as both sides are large enough."""
    m = len(rows)
    if not floor[0, m]:
        return None
    edges = [0, m]
    while len(edges) <= n_bins:
        offers = [(not ceiling[i, j], *_farthest(events, rows, i, j, floor)) for i, j in pairwise(edges)]
        _, distance, cut = max(offers, key=lambda offer: (offer[1] > 0, offer[0], offer[1]))
        if distance <= 0:
            break
        edges = sorted([*edges, cut])
    fits = all(ceiling[i, j] for i, j in pairwise(edges))
    return [edge - 1 for edge in edges[1:-1]] if fits else None


def _farthest(events: Counts, rows: Counts, i: int, j: int, floor: Allowed) -> tuple[float, int]:
    """Return the largest distance between the distributions of events and others in fine bins i to j, and where."""
    if j - i < 2:
        return 0.0, i
    places = np.arange(i + 1, j)
    e = np.cumsum(events[i:j], axis=0).astype(np.float64)
    n = np.cumsum(rows[i:j, None] - events[i:j], axis=0).astype(np.float64)
    distance = np.abs(e / np.maximum(e[-1], 1) - n / np.maximum(n[-1], 1)).max(axis=1)[:-1]
    distance = np.where(floor[i, places] & floor[places, j], distance, 0.0)
    at = int(np.argmax(distance))
    return float(distance[at]), int(places[at])


def _iv(events: Counts, sizes: Counts, adjustment: float) -> Matrix:
    return weigh(events, sizes, int(events[0, -1]), int(sizes[0, -1]), adjustment).iv


def _gini(events: Counts, sizes: Counts, _adjustment: float) -> Matrix:
    share = events / np.maximum(sizes, 1)
    return np.asarray(-2.0 * sizes * share * (1 - share) / max(int(sizes[0, -1]), 1))


def _chi_square(events: Counts, sizes: Counts, _adjustment: float) -> Matrix:
    share = float(events[0, -1]) / max(int(sizes[0, -1]), 1)
    if not 0 < share < 1:
        return np.zeros(sizes.shape)
    return np.asarray((events - sizes * share) ** 2 / np.maximum(sizes * share * (1 - share), 1e-300) * (sizes > 0))


CRITERIA: dict[Criterion, Callable[[Counts, Counts, float], Matrix]] = {
    "iv": _iv,
    "gini": _gini,
    "chi_square": _chi_square,
}
