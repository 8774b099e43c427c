"""coordinated_lr as a task: train, validate, predict, warm start, folds, classes, weights, floors.

Keys are far too short here, for speed, but in the one test that says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

from partyd.algorithms.linear_model import probability
from partyd.algorithms.lr_parameters import FoldParam
from partyd.algorithms.metrics import auc
from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.folds import folds
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.federation.simulate import Faults
from partyd.types import Address
from tests.components.tables import H2, A, G, H, document, output, saved, table, task
from tests.conformance.examples import InsecureLrParams

COMPONENT = replace(COMPONENTS["coordinated_lr"], params=InsecureLrParams)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(11)
X = RANDOM.normal(size=(120, 5))
Y = (X.sum(axis=1) + RANDOM.normal(size=120) > 0).astype(np.float64)
COLUMNS = {G: slice(0, 2), H: slice(2, 4), H2: slice(4, 5)}
PARAMS: dict[str, Any] = {
    "epochs": 3,
    "batch_size": None,
    "tol": 0,
    "optimizer": {"method": "SGD", "penalty": "L2", "alpha": 0.01, "optimizer_params": {"lr": 0.5}},
    "init_param": {"method": "zeros", "fit_intercept": True},
}


def part(party: Address, rows: slice = slice(None), *, label: NDArray[np.float64] = Y, **more: Any) -> Table:
    """Return a party's columns; the guest has the label."""
    cut = X[rows, COLUMNS[party]]
    names = [f"x{j}" for j in range(COLUMNS[party].start, COLUMNS[party].stop)]
    ids = [f"u{i:03d}" for i in range(len(X))][rows]
    columns = {name: column.tolist() for name, column in zip(names, cut.T, strict=True)}
    return table(ids, columns, label[rows].tolist() if party == G else None, **more)


def run(
    folder: Path,
    tables: Mapping[str, Mapping[Address, Table]],
    params: Mapping[str, Any] = PARAMS,
    *,
    models: Mapping[str, TaskRun] | None = None,
    stage: Stage = "train",
    parties: tuple[Address, ...] = (G, H),
    **more: Any,
) -> TaskRun:
    """Run with tables by port and models by port; the arbiter takes part."""
    seats = {}
    for party in (*parties, A):
        inputs = {
            port: saved(folder, f"{port}-{party.party_id}", rows[party])
            for port, rows in tables.items()
            if party in rows
        }
        for port, done in (models or {}).items():
            inputs[port] = done.outputs[party] / "output_model"
        seats[party] = Seat(params, inputs)
    return asyncio.run(simulate_task(COMPONENT, seats, folder / "out", stage=stage, **more))


def both(rows: slice = slice(None), **more: Any) -> dict[Address, Table]:
    return {G: part(G, rows, **more), H: part(H, rows)}


def weights(done: TaskRun, *parties: Address) -> Matrix:
    """Return the weights in the order of the columns, the intercept last."""
    found, intercept = [], []
    for party in parties or (G, H):
        param = document(done, party, "output_model")["data"]["estimator"]["param"]
        found += [row[0] for row in param["coef_"]]
        intercept += param["intercept_"] or []
    return np.array(found + intercept)


def descended(x: Matrix, y: Matrix, epochs: int, weight: Matrix | None = None) -> Matrix:
    """The same descent on pooled rows, with numpy alone."""
    x, signs = np.column_stack([x, np.ones(len(x))]), 2 * y - 1
    w, heavy = np.zeros(x.shape[1]), np.ones(len(x)) if weight is None else weight
    shrink = 0.01 * np.append(np.ones(x.shape[1] - 1), 0)
    for _ in range(epochs):
        w = w - 0.5 * (x.T @ (heavy * (0.25 * (x @ w) - 0.5 * signs)) / len(x) + shrink * w)
    return w


