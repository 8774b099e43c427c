"""Binary scores looked at through many thresholds: the tables behind FATE's curves, and the stability of scores.

A score counts as positive when it lies *above* the threshold, as in FATE. Thresholds are a hundred of the scores: of
the distinct ones from the highest down (`by_value`), or of all rows ranked by score (`by_rank`). Every table is a
mapping of columns, each a list. Counts come from one sort and a binary search for each threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.metrics import insist_on_both_classes
from partyd.errors import DataError

Vector = NDArray[np.float64]
Columns = dict[str, list[float]]
Intervals = dict[str, list[float] | list[str]]
Pairs = dict[str, list[list[float]] | list[float]]
STEPS = 100
BELOW_ALL = 0.001
"""How far under the lowest threshold the one lies that every score passes."""
EMPTY = 1e-6
"""What an interval without rows counts as, so that its logarithm exists."""
BINS = 20


@dataclass(frozen=True)
class Counts:
    """Rows above and below each threshold by class."""

    thresholds: Vector
    tp: Vector
    fp: Vector
    fn: Vector
    tn: Vector

    @property
    def rows(self) -> float:
        """All rows."""
        return float(self.tp[0] + self.fp[0] + self.fn[0] + self.tn[0])


@dataclass(frozen=True)
class Ranked:
    """Scores sorted once: of each class, and all."""

    positive: Vector
    negative: Vector
    every: Vector

    @classmethod
    def of(cls, label: Vector, score: Vector) -> Ranked:
        """Sort; raises DataError unless labels are 0 and 1, both occur, and every score is a number."""
        insist_on_both_classes(label, score)
        return cls(np.sort(score[label == 1]), np.sort(score[label == 0]), np.sort(score))

    def counts(self, thresholds: Vector) -> Counts:
        """Count the rows above each threshold."""
        tp = len(self.positive) - np.searchsorted(self.positive, thresholds, side="right").astype(np.float64)
        fp = len(self.negative) - np.searchsorted(self.negative, thresholds, side="right").astype(np.float64)
        return Counts(thresholds, tp, fp, len(self.positive) - tp, len(self.negative) - fp)

    def by_value(self) -> Vector:
        """Return a hundred of the distinct scores, evenly spread among them from the highest down."""
        distinct = np.unique(self.every)[::-1]
        return distinct[(len(distinct) * cuts()).astype(np.int64)]

    def by_rank(self) -> Vector:
        """Return the scores at a hundred evenly spread ranks, from the highest down."""
        return self.every[::-1][(len(self.every) * cuts()).astype(np.int64)]


def cuts() -> Vector:
    """Return 0, 0.01, ... 0.99."""
    return np.arange(STEPS) / STEPS


def ks_table(ranked: Ranked) -> Columns:
    """Return both rates by the share of rows, from the highest score down to all rows."""
    counts = ranked.counts(ranked.by_rank())
    return {
        "tpr": [*(counts.tp / len(ranked.positive)).tolist(), 1.0],
        "fpr": [*(counts.fp / len(ranked.negative)).tolist(), 1.0],
        "threshold": [*counts.thresholds.tolist(), 0.0],
        "cuts": [*cuts().tolist(), 1.0],
    }


def confusion_table(ranked: Ranked) -> Columns:
    """Return the four counts by threshold."""
    counts = ranked.counts(ranked.by_rank())
    named = {"tp": counts.tp, "tn": counts.tn, "fp": counts.fp, "fn": counts.fn}
    table: Columns = {name: [int(v) for v in column.tolist()] for name, column in named.items()}
    return table | {"cuts": cuts().tolist(), "threshold": counts.thresholds.tolist()}


def gain(ranked: Ranked) -> Pairs:
    """Return for each class (0, then 1) the share of rows taken and the share of the class among them."""
    counts = ranked.counts(ranked.by_value())
    x, _, recall = _taken(counts)
    return {"gainx": x.tolist(), "gainy": recall.tolist(), "threshold": counts.thresholds.tolist()}


def lift(ranked: Ranked) -> Pairs:
    """Return for each class (0, then 1) the share of rows taken and how much denser the class is among them."""
    counts = ranked.counts(ranked.by_value())
    x, precision, _ = _taken(counts)
    shares = np.array([len(ranked.negative), len(ranked.positive)]) / counts.rows
    return {"liftx": x.tolist(), "lifty": (precision / shares).tolist(), "threshold": counts.thresholds.tolist()}


def _taken(counts: Counts) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return share of rows, precision and recall of both classes, a row a threshold."""
    hits = np.stack([counts.tn, counts.tp], axis=1)
    misses = np.stack([counts.fn, counts.fp], axis=1)
    of_class = np.stack([counts.tn + counts.fp, counts.tp + counts.fn], axis=1)
    return (hits + misses) / counts.rows, _share(hits, hits + misses), hits / of_class


