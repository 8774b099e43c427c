from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz

from partyd.crypto.buckets import Factors, Group, checked_bins, checked_rows, plan
from partyd.errors import CryptoError

COST = 1.1


def products(group: Group, given: int) -> int:
    """How many products the tree of a group takes."""
    return given - group.used + sum(products(part, group.used) for part in group.parts)


def leaves(group: Group) -> list[int]:
    return sorted(leaf for part in group.parts for leaf in leaves(part)) or [group.feature]


def test_products_and_totals_by_label() -> None:
    factors = Factors([mpz(v) for v in (2, 3, 5, 7, 11)], [mpz(v) for v in (1, 10, 100, 1000, 10000)], mpz(1000))
    sums = factors.by(np.array([2, 0, -1, 2, 0]), 4)
    assert (list(sums.products), list(sums.totals)) == ([33, 1, 14, 1], [10010, 0, 1001, 0])
    bare = Factors(factors.products, [], factors.modulus).take(np.array([4, 4]))
    assert (list(bare.products), list(bare.totals)) == ([11, 11], [])
    assert list(factors.by(np.array([40_000, 0, 0, 0, 40_000]), 40_001).products)[-1] == 22
    assert list(factors.take(np.array([], dtype=np.int64)).by(np.array([], dtype=np.int64), 2).products) == [1, 1]


@pytest.mark.parametrize(
    ("features", "n_bins", "groups"), [(1, 4, 1), (2, 8, 1), (3, 6, 1), (6, 2, 1), (4, 24, 2), (6, 12, 3), (3, 120, 3)]
)
def test_features_share_passes_where_it_saves_products(features: int, n_bins: int, groups: int) -> None:
    bins = np.random.default_rng(features).integers(0, n_bins, (2000, features))
    found = plan(bins, n_bins, COST)
    assert len(found) == groups
    assert sorted(leaf for group in found for leaf in leaves(group)) == list(range(features))


def test_features_that_depend_on_each_other_share_a_pass() -> None:
    first = np.random.default_rng(1).integers(0, 50, 2000)
    bins = np.stack([first, 49 - first, first // 2], axis=1)
    assert [group.used for group in plan(bins, 50, COST)] == [50]
    assert len(plan(bins[:60], 50, COST)) == 3, "few rows are not worth it"


@pytest.mark.parametrize("n_bins", [2, 4, 16, 32, 64])
def test_a_plan_takes_fewer_products_than_a_pass_for_each_feature(n_bins: int) -> None:
    bins = np.random.default_rng(n_bins).integers(0, n_bins, (20_000, 4))
    taken = sum(products(group, len(bins)) for group in plan(bins, n_bins, COST))
    assert taken * 1.6 < 4 * (len(bins) - n_bins)


def test_a_feature_without_values_does_not_keep_the_others_apart() -> None:
    bins = np.random.default_rng(2).integers(0, 4, (2000, 4))
    bins[:, 1] = -1
    assert [leaves(group) for group in plan(bins, 4, COST)] == [[0, 2, 3], [1]]


def test_rows_that_are_counted_nowhere_take_no_products() -> None:
    bins = np.random.default_rng(3).integers(0, 4, (2000, 2))
    bins[:1500] = -1
    (group,) = plan(bins, 4, COST)
    assert (group.rows, group.used) == (500, 16)


def test_what_is_chosen_is_checked_and_nothing_else() -> None:
    bins = np.array([[0], [9], [1]])
    rows = checked_rows(np.array([2, 0]), 3)
    assert checked_bins(bins, 3, 2, rows).tolist() == [[1], [0]]
    assert checked_rows(None, 2).tolist() == [0, 1]
    with pytest.raises(CryptoError):
        checked_bins(bins, 3, 2)