def test_the_model_and_the_scores_have_fates_shape(tmp_path: Path) -> None:
    train, held_out = slice(0, 80), slice(80, 120)
    done = run(tmp_path, {"train_data": both(train), "validate_data": both(held_out)})
    want = descended(X[train, :4], Y[train], 3)
    np.testing.assert_allclose(weights(done), want, atol=1e-5)
    guest, host, arbiter = (document(done, party, "output_model") for party in (G, H, A))
    assert guest["meta"]["labels"] == [0, 1]
    assert (guest["meta"]["ovr"], host["meta"]["labels"], arbiter["data"]) == (False, None, {"estimator": {}})
    estimator = guest["data"]["estimator"]
    assert (estimator["header"], estimator["end_epoch"], estimator["is_converged"]) == (["x0", "x1"], 3, False)
    assert host["data"]["estimator"]["param"]["intercept_"] is None
    rows = output(done, G, "train_output_data")
    z = np.column_stack([X[:, :4], np.ones(120)]) @ want
    np.testing.assert_allclose(rows.features[:, 0], probability(z), atol=1e-5)
    np.testing.assert_array_equal(rows.features[:, 1], (z > 0).astype(float))
    assert rows.features[:, 2].tolist() == [0] * 80 + [1] * 40
    assert len(output(done, G, "validate_output_data")) == 40
    assert not (done.outputs[H] / "train_output_data").exists()
    lines = list(csv_lines(rows))
    assert lines[0] == "id,label,predict_score,predict_result,predict_detail,type\n"
    assert lines[-1].endswith("validate_set\n")
    metric = document(done, G)
    assert len(metric["loss"]) == 3
    assert metric["validate"]["auc"] == pytest.approx(auc(Y[held_out], rows.features[80:, 0]))
    assert ("validate_auc", 0) in done.reports[G].metrics


def test_prediction_follows_the_model_wherever_its_columns_stand(tmp_path: Path) -> None:
    done = run(tmp_path / "t", {"train_data": both()})
    turned = {p: part(p) for p in (G, H)}
    turned[H] = turned[H].with_features(("x3", "x2"), turned[H].features[:, ::-1])
    again = run(tmp_path / "p", {"test_data": turned}, {}, models={"input_model": done}, stage="predict")
    rows = output(again, G, "test_output_data")
    np.testing.assert_allclose(rows.features[:, 0], output(done, G, "train_output_data").features[:, 0], atol=1e-9)
    assert set(rows.features[:, 2].tolist()) == {2}
    assert not again.transcript.select(to=A)
    nobody = {p: replace(rows, label=None) for p, rows in turned.items()}
    silent = run(tmp_path / "n", {"test_data": nobody}, {}, models={"input_model": done}, stage="predict")
    assert document(silent, G) == {}
    strange = turned | {G: replace(turned[G], label=np.where(Y == 1, 7.0, np.nan))}
    odd = run(tmp_path / "o", {"test_data": strange}, {}, models={"input_model": done}, stage="predict")
    assert document(odd, G) == {}


def test_a_warm_start_keeps_the_batches_so_that_nobody_learns_more(tmp_path: Path) -> None:
    params = PARAMS | {"batch_size": 40, "epochs": 2}
    first = run(tmp_path / "1", {"train_data": both()}, params)
    second = run(tmp_path / "2", {"train_data": both()}, params, models={"warm_start_model": first}, seed=b"other")
    whole = run(tmp_path / "3", {"train_data": both()}, params | {"epochs": 4})
    np.testing.assert_array_equal(weights(second), weights(whole))


@pytest.mark.parametrize("method", ["SGD", "adam"])
def test_a_warm_start_goes_on_where_training_ended(tmp_path: Path, method: str) -> None:
    """4 epochs and 2 more are 6, moments and schedule included; what the second job says of them changes nothing."""
    schedule = {"method": "linear", "scheduler_params": {"start_factor": 0.5, "total_iters": 5}}
    optimizer = PARAMS["optimizer"] | {"method": method}
    params = PARAMS | {"optimizer": optimizer, "learning_rate_scheduler": schedule}
    first = run(tmp_path / "1", {"train_data": both()}, params | {"epochs": 4})
    other = PARAMS | {"epochs": 2, "optimizer": {"method": "adagrad"}}
    second = run(tmp_path / "2", {"train_data": both()}, other, models={"warm_start_model": first})
    whole = run(tmp_path / "3", {"train_data": both()}, params | {"epochs": 6})
    np.testing.assert_array_equal(weights(second), weights(whole))
    assert document(second, G, "output_model")["data"]["estimator"]["end_epoch"] == 6


