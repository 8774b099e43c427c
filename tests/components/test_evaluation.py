"""evaluation as a task: FATE's document, its metrics by setting, its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn import metrics as reference

from partyd.components.evaluation import EvaluationParams
from partyd.components.judging import DEFAULTS, JUDGES
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
    names = [name for name in JUDGES if not name.startswith(("multi_", "macro_"))]
    found = values(document(judged(tmp_path, scored(), metrics=names), G)["lr_0"]["train_set"])
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
    }
    assert {name: found[name] for name in want} == pytest.approx(want)
    assert len(found["gain"]["gainx"]) == 100


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
