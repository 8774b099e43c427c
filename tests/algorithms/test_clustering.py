"""Clusterings judged as scikit-learn does, with single clusters and points that coincide."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from partyd.algorithms.clustering import Clusters, adjusted_rand, fowlkes_mallows, jaccard
from partyd.algorithms.contingency import MOST_CLASSES, Contingency
from partyd.errors import DataError

RANDOM = np.random.default_rng(3)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_partitions_are_compared_as_scikit_learn_does(rows: list[tuple[int, int]]) -> None:
    label, cluster = np.array(rows, dtype=np.float64).T
    found = Contingency.of(label, cluster)
    assert adjusted_rand(found) == pytest.approx(reference.adjusted_rand_score(label, cluster), abs=1e-12)
    assert fowlkes_mallows(found) == pytest.approx(reference.fowlkes_mallows_score(label, cluster), abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_jaccard_is_that_of_the_positive_class_or_the_mean(classes: int) -> None:
    label, cluster = RANDOM.integers(0, classes, (2, 50)).astype(np.float64)
    average = "binary" if classes == 2 else "macro"
    want = reference.jaccard_score(label, cluster, average=average)
    assert jaccard(Contingency.confusion(label, cluster)) == pytest.approx(want)


@pytest.mark.parametrize(("label", "cluster", "want"), [([0, 0], [0, 0], 0.0), ([1, 1], [1, 1], 1.0), ([1], [0], 0.0)])
def test_jaccard_of_one_class(label: list[float], cluster: list[float], want: float) -> None:
    confusion = Contingency.confusion(np.array(label, dtype=np.float64), np.array(cluster, dtype=np.float64))
    assert jaccard(confusion) == want


def test_the_davies_bouldin_index_equals_scikit_learns() -> None:
    points, cluster = RANDOM.normal(size=(60, 3)), RANDOM.integers(0, 4, 60).astype(np.float64)
    points += cluster[:, np.newaxis]
    found = Clusters.of(points, cluster)
    assert found.davies_bouldin() == pytest.approx(reference.davies_bouldin_score(points, cluster))
    for same in (np.ones((6, 2)), np.repeat([[0.0, 0.0], [3.0, 4.0]], 3, axis=0)):
        halves = np.array([0.0, 0, 0, 1, 1, 1])
        assert Clusters.of(same, halves).davies_bouldin() == reference.davies_bouldin_score(same, halves) == 0


def test_radius_and_nearest_cluster() -> None:
    points = np.array([[0.0, 0], [2, 0], [10, 0], [13, 0], [30, 0]])
    found = Clusters.of(points, np.array([5.0, 5, 6, 6, 9]))
    assert found.clusters.tolist() == [5, 6, 9]
    assert found.max_radius.tolist() == found.mean_distance.tolist() == [1, 1.5, 0]
    assert found.nearest().tolist() == [6, 5, 6]
    one = Clusters.of(points, np.zeros(5))
    assert one.nearest().tolist() == [0]
    with pytest.raises(DataError, match="one cluster alone"):
        one.davies_bouldin()


@pytest.mark.parametrize(
    ("points", "cluster", "message"),
    [
        (np.zeros((2, 0)), np.zeros(2), "no columns"),
        (np.zeros((0, 2)), np.zeros(0), "no columns"),
        (np.full((2, 1), np.nan), np.zeros(2), "missing or infinite"),
        (np.zeros((MOST_CLASSES + 1, 1)), np.arange(MOST_CLASSES + 1.0), "holds no clusters"),
    ],
)
def test_what_is_no_clustering_is_refused(points: np.ndarray, cluster: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Clusters.of(points, cluster)
