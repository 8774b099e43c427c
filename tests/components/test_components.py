"""Every component run as a task of all its parties, on files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from partyd.algorithms.metrics import auc
from partyd.components import COMPONENTS
from partyd.components.simulate import Seat, Tables, TaskRun, simulate_task
from partyd.data.table import Schema, Table
from partyd.errors import DataError
from partyd.federation.simulate import Faults
from partyd.types import ARBITER, GUEST, HOST, Address

G, H, A = Address("10000", GUEST), Address("9999", HOST), Address("1", ARBITER)


def table(ids: list[str], features: Mapping[str, list[float]], label: list[float] | None = None) -> Table:
    columns = np.array(list(features.values()), dtype=np.float64).T.reshape(len(ids), len(features))
    return Table(
        schema=Schema(rows=len(ids), features=tuple(features), label=None if label is None else "y"),
        ids=np.array([i.encode() for i in ids]),
        features=columns,
        label=None if label is None else np.array(label),
    )


def task(name: str, seats: Mapping[Address, Seat], folder: Path, stage: str = "train", seed: bytes = b"s") -> TaskRun:
    assert stage in ("train", "predict", "default")
    return asyncio.run(simulate_task(COMPONENTS[name], seats, folder, stage=stage, seed=seed))  # type: ignore[arg-type]


def document(done: TaskRun, address: Address, name: str = "metric") -> dict[str, object]:
    loaded = json.loads((done.outputs[address] / f"{name}.json").read_bytes())
    assert isinstance(loaded, dict)
    return loaded


def saved(folder: Path, name: str, rows: Table) -> Path:
    rows.save(folder / name)
    return folder / name


def test_names_lead_to_components_of_that_name() -> None:
    for name, component in COMPONENTS.items():
        assert component.name == name
        ports = [port.name for port in (*component.inputs, *component.outputs)]
        assert len(set(ports)) == len(ports)
        if name != "reader":
            component.params()


def test_toy_example_reports_its_sum(tmp_path: Path) -> None:
    done = task("toy_example", {G: Seat(), H: Seat()}, tmp_path)
    assert document(done, G) == {"secure_sum": 2000.0}


def test_reader_gives_out_the_named_table_without_copying(tmp_path: Path) -> None:
    uploaded = Table.load(saved(tmp_path, "uploaded", table(["a", "b"], {"x": [1, 2]}, [0, 1])))
    seats = {G: Seat({"namespace": "n", "name": "t"}, source=Tables({("n", "t"): uploaded}))}
    done = task("reader", seats, tmp_path)
    output = done.outputs[G] / "output_data"
    assert Table.load(output).digest() == uploaded.digest()
    assert (output / "features.npy").stat().st_ino == (tmp_path / "uploaded" / "features.npy").stat().st_ino


def test_reader_names_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        task("reader", {G: Seat({"namespace": "n", "name": "t"})}, tmp_path)
    assert caught.group_contains(DataError, match=r"n\.t")


def test_psi_aligns_rows_and_leaves_repeated_ids_out(tmp_path: Path) -> None:
    guest = saved(tmp_path, "g", table(["d", "b", "b", "a"], {"x": [4, 2, 9, 1]}, [1, 0, 1, 0]))
    host = saved(tmp_path, "h", table(["a", "c", "d", "b"], {"z": [10, 30, 40, 20]}))
    done = task("psi", {G: Seat(inputs={"input_data": guest}), H: Seat(inputs={"input_data": host})}, tmp_path)
    mine, theirs = (Table.load(done.outputs[p] / "output_data") for p in (G, H))
    assert mine.ids.tolist() == theirs.ids.tolist() == [b"a", b"b", b"d"]
    assert mine.features[:, 0].tolist() == [1, 2, 4]
    assert theirs.features[:, 0].tolist() == [10, 20, 40]
    assert document(done, G)["duplicate_count"] == 1
    assert document(done, H)["intersect_count"] == 3


@pytest.mark.parametrize("dies", [(G, n) for n in range(6)] + [(H, n) for n in range(6)])
def test_psi_gives_the_same_bytes_after_a_death_anywhere(tmp_path: Path, dies: tuple[Address, int]) -> None:
    ids = ["a", "b", "c", "d"]
    seats = {
        G: Seat(inputs={"input_data": saved(tmp_path, "g", table(ids, {"x": [1, 2, 3, 4]}))}),
        H: Seat(inputs={"input_data": saved(tmp_path, "h", table(ids[1:], {"z": [5, 6, 7]}))}),
    }
    clean = task("psi", seats, tmp_path / "clean")
    faults = Faults(duplicate=0.5, reorder=True, crash=dies)
    died = asyncio.run(simulate_task(COMPONENTS["psi"], seats, tmp_path / "died", faults=faults))
    for party in (G, H):
        for file in sorted((clean.outputs[party] / "output_data").iterdir()):
            assert (died.outputs[party] / "output_data" / file.name).read_bytes() == file.read_bytes()
        assert document(died, party) == document(clean, party)


@pytest.mark.parametrize(("guest_value", "host_value", "answer"), [(5, 7, "host is richer"), (7, 5, "guest is richer")])
def test_millionaires(tmp_path: Path, guest_value: float, host_value: float, answer: str) -> None:
    seats = {
        party: Seat(inputs={"input_data": saved(tmp_path, f"in{party.role.label}", table(["v"], {"value": [value]}))})
        for party, value in ((G, guest_value), (H, host_value))
    }
    done = task("millionaires", seats, tmp_path)
    assert document(done, G)["results"] == document(done, H)["results"] == [answer]


def test_millionaires_compares_all_64_bits_given_in_halves(tmp_path: Path) -> None:
    def rich(low: float) -> Table:
        return table(["v", "w"], {"value_hi": [2.0**32 - 1] * 2, "value_lo": [low, 7]})

    seats = {
        party: Seat({"namespace": "n", "name": "t"}, source=Tables({("n", "t"): rich(low)}))
        for party, low in ((G, 2.0**32 - 1), (H, 2.0**32 - 2))
    }
    done = task("millionaires", seats, tmp_path)
    assert document(done, H)["results"] == ["guest is richer", "equal"]
    assert Table.load(done.outputs[G] / "output_data").features[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize("value", [0.5, -1, 2.0**53 + 2, float("nan")])
def test_millionaires_refuses_what_is_not_exact(tmp_path: Path, value: float) -> None:
    inputs = {"input_data": saved(tmp_path, "in", table(["v"], {"value": [value]}))}
    with pytest.raises(ExceptionGroup) as caught:
        task("millionaires", {G: Seat(inputs=inputs), H: Seat(inputs=inputs)}, tmp_path)
    assert caught.group_contains(DataError, match="value_hi")


def test_data_split_cuts_both_sides_alike_and_keeps_the_labels_shares(tmp_path: Path) -> None:
    ids, label = [f"u{i:03d}" for i in range(100)], [1.0] * 30 + [0.0] * 70
    guest = saved(tmp_path, "g", table(ids, {"x": list(range(100))}, label))
    host = saved(tmp_path, "h", table(ids, {"z": list(range(100))}))
    params = {"train_size": 0.7, "test_size": 0.3, "stratified": True}
    seats = {p: Seat(params, {"input_data": i}) for p, i in ((G, guest), (H, host))}
    done = task("data_split", seats, tmp_path)
    train, test = (Table.load(done.outputs[G] / f"{part}_output_data") for part in ("train", "test"))
    theirs = Table.load(done.outputs[H] / "train_output_data")
    assert train.ids.tolist() == theirs.ids.tolist()
    assert (len(train), len(test), int(train.require_label().sum())) == (70, 30, 21)
    assert not set(train.ids.tolist()) & set(test.ids.tolist())
    assert not (done.outputs[G] / "validate_output_data").exists()


def test_feature_scale_standardises_and_remembers(tmp_path: Path) -> None:
    rows = table(["a", "b", "c"], {"x": [1, 2, 3], "constant": [5, 5, 5]})
    done = task("feature_scale", {G: Seat(inputs={"train_data": saved(tmp_path, "in", rows)})}, tmp_path)
    scaled = Table.load(done.outputs[G] / "train_output_data").features
    np.testing.assert_allclose(scaled[:, 0], (np.array([1, 2, 3]) - 2) / np.std([1, 2, 3]))
    assert scaled[:, 1].tolist() == [0, 0, 0]
    model = done.outputs[G] / "output_model"
    other = saved(tmp_path, "other", table(["d"], {"x": [4], "constant": [6]}))
    again = task(
        "feature_scale", {G: Seat(inputs={"test_data": other, "input_model": model})}, tmp_path / "p", stage="predict"
    )
    assert Table.load(again.outputs[G] / "test_output_data").features[0, 0] == pytest.approx(2 / np.std([1, 2, 3]))


@pytest.mark.parametrize(("strict", "last"), [(True, 1.0), (False, 3.0)])
def test_feature_scale_min_max_keeps_to_its_range_when_strict(tmp_path: Path, strict: bool, last: float) -> None:
    train = saved(tmp_path, "in", table(["a", "b"], {"x": [0, 2]}))
    test = saved(tmp_path, "test", table(["c"], {"x": [4]}))
    params = {"method": "min_max", "feature_range": [-1, 1], "strict_range": strict}
    done = task("feature_scale", {G: Seat(params, {"train_data": train, "test_data": test})}, tmp_path)
    assert Table.load(done.outputs[G] / "train_output_data").features[:, 0].tolist() == [-1, 1]
    assert Table.load(done.outputs[G] / "test_output_data").features[0, 0] == last


def test_evaluation_reports_and_keeps_its_metrics(tmp_path: Path) -> None:
    rows = table(
        ["a", "b", "c", "d"], {"predict_score": [0.1, 0.4, 0.35, 0.8], "predict_result": [0, 0, 0, 1]}, [0, 0, 1, 1]
    )
    inputs = {"input_datas": saved(tmp_path, "in", rows)}
    done = task("evaluation", {G: Seat({"metrics": ["auc"]}, inputs)}, tmp_path)
    assert document(done, G)["auc"] == 0.75
    assert done.reports[G].metrics["auc", 0] == 0.75
    assert "ks" not in document(done, G)
    everything = task("evaluation", {G: Seat(inputs=inputs)}, tmp_path / "all")
    assert document(everything, G)["ks"] == 0.5


def test_evaluation_names_a_metric_it_does_not_have(tmp_path: Path) -> None:
    rows = table(["a", "b"], {"predict_score": [0.1, 0.4]}, [0, 1])
    with pytest.raises(ExceptionGroup) as caught:
        task("evaluation", {G: Seat({"metrics": ["gini"]}, {"input_data": saved(tmp_path, "in", rows)})}, tmp_path)
    assert caught.group_contains(DataError, match="gini")


def test_coordinated_lr_trains_scores_and_predicts_on_held_out_rows(tmp_path: Path) -> None:
    """With keys of full size: AUC within 0.01 of scikit-learn's on the pooled rows, train and held out."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x[:400].mean(0)) / x[:400].std(0)
    ids = [f"u{i:03d}" for i in range(len(x))]

    def part(columns: slice, rows: slice, label: bool) -> Table:
        cut = x[rows, columns]
        return table(
            ids[rows], {f"f{columns.start + j}": list(c) for j, c in enumerate(cut.T)}, list(y[rows]) if label else None
        )

    left, right, train, test = slice(0, 10), slice(10, 30), slice(0, 400), slice(400, 569)
    params = {"epochs": 4, "batch_size": 200, "optimizer": {"alpha": 0.01, "optimizer_params": {"lr": 0.3}}}
    seats = {
        G: Seat(params, {"train_data": saved(tmp_path, "g", part(left, train, label=True))}),
        H: Seat(params, {"train_data": saved(tmp_path, "h", part(right, train, label=False))}),
        A: Seat(params),
    }
    done = task("coordinated_lr", seats, tmp_path / "train")
    scored = Table.load(done.outputs[G] / "train_output_data")
    pooled = LogisticRegression(max_iter=1000).fit(x[train], y[train])
    want = auc(y[train].astype(float), pooled.predict_proba(x[train])[:, 1])
    assert auc(scored.require_label(), scored.features[:, 0]) == pytest.approx(want, abs=0.01)
    assert scored.schema.features == ("predict_score", "predict_result")
    assert document(done, G, "output_model")["epochs"] == 4
    assert set(document(done, H, "output_model")["weights"]) == {f"f{j}" for j in range(10, 30)}  # type: ignore[call-overload]
    assert not (done.outputs[H] / "train_output_data").exists()

    held_out = {A: Seat()}
    for party, columns in ((G, left), (H, right)):
        rows = saved(tmp_path, f"test-{party.role.label}", part(columns, test, label=party == G))
        held_out[party] = Seat({}, {"test_data": rows, "input_model": done.outputs[party] / "output_model"})
    predicted = task("coordinated_lr", held_out, tmp_path / "predict", stage="predict")
    result = Table.load(predicted.outputs[G] / "test_output_data")
    want = auc(y[test].astype(float), pooled.predict_proba(x[test])[:, 1])
    assert auc(result.require_label(), result.features[:, 0]) == pytest.approx(want, abs=0.01)
    assert document(predicted, G)["auc"] == pytest.approx(want, abs=0.01)
