"""coordinated_linr as a task: train, validate, predict, warm start, folds; on FATE's motor data as good as FATE."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import TaskFailed
from partyd.federation.simulate import Faults
from partyd.types import Address
from tests.components.tables import H2, A, G, H, document, output, saved, table
from tests.conformance.examples import InsecureLinrParams
from tests.conftest import SHARED_DATA

COMPONENT = replace(COMPONENTS["coordinated_linr"], params=InsecureLinrParams)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(12)
X = RANDOM.normal(size=(90, 5))
Y = X.sum(axis=1) + 2 + 0.1 * RANDOM.normal(size=90)
COLUMNS = {G: slice(0, 2), H: slice(2, 4), H2: slice(4, 5)}
PARAMS: dict[str, Any] = {
    "epochs": 3,
    "tol": 0,
    "optimizer": {"method": "SGD", "penalty": "L2", "alpha": 0.01, "optimizer_params": {"lr": 0.3}},
    "init_param": {"method": "zeros", "fit_intercept": True},
}


def part(party: Address, rows: slice = slice(None), **more: Any) -> Table:
    """Return a party's columns; the guest has the label."""
    names = [f"x{j}" for j in range(COLUMNS[party].start, COLUMNS[party].stop)]
    cut = X[rows, COLUMNS[party]].T.tolist()
    label = Y[rows].tolist() if party == G else None
    return table([f"u{i:02d}" for i in range(90)][rows], dict(zip(names, cut, strict=True)), label, **more)


def run(
    folder: Path,
    tables: Mapping[str, Mapping[Address, Table]],
    params: Mapping[str, Any] = PARAMS,
    *,
    models: Mapping[str, TaskRun] | None = None,
    stage: Stage = "train",
    **more: Any,
) -> TaskRun:
    """Run with tables by port and models by port; the arbiter takes part."""
    seats = {}
    for party in [*sorted({party for rows in tables.values() for party in rows}, key=str), A]:
        inputs = {
            port: saved(folder, f"{port}-{party.party_id}", rows[party])
            for port, rows in tables.items()
            if party in rows
        }
        inputs |= {port: done.outputs[party] / "output_model" for port, done in (models or {}).items()}
        seats[party] = Seat(params, inputs)
    return asyncio.run(simulate_task(COMPONENT, seats, folder / "out", stage=stage, **more))


def both(rows: slice = slice(None), **more: Any) -> dict[Address, Table]:
    return {G: part(G, rows, **more), H: part(H, rows)}


def descended(x: Matrix, y: Matrix, epochs: int, weight: Matrix | None = None) -> Matrix:
    """The same descent on pooled rows, with numpy alone."""
    x, heavy = np.column_stack([x, np.ones(len(x))]), np.ones(len(x)) if weight is None else weight
    w, shrink = np.zeros(x.shape[1]), 0.01 * np.append(np.ones(x.shape[1] - 1), 0)
    for _ in range(epochs):
        w = w - 0.3 * (x.T @ (heavy * (x @ w - y)) / len(x) + shrink * w)
    return w


def weights(done: TaskRun, *parties: Address) -> Matrix:
    """Return the weights in the order of the columns, the intercept last."""
    found, intercept = list[float](), list[float]()
    for party in parties or (G, H):
        param = document(done, party, "output_model")["data"]["estimator"]["param"]
        found += [row[0] for row in param["coef_"]]
        intercept += param["intercept_"] or []
    return np.array(found + intercept)


def test_the_model_and_the_numbers_have_fates_shape(tmp_path: Path) -> None:
    train, held_out = slice(0, 60), slice(60, 90)
    done = run(tmp_path, {"train_data": both(train), "validate_data": both(held_out)})
    want = descended(X[train, :4], Y[train], 3)
    np.testing.assert_allclose(weights(done), want, atol=1e-5)
    guest, host, arbiter = (document(done, party, "output_model") for party in (G, H, A))
    assert guest["meta"]["model_type"] == "coordinated_linr"
    assert not {"labels", "ovr", "threshold", "exposure_colname"} & set(guest["meta"])
    assert (guest["data"]["estimator"]["header"], arbiter["data"]) == (["x0", "x1"], {"estimator": {}})
    assert host["data"]["estimator"]["param"]["intercept_"] is None
    rows = output(done, G, "train_output_data")
    z = np.column_stack([X[:, :4], np.ones(90)]) @ want
    np.testing.assert_allclose(rows.features[:, 0], z, atol=1e-4)
    np.testing.assert_array_equal(rows.features[:, 0], rows.features[:, 1])
    assert next(iter(csv_lines(rows))) == "id,label,predict_score,predict_result,predict_detail,type\n"
    metric = document(done, G)
    assert len(metric["loss"]) == 3
    validated = metric["validate"]
    predicted = rows.features[60:, 0]
    assert validated["rmse"] == pytest.approx(mean_squared_error(Y[held_out], predicted) ** 0.5)
    assert validated["mae"] == pytest.approx(mean_absolute_error(Y[held_out], predicted))
    assert validated["r2"] == pytest.approx(r2_score(Y[held_out], predicted))
    assert done.reports[G].metrics["validate_rmse", 0] == validated["rmse"]
    assert not (done.outputs[H] / "train_output_data").exists()


