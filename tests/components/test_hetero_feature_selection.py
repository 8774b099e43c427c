"""hetero_feature_selection as a task, on the models that binning, statistics and correlation leave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.algorithms.column_choice import Candidates, ChosenColumns
from partyd.components.selection_parameters import HeteroFeatureSelectionParams
from partyd.components.simulate import Seat, TaskRun
from partyd.errors import BadValue, DataError, PartydError, TaskFailed
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from tests.components.tables import H2, G, H, document, output, saved, table, task

GUEST_COLUMNS, HOST_COLUMNS = ("a", "b", "c"), ("p", "q", "r")
RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(30, 6))
IDS = [f"i{i}" for i in range(30)]


def anonymous(columns: Sequence[str], owner: str) -> dict[str, str]:
    return {name: f"{owner}_x{i}" for i, name in enumerate(columns)}


def binning(iv: Mapping[str, float], hosts: Mapping[str, Sequence[float]], **more: Any) -> dict[str, Any]:
    theirs = {h: {"iv": {f"host_{h}_x{i}": v for i, v in enumerate(values)}} for h, values in hosts.items()}
    names = anonymous(GUEST_COLUMNS, "guest_10000")
    data = {"metrics_summary": {"iv": dict(iv)} | more, "host_metrics_summary": theirs, "column_anonymous_map": names}
    return {"meta": {"model_type": "binning"}, "data": data}


BINNING = binning({"a": 0.5, "b": 0.02, "c": 0.3}, {"9999": [0.1, 0.9, 0.04], "9998": [0.2]})
HOST_BINNING = {
    "meta": {"model_type": "binning"},
    "data": {"column_anonymous_map": anonymous(HOST_COLUMNS, "host_9999")},
}
STATISTICS = {
    "meta": {"model_type": "statistics"},
    "data": {
        "metrics_summary": {
            "a": {"mean": 1.0, "std": None},
            "b": {"mean": 2.0, "std": 1.0},
            "c": {"mean": 3.0, "std": 9},
        }
    },
}
CORRELATION = {
    "meta": {"model_type": "feature_correlation"},
    "data": {
        "local_corr": {"a": {"a": 1, "b": 0, "c": 0.8}, "b": {"a": 0, "b": 1, "c": 0}, "c": {"a": 0.8, "b": 0, "c": 1}},
        "remote_corr": {
            "9999/host": {
                "a": {"host_9999_x0": 0.0, "host_9999_x1": 0.1, "host_9999_x2": -0.9},
                "b": {"host_9999_x0": 0.0, "host_9999_x1": 0.7, "host_9999_x2": 0},
                "c": {"host_9999_x0": 0.0, "host_9999_x1": 0, "host_9999_x2": 0},
            }
        },
        "column_anonymous_map": anonymous(GUEST_COLUMNS, "guest_10000"),
    },
}


def stored(folder: Path, name: str, models: Sequence[Mapping[str, Any]]) -> tuple[Path, ...]:
    paths = tuple(folder / f"{name}-{i}.json" for i in range(len(models)))
    for path, model in zip(paths, models, strict=True):
        path.write_text(json.dumps(model))
    return paths


def selected(
    folder: Path,
    params: dict[str, Any],
    models: Sequence[Mapping[str, Any]] = (BINNING,),
    host_models: Sequence[Mapping[str, Any]] = (),
    host: dict[str, Any] | None = None,
    x: np.ndarray = X,
) -> TaskRun:
    guest = saved(folder, "g", table(IDS, dict(zip(GUEST_COLUMNS, x.T[:3], strict=True)), (x[:, 0] > 0).astype(float)))
    theirs = saved(folder, "h", table(IDS, dict(zip(HOST_COLUMNS, x.T[3:], strict=True))))
    inputs: dict[str, Path | tuple[Path, ...]] = {"train_data": guest}
    host_inputs: dict[str, Path | tuple[Path, ...]] = {"train_data": theirs}
    if models:
        inputs["input_models"] = stored(folder, "gm", models)
    if host_models:
        host_inputs["input_models"] = stored(folder, "hm", host_models)
    places = {G: Seat(params, inputs), H: Seat(params if host is None else host, host_inputs)}
    return task("hetero_feature_selection", places, folder)


def left(done: TaskRun, address: Address, port: str = "train_output_data") -> tuple[str, ...]:
    return output(done, address, port).schema.features


@pytest.mark.parametrize(
    ("param", "guest", "host"),
    [
        ({"threshold": 0.1}, ("a", "c"), ("p", "q")),
        ({"threshold": 0.1, "host_threshold": 0.5}, ("a", "c"), ("q",)),
        ({"threshold": 0.1, "host_threshold": [[0.3]]}, ("a", "c"), ("q",)),
        ({"threshold": 9}, ("a",), ("q",)),
        ({"filter_type": "top_k", "threshold": 2}, ("a", "c"), ("p", "q")),
        ({"filter_type": "top_k", "threshold": 0}, GUEST_COLUMNS, HOST_COLUMNS),
        ({"filter_type": "top_percentile", "threshold": 0.34}, ("a", "c"), ("p", "q")),
        ({"filter_type": "top_k", "threshold": 1, "take_high": False}, ("b",), ("r",)),
        ({"threshold": 0.1, "host_filter_type": "top_k", "host_threshold": 1}, ("a", "c"), ("q",)),
        ({"threshold": [0.1, 1], "filter_type": ["threshold", "top_k"]}, ("a",), ("q",)),
        ({"threshold": 0.1, "select_federated": [False]}, ("a", "c"), HOST_COLUMNS),
    ],
)
def test_information_values_choose_at_both_parties(
    tmp_path: Path, param: dict[str, Any], guest: tuple[str, ...], host: tuple[str, ...]
) -> None:
    done = selected(tmp_path, {"method": ["iv"], "iv_param": param})
    assert (left(done, G), left(done, H)) == (guest, host)


def test_two_hosts_have_thresholds_of_their_own(tmp_path: Path) -> None:
    params = {"method": ["iv"], "iv_param": {"threshold": 0.1, "host_threshold": [[0.3, 0.5]]}, "keep_one": False}
    (model,) = stored(tmp_path, "m", [BINNING])
    rows = {
        G: table(IDS, {"a": X[:, 0]}, X[:, 0]),
        H: table(IDS, {"p": X[:, 1], "q": X[:, 2]}),
        H2: table(IDS, {"z": X[:, 3]}),
    }
    places = {
        party: Seat(params, {"train_data": saved(tmp_path, str(party.party_id), t), "input_models": (model,)})
        for party, t in rows.items()
    }
    places[H], places[H2] = (
        Seat(params, {"train_data": tmp_path / "9999"}),
        Seat(params, {"train_data": tmp_path / "9998"}),
    )
    done = task("hetero_feature_selection", places, tmp_path)
    assert (left(done, H), left(done, H2)) == (("q",), ())


def test_who_receives_what(tmp_path: Path) -> None:
    transcript = selected(tmp_path, {"method": ["iv", "manual"], "iv_param": {"threshold": 0.1}}).transcript
    assert transcript.kinds(to=GUEST) == {Candidates}
    assert transcript.kinds(to=HOST) == {ChosenColumns}


def test_classes_are_merged_as_asked(tmp_path: Path) -> None:
    classes = {"0": {"iv": {"a": 0.9, "b": 0.5, "c": 0.1}}, "1": {"iv": {"a": 0.1, "b": 0.4, "c": 0.1}}}
    model = binning({"a": 0.5, "b": 0.45, "c": 0.1}, {}, classes=classes)
    for merge, stays in (("max", ("a",)), ("min", ("b",)), ("average", ("a",))):
        param = {"filter_type": "top_k", "threshold": 1, "mul_class_merge_type": merge, "select_federated": False}
        assert left(selected(tmp_path, {"method": ["iv"], "iv_param": param}, [model]), G) == stays


def test_filters_follow_one_another_and_a_prediction_drops_the_same(tmp_path: Path) -> None:
    params = {
        "method": ["manual", "statistics", "iv"],
        "statistic_param": {"metrics": ["mean"], "threshold": 1.5},
        "iv_param": {"filter_type": "top_k", "threshold": 1, "select_federated": False},
    }
    manual = {"manual_param": {"filter_out_col": ["c"]}}
    done = selected(tmp_path, params | manual, [BINNING, STATISTICS], host={"method": ["manual"]})
    assert left(done, G) == ("b",), "a goes by its mean, c by name; b has the best information value of what is left"
    model = document(done, G, "train_output_model")
    filters = model["data"]["selection_obj_list"]
    assert [f["method"] for f in filters] == ["manual", "statistics", "iv"]
    assert filters[1]["selected_mask"] == {"a": False, "b": True, "c": False}
    assert filters[2]["all_metrics"] == {"iv": {"b": 0.02}}
    seat = Seat(
        {},
        {
            "test_data": saved(tmp_path, "new", table(["x"], {"c": [1], "b": [2], "other": [3]})),
            "input_model": done.outputs[G] / "train_output_model.json",
        },
    )
    after = task("hetero_feature_selection", {G: seat}, tmp_path / "p", stage="predict")
    assert left(after, G, "test_output_data") == ("b", "other")
    assert not after.transcript.sent


@pytest.mark.parametrize(
    ("given", "stays"),
    [
        ({"filter_out_col": ["b"]}, ("a", "c")),
        ({"filter_out_idx": [0, 1]}, ("c",)),
        ({"left_col": ["c"]}, ("c",)),
        ({"left_idx": [1]}, ("b",)),
        ({"filter_out_col": ["a", "b", "c"]}, ("a",)),
    ],
)
def test_lists_choose(tmp_path: Path, given: dict[str, Any], stays: tuple[str, ...]) -> None:
    params = {"method": ["manual"], "manual_param": given}
    assert left(selected(tmp_path, params, (), host={"method": ["manual"]}), G) == stays


def test_a_kept_column_returns_and_one_that_nobody_looks_at_stays(tmp_path: Path) -> None:
    params = {
        "method": ["iv", "manual"],
        "select_col": ["guest_10000_x0", "guest_10000_x1", "host_9999_x0"],
        "use_anonymous": True,
        "iv_param": {"threshold": 0.4},
        "manual_param": {"keep_col": ["guest_10000_x1"]},
        "keep_one": False,
    }
    done = selected(tmp_path, params)
    assert (left(done, G), left(done, H)) == (("a", "b", "c"), ("q", "r"))


@pytest.mark.parametrize(
    ("method", "param", "stays"),
    [
        ("unique_value", {"unique_param": {"eps": 0.5}}, ("a", "c")),
        ("percentage_value", {"percentage_value_param": {"upper_pct": 0.9}}, ("a", "c")),
        ("missing", {"missing_param": {"upper_pct": 0.4}}, ("a", "b")),
        ("coefficient_of_variation", {"variance_coe_param": {"value_threshold": 0.6}}, ("c",)),
        ("outlier", {"outlier_param": {"percentile": 0.95, "upper_threshold": 15}}, ("b", "c")),
    ],
)
def test_values_choose(tmp_path: Path, method: str, param: dict[str, Any], stays: tuple[str, ...]) -> None:
    x = X.copy()
    x[:, 0], x[:, 1] = np.arange(1, 31.0), 4.0
    x[:, 2] = np.where(np.arange(30) < 15, np.nan, np.where(np.arange(30) < 22, -1.0, 1.0))
    done = selected(tmp_path, {"method": [method]} | param, (), host={"method": ["manual"]}, x=x)
    assert left(done, G) == stays


def test_of_columns_that_correlate_the_best_stays(tmp_path: Path) -> None:
    host_model = {
        "meta": {"model_type": "feature_correlation"},
        "data": {"column_anonymous_map": anonymous(HOST_COLUMNS, "host_9999")},
    }
    params = {"method": ["correlation"], "correlation_param": {"threshold": 0.5}}
    done = selected(tmp_path, params, [BINNING, CORRELATION], [HOST_BINNING, host_model])
    assert left(done, G) == ("a",), "q (0.9) drives out b, a (0.5) drives out c"
    assert left(done, H) == ("p", "q"), "a drives out r"
    alone = selected(
        tmp_path, {**params, "correlation_param": {"threshold": 0.5, "select_federated": False}}, [BINNING, CORRELATION]
    )
    assert (left(alone, G), left(alone, H)) == (("a", "b"), HOST_COLUMNS)


def test_inflated_columns_go_one_at_a_time(tmp_path: Path) -> None:
    params = {"method": ["vif"], "vif_param": {"threshold": 2}}
    done = selected(tmp_path, params, [CORRELATION], host={"method": ["manual"]})
    assert left(done, G) == ("a", "b")
    twins = {"local_corr": {i: {j: 1.0 if "c" not in (i, j) or i == j else 0.0 for j in "abc"} for i in "abc"}}
    model = {"meta": {"model_type": "feature_correlation"}, "data": twins}
    assert left(selected(tmp_path, params, [model], host={"method": ["manual"]}), G) == ("a", "c")


@pytest.mark.parametrize(
    ("params", "models", "host_models", "error", "match"),
    [
        ({"method": ["iv"]}, (), (), TaskFailed, "needs a model of binning"),
        ({"method": ["iv"]}, (BINNING, BINNING), (), TaskFailed, "two models"),
        ({"method": ["iv"]}, ({"meta": {"model_type": "x"}, "data": {}},), (), TaskFailed, "is none of"),
        ({"method": ["iv"]}, (binning({"a": 1}, {"9999": [1, 1, 1]}),), (), DataError, "do not have the iv"),
        ({"method": ["iv"]}, (binning({"a": 1, "b": 1, "c": 1}, {}),), (), DataError, "does not know the columns"),
        ({"method": ["iv"]}, (binning({}, {}),), (), DataError, "do not have the iv"),
        (
            {"method": ["statistics"], "statistic_param": {"metrics": ["max"]}},
            (STATISTICS,),
            (),
            DataError,
            "the max of",
        ),
        (
            {"method": ["correlation"]},
            (BINNING, CORRELATION),
            (
                HOST_BINNING,
                {
                    "meta": {"model_type": "feature_correlation"},
                    "data": {"column_anonymous_map": {"p": "host_9999_x2"}},
                },
            ),
            DataError,
            "by different names",
        ),
        ({"method": ["manual"], "manual_param": {"filter_out_col": ["nobody"]}}, (), (), DataError, "table lacks"),
    ],
)
def test_what_cannot_be_selected_is_refused(
    tmp_path: Path, params: dict[str, Any], models: Any, host_models: Any, error: type[PartydError], match: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        selected(tmp_path, params, models, host_models)
    assert caught.group_contains(error, match=match)


@pytest.mark.parametrize(
    ("kind", "name", "value", "match"),
    [
        (Candidates, "names", ["host_9999_x0"] * 2, "or one twice"),
        (ChosenColumns, "stays", np.array([1, 1], dtype=np.uint8), "where 3 were offered"),
        (ChosenColumns, "stays", np.array([1, 1, 2], dtype=np.uint8), "where 3 were offered"),
    ],
)
def test_a_peer_that_cheats_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Message], name: str, value: object, match: str
) -> None:
    honest = Party.send

    async def send(self: Party, message: Message, to: Address | None = None) -> None:
        await honest(self, message.model_copy(update={name: value}) if isinstance(message, kind) else message, to)

    monkeypatch.setattr(Party, "send", send)
    with pytest.raises(ExceptionGroup) as caught:
        selected(tmp_path, {"method": ["iv"]})
    assert caught.group_contains(BadValue, match=match)


@pytest.mark.parametrize(
    "given",
    [
        {"method": []},
        {"method": ["psi"]},
        {"iv_param": {"metrics": ["psi"]}},
        {"iv_param": {"threshold": [1, 2], "take_high": [True, True, False]}},
        {"iv_param": {"filter_type": "top_k", "threshold": 1.5}},
        {"iv_param": {"filter_type": "top_percentile", "threshold": 2}},
        {"iv_param": {"host_threshold": [1, 2], "host_take_high": [True, True, False]}},
        {"iv_param": {"host_filter_type": "top_percentile", "host_threshold": [[0.5, 3]]}},
        {"manual_param": {"keep_col": ["a"], "filter_out_col": ["a"]}},
    ],
)
def test_parameters_that_make_no_sense_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HeteroFeatureSelectionParams.model_validate(given)
