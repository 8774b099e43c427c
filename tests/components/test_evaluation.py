"""evaluation as a task: FATE's document, its metrics by setting, its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as reference

from partyd.components.evaluation import EvaluationParams
from partyd.components.judging import DEFAULTS
from partyd.components.scores import TEST, TRAIN, VALIDATE, class_table, result_table
from partyd.components.simulate import Seat, TaskRun
from partyd.components.union import stacked
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, document, saved, table, task

RANDOM = np.random.default_rng(8)
LABEL = (RANDOM.random(300) < 0.5).astype(np.float64)
SCORE = np.clip(0.4 * LABEL + 0.6 * RANDOM.random(300), 0, 1)


def scored(rows: slice = slice(0, 200), kind: str = TRAIN) -> Table:
    label = LABEL[rows]
    return result_table(table([f"{kind}{i}" for i in range(len(label))], {}, label.tolist()), SCORE[rows], 0.5, kind)


def judged(folder: Path, *tables: Table, producers: tuple[str, ...] = ("lr_0",), **params: object) -> TaskRun:
    paths = tuple(saved(folder, f"in{i}", one) for i, one in enumerate(tables))
    seat = Seat(params, {"input_datas": paths}, producers={"input_datas": producers})
    done = task("evaluation", {G: seat}, folder / "out")
    assert not done.transcript.sent
    return done


def values(results: list[Any]) -> dict[str, Any]:
    flat = [entry for one in results for entry in (one if isinstance(one, list) else [one])]
    return {entry["metric"]: entry["val"] for entry in flat}


def test_the_document_is_fates(tmp_path: Path) -> None:
    done = judged(tmp_path, scored(), metrics=["auc", "ks"])
    found = document(done, G)
    ks = reference.roc_curve(LABEL[:200], SCORE[:200])
    assert list(found) == ["lr_0"]
    assert list(found["lr_0"]) == ["train_set"]
    auc, both = found["lr_0"]["train_set"]
    assert auc == {"metric": "auc", "val": pytest.approx(reference.roc_auc_score(LABEL[:200], SCORE[:200]))}
    assert [entry["metric"] for entry in both] == ["ks", "ks_table"]
    assert both[0]["val"] == pytest.approx(np.max(ks[1] - ks[0]))
    assert sorted(both[1]["val"]) == ["cuts", "fpr", "threshold", "tpr"]
    assert done.reports[G].metrics["auc", 0] == auc["val"]
    assert ("ks", 0) in done.reports[G].metrics


def test_rows_of_training_and_validation_are_judged_apart(tmp_path: Path) -> None:
    both = stacked([scored(), scored(slice(200, 300), VALIDATE)])
    done = judged(tmp_path, both, metrics=["auc", "psi"])
    found = document(done, G)["lr_0"]
    want = reference.roc_auc_score(LABEL[200:], SCORE[200:])
    assert values(found["validate_set"])["auc"] == pytest.approx(want)
    assert values(found["validate_set"])["total_psi"] > 0
    assert {"train_pos_perc", "validate_pos_perc"} <= set(values(found["validate_set"])["psi_table"])
    assert done.reports[G].metrics["validate_set_auc", 0] == pytest.approx(want)
    with pytest.raises(ExceptionGroup) as caught:
        judged(tmp_path / "alone", scored(), metrics=["psi"])
    assert caught.group_contains(DataError, match="train_set alone")


def test_several_tables_stand_under_their_tasks(tmp_path: Path) -> None:
    done = judged(tmp_path, scored(), scored(kind=TEST), producers=("lr_0", "lr_1"), metrics=["auc"])
    found = document(done, G)
    assert {name: list(kinds) for name, kinds in found.items()} == {"lr_0": ["train_set"], "lr_1": ["test_set"]}
    assert ("lr_1_auc", 0) in done.reports[G].metrics
    assert list(document(judged(tmp_path / "b", scored(), producers=()), G)) == ["input_0"]


def test_every_binary_metric_equals_scikit_learn(tmp_path: Path) -> None:
    others = ["accuracy", "f1", "log_loss", "mean_squared_log_error", "quantile_pr", *DEFAULTS["regression"]]
    found = values(document(judged(tmp_path, scored(), metrics=[*DEFAULTS["binary"], *others]), G)["lr_0"]["train_set"])
    y, s, p = LABEL[:200], SCORE[:200], SCORE[:200] > 0.5
    want = {
        "binary_accuracy": reference.accuracy_score(y, p),
        "binary_precision": reference.precision_score(y, p),
        "binary_recall": reference.recall_score(y, p),
        "binary_f1_score": reference.f1_score(y, p),
        "accuracy": reference.accuracy_score(y, p),
        "log_loss": reference.log_loss(y, s),
        "mse": reference.mean_squared_error(y, s),
        "r2_score": reference.r2_score(y, s),
        "explained_variance": reference.explained_variance_score(y, s),
        "median_absolute_error": reference.median_absolute_error(y, s),
        "mean_squared_log_error": reference.mean_squared_log_error(y, s),
        "average_precision": reference.average_precision_score(y, s),
    }
    assert {name: found[name] for name in want} == pytest.approx(want)
    assert len(found["gain"]["gainx"]) == 100
    precision, recall, thresholds = reference.precision_recall_curve(y, s)
    ends = {"precision": [precision[0], 1.0], "recall": [recall[0], 0.0], "threshold": [thresholds[0], thresholds[-1]]}
    for name, want_ends in ends.items():
        column = found["precision_recall"][name]
        assert [column[0], column[-1]] == pytest.approx(want_ends)
    assert len(found["quantile_pr"]["p"]) == len(found["quantile_pr"]["threshold"]) == 21


def test_the_settings_ask_for_fates_metrics(tmp_path: Path) -> None:
    binary = document(judged(tmp_path, scored(), metrics=None), G)["lr_0"]["train_set"]
    assert [(one[0] if isinstance(one, list) else one)["metric"] for one in binary] == list(DEFAULTS["binary"])
    regression = document(judged(tmp_path / "r", scored(), default_eval_setting="regression"), G)
    assert set(values(regression["lr_0"]["train_set"])) == set(DEFAULTS["regression"])


def test_classes_are_judged_by_their_results(tmp_path: Path) -> None:
    label = RANDOM.integers(0, 3, 60).astype(np.float64)
    scores = RANDOM.random((60, 3))
    rows = class_table(table([str(i) for i in range(60)], {}, label.tolist()), scores, (0.0, 1.0, 2.0), TRAIN)
    done = judged(tmp_path, rows, default_eval_setting="multi", predict_column_name="predict_result")
    found = values(document(done, G)["lr_0"]["train_set"])
    predicted = scores.argmax(axis=1)
    assert found["multi_accuracy"] == pytest.approx(reference.accuracy_score(label, predicted))
    assert found["multi_recall"] == pytest.approx(reference.recall_score(label, predicted, average="micro"))
    assert found["macro_precision"] == pytest.approx(reference.precision_score(label, predicted, average="macro"))
    again = judged(tmp_path / "asked", rows, metrics=["multi_f1_score"])
    assert values(document(again, G)["lr_0"]["train_set"]) == {"multi_f1_score": found["multi_accuracy"]}
    report = reference.precision_recall_fscore_support(label, predicted)
    names = ("precision", "recall", "f1_score", "support")
    for name, want in zip(names, report, strict=True):
        assert found["class_report"][name] == pytest.approx(want.tolist())
    assert found["multi_confusion_matrix"]["matrix"] == reference.confusion_matrix(label, predicted).tolist()
    assert found["macro_f1_score"] == pytest.approx(reference.f1_score(label, predicted, average="macro"))


def test_each_class_against_the_others(tmp_path: Path) -> None:
    label = np.array([0, 0, 1, 1, 2, 2] * 5 + [0] * 6, dtype=np.float64)
    scores = RANDOM.random((36, 3))
    rows = table([str(i) for i in range(36)], {}, label.tolist())
    train = class_table(rows.take(np.arange(30)), scores[:30], (0.0, 1.0, 2.0), TRAIN)
    test = class_table(rows.take(np.arange(30, 36)), scores[30:], (0.0, 1.0, 2.0), TEST)
    params = {"default_eval_setting": "multi", "unfold_multi_result": True}
    done = judged(tmp_path, stacked([train, test]), **params)
    found = document(done, G)
    assert list(found) == ["lr_0", "lr_0_class_0", "lr_0_class_1", "lr_0_class_2"]
    assert list(found["lr_0"]) == ["test_set", "train_set"]
    assert list(found["lr_0_class_1"]) == ["train_set"]
    want = reference.roc_auc_score(label[:30] == 1, scores[:30, 1])
    assert values(found["lr_0_class_1"]["train_set"])["auc"] == pytest.approx(want)
    assert done.reports[G].metrics["lr_0_class_1_auc", 0] == pytest.approx(want)


def test_any_label_may_be_the_positive_one(tmp_path: Path) -> None:
    rows = table(["a", "b", "c", "d"], {"predict_score": [0.9, 0.2, 0.6, 0.4]}, [7, -1, 3, 7])
    found = document(judged(tmp_path, rows, metrics=["auc", "accuracy"], pos_label=7), G)["lr_0"]["origin"]
    assert values(found) == {"auc": 0.75, "accuracy": 0.5}


def test_metrics_go_by_the_names_of_fate_1x_too() -> None:
    for setting, given, want in (
        (
            "binary",
            ["AUC", "f1_score", "confusion_mat", "acc"],
            ("auc", "fscore_table", "confusion_matrix", "accuracy"),
        ),
        ("multi", ["accuracy", "precision", "recall"], ("multi_accuracy", "class_report")),
        ("regression", ["l2_root", "rmse", "MSLE"], ("rmse", "mean_squared_log_error")),
        ("clustering", ["DBI", "jaccard"], ("davies_bouldin_index", "jaccard_similarity_score")),
    ):
        params = EvaluationParams.model_validate({"default_eval_setting": setting, "metrics": given})
        assert params.asked == want
        assert params.predicted == ("predict_result" if setting in ("multi", "clustering") else "predict_score")


def test_clusters_are_judged_by_labels_and_by_their_points(tmp_path: Path) -> None:
    label = RANDOM.integers(0, 3, 40).astype(np.float64)
    cluster = np.where(RANDOM.random(40) < 0.7, label, RANDOM.integers(0, 4, 40))
    points = RANDOM.normal(size=(40, 2)) + cluster[:, np.newaxis]
    ids, columns = [str(i) for i in range(40)], {"x": points[:, 0].tolist(), "predict_result": cluster.tolist()}
    columns["y"] = points[:, 1].tolist()
    params = {"default_eval_setting": "clustering"}
    found = values(document(judged(tmp_path, table(ids, columns, label.tolist()), **params), G)["lr_0"]["origin"])
    assert found["adjusted_rand_score"] == pytest.approx(reference.adjusted_rand_score(label, cluster))
    assert found["fowlkes_mallows_score"] == pytest.approx(reference.fowlkes_mallows_score(label, cluster))
    want = reference.jaccard_score(label, cluster, average="macro", zero_division=0)
    assert found["jaccard_similarity_score"] == pytest.approx(want)
    assert found["davies_bouldin_index"] == pytest.approx(reference.davies_bouldin_score(points, cluster))
    matrix = reference.cluster.contingency_matrix(label, cluster).tolist()
    assert found["contingency_matrix"]["result_table"] == matrix
    assert found["distance_measure"]["cluster_index"] == [0, 1, 2, 3]
    bare = values(document(judged(tmp_path / "b", table(ids, columns), **params), G)["lr_0"]["origin"])
    assert set(bare) == {"davies_bouldin_index", "distance_measure"}
    alone = table(ids, {"predict_result": cluster.tolist()}, label.tolist())
    assert "davies_bouldin_index" not in values(document(judged(tmp_path / "c", alone, **params), G)["lr_0"]["origin"])
    with pytest.raises(ExceptionGroup) as caught:
        judged(tmp_path / "d", table(ids, {"predict_result": cluster.tolist()}), **params)
    assert caught.group_contains(DataError, match="has neither")


def test_any_columns_may_be_compared(tmp_path: Path) -> None:
    rows = table(["a", "b", "c"], {"guess": [1, 2, 4], "truth": [1, 2, 3]}, [0, 0, 1])
    done = judged(tmp_path, rows, metrics=["mae"], predict_column_name="guess", label_column_name="truth")
    assert document(done, G) == {"lr_0": {"origin": [{"metric": "mae", "val": pytest.approx(1 / 3)}]}}
    for name in ("y", "label"):
        again = judged(tmp_path / name, rows, metrics=["mae"], predict_column_name="truth", label_column_name=name)
        assert values(document(again, G)["lr_0"]["origin"])["mae"] == pytest.approx(5 / 3)


@pytest.mark.parametrize("bad", [{"metrics": ["gini"]}, {"default_eval_setting": "ranking"}, {"metrics": []}])
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EvaluationParams.model_validate(bad)


def test_what_cannot_be_judged_is_said(tmp_path: Path) -> None:
    rows = table(["a", "b"], {"x": [1, 2]}, [0, 1])
    for folder, one, params, message in (
        ("1", rows, {"metrics": ["auc"]}, "no column 'predict_score'"),
        ("2", rows, {"metrics": ["mae"], "predict_column_name": "x", "label_column_name": "q"}, "no column 'q'"),
        ("3", table(["a"], {"x": [1]}), {"metrics": ["mae"], "predict_column_name": "x"}, "no label"),
    ):
        with pytest.raises(ExceptionGroup) as caught:
            judged(tmp_path / folder, one, **params)  # type: ignore[arg-type]
        assert caught.group_contains(DataError, match=message)