def test_folds_are_trained_and_judged_in_turn(tmp_path: Path) -> None:
    params = PARAMS | {"cv_param": {"n_splits": 3}, "epochs": 2}
    done = run(tmp_path, {"cv_data": both()}, params, stage="cross_validation")
    metric = document(done, G)
    assert list(metric) == ["fold_0", "fold_1", "fold_2"]
    losses = {name for name, _ in done.reports[G].metrics if name.endswith("loss")}
    assert losses == {"fold_0_loss", "fold_1_loss", "fold_2_loss"}
    for i in range(3):
        rows = output(done, G, f"cv_output_datas/{i}")
        held_out = rows.ids[rows.features[:, 2] == 1].tolist()
        assert held_out == [f"u{j:03d}".encode() for j in range(40 * i, 40 * (i + 1))]
        keep = np.r_[0 : 40 * i, 40 * (i + 1) : 120]
        w = descended(X[keep, :4], Y[keep], 2)
        z = np.column_stack([X[:, :4], np.ones(120)])[40 * i : 40 * (i + 1)] @ w
        np.testing.assert_allclose(rows.features[80:, 0], probability(z), atol=1e-5)
        assert metric[f"fold_{i}"]["validate"]["auc"] == pytest.approx(auc(Y[40 * i : 40 * (i + 1)], z))
    assert not (done.outputs[G] / "output_model.json").exists()
    quiet = run(tmp_path / "q", {"cv_data": both()}, params | {"output_cv_data": False}, stage="cross_validation")
    assert not (quiet.outputs[G] / "cv_output_datas").exists()


def test_shuffled_folds_are_the_same_at_every_party_and_cover_all_rows() -> None:
    shuffled = FoldParam(n_splits=4, shuffle=True)
    first, again = (list(folds(30, shuffled, bytes(32))) for _ in range(2))
    assert [held.tolist() for _, held in first] == [held.tolist() for _, held in again]
    assert sorted(i for _, held in first for i in held.tolist()) == list(range(30))
    assert all(not set(rest.tolist()) & set(held.tolist()) for rest, held in first)
    other = [held.tolist() for _, held in folds(30, FoldParam(n_splits=4, shuffle=True, random_state=1), bytes(32))]
    assert other != [held.tolist() for _, held in first]
    with pytest.raises(DataError, match="3 rows cannot be cut into 4"):
        list(folds(3, shuffled, bytes(32)))


def test_heavy_rows_count_for_more(tmp_path: Path) -> None:
    heavy = np.where(Y == 1, 3.0, 0.25)
    done = run(tmp_path, {"train_data": both(weight=heavy.tolist())})
    np.testing.assert_allclose(weights(done), descended(X[:, :4], Y, 3, heavy), atol=1e-4)
    assert output(done, G, "train_output_data").weight is None
    losses = document(done, G)["loss"]
    assert losses[0] == pytest.approx(np.log(2) * heavy.mean(), abs=1e-6)
    assert losses[-1] < losses[0]
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "bad", {"train_data": both(weight=[-1.0] * 120)})
    assert caught.group_contains(DataError, match="weight")


def test_several_hosts_train_the_model_of_the_pooled_columns(tmp_path: Path) -> None:
    rows = {party: part(party) for party in (G, H, H2)}
    done = run(tmp_path, {"train_data": rows}, parties=(G, H, H2))
    np.testing.assert_allclose(weights(done, G, H, H2), descended(X, Y, 3), atol=1e-5)


def test_classes_are_trained_one_against_the_rest(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), y.astype(float) + 1
    ids = [str(i) for i in range(150)]
    rows = {
        G: table(ids, {"a": x[:, 0].tolist(), "b": x[:, 1].tolist()}, y.tolist()),
        H: table(ids, {"c": x[:, 2].tolist(), "d": x[:, 3].tolist()}),
    }
    params = PARAMS | {"epochs": 6, "optimizer": {"method": "adam", "alpha": 1e-4, "optimizer_params": {"lr": 0.5}}}
    done = run(tmp_path / "t", {"train_data": rows}, params)
    scored = output(done, G, "train_output_data")
    assert scored.schema.features == (
        "predict_score", "predict_result", "predict_detail:1", "predict_detail:2", "predict_detail:3", "type",
    )  # fmt: skip
    accuracy = float(np.mean(scored.features[:, 1] == y))
    assert accuracy > 0.8
    assert document(done, G)["accuracy"] == accuracy
    assert ("class_3_loss", 5) in done.reports[G].metrics
    model = document(done, G, "output_model")
    assert model["meta"]["ovr"] is True
    assert model["meta"]["labels"] == [1, 2, 3]
    assert sorted(model["data"]["estimator"]) == ["0", "1", "2"]
    again = run(tmp_path / "p", {"test_data": rows}, {}, models={"input_model": done}, stage="predict")
    np.testing.assert_array_equal(output(again, G, "test_output_data").features[:, 1], scored.features[:, 1])
    warm = run(tmp_path / "w", {"train_data": rows}, params, models={"warm_start_model": done})
    assert document(warm, G, "output_model")["data"]["estimator"]["2"]["end_epoch"] == 12


