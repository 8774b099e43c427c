"""How good a clustering is: against labels (from the contingency of labels and clusters), and by the points themselves.

Of n rows let s, r and c be the sums of squares of all counts, of the labels' and of the clusters'. The ordered pairs of
rows that are together in both are tp = s - n, in clusters alone fp = c - s, in labels alone fn = r - s, in neither tn;
Rand and Fowlkes-Mallows follow from them. All of it in exact integers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.contingency import MOST_CLASSES, ByClass, Contingency
from partyd.errors import DataError

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """How many ordered pairs of rows are together in both columns, in clusters alone, in labels alone, in neither."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, contingency: Contingency) -> Pairs:
        """Count the pairs."""
        counts, n = contingency.counts, contingency.rows
        s = sum(int(v) ** 2 for v in counts.ravel().tolist())
        r = sum(int(v) ** 2 for v in counts.sum(axis=1).tolist())
        c = sum(int(v) ** 2 for v in counts.sum(axis=0).tolist())
        return cls(tp=s - n, fp=c - s, fn=r - s, tn=n * n - r - c + s)


def adjusted_rand(contingency: Contingency) -> float:
    """Return the Rand index adjusted for chance: 1 for equal partitions, about 0 for random ones."""
    p = Pairs.of(contingency)
    if p.fn == 0 and p.fp == 0:
        return 1.0
    return 2 * (p.tp * p.tn - p.fn * p.fp) / ((p.tp + p.fn) * (p.fn + p.tn) + (p.tp + p.fp) * (p.fp + p.tn))


def fowlkes_mallows(contingency: Contingency) -> float:
    """Return the geometric mean of the pairs' precision and recall; 0 when no pair is together in both."""
    p = Pairs.of(contingency)
    return (p.tp / (p.tp + p.fp)) ** 0.5 * (p.tp / (p.tp + p.fn)) ** 0.5 if p.tp else 0.0


def jaccard(confusion: Contingency) -> float:
    """Return rows in label and cluster over rows in either, of the class 1 when there are 0 and 1, else the mean.

    Clusters are taken for the labels of the same number, as scikit-learn's ``jaccard_score`` does.
    """
    tp = np.diag(confusion.counts).astype(np.float64)
    by = ByClass.of(confusion)
    either = confusion.counts.sum(axis=0) + by.support - np.diag(confusion.counts)
    scores = np.divide(tp, either, out=np.zeros_like(tp), where=either != 0)
    if set(confusion.labels.tolist()) <= {0.0, 1.0}:
        return float(scores[-1]) if confusion.labels[-1] == 1 else 0.0
    return float(scores.mean())


@dataclass(frozen=True)
class Clusters:
    """The clusters of points: their centroids, the mean and the largest distance of their points to them."""

    clusters: Vector
    centroids: Matrix
    mean_distance: Vector
    max_radius: Vector

    @classmethod
    def of(cls, points: Matrix, cluster: Vector) -> Clusters:
        """Compute them; raises DataError for points with missing values, or without columns."""
        if points.shape[0] != len(cluster) or points.shape[1] == 0 or not len(cluster):
            raise DataError(
                "the table has no columns beside the clusters to take distances in; join the features to it"
            )
        if not bool(np.all(np.isfinite(points))):
            raise DataError("a point has a missing or infinite value; fill it in first (feature_imputation)")
        names, at = np.unique(cluster, return_inverse=True)
        if len(names) > MOST_CLASSES:
            raise DataError(f"the column of clusters has more than {MOST_CLASSES} values, so it holds no clusters")
        sizes = np.bincount(at)
        centroids = np.stack([np.bincount(at, weights=column) / sizes for column in points.T], axis=1)
        distance = np.sqrt(np.sum((points - centroids[at]) ** 2, axis=1))
        largest = np.zeros(len(names))
        np.maximum.at(largest, at, distance)
        return cls(names, centroids, np.bincount(at, weights=distance) / sizes, largest)

    @property
    def between(self) -> Matrix:
        """The distances between centroids."""
        return np.stack([np.sqrt(np.sum((self.centroids - one) ** 2, axis=1)) for one in self.centroids])

    def davies_bouldin(self) -> float:
        """Return the mean over clusters of the worst (mean distance + mean distance) / distance of the centroids.

        Raises DataError for a single cluster, which has no other to be compared with.
        """
        if len(self.clusters) < 2:
            raise DataError("there is one cluster alone, so no Davies-Bouldin index; it compares several")
        between = self.between
        if bool(np.allclose(self.mean_distance, 0)) or bool(np.allclose(between, 0)):
            return 0.0
        between[between == 0] = np.inf
        ratios = (self.mean_distance[:, np.newaxis] + self.mean_distance[np.newaxis, :]) / between
        return float(np.mean(ratios.max(axis=1)))

    def nearest(self) -> Vector:
        """Return for each cluster the one with the nearest centroid, itself when it is the only one."""
        if len(self.clusters) < 2:
            return self.clusters
        between = self.between
        np.fill_diagonal(between, np.inf)
        return np.asarray(self.clusters[between.argmin(axis=1)], dtype=np.float64)
