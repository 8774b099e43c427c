"""hetero_secureboost as a task: train, validate, predict, warm start, folds, classes, numbers, several hosts.

Keys are far too short here, for speed.
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

from partyd.components import COMPONENTS
from partyd.components.base import Stage
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun, simulate_task
from partyd.data.render import csv_lines
from partyd.data.table import Table
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.federation.simulate import Faults
from partyd.types import Address
from tests.components.tables import H2, G, H, document, output, saved, table
from tests.conformance.examples import InsecureBoostParams

COMPONENT = replace(COMPONENTS["hetero_secureboost"], params=InsecureBoostParams)
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
RANDOM = np.random.default_rng(12)
X = RANDOM.normal(size=(160, 6))
Y = (X[:, 0] + np.sin(2 * X[:, 2]) + X[:, 4] + 0.3 * RANDOM.normal(size=160) > 0).astype(np.float64)
COLUMNS = {G: slice(0, 2), H: slice(2, 4), H2: slice(4, 6)}
PARAMS: dict[str, Any] = {"num_trees": 4, "max_depth": 3, "max_bin": 8, "min_child_weight": 0.5}
FIRST, LAST = slice(0, 120), slice(120, 160)


def part(party: Address, rows: slice = slice(None), *, label: Vector = Y, **more: Any) -> Table:
    """Return a party's columns; the guest has the label."""
    cut = X[rows, COLUMNS[party]]
    names = [f"x{j}" for j in range(COLUMNS[party].start, COLUMNS[party].stop)]
    columns = {name: column.tolist() for name, column in zip(names, cut.T, strict=True)}
    ids = [f"u{i:03d}" for i in range(len(X))][rows]
    return table(ids, columns, label[rows].tolist() if party == G else None, **more)


def run(
    folder: Path,
    tables: Mapping[str, Mapping[Address, Table]],
    params: Mapping[str, Any] = PARAMS,
    *,
    models: Mapping[str, TaskRun] | None = None,
    stage: Stage = "train",
    parties: tuple[Address, ...] = (G, H),
    limits: Limits | None = None,
    **more: Any,
) -> TaskRun:
    """Run with tables by port and models by port."""
    seats = {}
    for party in parties:
        inputs = {port: saved(folder, f"{port}-{party.party_id}", rows[party]) for port, rows in tables.items()}
        for port, done in (models or {}).items():
            inputs[port] = done.outputs[party] / "output_model"
        seats[party] = Seat(params, inputs, limits=limits or Limits())
    return asyncio.run(simulate_task(COMPONENT, seats, folder / "out", stage=stage, **more))


def of(parties: tuple[Address, ...], rows: slice = slice(None), **more: Any) -> dict[Address, Table]:
    return {party: part(party, rows, **(more if party == G else {})) for party in parties}


def scores(done: TaskRun, port: str) -> Vector:
    return np.asarray(output(done, G, port).features[:, 0])


def trees(done: TaskRun) -> list[Any]:
    return list(document(done, G, "output_model")["data"]["trees"])


def test_predicting_with_the_model_gives_the_trainings_own_scores(tmp_path: Path) -> None:
    parties = (G, H, H2)
    trained = run(tmp_path / "a", {"train_data": of(parties)}, parties=parties)
    applied = run(
        tmp_path / "b",
        {"test_data": of(parties)},
        {},
        models={"input_model": trained},
        stage="predict",
        parties=parties,
    )
    assert np.array_equal(scores(trained, "train_output_data"), scores(applied, "test_output_data"))
    assert document(trained, G)["auc"] == document(applied, G)["auc"] > 0.95
    assert len(document(trained, G)["loss"]) == 4
    assert not (trained.outputs[H] / "train_output_data").exists()
    assert not (trained.outputs[G] / "working").exists()
    header, *lines = csv_lines(output(applied, G, "test_output_data"))
    assert header == "id,label,predict_score,predict_result,predict_detail,type\n"
    assert lines[0].endswith("test_set\n")


def test_models_have_fates_names_and_hosts_keep_their_values(tmp_path: Path) -> None:
    trained = run(tmp_path, {"train_data": of((G, H))})
    guest, host = (document(trained, party, "output_model") for party in (G, H))
    nodes = [node for tree in guest["data"]["trees"] for node in tree["nodes"]]
    theirs = [node for node in nodes if node["sitename"] == "host_9999"]
    assert theirs
    assert all(node["bid"] is None and node["fid"] in ("host_9999_x0", "host_9999_x1") for node in theirs)
    assert sorted(node["split_id"] for node in theirs) == list(range(len(host["data"]["splits"])))
    assert {rule["fid"] for rule in host["data"]["splits"]} <= {"x2", "x3"}
    assert "trees" not in host["data"]
    assert {name for name in guest["data"]["feature_importance"] if name.startswith("host")}
    assert all("gain" not in entry for entry in host["data"]["feature_importance"].values())
    total = sum(entry["split"] for entry in guest["data"]["feature_importance"].values())
    assert total == sum(not node["is_leaf"] for node in nodes)
    assert guest["meta"]["model_type"] == host["meta"]["model_type"] == "hetero_secureboost"


def test_validation_rows_are_scored_as_a_prediction_would(tmp_path: Path) -> None:
    tables = {"train_data": of((G, H), FIRST), "validate_data": of((G, H), LAST)}
    trained = run(tmp_path / "a", tables)
    applied = run(tmp_path / "b", {"test_data": of((G, H), LAST)}, {}, models={"input_model": trained}, stage="predict")
    assert np.array_equal(scores(trained, "validate_output_data"), scores(applied, "test_output_data"))
    kinds = output(trained, G, "train_output_data").features[:, -1]
    assert np.array_equal(np.bincount(kinds.astype(int)), [120, 40])
    assert document(trained, G)["validate"]["auc"] > 0.6


