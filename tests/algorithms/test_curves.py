"""The tables behind the curves, against scikit-learn and against plain counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from partyd.algorithms import curves
from partyd.algorithms.curves import Ranked
from partyd.errors import DataError

Vector = NDArray[np.float64]
SCORES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])), min_size=3, max_size=60
)


def made(rows: int = 500, seed: int = 3) -> tuple[Vector, Vector]:
    random = np.random.default_rng(seed)
    label = (random.random(rows) < 0.4).astype(np.float64)
    return label, np.round(np.clip(0.3 * label + random.random(rows) * 0.7, 0, 1), 2)


def counted(label: Vector, score: Vector, threshold: float) -> tuple[int, int, int, int]:
    above = score > threshold
    return (
        int(np.sum(above & (label == 1))),
        int(np.sum(above & (label == 0))),
        int(np.sum(~above & (label == 1))),
        int(np.sum(~above & (label == 0))),
    )


@given(SCORES)
def test_counts_equal_plain_counting(rows: list[tuple[bool, float]]) -> None:
    label = np.array([1.0, 0.0, *(float(y) for y, _ in rows)])
    score = np.array([0.3, 0.6, *(s for _, s in rows)])
    thresholds = np.array([-0.1, 0.0, 0.25, 0.3, 0.9, 1.0])
    counts = Ranked.of(label, score).counts(thresholds)
    for i, threshold in enumerate(thresholds):
        found = tuple(int(column[i]) for column in (counts.tp, counts.fp, counts.fn, counts.tn))
        assert found == counted(label, score, threshold)


def test_precision_recall_accuracy_and_f_score_equal_scikit_learn() -> None:
    label, score = made()
    ranked = Ranked.of(label, score)
    for table, name, judge in (
        (curves.precision_table(ranked), "p", lambda y, p: reference.precision_score(y, p, zero_division=1)),
        (curves.recall_table(ranked), "r", reference.recall_score),
        (curves.accuracy_table(ranked), "accuracy", reference.accuracy_score),
    ):
        assert len({len(column) for column in table.values()}) == 1
        for value, threshold in zip(table[name], table["threshold"], strict=True):
            assert value == pytest.approx(judge(label, score > threshold))
    f_scores = curves.f_score_table(ranked)
    assert f_scores["threshold"][::25] == [0, 0.25, 0.5, 0.75]
    for value, threshold in zip(f_scores["f_score"], f_scores["threshold"], strict=True):
        assert value == pytest.approx(reference.f1_score(label, score > threshold), abs=1e-5)


def test_thresholds_are_a_hundred_scores_from_the_highest_down() -> None:
    label, score = made()
    ranked = Ranked.of(label, score)
    values, ranks = ranked.by_value(), ranked.by_rank()
    assert len(values) == len(ranks) == curves.STEPS
    assert values[0] == ranks[0] == score.max()
    assert bool(np.all(np.diff(values) <= 0) and np.all(np.diff(ranks) <= 0))
    assert ranks[50] == np.sort(score)[::-1][250]
    few = Ranked.of(np.array([0.0, 1.0]), np.array([0.2, 0.7]))
    assert few.by_value().tolist() == [0.7] * 50 + [0.2] * 50


def test_the_ks_table_ends_with_all_rows() -> None:
    label, score = made()
    table = curves.ks_table(Ranked.of(label, score))
    assert [len(column) for column in table.values()] == [curves.STEPS + 1] * 4
    assert (table["tpr"][-1], table["fpr"][-1], table["threshold"][-1], table["cuts"][-1]) == (1, 1, 0, 1)
    tp, fp, fn, tn = counted(label, score, table["threshold"][40])
    assert table["tpr"][40] == tp / (tp + fn)
    assert table["fpr"][40] == fp / (fp + tn)


def test_the_confusion_table_holds_whole_numbers_that_sum_to_the_rows() -> None:
    label, score = made()
    table = curves.confusion_table(Ranked.of(label, score))
    sums = [sum(row) for row in zip(*(table[name] for name in ("tp", "fp", "tn", "fn")), strict=True)]
    assert sums == [500] * curves.STEPS
    assert all(isinstance(value, int) for value in table["tp"])


def test_gain_and_lift_tell_of_both_classes() -> None:
    label, score = made()
    ranked = Ranked.of(label, score)
    gain, lift = curves.gain(ranked), curves.lift(ranked)
    for i in (0, 30, 99):
        threshold = gain["threshold"][i]
        assert isinstance(threshold, float)
        tp, fp, fn, tn = counted(label, score, threshold)
        assert gain["gainx"][i] == pytest.approx([(tn + fn) / 500, (tp + fp) / 500])
        assert gain["gainy"][i] == pytest.approx([tn / (tn + fp), tp / (tp + fn)])
        precision = [tn / (tn + fn), tp / (tp + fp) if tp + fp else 1.0]
        assert lift["lifty"][i] == pytest.approx([precision[0] / ((tn + fp) / 500), precision[1] / ((tp + fn) / 500)])
        assert lift["liftx"][i] == pytest.approx(gain["gainx"][i])


def test_equal_scores_are_stable_and_shifted_ones_are_not() -> None:
    scores = np.random.default_rng(1).random(2000)
    assert curves.stability(scores, scores).total == pytest.approx(0)
    shifted = curves.stability(scores, np.clip(scores + 0.2, 0, 1))
    assert shifted.total > 0.25
    assert len(shifted.table["interval"]) == curves.BINS
    assert sum(float(value) for value in shifted.table["psi_scores"]) == pytest.approx(shifted.total)
    assert str(shifted.table["interval"][-1]).endswith("]")
    share = [float(value) for value in shifted.table["expected_percentage"]]
    assert sum(share) == pytest.approx(1)


def test_stability_tells_the_share_of_the_positive_in_each_interval() -> None:
    label, score = made()
    table = curves.stability(score, score[:5], (label, label[:5])).table
    first = (score >= score.min()) & (score < np.quantile(score, 0.05, method="nearest"))
    assert table["train_pos_perc"][0] == pytest.approx(label[first].mean())
    assert len(table["validate_pos_perc"]) == len(table["interval"])
    assert 0.0 in table["validate_pos_perc"]


def test_stability_of_scores_that_are_all_alike() -> None:
    same = curves.stability(np.full(5, 0.5), np.array([0.5, 0.7]))
    assert same.table["expected_interval"] == [5]
    assert same.table["actual_interval"] == [1]


@pytest.mark.parametrize("bad", [[], [float("nan")]])
def test_what_cannot_be_compared_is_refused(bad: list[float]) -> None:
    with pytest.raises(DataError):
        curves.stability(np.array(bad), np.ones(3))
    with pytest.raises(DataError):
        curves.stability(np.ones(3), np.array(bad))
    with pytest.raises(DataError, match="all labels are the same"):
        Ranked.of(np.ones(3), np.ones(3))
