"""hetero_feature_binning as a task: bins, weights, tables and what hosts learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.algorithms.label_sums_messages import BinSums, BinWoe, HostColumns, KeptCuts, Ready
from partyd.algorithms.woe import weigh
from partyd.components.binning_model import Bins
from partyd.components.binning_parameters import HeteroFeatureBinningParams
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.types import GUEST, HOST, Address
from tests.components.tables import H2, G, H, document, output, saved, table, task

RANDOM = np.random.default_rng(12)
ROWS = 200
X = RANDOM.normal(size=(ROWS, 4))
X[:, 1] = np.round(X[:, 1])
X[::9, 2] = np.nan
Y = (X[:, 0] + RANDOM.normal(size=ROWS) > 0).astype(float)
IDS = [f"i{i}" for i in range(ROWS)]


def seats(
    folder: Path, params: dict[str, Any], host: dict[str, Any] | None = None, label: Any = Y, **more: Any
) -> dict[Address, Seat]:
    guest = saved(folder, "g", table(IDS, {"a": X[:, 0], "b": X[:, 1]}, label))
    theirs = saved(folder, "h", table(IDS, {"c": X[:, 2], "d": X[:, 3]}))
    return {
        G: Seat(params, {"train_data": guest}, **more),
        H: Seat(params if host is None else host, {"train_data": theirs}, **more),
    }


def binned(folder: Path, params: dict[str, Any], host: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    return task("hetero_feature_binning", seats(folder, params, host, **more), folder)


def model(done: TaskRun, address: Address) -> dict[str, Any]:
    return document(done, address, "output_model")["data"]


def expected(values: np.ndarray, points: dict[str, float], label: np.ndarray = Y) -> tuple[np.ndarray, float]:
    """WOE and IV counted row by row, the missing in a bin of their own."""
    cuts = np.array(list(points.values()))
    bins = np.where(np.isnan(values), len(cuts) + 1, (values[:, None] > cuts).sum(axis=1))
    rows, events = np.bincount(bins, minlength=len(cuts) + 2), np.bincount(bins[label == 1], minlength=len(cuts) + 2)
    found = weigh(events, rows, int(label.sum()), len(label), 0.5)
    return found.woe, float(found.iv.sum())


def test_quantile_bins_of_both_parties_are_weighed(tmp_path: Path) -> None:
    done = binned(tmp_path, {"n_bins": 5})
    guest, host = model(done, G), model(done, H)
    assert list(guest["split_pt_dict"]["a"].values()) == pytest.approx(np.sort(X[:, 0])[[39, 79, 119, 159]].tolist())
    for name, values in (("a", X[:, 0]), ("b", X[:, 1])):
        woe, iv = expected(values, guest["split_pt_dict"][name])
        assert guest["metrics_summary"]["iv"][name] == pytest.approx(iv)
        assert list(guest["metrics_summary"]["woe"][name].values()) == pytest.approx(woe[:-1].tolist())
    theirs = guest["host_metrics_summary"]["9999"]
    for name, known, values in (("c", "host_9999_x0", X[:, 2]), ("d", "host_9999_x1", X[:, 3])):
        woe, iv = expected(values, host["split_pt_dict"][name])
        assert theirs["iv"][known] == pytest.approx(iv)
        assert list(theirs["woe"][known].values()) == pytest.approx((woe if name == "c" else woe[:-1]).tolist())
    assert host["metrics_summary"] is None
    assert host["woe_dict"] is None
    assert np.array_equal(output(done, H, "train_output_data").features, X[:, 2:], equal_nan=True)


def test_who_receives_what(tmp_path: Path) -> None:
    transcript = binned(tmp_path, {"transform_method": "woe"}).transcript
    assert transcript.kinds(to=GUEST) == {HostColumns, Ready, BinSums}
    assert not transcript.kinds(to=HOST) & {BinWoe, KeptCuts}, "labels reach a host encrypted, and nothing else of them"


def test_values_become_numbers_of_bins(tmp_path: Path) -> None:
    done = binned(tmp_path, {"n_bins": 4, "transform_method": "bin_idx", "method": "bucket"})
    c = output(done, H, "train_output_data").features[:, 0]
    known = ~np.isnan(X[:, 2])
    low, high = X[known, 2].min(), X[known, 2].max()
    assert set(c[~known]) == {4}
    assert np.array_equal(c[known], np.clip(np.ceil((X[known, 2] - low) / (high - low) * 4) - 1, 0, 3))


def test_values_become_woe_at_the_guest_and_at_a_host_that_may(tmp_path: Path) -> None:
    params = {"n_bins": 5, "transform_method": "woe"}
    done = binned(tmp_path, params)
    woe = np.array(list(model(done, G)["woe_dict"]["a"].values()))
    a = output(done, G, "train_output_data").features[:, 0]
    assert np.array_equal(a, woe[np.searchsorted(list(model(done, G)["split_pt_dict"]["a"].values()), X[:, 0])])
    assert np.array_equal(output(done, H, "train_output_data").features, X[:, 2:], equal_nan=True)
    assert any("no WOE is known here" in line for line in done.reports[H].lines)
    asked = binned(tmp_path, params | {"host_woe": True, "host_woe_rows": 20, "host_woe_events": 3, "host_woe_bits": 1})
    d = output(asked, H, "train_output_data").features[:, 1]
    points = model(asked, H)["split_pt_dict"]["d"]
    want, _ = expected(X[:, 3], points)
    assert d == pytest.approx(want[np.searchsorted(list(points.values()), X[:, 3])])


@pytest.mark.parametrize("metric", ["iv", "gini", "chi-square", "ks"])
def test_optimal_bins_of_both_parties(tmp_path: Path, metric: str) -> None:
    optimal = {"metric_method": metric, "init_bin_nums": 20, "min_bin_pct": 0.1}
    done = binned(tmp_path, {"method": "optimal", "n_bins": 4, "optimal_binning_param": optimal})
    guest, host = model(done, G), model(done, H)
    assert 1 <= len(guest["split_pt_dict"]["a"]) <= 3
    counted = guest["host_metrics_summary"]["9999"]["event_count"]["host_9999_x1"]
    assert len(counted) == len(host["split_pt_dict"]["d"]) + 1 <= 4
    _, iv = expected(X[:, 3], host["split_pt_dict"]["d"])
    assert guest["host_metrics_summary"]["9999"]["iv"]["host_9999_x1"] == pytest.approx(iv)


def test_manual_cuts_and_categories_by_names_that_every_party_knows(tmp_path: Path) -> None:
    cuts = {"guest_10000_x0": [0.5, -0.5], "host_9999_x1": {"0": 0.0}}
    params = {
        "method": "manual",
        "use_anonymous": True,
        "split_pt_dict": cuts,
        "bin_col": list(cuts),
        "category_col": ["guest_10000_x1"],
        "transform_method": "bin_idx",
    }
    done = binned(tmp_path, params)
    guest = model(done, G)
    assert guest["split_pt_dict"]["a"] == {"0": -0.5, "1": 0.5}
    assert model(done, H)["split_pt_dict"] == {"d": {"0": 0.0}}
    assert len(guest["metrics_summary"]["woe"]["b"]) == len(np.unique(X[:, 1]))
    after = output(done, G, "train_output_data").features
    assert np.array_equal(after[:, 1], X[:, 1]), "categories stay"
    assert set(after[:, 0]) == {0, 1, 2}


def test_several_hosts_and_several_classes(tmp_path: Path) -> None:
    label = np.digitize(X[:, 0], [-0.5, 0.5]).astype(float)
    places = seats(tmp_path, {"n_bins": 3}, label=label)
    places[H2] = Seat({"n_bins": 4}, {"train_data": saved(tmp_path, "h2", table(IDS, {"e": X[:, 0]}))})
    done = task("hetero_feature_binning", places, tmp_path)
    found = model(done, G)["host_metrics_summary"]
    points = model(done, H2)["split_pt_dict"]["e"]
    each = [expected(X[:, 0], points, (label == k).astype(float))[1] for k in range(3)]
    assert [found["9998"]["classes"][str(k)]["iv"]["host_9998_x0"] for k in range(3)] == pytest.approx(each)
    assert found["9998"]["iv"]["host_9998_x0"] == pytest.approx(np.mean(each))
    assert set(found) == {"9998", "9999"}


@pytest.mark.parametrize("params", [{"local_only": True}, {"skip_metrics": True}])
def test_nothing_is_exchanged_where_nothing_is_asked(tmp_path: Path, params: dict[str, Any]) -> None:
    done = binned(tmp_path, params)
    assert not done.transcript.sent
    assert model(done, G)["host_metrics_summary"] is None
    assert (model(done, G)["metrics_summary"] is None) == ("skip_metrics" in params)


def test_a_prediction_uses_the_trained_bins(tmp_path: Path) -> None:
    done = binned(tmp_path, {"n_bins": 5, "transform_method": "woe"})
    for folder, address, new in (
        ("pg", G, {"b": [0.0, np.nan], "a": [9.0, -9.0]}),
        ("ph", H, {"c": [0, 1], "d": [0, 1]}),
    ):
        trained = done.outputs[address] / "output_model.json"
        seat = Seat({}, {"test_data": saved(tmp_path, folder, table(["x", "y"], new)), "input_model": trained})
        after = task("hetero_feature_binning", {address: seat}, tmp_path / folder, stage="predict")
        assert not after.transcript.sent
        features = output(after, address, "test_output_data").features
        if address == G:
            woe = list(model(done, G)["woe_dict"]["a"].values())
            assert features[:, 1].tolist() == [woe[4], woe[0]]
            assert features[1, 0] == 0, "no row of the training lacked a value"
        else:
            assert features.tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("params", "host", "label", "error", "match"),
    [
        ({}, None, np.where(Y, np.nan, 0), DataError, "no label"),
        ({}, None, np.ones(ROWS), DataError, "2 to 64 classes"),
        ({"transform_method": "woe"}, {}, np.arange(ROWS) % 3.0, DataError, "known for two"),
        ({"bin_col": ["q"]}, {}, Y, DataError, "table lacks"),
        ({"method": "manual"}, {}, Y, DataError, "no cuts for the column"),
        ({"local_only": True}, {"local_only": True, "method": "optimal"}, Y, DataError, "joined by the guest's labels"),
    ],
)
def test_what_cannot_be_binned_is_refused(
    tmp_path: Path, params: dict[str, Any], host: Any, label: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        binned(tmp_path, params, host, label=label)
    assert caught.group_contains(error, match=match)


@pytest.mark.parametrize(
    ("limits", "params", "match"),
    [
        (Limits(min_rows=201), {}, "fewer rows than the 201"),
        (Limits(min_batch=30), {"n_bins": 9}, "a bin has fewer rows than the 30"),
        (Limits(min_batch=100), {"n_bins": 2, "bin_idx": []}, "a class of the label"),
        (Limits(key_bits=3072), {}, "a policy asks for 3072"),
    ],
)
def test_floors_hold(tmp_path: Path, limits: Limits, params: dict[str, Any], match: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        binned(tmp_path, params, limits=limits)
    assert caught.group_contains(BelowFloor, match=match)


@pytest.mark.parametrize(
    "given",
    [
        {"bin_col": ["a"], "bin_idx": [1]},
        {"category_col": ["a"], "category_idx": [1]},
        {"method": "optimal", "skip_metrics": True},
        {"transform_method": "woe", "skip_metrics": True},
        {"optimal_binning_param": {"min_bin_pct": 0.5, "max_bin_pct": 0.2}},
        {"n_bins": 3, "optimal_binning_param": {"max_bin_pct": 0.2}},
        {"n_bins": 1},
        {"split_pt_dict": {"a": [float("nan")]}},
        {"split_pt_dict": {"a": list(range(2000))}},
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HeteroFeatureBinningParams.model_validate(given)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"meta": {"model_type": "statistics"}, "data": {}},
        {"meta": {"model_type": "binning", "bin_col": ["a"], "transform_method": "woe"}, "data": {"split_pt_dict": {}}},
        {
            "meta": {"model_type": "binning", "bin_col": ["a"], "transform_method": "woe"},
            "data": {"split_pt_dict": {"a": {"0": 1.0}}, "woe_dict": {"a": {"0": 1.0}}},
        },
    ],
)
def test_a_foreign_or_broken_model_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(TaskFailed, match="binning"):
        Bins.read(broken)
