"""homo_lr as a task: train, validate, predict at each party, warm start, classes, floors, the model's shape."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from partyd.algorithms.linear_model import probability
from partyd.algorithms.metrics import auc
from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.homo_lr_model import HomoLrModel
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.federation.simulate import Faults
from partyd.types import Address
from tests.components.tables import H2, A, G, H, document, output, saved, table

Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(120, 3))
Y = (X @ [1.0, -1.0, 2.0] + RANDOM.normal(size=120) > 0).astype(np.float64)
CUTS = {G: slice(0, 60), H: slice(60, 100), H2: slice(100, 120)}
PARAMS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": -1,
    "tol": 0,
    "optimizer": {"method": "SGD", "penalty": "L2", "alpha": 0.01, "optimizer_params": {"lr": 0.5}},
    "init_param": {"method": "zeros", "fit_intercept": True},
}


def part(party: Address, names: str = "abc", *, label: Matrix | None = Y, rows: Matrix = X, **more: Any) -> Table:
    """Return a party's rows, their columns in the order of ``names``."""
    cut, ids = rows[CUTS[party]], [f"u{i:03d}" for i in range(len(rows))][CUTS[party]]
    columns = {name: cut[:, "abc".index(name)].tolist() for name in names}
    return table(ids, columns, None if label is None else label[CUTS[party]].tolist(), **more)


def run(
    folder: Path,
    tables: Mapping[str, Mapping[Address, Table]],
    params: Mapping[str, Any] = PARAMS,
    *,
    models: Mapping[str, TaskRun] | None = None,
    stage: Stage = "train",
    limits: Mapping[Address, Limits] | None = None,
    **more: Any,
) -> TaskRun:
    """Run with tables by port and models by port, at guest, host and arbiter."""
    seats = {}
    parties = sorted({party for rows in tables.values() for party in rows}, key=str)
    for party in (*parties, A):
        inputs = {
            port: saved(folder, f"{port}-{party.party_id}", rows[party])
            for port, rows in tables.items()
            if party in rows
        }
        if party != A:
            inputs |= {port: done.outputs[party] / "output_model" for port, done in (models or {}).items()}
        seats[party] = Seat(params, inputs, limits=(limits or {}).get(party, Limits()))
    return asyncio.run(simulate_task(COMPONENTS["homo_lr"], seats, folder / "out", stage=stage, **more))


def both(**more: Any) -> dict[Address, Table]:
    return {G: part(G, **more), H: part(H, **more)}


def weights(done: TaskRun, party: Address = G) -> Matrix:
    """Return the weights in the order of the header, the intercept last."""
    state = document(done, party, "output_model")["data"]["model"]["state_dict"]
    return np.array([*state["models.0.weight"][0], *state["models.0.bias"]])


def descended(rows: slice, epochs: int) -> Matrix:
    x, y, w = np.column_stack([X, np.ones(120)])[rows], Y[rows], np.zeros(4)
    for _ in range(epochs):
        w = w - 0.5 * (x.T @ (probability(x @ w) - y) / len(x) + 0.01 * w * [1, 1, 1, 0])
    return w


def test_every_party_has_the_model_and_its_own_rows_scored(tmp_path: Path) -> None:
    tables = {"train_data": {G: part(G), H: part(H, "cab")}, "validate_data": {G: part(H), H: part(G)}}
    done = run(tmp_path, tables)
    want = descended(slice(0, 100), 3)
    for party in (G, H):
        np.testing.assert_allclose(weights(done, party), want, atol=1e-6)
        model = document(done, party, "output_model")
        assert (model["data"]["model"]["feature_num"], model["data"]["model"]["label_num"]) == (3, 1)
        assert model["data"]["model"]["header"] == ["a", "b", "c"]
        assert (model["data"]["end_epoch"], model["data"]["is_converged"]) == (3, False)
        assert (model["meta"]["role"], model["meta"]["label_num"]) == (party.role.label, None)
        rows = output(done, party, "train_output_data")
        own, other = (CUTS[G], CUTS[H]) if party == G else (CUTS[H], CUTS[G])
        z = np.column_stack([X, np.ones(120)]) @ want
        np.testing.assert_allclose(rows.features[:, 0], probability(np.r_[z[own], z[other]]), atol=1e-6)
        assert rows.features[:, 2].tolist() == [0] * len(z[own]) + [1] * len(z[other])
        metric = document(done, party)
        assert metric["auc"] == pytest.approx(auc(Y[own], z[own]))
        assert metric["validate"]["auc"] == pytest.approx(auc(Y[other], z[other]))
        assert len(metric["loss"]) == 3
        assert ("train_auc", 0) in done.reports[party].metrics
        assert next(iter(csv_lines(rows))) == "id,label,predict_score,predict_result,predict_detail,type\n"
    assert not done.outputs[A].exists()


def test_prediction_is_made_at_each_party_by_itself(tmp_path: Path) -> None:
    done = run(tmp_path / "t", {"train_data": both()})
    tables = {G: part(G, "cba", label=None), H: part(H)}
    again = run(tmp_path / "p", {"test_data": tables}, {}, models={"input_model": done}, stage="predict")
    assert not again.transcript.sent
    for party in (G, H):
        scores = output(again, party, "test_output_data").features
        np.testing.assert_allclose(scores[:, 0], output(done, party, "train_output_data").features[:, 0], atol=1e-12)
        assert set(scores[:, 2].tolist()) == {2}
    assert document(again, G) == {}
    assert document(again, H)["auc"] == document(done, H)["auc"]
    one = {G: replace(part(G), label=np.ones(60)), H: part(H)}
    odd = run(tmp_path / "o", {"test_data": one}, {}, models={"input_model": done}, stage="predict")
    assert document(odd, G) == {}
    lacking = {G: part(G, "ab"), H: part(H)}
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "l", {"test_data": lacking}, {}, models={"input_model": done}, stage="predict")
    assert caught.group_contains(DataError, match="lacks the model's feature 'c'")