def _share(part: Vector, whole: Vector) -> Vector:
    """Return part / whole, 1 where there is nothing: that is how curves are drawn."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole != 0)


def _through_all(ranked: Ranked) -> tuple[Counts, Columns]:
    """Return the counts at the thresholds by value and at one below all of them, and the columns that name them."""
    thresholds = ranked.by_value()
    thresholds = np.append(thresholds, thresholds.min() - BELOW_ALL)
    return ranked.counts(thresholds), {"threshold": thresholds.tolist(), "cuts": [*cuts().tolist(), 1.0]}


def precision_table(ranked: Ranked) -> Columns:
    """Return the precision by threshold."""
    counts, named = _through_all(ranked)
    return {"p": _share(counts.tp, counts.tp + counts.fp).tolist()} | named


def recall_table(ranked: Ranked) -> Columns:
    """Return the recall by threshold."""
    counts, named = _through_all(ranked)
    return {"r": (counts.tp / len(ranked.positive)).tolist()} | named


def accuracy_table(ranked: Ranked) -> Columns:
    """Return the accuracy by threshold, without the threshold that every score passes."""
    counts, named = _through_all(ranked)
    accuracy = (counts.tp + counts.tn) / counts.rows
    return {"accuracy": accuracy[:-1].tolist()} | {name: column[:-1] for name, column in named.items()}


def f_score_table(ranked: Ranked) -> Columns:
    """Return the F1 score at the thresholds 0, 0.01, ... 0.99."""
    counts = ranked.counts(cuts())
    precision, recall = _share(counts.tp, counts.tp + counts.fp), counts.tp / len(ranked.positive)
    total = precision + recall
    score = 2 * precision * recall / np.where(total == 0, EMPTY, total)
    return {"f_score": score.tolist(), "threshold": cuts().tolist(), "cuts": cuts().tolist()}


@dataclass(frozen=True)
class Stability:
    """The population stability index: in all, and by interval of the expected scores."""

    total: float
    table: Intervals


def stability(expected: Vector, actual: Vector, labels: tuple[Vector, Vector] | None = None) -> Stability:
    """Compare the spread of two sets of scores over the twentieths of the first; raises DataError for empty ones.

    With the ``labels`` of both the table says how many of an interval's rows are positive.
    """
    if not len(expected) or not len(actual):
        raise DataError("psi compares training with validation scores, and one of them has no rows")
    if not bool(np.all(np.isfinite(expected)) and np.all(np.isfinite(actual))):
        raise DataError("a score is missing or infinite; look at the features of the rows that were scored")
    edges = np.unique(np.quantile(expected, np.arange(BINS + 1) / BINS, method="nearest"))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    first, second = _inside(expected, edges), _inside(actual, edges)
    positive: Intervals = {} if labels is None else _positive(expected, actual, labels, edges)
    first, second = np.where(first == 0, EMPTY, first), np.where(second == 0, EMPTY, second)
    p, q = first / len(expected), second / len(actual)
    scores = (q - p) * np.log(q / p)
    ends = [")"] * (len(edges) - 2) + ["]"]
    intervals = [f"[{a:.6g}, {b:.6g}{end}" for a, b, end in zip(edges[:-1], edges[1:], ends, strict=True)]
    table: Intervals = {
        "psi_scores": scores.tolist(),
        "expected_interval": first.tolist(),
        "actual_interval": second.tolist(),
        "expected_percentage": p.tolist(),
        "actual_percentage": q.tolist(),
        "interval": intervals,
    }
    return Stability(float(scores.sum()), table | positive)


def _inside(scores: Vector, edges: Vector) -> Vector:
    """Return how many scores each interval has."""
    return np.histogram(scores, _open_above(edges))[0].astype(np.float64)


def _positive(expected: Vector, actual: Vector, labels: tuple[Vector, Vector], edges: Vector) -> Intervals:
    """Return the share of positive rows in each interval, 0 where it has none."""
    shares = [
        _inside(s[y == 1], edges) / np.maximum(_inside(s, edges), 1)
        for s, y in zip((expected, actual), labels, strict=True)
    ]
    return {"train_pos_perc": shares[0].tolist(), "validate_pos_perc": shares[1].tolist()}


def _open_above(edges: Vector) -> Vector:
    """Return edges of which no two are equal, for a histogram that closes its last interval."""
    return edges if edges[-1] > edges[0] else np.array([edges[0], np.nextafter(edges[0], np.inf)])
