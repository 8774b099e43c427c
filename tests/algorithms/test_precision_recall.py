"""The precision-recall curve and its average, against scikit-learn's; FATE's quantiles, against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from partyd.algorithms.curves import Ranked
from partyd.algorithms.precision_recall import PrecisionRecall, at_quantiles

SCORES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])), min_size=2, max_size=60
).filter(lambda rows: len({label for label, _ in rows}) == 2)


@settings(deadline=None, max_examples=50)
@given(SCORES)
def test_the_curve_equals_scikit_learns_with_ties(rows: list[tuple[bool, float]]) -> None:
    label, score = np.array(rows, dtype=np.float64).T
    curve = PrecisionRecall.of(Ranked.of(label, score))
    precision, recall, thresholds = reference.precision_recall_curve(label, score)
    np.testing.assert_allclose(curve.precision, precision)
    np.testing.assert_allclose(curve.recall, recall)
    np.testing.assert_array_equal(curve.thresholds, thresholds)
    assert curve.average == pytest.approx(reference.average_precision_score(label, score))


def test_one_score_for_all_gives_the_share_of_the_positive() -> None:
    curve = PrecisionRecall.of(Ranked.of(np.array([1.0, 0, 0, 0]), np.full(4, 0.5)))
    assert curve.columns() == {"precision": [0.25, 1.0], "recall": [1.0, 0.0], "threshold": [0.5]}
    assert curve.average == 0.25


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    random = np.random.default_rng(1)
    label, score = (random.random(3000) < 0.3).astype(np.float64), random.random(3000)
    whole = PrecisionRecall.of(Ranked.of(label, score))
    thin = whole.columns(50)
    assert len(thin["precision"]) == len(thin["recall"]) == len(thin["threshold"]) + 1 == 50
    assert (thin["recall"][0], thin["recall"][-1], thin["precision"][-1]) == (1, 0, 1)
    assert thin["threshold"][0] == score.min()


def test_quantiles_count_what_lies_above() -> None:
    random = np.random.default_rng(2)
    label, score = (random.random(200) < 0.4).astype(np.float64), random.random(200).round(2)
    table = at_quantiles(Ranked.of(label, score))
    assert len(table["threshold"]) == 21
    assert table["p"][-1] == 1
    for p, r, threshold in zip(table["p"][:-1], table["r"], table["threshold"], strict=False):
        above = score > threshold
        assert p == pytest.approx(label[above].mean())
        assert r == pytest.approx(label[above].sum() / label.sum())