@pytest.mark.parametrize("method", ["SGD", "adam"])
def test_a_warm_start_goes_on_with_the_models_optimizer_and_schedule(tmp_path: Path, method: str) -> None:
    schedule = {"method": "linear", "scheduler_params": {"start_factor": 0.5, "total_iters": 5}}
    params = PARAMS | {"optimizer": PARAMS["optimizer"] | {"method": method}, "learning_rate_scheduler": schedule}
    first = run(tmp_path / "1", {"train_data": both()}, params | {"epochs": 2, "threshold": 0.7})
    other = {"epochs": 3, "batch_size": -1, "tol": 0}
    second = run(tmp_path / "2", {"train_data": both()}, other, models={"warm_start_model": first})
    whole = run(tmp_path / "3", {"train_data": both()}, params | {"epochs": 5})
    np.testing.assert_array_equal(weights(second), weights(whole))
    model = document(second, G, "output_model")
    assert (model["data"]["end_epoch"], model["meta"]["threshold"]) == (5, 0.7)
    other_columns = {p: part(p, "ab") for p in (G, H)}
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "4", {"train_data": other_columns}, other, models={"warm_start_model": first})
    assert caught.group_contains(DataError, match="differ in c")


def test_three_classes_of_three_parties(tmp_path: Path) -> None:
    data = load_iris()
    order = np.random.default_rng(0).permutation(150)[:120]
    x = ((data.data - data.data.mean(axis=0)) / data.data.std(axis=0))[order][:, [0, 2, 3]]
    y = data.target[order].astype(np.float64)
    tables = {p: part(p, rows=x, label=y) for p in (G, H, H2)}
    params = {
        "ovr": True,
        "label_num": 3,
        "batch_size": 16,
        "epochs": 40,
        "optimizer": {"method": "adam", "optimizer_params": {"lr": 0.3}},
    }
    done = run(tmp_path / "t", {"train_data": tables}, params)
    pooled = OneVsRestClassifier(LogisticRegression(C=10)).fit(x, y)
    assert document(done, G)["accuracy"] >= pooled.score(x[CUTS[G]], y[CUTS[G]]) - 0.05
    model = document(done, H2, "output_model")["data"]["model"]
    assert (model["label_num"], len(model["state_dict"])) == (3, 6)
    rows = output(done, H, "train_output_data")
    assert rows.schema.features[:2] == ("predict_score", "predict_result")
    assert len(rows.schema.features) == 6
    again = run(tmp_path / "p", {"test_data": tables}, {}, models={"input_model": done}, stage="predict")
    want = rows.features[:, :5]
    np.testing.assert_array_equal(output(again, H, "test_output_data").features[:, :5], want)
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "b", {"train_data": tables}, PARAMS)
    assert caught.group_contains(DataError, match="ovr and label_num")


def test_without_an_intercept_the_model_has_none(tmp_path: Path) -> None:
    done = run(tmp_path, {"train_data": both()}, PARAMS | {"init_param": {"fit_intercept": False}})
    model = document(done, G, "output_model")
    assert set(model["data"]["model"]["state_dict"]) == {"models.0.weight"}
    assert HomoLrModel.read(model).progress.w.shape == (1, 3)


def test_row_weights_count(tmp_path: Path) -> None:
    heavy = {p: part(p, weight=(Y[CUTS[p]] * 9 + 1).tolist()) for p in (G, H)}
    weighted, plain = run(tmp_path / "w", {"train_data": heavy}), run(tmp_path / "p", {"train_data": both()})
    assert weights(weighted)[-1] > weights(plain)[-1]
    assert output(weighted, G, "train_output_data").weight is None


@pytest.mark.parametrize(
    ("limits", "stage"),
    [(Limits(min_rows=41), "train"), (Limits(min_batch=41), "train"), (Limits(min_rows=41), "predict")],
)
def test_below_its_floor_a_party_gives_nothing_out(tmp_path: Path, limits: Limits, stage: Stage) -> None:
    done = run(tmp_path / "t", {"train_data": both()}) if stage == "predict" else None
    tables = {"train_data" if stage == "train" else "test_data": both()}
    models = {"input_model": done} if done else None
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path, tables, PARAMS, models=models, stage=stage, limits={H: limits})
    assert caught.group_contains(BelowFloor, match="policy asks for")


def test_a_host_without_labels_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path, {"train_data": {G: part(G), H: part(H, label=None)}})
    assert caught.group_contains(DataError, match="no label column")


def test_a_task_that_dies_goes_on_to_the_same_model(tmp_path: Path) -> None:
    plain = run(tmp_path / "p", {"train_data": both()})
    for party, at in ((G, 12), (H, 20), (A, 9)):
        done = run(tmp_path / f"{party.party_id}{at}", {"train_data": both()}, faults=Faults(crash=(party, at)))
        assert document(done, G, "output_model") == document(plain, G, "output_model")


def test_a_document_of_something_else_is_no_model(tmp_path: Path) -> None:
    model = document(run(tmp_path, {"train_data": both()}), G, "output_model")
    with pytest.raises(TaskFailed, match="not one of homo_lr"):
        HomoLrModel.read({"meta": {"model_type": "coordinated_lr"}})
    moments = {"first": [[0]], "second": [[0]], "steps": 1}
    changes: list[dict[str, Any]] = [{"model": {}}, {"optimizer": moments}, {"end_epoch": "x"}]
    for change in changes:
        with pytest.raises(TaskFailed, match="train it again"):
            HomoLrModel.read(model | {"data": model["data"] | change})
