"""sample_weight as a task, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_sample_weight

from partyd.components.sample_weight import SampleWeightParams, fit, transform
from partyd.components.simulate import Seat, TaskRun
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, H, document, output, saved, table, task

LABEL = [0.0, 0, 0, 1, 1, 2]
ROWS = table(list("abcdef"), {"x": [1, 2, 3, 4, 5, 6], "v": [2, 4, 0, 2, 2, 2]}, LABEL)


def weighed(folder: Path, one: Table = ROWS, **params: object) -> TaskRun:
    seat = Seat(params, {"train_data": saved(folder, "in", one)})
    done = task("sample_weight", {G: seat}, folder / "fit", stage="train")
    assert not done.transcript.sent
    return done


def weights(found: Table) -> list[float]:
    assert found.weight is not None
    return found.weight.tolist()


@pytest.mark.parametrize("given", ["balanced", {0: 0.5, 1: 2, 2: 3}])
def test_weights_by_class_equal_scikit_learns(tmp_path: Path, given: Any) -> None:
    done = weighed(tmp_path, class_weight=given)
    found = output(done, G, "train_output_data")
    assert weights(found) == pytest.approx(compute_sample_weight(given, LABEL).tolist())
    assert found.schema.weight == "weight"
    summary = document(done, G)
    assert summary["weight_mode"] == "class weight"
    assert summary["classes"] == ["0", "1", "2"]


def test_a_class_that_is_not_named_weighs_one_and_words_are_read(tmp_path: Path) -> None:
    assert weights(output(weighed(tmp_path, class_weight={"1": 7}), G, "train_output_data")) == [1, 1, 1, 7, 7, 1]


@pytest.mark.parametrize(("normalize", "base"), [(False, 1.0), (True, 2.0)])
def test_a_columns_weights_are_no_feature_any_more(tmp_path: Path, normalize: bool, base: float) -> None:
    done = weighed(tmp_path, sample_weight_name="v", normalize=normalize, class_weight="balanced")
    found = output(done, G, "train_output_data")
    assert weights(found) == [w / base for w in (2, 4, 0, 2, 2, 2)]
    assert found.schema.features == ("x",)
    assert found.features[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert document(done, G)["weight_mode"] == "sample weight name"
    assert any("both given" in line for line in done.reports[G].lines)


def test_later_tables_are_weighed_as_the_training_was(tmp_path: Path) -> None:
    done = weighed(tmp_path, class_weight="BALANCED")
    later = table(["g", "h", "i"], {"x": [0, 0, 0], "v": [0, 0, 0]}, [0, 5, float("nan")])
    model = done.outputs[G] / "output_model"
    inputs = {"test_data": saved(tmp_path, "later", later), "input_model": model}
    applied = task("sample_weight", {G: Seat({}, inputs)}, tmp_path / "apply", stage="predict")
    assert weights(output(applied, G, "test_output_data")) == pytest.approx([6 / 9, 1, 1])
    by_column = fit(ROWS, SampleWeightParams(sample_weight_name="v", normalize=True), G)
    assert weights(transform(ROWS.take(np.array([1])), by_column)) == [2]
    assert transform(table(["a"], {"x": [1]}), by_column).weight is None
    assert transform(table(["a"], {"x": [1]}), fit(ROWS, SampleWeightParams(class_weight="balanced"), G)).weight is None


def test_a_host_without_labels_has_nothing_to_weigh(tmp_path: Path) -> None:
    guest, host = saved(tmp_path, "g", ROWS), saved(tmp_path, "h", table(["a"], {"z": [1]}))
    params = {"class_weight": "balanced"}
    seats = {G: Seat(params, {"train_data": guest}), H: Seat(params, {"train_data": host})}
    done = task("sample_weight", seats, tmp_path, stage="train")
    assert output(done, H, "train_output_data").weight is None
    assert output(done, G, "train_output_data").weight is not None
    with pytest.raises(DataError, match="no label"):
        fit(table(["a"], {"z": [1]}), SampleWeightParams(class_weight="balanced"), G)


def test_without_a_source_of_weights_the_table_stays(tmp_path: Path) -> None:
    whole = table(["a"], {"x": [1]}, [1], weight=[3])
    assert weights(output(weighed(tmp_path, whole), G, "train_output_data")) == [3]


@pytest.mark.parametrize(
    ("values", "message"), [([1, -1], "all numbers from 0"), ([1, float("nan")], "all numbers from 0")]
)
def test_what_is_no_weight_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(table(["a", "b"], {"v": values}), SampleWeightParams(sample_weight_name="v"), G)
    with pytest.raises(DataError, match="sample_weight_name names 'q'"):
        fit(ROWS, SampleWeightParams(sample_weight_name="q"), G)
    many = table([str(i) for i in range(1001)], {}, list(range(1001)))
    with pytest.raises(DataError, match="more than 1000 values"):
        fit(many, SampleWeightParams(class_weight="balanced"), G)


def test_weights_of_zero_alone_are_not_divided() -> None:
    zero = table(["a", "b"], {"v": [0, 0]})
    assert weights(transform(zero, fit(zero, SampleWeightParams(sample_weight_name="v", normalize=True), G))) == [0, 0]


@pytest.mark.parametrize("bad", [{"class_weight": "equal"}, {"class_weight": {"0": -1}}, {"class_weight": {"a": 1}}])
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SampleWeightParams.model_validate(bad)
