"""feature_imputation as a task, against scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.impute import SimpleImputer

from partyd.components.feature_imputation import FeatureImputationParams, Imputation, fit, transform
from partyd.components.simulate import Seat
from partyd.data.table import Table
from partyd.errors import DataError
from tests.components.tables import G, H, document, output, saved, table, task

NAN = float("nan")
X = np.random.default_rng(6).normal(5, 2, (50, 3)).round(1)
X[np.random.default_rng(7).random(X.shape) < 0.2] = NAN
NAMES = ("x0", "x1", "x2")


def rows(part: slice) -> Table:
    return table([str(i) for i in range(50)][part], {n: X[part, j].tolist() for j, n in enumerate(NAMES)})


def learned(one: Table, **params: object) -> Imputation:
    return fit(one, FeatureImputationParams.model_validate(params), G)


@pytest.mark.parametrize(
    ("method", "strategy"), [("mean", "mean"), ("MEDIAN", "median"), ("designated", "constant"), (None, "constant")]
)
def test_filled_tables_equal_scikit_learns(tmp_path: Path, method: str | None, strategy: str) -> None:
    train, test = saved(tmp_path, "train", rows(slice(30))), saved(tmp_path, "test", rows(slice(30, 50)))
    params = {"missing_fill_method": method, "default_value": -1}
    done = task("feature_imputation", {G: Seat(params, {"train_data": train})}, tmp_path / "fit", stage="train")
    inputs = {"test_data": test, "input_model": done.outputs[G] / "output_model"}
    applied = task("feature_imputation", {G: Seat({}, inputs)}, tmp_path / "apply", stage="predict")
    reference = SimpleImputer(strategy=strategy, fill_value=-1 if strategy == "constant" else None).fit(X[:30])
    np.testing.assert_allclose(output(done, G, "train_output_data").features, reference.transform(X[:30]))
    np.testing.assert_allclose(output(applied, G, "test_output_data").features, reference.transform(X[30:]))
    summary = document(done, G)
    assert summary["missing_impute_value"] == pytest.approx(dict(zip(NAMES, reference.statistics_, strict=True)))
    assert summary["missing_impute_rate"] == pytest.approx(dict(zip(NAMES, np.isnan(X[:30]).mean(0), strict=True)))
    assert summary["skip_cols"] == []
    assert not done.transcript.sent


def test_the_extremes_are_those_of_the_known_values() -> None:
    found = learned(rows(slice(50)), missing_fill_method="min", col_missing_fill_method={"x1": "max"})
    want = {"x0": np.nanmin(X[:, 0]), "x1": np.nanmax(X[:, 1]), "x2": np.nanmin(X[:, 2])}
    assert found.missing_replace_value == pytest.approx(want)
    assert found.cols_replace_method == {"x0": "min", "x1": "max", "x2": "min"}


def test_only_the_named_columns_are_filled_when_there_is_no_method_for_the_others() -> None:
    one = table(["a", "b"], {"x": [NAN, 1], "y": [NAN, 2], "z": [NAN, 3]})
    found = learned(one, col_missing_fill_method={"x": "Mean", "z": "designated"}, default_value=[7, 8, 9])
    np.testing.assert_array_equal(transform(one, found).features, [[1, NAN, 9], [1, 2, 3]])
    assert found.skip_cols == ("y",)
    anonymous = learned(one, col_missing_fill_method={"guest_10000_x1": "mean"}, use_anonymous=True)
    assert anonymous.missing_replace_value == {"y": 2.0}


def test_numbers_that_stand_for_a_missing_value() -> None:
    one = table(["a", "b", "c", "d"], {"x": [-999, 1, 3, NAN]})
    found = learned(one, missing_fill_method="mean", missing_impute=[-999, "", "null", "NaN", NAN, None])
    assert found.missing_value == (-999.0,)
    assert transform(one, found).features[:, 0].tolist() == [2, 1, 3, 2]
    assert found.missing_value_ratio == {"x": 0.5}
    assert learned(table([], {"x": []}), default_value=3).missing_value_ratio == {"x": 0.0}


def test_each_party_fills_its_own_and_may_leave_it(tmp_path: Path) -> None:
    one = saved(tmp_path, "in", table(["a"], {"x": [NAN]}))
    seats = {G: Seat({}, {"train_data": one}), H: Seat({"need_run": False}, {"train_data": one, "test_data": one})}
    done = task("feature_imputation", seats, tmp_path, stage="train")
    assert output(done, G, "train_output_data").features.tolist() == [[0]]
    assert np.isnan(output(done, H, "train_output_data").features[0, 0])
    assert np.isnan(output(done, H, "test_output_data").features[0, 0])
    assert not (done.outputs[H] / "metric.json").exists()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"missing_fill_method": "mean"}, "'y' has no finite values to take the mean of"),
        ({"default_value": [1]}, "1 values for 2 columns"),
        ({"col_missing_fill_method": {"q": "min"}}, "col_missing_fill_method names 'q'"),
    ],
)
def test_what_cannot_be_filled_is_said(params: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        learned(table(["a"], {"x": [1], "y": [NAN]}), **params)
    with pytest.raises(DataError, match="lacks the model's feature 'y'"):
        transform(table(["a"], {"x": [1]}), learned(table(["a"], {"y": [1]})))


@pytest.mark.parametrize(
    "bad",
    [
        {"missing_fill_method": "mode"},
        {"col_missing_fill_method": {"x": "mode"}},
        {"default_value": "high"},
        {"default_value": NAN},
        {"missing_impute": ["unknown"]},
        {"missing_impute": -1},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeatureImputationParams.model_validate(bad)