def test_prediction_and_warm_start_go_on_from_the_model(tmp_path: Path) -> None:
    first = run(tmp_path / "1", {"train_data": both()})
    again = run(tmp_path / "p", {"test_data": both()}, {}, models={"input_model": first}, stage="predict")
    scored = output(first, G, "train_output_data").features[:, 0]
    np.testing.assert_allclose(output(again, G, "test_output_data").features[:, 0], scored, atol=1e-9)
    assert not again.transcript.select(to=A)
    nobody = both()
    nobody[G] = replace(nobody[G], label=None)
    silent = run(tmp_path / "n", {"test_data": nobody}, {}, models={"input_model": first}, stage="predict")
    assert document(silent, G) == {}
    second = run(tmp_path / "2", {"train_data": both()}, models={"warm_start_model": first})
    whole = run(tmp_path / "3", {"train_data": both()}, PARAMS | {"epochs": 6})
    np.testing.assert_array_equal(weights(second), weights(whole))
    (first.outputs[G] / "output_model.json").write_text('{"meta": {"model_type": "coordinated_lr"}}')
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "f", {"test_data": both()}, models={"input_model": first}, stage="predict")
    assert caught.group_contains(TaskFailed, match="not one of coordinated_linr")


def test_folds_are_trained_and_judged_in_turn(tmp_path: Path) -> None:
    done = run(tmp_path, {"cv_data": both()}, PARAMS | {"cv_param": {"n_splits": 3}}, stage="cross_validation")
    metric = document(done, G)
    for i in range(3):
        held = slice(30 * i, 30 * (i + 1))
        keep = np.r_[0 : held.start, held.stop : 90]
        z = np.column_stack([X[held, :4], np.ones(30)]) @ descended(X[keep, :4], Y[keep], 3)
        np.testing.assert_allclose(output(done, G, f"cv_output_datas/{i}").features[60:, 0], z, atol=1e-4)
        assert metric[f"fold_{i}"]["validate"]["mse"] == pytest.approx(mean_squared_error(Y[held], z), rel=1e-4)
    assert ("fold_2_loss", 2) in done.reports[G].metrics


def test_several_hosts_and_heavy_rows(tmp_path: Path) -> None:
    heavy = np.linspace(0.5, 2, 90)
    rows = {G: part(G, weight=heavy.tolist()), H: part(H), H2: part(H2)}
    done = run(tmp_path, {"train_data": rows}, faults=Faults(duplicate=0.3, reorder=True, crash=(H, 6)))
    np.testing.assert_allclose(weights(done, G, H, H2), descended(X, Y, 3, heavy), atol=1e-5)


def motor(name: str, label: str | None) -> Table:
    with (SHARED_DATA / name).open() as file:
        rows = list(csv.DictReader(file))
    columns = {key: [float(row[key]) for row in rows] for key in rows[0] if key not in ("idx", label)}
    return table([row["idx"] for row in rows], columns, [float(row[label]) for row in rows] if label else None)


@pytest.mark.needs("shared-data")
def test_on_motor_it_is_as_good_as_fate_and_its_local_model(tmp_path: Path) -> None:
    """With FATE's own settings: FATE publishes a root mean squared error of 0.3140, of its local model 0.3126."""
    given = {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.13}}
    params = {"epochs": 6, "batch_size": 100, "optimizer": given, "init_param": {"method": "zeros"}}
    rows = {G: motor("motor_hetero_guest.csv", "motor_speed"), H: motor("motor_hetero_host.csv", None)}
    done = run(tmp_path, {"train_data": rows}, params)
    rmse = document(done, G)["rmse"]
    assert rmse < 1.01 * 0.3126
    x, y = np.column_stack([rows[G].features, rows[H].features]), np.asarray(rows[G].label)
    assert rmse > mean_squared_error(y, LinearRegression().fit(x, y).predict(x)) ** 0.5
