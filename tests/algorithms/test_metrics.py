from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from partyd.algorithms import metrics
from partyd.errors import DataError

SCORES = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])),
    min_size=2,
    max_size=60,
).filter(lambda rows: len({label for label, _ in rows}) == 2)


def columns(rows: list[tuple[float, float]]) -> tuple[metrics.Vector, metrics.Vector]:
    array = np.array(rows)
    return array[:, 0], array[:, 1]


@given(SCORES)
def test_auc_equals_scikit_learn_with_ties(rows: list[tuple[float, float]]) -> None:
    label, score = columns(rows)
    assert metrics.auc(label, score) == pytest.approx(reference.roc_auc_score(label, score), abs=1e-12)


@given(SCORES)
def test_ks_is_the_largest_gap_of_scikit_learns_curve(rows: list[tuple[float, float]]) -> None:
    label, score = columns(rows)
    fpr, tpr, _ = reference.roc_curve(label, score, drop_intermediate=False)
    assert metrics.ks(label, score)[0] == pytest.approx(np.abs(tpr - fpr).max(), abs=1e-12)


@given(SCORES)
def test_roc_equals_scikit_learn(rows: list[tuple[float, float]]) -> None:
    label, score = columns(rows)
    fpr, tpr, thresholds = reference.roc_curve(label, score, drop_intermediate=False)
    ours = metrics.roc(label, score)
    np.testing.assert_allclose(ours.fpr, fpr)
    np.testing.assert_allclose(ours.tpr, tpr)
    np.testing.assert_array_equal(ours.thresholds, thresholds)


@given(SCORES, st.sampled_from([0.2, 0.5, 0.8]))
def test_counts_equal_scikit_learn(rows: list[tuple[float, float]], threshold: float) -> None:
    label, score = columns(rows)
    counts, admitted = metrics.confusion(label, score, threshold), score >= threshold
    assert counts.accuracy == pytest.approx(reference.accuracy_score(label, admitted))
    assert counts.precision == pytest.approx(reference.precision_score(label, admitted, zero_division=0))
    assert counts.recall == pytest.approx(reference.recall_score(label, admitted))
    assert counts.f1 == pytest.approx(reference.f1_score(label, admitted))


@given(SCORES)
def test_log_loss_equals_scikit_learn(rows: list[tuple[float, float]]) -> None:
    label, score = columns(rows)
    assert metrics.log_loss(label, score) == pytest.approx(reference.log_loss(label, score), rel=1e-9)


def test_regression_errors_equal_scikit_learn() -> None:
    random = np.random.default_rng(0)
    label, prediction = random.normal(size=50), random.normal(size=50)
    ours = metrics.regression(label, prediction)
    assert ours["r2"] == pytest.approx(reference.r2_score(label, prediction))
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(label, prediction))
    assert ours["rmse"] == pytest.approx(reference.root_mean_squared_error(label, prediction))
    assert ours["median_absolute_error"] == pytest.approx(reference.median_absolute_error(label, prediction))
    assert metrics.squared_log_error(label**2, prediction**2) == pytest.approx(
        reference.mean_squared_log_error(label**2, prediction**2)
    )
    with pytest.raises(DataError, match="no logarithm"):
        metrics.squared_log_error(label - 9, prediction)


@pytest.mark.parametrize("prediction", [[2.0, 2.0, 2.0], [1.0, 2.0, 3.0]])
def test_what_a_constant_label_leaves_to_explain_is_as_in_scikit_learn(prediction: list[float]) -> None:
    label = np.full(3, 2.0)
    ours = metrics.regression(label, np.array(prediction))
    assert ours["r2"] == reference.r2_score(label, prediction)
    assert ours["explained_variance"] == reference.explained_variance_score(label, prediction)


def test_labels_of_one_class_have_counts_all_the_same() -> None:
    for label, score in ((np.ones(4), np.array([0.1, 0.6, 0.6, 0.9])), (np.zeros(3), np.full(3, 0.5))):
        counts, admitted = metrics.confusion(label, score), score >= 0.5
        assert counts.accuracy == reference.accuracy_score(label, admitted)
        assert counts.precision == reference.precision_score(label, admitted, zero_division=0)
        assert counts.f1 == reference.f1_score(label, admitted, zero_division=0)
        assert metrics.log_loss(label, score) == pytest.approx(reference.log_loss(label, score, labels=[0, 1]))


def test_one_score_for_all_rows_tells_nothing() -> None:
    label, score = np.array([0.0, 1, 1]), np.full(3, 0.7)
    assert metrics.auc(label, score) == reference.roc_auc_score(label, score) == 0.5
    assert metrics.ks(label, score)[0] == 0


@pytest.mark.parametrize("bad", [[], [1.0], [1.0, float("nan")], [float("inf"), 0.0]])
def test_what_is_no_prediction_of_every_row_is_refused(bad: list[float]) -> None:
    label = np.array([] if not bad else [1.0, 0.0])
    for judge in (metrics.regression, metrics.multiclass):
        with pytest.raises(DataError):
            judge(label, np.array(bad))


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    random = np.random.default_rng(0)
    label, score = (random.random(5000) < 0.4).astype(float), random.random(5000)
    thin = metrics.thinned(metrics.roc(label, score))
    assert len(thin.fpr) <= metrics.ROC_POINTS
    assert (thin.fpr[0], thin.tpr[0], thin.fpr[-1], thin.tpr[-1]) == (0, 0, 1, 1)


@pytest.mark.parametrize(
    ("label", "score"),
    [
        ([0.0, 0.0], [0.1, 0.2]),
        ([0.0, 2.0], [0.1, 0.2]),
        ([0.0, 1.0], [0.1, float("nan")]),
        ([0.0, 1.0], [0.1]),
    ],
)
def test_what_cannot_be_judged_is_refused(label: list[float], score: list[float]) -> None:
    with pytest.raises(DataError):
        metrics.auc(np.array(label), np.array(score))