@pytest.mark.parametrize("dies", [(G, 9), (H, 7), (A, 5)])
def test_a_death_changes_nothing(tmp_path: Path, dies: tuple[Address, int]) -> None:
    tables = {"train_data": both()}
    clean = run(tmp_path / "c", tables)
    died = run(tmp_path / "d", tables, faults=Faults(duplicate=0.3, reorder=True, crash=dies))
    for party in (G, H):
        assert document(died, party, "output_model") == document(clean, party, "output_model")


@pytest.mark.parametrize(
    ("limits", "params"),
    [(Limits(min_rows=121), {}), (Limits(min_batch=50), {"batch_size": 40}), (Limits(key_bits=4096), {})],
)
def test_below_a_hosts_floor_nothing_is_trained(tmp_path: Path, limits: Limits, params: dict[str, Any]) -> None:
    seats = {
        party: Seat(PARAMS | params, {"train_data": saved(tmp_path, party.role.label, part(party))}, limits=allowed)
        for party, allowed in ((G, Limits()), (H, limits))
    }
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate_task(COMPONENT, seats | {A: Seat(PARAMS | params)}, tmp_path, stage="train"))
    assert caught.group_contains(BelowFloor)
    assert not (tmp_path / f"{H.party_id}-host" / "output_model.json").exists()


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (np.where(Y == 1, 0.5, 0.0), "labels 0 and 1|whole numbers"),
        (np.where(Y == 1, np.nan, 0.0), "no label"),
        (np.arange(120.0), "no class"),
    ],
)
def test_labels_that_are_no_classes_are_refused(tmp_path: Path, label: Matrix, message: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path, {"train_data": both(label=label)})
    assert caught.group_contains(DataError, match=message)


def test_models_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    done = run(tmp_path / "t", {"train_data": both()})
    fewer = both()
    fewer[H] = fewer[H].with_features(("x2",), fewer[H].features[:, :1])
    for stage, port, model in (("predict", "test_data", "input_model"), ("train", "train_data", "warm_start_model")):
        with pytest.raises(ExceptionGroup) as caught:
            run(tmp_path / stage, {port: fewer}, models={model: done}, stage=stage)  # type: ignore[arg-type]
        assert caught.group_contains(DataError, match="x3")
    (done.outputs[G] / "output_model.json").write_text('{"meta": {"model_type": "statistics"}}')
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "f", {"test_data": both()}, models={"input_model": done}, stage="predict")
    assert caught.group_contains(TaskFailed, match="not one of coordinated_lr")
    (done.outputs[G] / "output_model.json").write_text(
        '{"meta": {"model_type": "coordinated_lr"}, "data": {"estimator": {"param": {}}}}'
    )
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "g", {"test_data": both()}, models={"input_model": done}, stage="predict")
    assert caught.group_contains(TaskFailed, match="train it again")


def test_with_keys_of_full_size_it_is_as_good_as_on_the_pooled_rows(tmp_path: Path) -> None:
    """AUC within 0.01 of scikit-learn's, on training rows and held out ones."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x[:400].mean(0)) / x[:400].std(0)
    ids = [f"u{i:03d}" for i in range(len(x))]

    def rows(columns: range, cut: slice, label: bool) -> Table:
        names = {f"f{j}": x[cut, j].tolist() for j in columns}
        return table(ids[cut], names, y[cut].tolist() if label else None)

    train, test = slice(0, 400), slice(400, 569)
    params = {"epochs": 3, "batch_size": 200, "optimizer": {"alpha": 0.01, "optimizer_params": {"lr": 0.3}}}
    seats = {A: Seat(params)}
    for party, columns in ((G, range(10)), (H, range(10, 30))):
        data = saved(tmp_path, f"t{party.party_id}", rows(columns, train, party == G))
        seats[party] = Seat(params, {"train_data": data})
    done = task("coordinated_lr", seats, tmp_path / "train", stage="train")
    pooled = LogisticRegression(max_iter=1000).fit(x[train], y[train])
    scored = output(done, G, "train_output_data")
    want = auc(y[train].astype(float), pooled.predict_proba(x[train])[:, 1])
    assert auc(scored.require_label(), scored.features[:, 0]) == pytest.approx(want, abs=0.01)
    held_out = {A: Seat()}
    for party, columns in ((G, range(10)), (H, range(10, 30))):
        data = saved(tmp_path, f"p{party.party_id}", rows(columns, test, party == G))
        held_out[party] = Seat({}, {"test_data": data, "input_model": done.outputs[party] / "output_model"})
    predicted = task("coordinated_lr", held_out, tmp_path / "predict", stage="predict")
    want = auc(y[test].astype(float), pooled.predict_proba(x[test])[:, 1])
    assert document(predicted, G)["auc"] == pytest.approx(want, abs=0.01)
