"""coordinated_poisson as a task: exposure, means, deviance, prediction, warm start, several hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance, mean_squared_error

from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import Address
from tests.components.tables import H2, A, G, H, document, output, saved, table
from tests.conformance.examples import InsecurePoissonParams

COMPONENT = replace(COMPONENTS["coordinated_poisson"], params=InsecurePoissonParams)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(13)
X = RANDOM.normal(size=(120, 5)) / 2
EXPOSURE = RANDOM.uniform(0.5, 3, 120)
Y = RANDOM.poisson(EXPOSURE * np.exp(X @ np.array([0.5, -0.4, 0.6, 0.2, -0.3]) + 0.5)).astype(np.float64)
COLUMNS = {G: slice(0, 2), H: slice(2, 4), H2: slice(4, 5)}
PARAMS: dict[str, Any] = {
    "epochs": 16,
    "tol": 0,
    "exposure_colname": "years",
    "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.2, "optimizer_params": {"lr": 0.3, "momentum": 0.3}},
    "init_param": {"method": "zeros"},
}


def part(party: Address, rows: slice = slice(None), *, exposure: Matrix = EXPOSURE) -> Table:
    """Return a party's columns; the guest has the label, and the exposure between its features."""
    names = [f"x{j}" for j in range(COLUMNS[party].start, COLUMNS[party].stop)]
    columns = dict(zip(names, X[rows, COLUMNS[party]].T.tolist(), strict=True))
    if party == G:
        columns = {"x0": columns["x0"], "years": exposure[rows].tolist(), "x1": columns["x1"]}
    return table([f"u{i:03d}" for i in range(120)][rows], columns, Y[rows].tolist() if party == G else None)


def run(
    folder: Path,
    tables: Mapping[str, Mapping[Address, Table]],
    params: Mapping[str, Any] = PARAMS,
    *,
    models: Mapping[str, TaskRun] | None = None,
    stage: Stage = "train",
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
    return asyncio.run(simulate_task(COMPONENT, seats, folder / "out", stage=stage))


def of(*parties: Address, rows: slice = slice(None)) -> dict[Address, Table]:
    return {party: part(party, rows) for party in parties or (G, H)}


@pytest.mark.parametrize("parties", [(G, H), (G, H, H2)])
def test_it_predicts_as_scikit_learn_does_on_the_pooled_columns(tmp_path: Path, parties: tuple[Address, ...]) -> None:
    train, held_out = slice(0, 90), slice(90, 120)
    done = run(tmp_path, {"train_data": of(*parties, rows=train), "validate_data": of(*parties, rows=held_out)})
    e, columns = EXPOSURE[train], X[:, : 4 if len(parties) == 2 else 5]
    pooled = PoissonRegressor(alpha=0.2 / float(e.mean()), tol=1e-8, max_iter=1000)
    pooled.fit(columns[train], Y[train] / e, sample_weight=e)
    rows = output(done, G, "train_output_data")
    assert len(rows) == 120
    np.testing.assert_allclose(rows.features[:, 0], EXPOSURE * pooled.predict(columns), rtol=0.02)
    metric = document(done, G)
    ours, theirs = (metric["validate"], EXPOSURE[held_out] * pooled.predict(columns[held_out]))
    assert ours["mean_poisson_deviance"] == pytest.approx(mean_poisson_deviance(Y[held_out], theirs), rel=0.01)
    assert ours["rmse"] == pytest.approx(mean_squared_error(Y[held_out], theirs) ** 0.5, rel=0.01)
    assert ("validate_mean_poisson_deviance", 0) in done.reports[G].metrics
    assert metric["loss"][-1] < metric["loss"][0]


def test_the_exposure_is_no_feature_of_the_model_and_predictions_take_it(tmp_path: Path) -> None:
    short = PARAMS | {"epochs": 2}
    first = run(tmp_path / "1", {"train_data": of()}, short)
    guest, host = (document(first, party, "output_model") for party in (G, H))
    assert guest["data"]["estimator"]["header"] == ["x0", "x1"]
    assert guest["meta"]["exposure_colname"] == "years"
    assert "exposure_colname" not in host["meta"]
    twice = {G: part(G, exposure=2 * EXPOSURE), H: part(H)}
    again = run(tmp_path / "p", {"test_data": twice}, {}, models={"input_model": first}, stage="predict")
    scored = output(first, G, "train_output_data").features[:, 0]
    np.testing.assert_allclose(output(again, G, "test_output_data").features[:, 0], 2 * scored, rtol=1e-6)
    second = run(tmp_path / "2", {"train_data": of()}, short, models={"warm_start_model": first})
    whole = run(tmp_path / "3", {"train_data": of()}, PARAMS | {"epochs": 4})
    after, straight = (document(done, G, "output_model")["data"]["estimator"]["param"] for done in (second, whole))
    assert after == straight


def test_without_exposure_every_row_has_one(tmp_path: Path) -> None:
    rows = of()
    rows[G] = rows[G].with_features(("x0", "x1"), X[:, :2])
    short = {name: value for name, value in PARAMS.items() if name != "exposure_colname"} | {"epochs": 1}
    done = run(tmp_path, {"train_data": rows}, short)
    x = np.column_stack([X[:, :4], np.ones(120)])
    w = 0.3 * x.T @ (Y - 1) / 120
    np.testing.assert_allclose(output(done, G, "train_output_data").features[:, 0], np.exp(x @ w), rtol=1e-5)


@pytest.mark.parametrize("years", [np.full(120, -1.0), np.full(120, np.nan)])
def test_tables_without_a_sound_exposure_are_refused(tmp_path: Path, years: Matrix) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "a", {"train_data": of()}, PARAMS | {"exposure_colname": "age"})
    assert caught.group_contains(DataError, match="exposure_colname names 'age'")
    done = run(tmp_path / "1", {"train_data": of()}, PARAMS | {"epochs": 1})
    bad = {G: part(G, exposure=years), H: part(H)}
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "b", {"test_data": bad}, {}, models={"input_model": done}, stage="predict")
    assert caught.group_contains(DataError, match="exposure is missing")


def test_a_mean_that_no_number_holds_is_refused_and_none_is_no_deviance(tmp_path: Path) -> None:
    done = run(tmp_path / "1", {"train_data": of()}, PARAMS | {"epochs": 1})
    far = of()
    far[H] = far[H].with_features(("x2", "x3"), 1e5 * X[:, 2:4])
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "f", {"test_data": far}, {}, models={"input_model": done}, stage="predict")
    assert caught.group_contains(DataError, match="beyond all numbers")
    none = {G: part(G, exposure=np.zeros(120)), H: part(H)}
    quiet = run(tmp_path / "z", {"test_data": none}, {}, models={"input_model": done}, stage="predict")
    assert "mean_poisson_deviance" not in document(quiet, G)
    assert set(output(quiet, G, "test_output_data").features[:, 0].tolist()) == {0.0}
