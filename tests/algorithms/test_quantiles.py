"""Cuts of columns: exact, by sketches, by merged sketches; and the bins of values."""

from __future__ import annotations

import numpy as np
import pytest

from partyd.algorithms import quantiles
from partyd.algorithms.quantiles import MISSING, Sketch, bins_of, cuts, sketch
from partyd.errors import DataError

RANDOM = np.random.default_rng(3)


def test_cuts_are_values_and_bins_are_about_equal() -> None:
    values = RANDOM.normal(size=1000)
    edges = cuts(values, 8)
    assert len(edges) == 7
    assert set(edges) <= set(values)
    assert np.bincount(bins_of(values, edges)).tolist() == [125] * 8


def test_a_column_of_few_values_has_a_bin_for_each() -> None:
    values = np.array([3.0, 1.0, np.nan, 2.0, 3.0, 3.0, 3.0, 3.0])
    assert cuts(values, 4).tolist() == [1.0, 2.0]
    assert bins_of(values, cuts(values, 4)).tolist() == [2, 0, MISSING, 1, 2, 2, 2, 2]


def test_values_that_repeat_give_fewer_cuts_and_never_the_largest() -> None:
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    edges = cuts(values, 10)
    assert edges.tolist() == [0.0]
    assert cuts(np.full(5, 7.0), 4).tolist() == []
    assert cuts(np.full(5, np.nan), 4).tolist() == []


def test_a_value_above_all_cuts_is_in_the_last_bin() -> None:
    assert bins_of(np.array([-9.0, 1.0, 1.5, 9.0]), np.array([1.0, 2.0])).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("parts", [1, 7])
def test_a_sketchs_ranks_are_within_its_bound(parts: int) -> None:
    values, size = RANDOM.permutation(np.arange(100_000.0)), 256
    made = Sketch(size)
    for part in np.array_split(values, parts):
        made.merge(sketch(part, size))
    shares = np.linspace(0, 1, 21)
    bound = len(values) / size * np.log2(len(values) / size)
    assert np.abs(made.quantiles(shares.tolist()) - shares * len(values)).max() <= bound
    assert made.count == len(values)
    assert sum(len(level) for level in made._levels) < 2 * size * len(made._levels)


def test_the_same_rows_give_the_same_sketch_and_missing_values_count_for_nothing() -> None:
    values = RANDOM.normal(size=5000)
    with_missing = np.insert(values, [0, 100, 4000], np.nan)
    shares = [0.1, 0.5, 0.9]
    assert np.array_equal(sketch(values, 64).quantiles(shares), sketch(with_missing, 64).quantiles(shares))
    assert np.isnan(Sketch().quantiles([0.5])).all()
    with pytest.raises(DataError, match="one size"):
        sketch(values, 64).merge(sketch(values, 32))


def test_long_columns_go_through_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    values = RANDOM.normal(size=20_000)
    exact = cuts(values, 16)
    monkeypatch.setattr(quantiles, "EXACT_ROWS", 1000)
    monkeypatch.setattr(quantiles, "SKETCH_VALUES", 512)
    close = cuts(values, 16)
    shares = [np.mean(values <= edge) for edge in close]
    assert len(close) == len(exact)
    assert np.abs(np.array(shares) - np.arange(1, 16) / 16).max() < 0.02