def test_early_stopping_scores_with_the_trees_that_are_kept(tmp_path: Path) -> None:
    wrong = np.where(np.arange(len(Y)) < 120, Y, 1 - Y)
    guest = {"train_data": part(G, FIRST, label=wrong), "validate_data": part(G, LAST, label=wrong)}
    host = {"train_data": part(H, FIRST), "validate_data": part(H, LAST)}
    tables = {port: {G: guest[port], H: host[port]} for port in guest}
    trained = run(tmp_path / "a", tables, PARAMS | {"num_trees": 8, "early_stopping_rounds": 2})
    assert len(trees(trained)) < 8
    applied = run(
        tmp_path / "b", {"test_data": of((G, H), FIRST)}, {}, models={"input_model": trained}, stage="predict"
    )
    train = scores(trained, "train_output_data")[:120]
    assert np.allclose(train, scores(applied, "test_output_data"), atol=1e-12)


def test_a_warm_start_goes_on_from_the_earlier_trees(tmp_path: Path) -> None:
    params = PARAMS | {"num_trees": 2}
    whole = run(tmp_path / "whole", {"train_data": of((G, H))})
    first = run(tmp_path / "a", {"train_data": of((G, H))}, params)
    more = params | {"learning_rate": 0.9}  # the model's own is kept
    second = run(tmp_path / "b", {"train_data": of((G, H))}, more, models={"warm_start_model": first})
    assert len(trees(second)) == 4
    assert np.allclose(scores(second, "train_output_data"), scores(whole, "train_output_data"), atol=1e-9)
    models = {"input_model": second}
    applied = run(tmp_path / "c", {"test_data": of((G, H))}, {}, models=models, stage="predict")
    assert np.allclose(scores(applied, "test_output_data"), scores(whole, "train_output_data"), atol=1e-9)


def test_classes_and_numbers(tmp_path: Path) -> None:
    classes, numbers = Y + (X[:, 3] > 0.5), 3 * X[:, 0] + X[:, 2]
    multi = PARAMS | {"objective": "multi:ce", "num_class": 3, "num_trees": 3}
    done = run(tmp_path / "multi", {"train_data": of((G, H), label=classes)}, multi)
    assert document(done, G)["accuracy"] > 0.8
    assert output(done, G, "train_output_data").schema.features[2:5] == tuple(f"predict_detail:{c}" for c in range(3))
    models = {"input_model": done}
    applied = run(tmp_path / "again", {"test_data": of((G, H))}, {}, models=models, stage="predict")
    assert np.allclose(scores(applied, "test_output_data"), scores(done, "train_output_data"))
    regressed = PARAMS | {"objective": "regression:l2", "num_trees": 12}
    done = run(tmp_path / "numbers", {"train_data": of((G, H), label=numbers)}, regressed)
    assert document(done, G)["rmse"] < 0.5 * numbers.std()
    assert "'label': " in next(line for line in csv_lines(output(done, G, "train_output_data")) if line[0] == "u")


def test_folds(tmp_path: Path) -> None:
    params = PARAMS | {"num_trees": 2, "cv_param": {"n_splits": 3}}
    done = run(tmp_path, {"cv_data": of((G, H))}, params, stage="cross_validation")
    assert sorted(document(done, G)) == ["fold_0", "fold_1", "fold_2"]
    assert all(fold["validate"]["auc"] > 0.7 for fold in document(done, G).values())
    assert sorted(path.name for path in (done.outputs[G] / "cv_output_datas").iterdir()) == ["0", "1", "2"]


def test_a_death_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    params = PARAMS | {"num_trees": 2}
    whole = run(tmp_path / "whole", {"train_data": of((G, H))}, params)
    for number, party in ((9, G), (9, H)):
        faults = Faults(crash=(party, number))
        again = run(tmp_path / f"{party.party_id}", {"train_data": of((G, H))}, params, faults=faults)
        assert trees(again) == trees(whole)


@pytest.mark.parametrize("limits", [Limits(min_rows=161), Limits(min_batch=161), Limits(key_bits=1024)])
def test_floors(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path, {"train_data": of((G, H))}, limits=limits)
    assert caught.value.subgroup(BelowFloor) is not None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    trained = run(tmp_path / "a", {"train_data": of((G, H))}, PARAMS | {"num_trees": 1})
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "b", {"train_data": {G: part(G), H: part(H, FIRST)}})
    assert caught.value.subgroup(DataError) is not None
    other = table([f"u{i:03d}" for i in range(160)], {"z": X[:, 0].tolist()}, Y.tolist())
    for port, stage in (("test_data", "predict"), ("train_data", "train")):
        models = {"input_model" if stage == "predict" else "warm_start_model": trained}
        with pytest.raises(ExceptionGroup) as caught:
            run(tmp_path / port, {port: {G: other, H: part(H)}}, PARAMS, models=models, stage=stage)
        assert caught.value.subgroup(DataError) is not None
    for name in ("output_model.json",):
        (trained.outputs[G] / name).write_text('{"meta": {"model_type": "other"}}')
    with pytest.raises(ExceptionGroup) as caught:
        run(tmp_path / "c", {"test_data": of((G, H))}, {}, models={"input_model": trained}, stage="predict")
    assert caught.value.subgroup(TaskFailed) is not None
