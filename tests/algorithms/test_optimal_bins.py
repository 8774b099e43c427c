"""Joined bins against every division that there is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest

from partyd.algorithms.binning_parameters import OptimalBinningParam
from partyd.algorithms.optimal_bins import kept_cuts
from partyd.algorithms.woe import weigh

RANDOM = np.random.default_rng(11)
ROWS = RANDOM.integers(5, 40, 9)
EVENTS = RANDOM.binomial(ROWS, np.linspace(0.2, 0.8, 9))


def divisions(count: int, most: int) -> Iterator[list[int]]:
    for cuts in range(most):
        for chosen in combinations(range(count - 1), cuts):
            yield [0, *(c + 1 for c in chosen), count]


def score(method: str, edges: list[int], events: np.ndarray, rows: np.ndarray) -> float:
    e = np.array([events[i:j].sum() for i, j in pairwise(edges)])
    n = np.array([rows[i:j].sum() for i, j in pairwise(edges)])
    if method == "iv":
        return float(weigh(e, n, int(e.sum()), int(n.sum()), 0.5).iv.sum())
    if method == "gini":
        return float(-(n / n.sum() * 2 * (e / n) * (1 - e / n)).sum())
    share = e.sum() / n.sum()
    return float(((e - n * share) ** 2 / (n * share) + ((n - e) - n * (1 - share)) ** 2 / (n * (1 - share))).sum())


@pytest.mark.parametrize("method", ["iv", "gini", "chi-square"])
@pytest.mark.parametrize("least", [0.0, 0.15])
def test_no_division_is_better(method: str, least: float) -> None:
    params = OptimalBinningParam(metric_method=method, min_bin_pct=least, mixture=False)
    found = kept_cuts(EVENTS[:, None], ROWS, 4, params, 0.5)
    fits = [
        edges
        for edges in divisions(len(ROWS), 4)
        if all(ROWS[i:j].sum() >= least * ROWS.sum() for i, j in pairwise(edges))
    ]
    best = max(score(method, edges, EVENTS, ROWS) for edges in fits)
    assert score(method, [0, *(c + 1 for c in found), len(ROWS)], EVENTS, ROWS) == pytest.approx(best)
    assert len(found) <= 3


def test_ks_splits_where_the_distributions_are_farthest_apart() -> None:
    params = OptimalBinningParam(metric_method="ks", min_bin_pct=0.0)
    (cut,) = kept_cuts(EVENTS[:, None], ROWS, 2, params, 0.5)
    e, n = np.cumsum(EVENTS) / EVENTS.sum(), np.cumsum(ROWS - EVENTS) / (ROWS - EVENTS).sum()
    assert cut == int(np.argmax(np.abs(e - n)[:-1]))


@pytest.mark.parametrize("method", ["iv", "gini", "chi_square", "ks"])
def test_bounds_hold(method: str) -> None:
    rows = np.array([10, 0, 10, 10, 30, 2, 8, 20])
    events = np.array([0, 0, 10, 2, 5, 2, 8, 0])
    params = OptimalBinningParam(metric_method=method, min_bin_pct=0.2, max_bin_pct=0.6)
    edges = [0, *(c + 1 for c in kept_cuts(events[:, None], rows, 5, params, 0.5)), len(rows)]
    for i, j in pairwise(edges):
        assert 18 <= rows[i:j].sum() <= 54
        assert 0 < events[i:j].sum() < rows[i:j].sum()
    assert len(edges) > 2


@pytest.mark.parametrize("method", ["iv", "ks"])
@pytest.mark.parametrize(
    ("events", "rows", "changes"),
    [([0, 0, 0], [5, 5, 5], {}), ([5, 0], [5, 5], {}), ([1, 2], [50, 1], {"max_bin_pct": 0.5}), ([0], [4], {})],
)
def test_bounds_that_cannot_hold_are_given_up(
    method: str, events: list[int], rows: list[int], changes: dict[str, Any]
) -> None:
    params = OptimalBinningParam(metric_method=method, **changes)
    assert len(kept_cuts(np.array(events)[:, None], np.array(rows), 3, params, 0.5)) < 3


def test_several_classes_are_added_up() -> None:
    rows = np.array([30, 30, 30, 30])
    events = np.array([[28, 1, 1], [27, 2, 1], [1, 28, 1], [1, 1, 28]])
    for method in ("iv", "gini", "chi_square", "ks"):
        params = OptimalBinningParam(metric_method=method, mixture=True)
        assert kept_cuts(events, rows, 3, params, 0.5) == [1, 2]


def test_nothing_is_kept_of_nothing() -> None:
    assert kept_cuts(np.zeros((3, 1), dtype=int), np.zeros(3, dtype=int), 3, OptimalBinningParam(), 0.5) == []
