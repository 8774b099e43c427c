"""feature_scale as a task, against scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from partyd.components.feature_scale import FeatureScaleParams
from partyd.components.simulate import Seat
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from tests.components.tables import G, document, output, saved, table, task

X = np.random.default_rng(2).normal(3, 2, (40, 3))
ROWS = table([str(i) for i in range(30)], {f"x{j}": X[:30, j].tolist() for j in range(3)}, [0, 1] * 15)
OTHERS = table([str(i) for i in range(10)], {f"x{j}": X[30:, j].tolist() for j in (2, 0, 1)})


def scaled(folder: Path, **params: object) -> tuple[Table, Table, dict[str, Any]]:
    """Return the training rows, others scaled in the stage predict, and the model."""
    train, test = saved(folder, "train", ROWS), saved(folder, "test", OTHERS)
    done = task("feature_scale", {G: Seat(params, {"train_data": train})}, folder / "fit", stage="train")
    inputs = {"test_data": test, "input_model": done.outputs[G] / "output_model"}
    applied = task("feature_scale", {G: Seat({}, inputs)}, folder / "apply", stage="predict")
    assert not done.transcript.sent
    return (
        output(done, G, "train_output_data"),
        output(applied, G, "test_output_data"),
        document(done, G, "output_model"),
    )


def test_standard_equals_scikit_learn(tmp_path: Path) -> None:
    train, test, model = scaled(tmp_path, method="standard", scale_col=None, scale_idx=None)
    reference = StandardScaler().fit(X[:30])
    np.testing.assert_allclose(train.features, reference.transform(X[:30]))
    np.testing.assert_allclose(test.features[:, [1, 2, 0]], reference.transform(X[30:]))
    assert model["meta"] == {"method": "standard", "model_type": "feature_scale"}
    info = model["data"]["scaler_info"]
    assert info["mean"] == pytest.approx(dict(zip(("x0", "x1", "x2"), reference.mean_, strict=True)))
    assert info["select_col"] == ["x0", "x1", "x2"]
    assert info["std_dtype"] == "float64"


@pytest.mark.parametrize("strict", [True, False])
def test_min_max_equals_scikit_learn(tmp_path: Path, strict: bool) -> None:
    params = {"method": "MIN_MAX", "feature_range": [-1, 2], "strict_range": strict}
    train, test, model = scaled(tmp_path, **params)
    reference = MinMaxScaler((-1, 2), clip=strict).fit(X[:30])
    np.testing.assert_allclose(train.features, reference.transform(X[:30]), atol=1e-12)
    np.testing.assert_allclose(test.features[:, [1, 2, 0]], reference.transform(X[30:]), atol=1e-12)
    assert model["data"]["scaler_info"]["strict_range"] is strict


def test_chosen_columns_have_ranges_of_their_own_and_the_others_stay(tmp_path: Path) -> None:
    params = {"method": "min_max", "feature_range": {"x0": [-1, 1]}, "scale_idx": [0, 2]}
    train, _, _ = scaled(tmp_path, **params)
    assert (train.features[:, 0].min(), train.features[:, 0].max()) == pytest.approx((-1, 1))
    assert (train.features[:, 2].min(), train.features[:, 2].max()) == pytest.approx((0, 1))
    np.testing.assert_array_equal(train.features[:, 1], X[:30, 1])


def test_columns_by_the_names_that_others_see(tmp_path: Path) -> None:
    train, _, _ = scaled(tmp_path, scale_col=["guest_10000_x1"], use_anonymous=True)
    assert train.features[:, 1].mean() == pytest.approx(0)
    np.testing.assert_array_equal(train.features[:, 0], X[:30, 0])


def test_missing_values_stay_missing_and_a_constant_becomes_its_lower_end(tmp_path: Path) -> None:
    rows = table(["a", "b", "c"], {"x": [1, float("nan"), 3], "constant": [5, 5, 5]})
    inputs = {"train_data": saved(tmp_path, "in", rows)}
    for method, constant in (("standard", 0.0), ("min_max", 0.0)):
        done = task("feature_scale", {G: Seat({"method": method}, inputs)}, tmp_path / method, stage="train")
        features = output(done, G, "train_output_data").features
        assert np.isnan(features[1, 0])
        assert features[:, 1].tolist() == [constant] * 3


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_the_halves_of_standard_equal_scikit_learns(tmp_path: Path, with_mean: bool, with_std: bool) -> None:
    train, test, _ = scaled(tmp_path, with_mean=with_mean, with_std=with_std)
    reference = StandardScaler(with_mean=with_mean, with_std=with_std).fit(X[:30])
    np.testing.assert_allclose(train.features, reference.transform(X[:30]))
    np.testing.assert_allclose(test.features[:, [1, 2, 0]], reference.transform(X[30:]))


@pytest.mark.parametrize(
    ("params", "low", "high"),
    [
        ({"feat_lower": 1, "feat_upper": 4.5}, [1, 1, 1], [4.5, 4.5, 4.5]),
        ({"feat_upper": [5, 4, 3]}, [-np.inf] * 3, [5, 4, 3]),
        ({"mode": "CAP", "feat_lower": 0.1, "feat_upper": 0.8}, *np.quantile(X[:30], [0.1, 0.8], axis=0)),
        ({"mode": "cap"}, X[:30].min(0), X[:30].max(0)),
    ],
)
def test_values_are_cut_off_at_bounds(tmp_path: Path, params: dict[str, object], low: Any, high: Any) -> None:
    for method, scaler in (("standard", StandardScaler()), ("min_max", MinMaxScaler(clip=True))):
        train, test, model = scaled(tmp_path / method, method=method, **params)
        reference = scaler.fit(np.clip(X[:30], low, high))
        np.testing.assert_allclose(train.features, reference.transform(np.clip(X[:30], low, high)), atol=1e-12)
        later = reference.transform(np.clip(X[30:], low, high))
        np.testing.assert_allclose(test.features[:, [1, 2, 0]], later, atol=1e-12)
        assert set(model["data"]["scaler_info"]) >= {"column_lower", "column_upper"}


def test_a_column_that_is_constant_but_for_rounding_is_not_blown_up(tmp_path: Path) -> None:
    rows = table([str(i) for i in range(30)], {"x": [0.1] * 30})
    done = task("feature_scale", {G: Seat({}, {"train_data": saved(tmp_path, "in", rows)})}, tmp_path, stage="train")
    np.testing.assert_allclose(output(done, G, "train_output_data").features, 0, atol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [
        {"mode": "cap", "feat_upper": 2},
        {"mode": "cap", "feat_lower": 0.5, "feat_upper": 0.5},
        {"mode": "cap", "feat_lower": [0.1]},
        {"mode": "clip"},
        {"feat_upper": float("nan")},
        {"method": "robust"},
        {"scale_col": ["x"], "scale_idx": [0]},
        {"feature_range": [1, 1]},
        {"feature_range": {"x": [2, 1]}},
        {"feature_range": [0, 1, 2]},
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FeatureScaleParams.model_validate(bad)
    assert FeatureScaleParams.model_validate({"feature_range": None}).feature_range == (0.0, 1.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"scale_col": ["nope"]}, "scale_col names 'nope'"),
        ({"scale_idx": [3]}, "beyond the table's 3"),
        ({"feat_lower": [1, 2]}, "feat_lower has 2 values for 3 columns"),
        ({"feat_lower": 2, "feat_upper": 1}, "feat_lower is above feat_upper"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, params: dict[str, object], message: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        scaled(tmp_path, **params)
    assert caught.group_contains(DataError, match=message)


def test_columns_without_values_and_foreign_models_are_refused(tmp_path: Path) -> None:
    empty = saved(tmp_path, "empty", table(["a"], {"x": [float("nan")]}))
    with pytest.raises(ExceptionGroup) as caught:
        task("feature_scale", {G: Seat(inputs={"train_data": empty})}, tmp_path, stage="train")
    assert caught.group_contains(DataError, match="no finite values")
    (tmp_path / "model.json").write_text('{"meta": {"model_type": "statistics"}}')
    inputs = {"test_data": empty, "input_model": tmp_path / "model"}
    with pytest.raises(ExceptionGroup) as caught:
        task("feature_scale", {G: Seat(inputs=inputs)}, tmp_path, stage="predict")
    assert caught.group_contains(TaskFailed, match="not one of feature_scale")
