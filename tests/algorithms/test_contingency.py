"""Counts of classes against scikit-learn's, with classes that only one column has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from partyd.algorithms.contingency import MOST_CLASSES, ByClass, Contingency, accuracy
from partyd.errors import DataError

CLASSES = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 4)), min_size=1, max_size=40)


def columns(rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    array = np.array(rows, dtype=np.float64)
    return array[:, 0], array[:, 1]


@settings(deadline=None, max_examples=40)
@given(CLASSES.filter(lambda rows: len({value for pair in rows for value in pair}) > 1))
def test_the_confusion_matrix_and_its_averages_equal_scikit_learns(rows: list[tuple[int, int]]) -> None:
    label, predicted = columns(rows)
    confusion = Contingency.confusion(label, predicted)
    both = np.union1d(label, predicted)
    assert confusion.counts.tolist() == reference.confusion_matrix(label, predicted, labels=both).tolist()
    assert accuracy(confusion) == pytest.approx(reference.accuracy_score(label, predicted))
    by = ByClass.of(confusion)
    want = reference.precision_recall_fscore_support(label, predicted, labels=both, zero_division=0)
    for ours, theirs in zip((by.precision, by.recall, by.f1, by.support), want, strict=True):
        np.testing.assert_allclose(ours, theirs)
    for average, mean in (("macro", by.macro), ("weighted", by.weighted)):
        means = reference.precision_recall_fscore_support(label, predicted, average=average, zero_division=0)[:3]
        assert [mean(name) for name in ("precision", "recall", "f1")] == pytest.approx(list(means))


def test_a_single_class() -> None:
    found = Contingency.confusion(np.full(3, 2.0), np.full(3, 2.0))
    by = ByClass.of(found)
    assert (found.counts.tolist(), accuracy(found)) == ([[3]], 1)
    assert [mean(name) for mean in (by.macro, by.weighted) for name in ("precision", "recall", "f1")] == [1.0] * 6


@settings(deadline=None, max_examples=40)
@given(CLASSES)
def test_the_contingency_matrix_has_the_values_that_occur(rows: list[tuple[int, int]]) -> None:
    label, predicted = columns(rows)
    found = Contingency.of(label, predicted)
    assert found.counts.tolist() == reference.cluster.contingency_matrix(label, predicted).tolist()
    assert found.rows == len(rows)
    assert found.predictions.tolist() == np.unique(predicted).tolist()


@pytest.mark.parametrize(
    ("label", "predicted", "message"),
    [
        ([], [], "cannot be compared"),
        ([1.0], [1.0, 2.0], "cannot be compared"),
        ([float("nan")], [1.0], "missing or infinite"),
        ([1.0], [float("inf")], "missing or infinite"),
        ([0.0] * (MOST_CLASSES + 1), list(range(MOST_CLASSES + 1)), "no classes"),
    ],
)
def test_what_cannot_be_counted_is_refused(label: list[float], predicted: list[float], message: str) -> None:
    for count in (Contingency.of, Contingency.confusion):
        with pytest.raises(DataError, match=message):
            count(np.array(label), np.array(predicted, dtype=np.float64))
