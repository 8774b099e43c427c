"""one_hot_encoder as a task, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import OneHotEncoder

from partyd.components.one_hot_encoder import MOST_CATEGORIES, OneHotEncoderParams, fit, transform
from partyd.components.simulate import Seat
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from tests.components.tables import G, document, output, saved, table, task

RANDOM = np.random.default_rng(4)
KIND = RANDOM.integers(-2, 3, 60).astype(np.float64)
SEX = RANDOM.integers(0, 2, 60).astype(np.float64)
AGE = RANDOM.normal(40, 9, 60)


def rows(part: slice) -> Table:
    columns = {"kind": KIND[part].tolist(), "age": AGE[part].tolist(), "sex": SEX[part].tolist()}
    return table([str(i) for i in range(60)][part], columns, [0.0] * len(KIND[part]))


def encoded(folder: Path, **params: object) -> tuple[Table, Table, dict[str, Any]]:
    """Return 40 rows encoded by themselves, 20 more by the model, and the model."""
    train, test = saved(folder, "train", rows(slice(40))), saved(folder, "test", rows(slice(40, 60)))
    done = task("one_hot_encoder", {G: Seat(params, {"train_data": train})}, folder / "fit", stage="train")
    inputs = {"test_data": test, "input_model": done.outputs[G] / "output_model"}
    applied = task("one_hot_encoder", {G: Seat({}, inputs)}, folder / "apply", stage="predict")
    assert not done.transcript.sent
    model = document(done, G, "output_model")
    return output(done, G, "train_output_data"), output(applied, G, "test_output_data"), model


@pytest.mark.parametrize("drop", [None, "first", "IF_BINARY"])
def test_columns_equal_scikit_learns(tmp_path: Path, drop: str | None) -> None:
    train, test, model = encoded(tmp_path, transform_col_names=["kind", "sex"], drop=drop)
    reference = OneHotEncoder(drop=drop and drop.lower(), sparse_output=False)
    want = reference.fit_transform(np.column_stack([KIND, SEX])[:40])
    later = reference.transform(np.column_stack([KIND, SEX])[40:])
    assert train.schema.features.index("age") == (4 if drop == "first" else 5)
    coded = [j for j, name in enumerate(train.schema.features) if name != "age"]
    np.testing.assert_array_equal(train.features[:, coded], want)
    np.testing.assert_array_equal(test.features[:, coded], later)
    np.testing.assert_array_equal(train.features[:, train.schema.features.index("age")], AGE[:40])
    assert model["meta"]["model_type"] == "one_hot_encoder"


def test_a_column_becomes_one_for_each_value_in_its_place(tmp_path: Path) -> None:
    train, test, model = encoded(tmp_path, transform_col_indexes=[0])
    header = ("kind_-2", "kind_-1", "kind_0", "kind_1", "kind_2", "age", "sex")
    assert train.schema.features == test.schema.features == header
    assert model["data"]["col_map"]["kind"]["values"] == [-2, -1, 0, 1, 2]
    assert model["data"]["result_header"] == list(header)
    assert train.label is not None
    summary = document(task("one_hot_encoder", _seat(tmp_path, transform_col_indexes=[0]), tmp_path / "again"), G)
    assert summary == {"original_dimension": 3, "transferred_dimension": 7}


def _seat(folder: Path, one: Table | None = None, **params: object) -> dict[Any, Seat]:
    one = rows(slice(40)) if one is None else one
    return {G: Seat(params, {"train_data": saved(folder, "seat", one)})}


def test_which_columns_are_encoded() -> None:
    whole = table(["a", "b"], {"x": [1, 2], "y": [3, 3], "z": [5, 6]})
    for params, want in (
        ({}, ["x", "y", "z"]),
        ({"transform_col_indexes": None, "transform_col_names": None}, ["x", "y", "z"]),
        ({"transform_col_names": ["z"]}, ["z"]),
        ({"transform_col_indexes": [1], "transform_col_names": ["x", "y"]}, ["y", "x"]),
        ({"transform_col_indexes": []}, []),
        ({"transform_col_names": ["guest_10000_x2"], "use_anonymous": True}, ["z"]),
    ):
        assert list(fit(whole, OneHotEncoderParams.model_validate(params), G).col_map) == want


def test_what_the_training_did_not_have_is_zero_or_refused() -> None:
    known, other = table(["a", "b"], {"x": [1, 2]}), table(["c", "d"], {"x": [3, float("nan")]})
    assert transform(other, fit(known, OneHotEncoderParams(), G)).features.tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="'x' holds a category that the training did not have"):
        transform(other, fit(known, OneHotEncoderParams(handle_unknown="error"), G))
    with pytest.raises(DataError, match="lacks the model's feature 'x'"):
        transform(table(["a"], {"y": [1]}), fit(known, OneHotEncoderParams(), G))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1], "no whole number"),
        ([float("nan"), 1], "feature_imputation"),
        ([float("inf"), 1], "no whole number"),
        (list(range(MOST_CATEGORIES + 1)), "more than 1024 values"),
    ],
)
def test_what_is_no_category_is_refused(values: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(table([str(i) for i in range(len(values))], {"x": values}), OneHotEncoderParams(), G)


def test_no_two_columns_get_one_name() -> None:
    with pytest.raises(DataError, match="called 'x_1'"):
        fit(table(["a"], {"x": [1], "x_1": [0]}), OneHotEncoderParams(transform_col_names=("x",)), G)
    with pytest.raises(DataError, match="beyond the table's 1"):
        fit(table(["a"], {"x": [1]}), OneHotEncoderParams(transform_col_indexes=(1,)), G)


def test_tables_without_rows_and_without_columns(tmp_path: Path) -> None:
    done = task("one_hot_encoder", _seat(tmp_path, table([], {"x": []})), tmp_path / "rows")
    assert output(done, G, "train_output_data").features.shape == (0, 0)
    done = task("one_hot_encoder", _seat(tmp_path, table(["a"], {})), tmp_path / "columns")
    assert output(done, G, "train_output_data").features.shape == (1, 0)


def test_a_party_that_need_not_run_gives_its_tables_out_as_they_came(tmp_path: Path) -> None:
    train, test, model = encoded(tmp_path, need_run=False)
    assert train.schema.features == test.schema.features == ("kind", "age", "sex")
    assert model["data"] == {}
    assert model["meta"]["need_run"] is False


@pytest.mark.parametrize("written", ['{"meta": {"model_type": "feature_scale"}}', "{}", '{"meta": 1}'])
def test_a_foreign_model_is_refused(tmp_path: Path, written: str) -> None:
    (tmp_path / "model.json").write_text(written)
    inputs = {"test_data": saved(tmp_path, "in", rows(slice(3))), "input_model": tmp_path / "model"}
    with pytest.raises(ExceptionGroup) as caught:
        task("one_hot_encoder", {G: Seat(inputs=inputs)}, tmp_path, stage="predict")
    assert caught.group_contains(TaskFailed, match="not one of one_hot_encoder")


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"meta": {"model_type": "one_hot_encoder"}, "data": {"col_map": 3}}')
    inputs = {"test_data": saved(tmp_path, "in", rows(slice(3))), "input_model": tmp_path / "model"}
    with pytest.raises(ExceptionGroup) as caught:
        task("one_hot_encoder", {G: Seat(inputs=inputs)}, tmp_path, stage="predict")
    assert caught.group_contains(TaskFailed, match="train it again")


@pytest.mark.parametrize("bad", [{"drop": "last"}, {"transform_col_indexes": -2}, {"transform_col_indexes": [-1]}])
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OneHotEncoderParams.model_validate(bad)
