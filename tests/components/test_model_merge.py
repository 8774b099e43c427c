"""model_merge as a task: what is written scores as partyd does, and hosts give nothing that their policy closes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.algorithms.lr_parameters import CoordinatedLinrParams, CoordinatedLrParams, CoordinatedPoissonParams
from partyd.algorithms.model_merge import LinearHalf, TreeHalf, Wanted
from partyd.algorithms.secureboost_columns import goes_left
from partyd.algorithms.secureboost_messages import HostRecord
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_trees import Node, Tree
from partyd.components import coordinated_model, secureboost_model
from partyd.components.base import JsonObject, Training
from partyd.components.limits import Limits
from partyd.components.simulate import Seat, TaskRun
from partyd.errors import BelowFloor, DataError, TaskFailed
from partyd.types import GUEST, HOST, Address
from tests.components.scorers import pmml_scores, xgboost_margins
from tests.components.tables import H2, A, G, H, document, task

RANDOM = np.random.default_rng(21)
COLUMNS = {G: ("age", "income"), H: ("calls", "age"), H2: ("km",)}
NAMES = {"age": (G, 0), "income": (G, 1), "calls": (H, 0), "host_9999.age": (H, 1), "km": (H2, 0)}
"""The merged names when hosts tell theirs: two parties have an age."""
X: dict[Address, NDArray[np.float64]] = {p: RANDOM.normal(size=(40, len(names))) for p, names in COLUMNS.items()}
KINDS: Mapping[str, Any] = {
    "coordinated_lr": CoordinatedLrParams,
    "coordinated_linr": CoordinatedLinrParams,
    "coordinated_poisson": CoordinatedPoissonParams,
}


def rows(data: Mapping[Address, NDArray[np.float64]] = X, *, anonymous: bool = False) -> list[dict[str, float]]:
    """Return the rows as who uses the merged model has them."""
    names = {"age": (G, 0), "income": (G, 1)} if anonymous else NAMES
    if anonymous:
        names |= {f"host_{p.party_id}_x{i}": (p, i) for p in (H, H2) for i in range(len(COLUMNS[p]))}
    return [{name: float(data[p][i, j]) for name, (p, j) in names.items()} for i in range(len(data[G]))]


def merge(
    folder: Path,
    halves: Mapping[Address, JsonObject],
    params: Mapping[str, Any],
    limits: Limits | None = None,
    trainings: Mapping[Address, Training] | None = None,
) -> TaskRun:
    """Run the task on model documents."""
    seats = {}
    for party, half in halves.items():
        path = folder / f"in-{party.party_id}" / "output_model.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(half))
        known = {"input_model": trainings[party]} if trainings else {}
        inputs = {"input_model": path.with_suffix("")}
        seats[party] = Seat(params, inputs, limits=limits or Limits(), trainings=known)
    return task("model_merge", seats, folder / "out")


def written(done: TaskRun, name: str = "model.pmml") -> bytes:
    return (done.outputs[G] / "output_model" / name).read_bytes()


# -- linear models

WEIGHTS = {p: RANDOM.normal(size=(3, len(names))) for p, names in COLUMNS.items()}
INTERCEPTS = (0.25, -0.5, 0.0)


def linear(
    kind: str, models: int = 1, exposure: str | None = None, intercept: bool = True
) -> dict[Address, JsonObject]:
    halves = {}
    for party, names in COLUMNS.items():
        has = intercept and party == G
        estimators = tuple(
            coordinated_model.Estimator(names, WEIGHTS[party][k], INTERCEPTS[k] if has else None) for k in range(models)
        )
        labels = (3.0, 5.0, 9.0)[:models] if models > 1 else (0.0, 1.0) if kind == "coordinated_lr" else ()
        model = coordinated_model.Model(kind, estimators, labels if party == G else (), 0.4, exposure)
        halves[party] = model.document(party.role.label, KINDS[kind]())
    return halves


def scores(k: int = 0) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sum((X[p] @ WEIGHTS[p][k] for p in COLUMNS), np.full(len(X[G]), INTERCEPTS[k]))
    return total


@pytest.mark.parametrize("names", ["real", "anonymous"])
def test_logistic_regression_gives_the_same_probabilities(tmp_path: Path, names: str) -> None:
    done = merge(tmp_path, linear("coordinated_lr"), {"host_names": names, "target_name": "bad"})
    found = [pmml_scores(written(done), row) for row in rows(anonymous=names == "anonymous")]
    np.testing.assert_allclose([one["1"] for one in found], 1 / (1 + np.exp(-scores())), rtol=1e-12)
    assert all(abs(one["0"] + one["1"] - 1) < 1e-12 for one in found)
    summary = document(done, G, "output_model")
    assert (summary["meta"]["merged_type"], summary["meta"]["target_name"]) == ("coordinated_lr", "bad")
    told = {column["name"]: (column["party"], column["feature"]) for column in summary["data"]["columns"]}
    if names == "real":
        assert told == {name: (str(p), COLUMNS[p][i]) for name, (p, i) in NAMES.items()}
    else:
        assert told["host_9999_x1"] == ("9999/host", "host_9999_x1")
        assert b"calls" not in written(done)
        assert not any(b"calls" in sent.body for sent in done.transcript.sent)
    assert not (done.outputs[H] / "output_model.json").exists()
    assert done.transcript.kinds(to=GUEST) == {LinearHalf}
    assert done.transcript.kinds(to=HOST) == {Wanted}


def test_classes_numbers_and_counts(tmp_path: Path) -> None:
    many = merge(tmp_path / "many", linear("coordinated_lr", models=3), {"host_names": "real"})
    own = np.column_stack([1 / (1 + np.exp(-scores(k))) for k in range(3)])
    found = [pmml_scores(written(many), row) for row in rows()]
    shares = own / own.sum(axis=1, keepdims=True)
    np.testing.assert_allclose([[one[c] for c in ("3", "5", "9")] for one in found], shares, rtol=1e-12)
    plain = merge(tmp_path / "linr", linear("coordinated_linr", intercept=False), {"host_names": "real"})
    predicted = [pmml_scores(written(plain), row)[""] for row in rows()]
    np.testing.assert_allclose(predicted, scores() - INTERCEPTS[0], rtol=1e-9, atol=1e-12)
    counts = merge(tmp_path / "poisson", linear("coordinated_poisson", exposure="km"), {"host_names": "real"})
    exposed = [row | {"host_9998.km": row["km"], "km": 2.0} for row in rows()]
    predicted = [pmml_scores(written(counts), row)[""] for row in exposed]
    np.testing.assert_allclose(predicted, 2 * np.exp(scores()), rtol=1e-12)


# -- trees

RULES = {
    p: tuple(
        HostRecord(column=int(RANDOM.integers(len(COLUMNS[p]))), threshold=float(t), missing_left=bool(i % 2))
        for i, t in enumerate(RANDOM.normal(size=6))
    )
    for p in (H, H2)
}
OWNERS: Sequence[Address] = (G, H, H2)


def grown(depth: int) -> Tree:
    """Return a whole tree with splits of all parties."""
    nodes = []
    inner = 2**depth - 1
    for nid in range(2 ** (depth + 1) - 1):
        level = int(np.log2(nid + 1))
        common = {"nid": nid, "depth": level, "parent": (nid - 1) // 2 if nid else -1, "rows": 1, "hess": 1.0}
        if nid >= inner:
            nodes.append(Node(owner="", weight=float(RANDOM.normal()), **common))
            continue
        owner = OWNERS[int(RANDOM.integers(3))]
        split = {"left": 2 * nid + 1, "right": 2 * nid + 2, "owner": str(owner), "gain": 1.0}
        if owner == G:
            rule = {
                "column": int(RANDOM.integers(2)),
                "threshold": float(RANDOM.normal()),
                "missing_left": nid % 2 == 0,
            }
        else:
            number = int(RANDOM.integers(5))  # the sixth is used by no tree
            rule = {"record": number, "column": RULES[owner][number].column}
        nodes.append(Node(**common, **split, **rule))
    return Tree(nodes=nodes)


FOREST = tuple(grown(3) for _ in range(6))
HOLED = {p: np.where(RANDOM.uniform(size=x.shape) < 0.2, np.nan, np.round(x, 1)) for p, x in X.items()}
"""Some values are missing, some are 0."""


def boosted(begin: tuple[float, ...] = (0.0,), **given: Any) -> dict[Address, JsonObject]:
    params = SecureBoostParams.model_validate({"learning_rate": 0.3, **given})
    guest = secureboost_model.Model(COLUMNS[G], {}, begin, FOREST)
    hosts = {p: secureboost_model.Model(COLUMNS[p], {}, records=RULES[p]) for p in (H, H2)}
    return {p: model.document(p, params) for p, model in {G: guest, **hosts}.items()}


def walked(row: int, tree: Tree, data: Mapping[Address, NDArray[np.float64]], zeros: bool) -> float:
    node = tree.nodes[0]
    while not node.is_leaf:
        owner = Address.parse(node.owner)
        rule = node if owner == G else RULES[owner][node.record]
        value = data[owner][row : row + 1, rule.column]
        left = goes_left(value, rule.threshold, missing_left=rule.missing_left, zero_as_missing=zeros)[0]
        node = tree.nodes[node.left if left else node.right]
    return node.weight


def margins(begin: tuple[float, ...], data: Mapping[Address, NDArray[np.float64]], zeros: bool) -> NDArray[np.float64]:
    found = np.tile(np.array(begin), (len(data[G]), 1))
    for i, tree in enumerate(FOREST):
        found[:, i % len(begin)] += 0.3 * np.array([walked(row, tree, data, zeros) for row in range(len(found))])
    return found


def test_trees_give_the_same_probabilities_in_both_formats(tmp_path: Path) -> None:
    done = merge(tmp_path, boosted(), {"output_format": "all", "host_names": "real"})
    want = margins((0.0,), HOLED, zeros=False)[:, 0]
    found = [pmml_scores(written(done), row)["1"] for row in rows(HOLED)]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-want)), rtol=1e-12)
    boosters = [xgboost_margins(written(done, "model.xgboost.json"), row)[0] for row in rows(HOLED)]
    np.testing.assert_allclose(boosters, want, rtol=1e-5, atol=1e-6)
    assert done.transcript.kinds(to=GUEST) == {TreeHalf}


def test_a_value_at_the_threshold_goes_left_in_both_formats(tmp_path: Path) -> None:
    done = merge(tmp_path, boosted(), {"output_format": "all", "host_names": "real"})
    at = {p: x.copy() for p, x in X.items()}
    for i, node in enumerate([n for tree in FOREST for n in tree.nodes if n.owner == str(G)][:20]):
        at[G][i, node.column] = node.threshold
    for p in (H, H2):
        for i, rule in enumerate(RULES[p]):
            at[p][20 + i, rule.column] = rule.threshold
    want = margins((0.0,), at, zeros=False)[:, 0]
    np.testing.assert_allclose(
        [xgboost_margins(written(done, "model.xgboost.json"), row)[0] for row in rows(at)], want, rtol=1e-5, atol=1e-6
    )
    found = np.array([pmml_scores(written(done), row)["1"] for row in rows(at)])
    np.testing.assert_allclose(np.log(found / (1 - found)), want, rtol=1e-9, atol=1e-9)


def test_trees_of_classes_numbers_and_zeros_as_missing(tmp_path: Path) -> None:
    multi = {"objective": "multi:ce", "num_class": 3}
    done = merge(tmp_path / "multi", boosted((0.0, 0.0, 0.0), **multi), {"output_format": "all", "host_names": "real"})
    want = margins((0.0, 0.0, 0.0), HOLED, zeros=False)
    raised = np.exp(want)
    found = [pmml_scores(written(done), row) for row in rows(HOLED)]
    shares = raised / raised.sum(axis=1, keepdims=True)
    np.testing.assert_allclose([[one[c] for c in "012"] for one in found], shares, rtol=1e-12)
    found_too = [xgboost_margins(written(done, "model.xgboost.json"), row) for row in rows(HOLED)]
    np.testing.assert_allclose(found_too, want, rtol=1e-5, atol=1e-6)
    for name, link in (("regression:l2", lambda s: s), ("regression:tweedie", np.exp)):
        done = merge(
            tmp_path / name[11:],
            boosted((1.5,), objective=name, zero_as_missing=name[11:] == "l2"),
            {"output_format": "pmml", "host_names": "real"},
        )
        want = margins((1.5,), HOLED, zeros=name[11:] == "l2")[:, 0]
        found_ = [pmml_scores(written(done), row)[""] for row in rows(HOLED)]
        np.testing.assert_allclose(found_, link(want), rtol=1e-9)


def test_only_the_splits_that_are_used_leave_a_host(tmp_path: Path) -> None:
    done = merge(tmp_path, boosted(), {"host_names": "anonymous"})
    used = {p: {n.record for t in FOREST for n in t.nodes if n.owner == str(p)} for p in (H, H2)}
    for party in (H, H2):
        (asked,) = done.transcript.messages(Wanted, to=party)
        (given,) = (m for s, m in zip(done.transcript.select(to=G), done.transcript.messages(TreeHalf), strict=True)
                    if s.id.source == party)  # fmt: skip
        assert isinstance(asked, Wanted)
        assert isinstance(given, TreeHalf)
        assert set(asked.splits.tolist()) == used[party] < set(range(6))
        assert given.thresholds.tolist() == [RULES[party][i].threshold for i in sorted(used[party])]
        assert set(given.columns) <= {f"host_{party.party_id}_x0", f"host_{party.party_id}_x1"}


# -- refusals


@pytest.mark.parametrize(
    ("apart", "names", "words"),
    [(2, "anonymous", "merge_models in policy.toml"), (2, "real", "merge_models"), (1, "real", "host_names")],
)
def test_what_a_policy_closes_is_not_sent(tmp_path: Path, apart: int, names: str, words: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        merge(tmp_path, linear("coordinated_lr"), {"host_names": names}, Limits(models_apart=apart))
    assert caught.group_contains(BelowFloor, match=words)
    open_ = merge(tmp_path / "open", linear("coordinated_lr"), {}, Limits(models_apart=min(apart, 1)))
    assert written(open_)


def without(party: Address) -> dict[Address, JsonObject]:
    return {p: half for p, half in boosted().items() if p != party}


def test_what_cannot_be_merged_is_refused_with_a_reason(tmp_path: Path) -> None:
    lr, trees = linear("coordinated_lr"), boosted()
    zeros = boosted(zero_as_missing=True)
    other = {"meta": {"model_type": "feature_scale"}, "data": {}}
    there = {p: Training("j1/lr_0/c", ("10000/guest", "9999/host", "9998/host", "1/arbiter")) for p in (G, H, H2)}
    elsewhere = there | {H: Training("j2/lr_0/c", ())}
    cases: list[tuple[Any, Any, Any, type[Exception], str]] = [
        (lr, {"output_format": "xgboost"}, None, DataError, "no linear models"),
        (zeros, {"output_format": "all"}, None, DataError, "zeros for missing"),
        (dict.fromkeys((G, H), other), {}, None, TaskFailed, "cannot be merged"),
        (without(H2), {}, None, DataError, "splits of 9998/host"),
        ({**lr, H: trees[H]}, {}, None, DataError, "halves of one training"),
        ({**trees, H: lr[H]}, {}, None, DataError, "halves of one training"),
        ({**lr, H: linear("coordinated_lr", 3)[H]}, {}, None, DataError, "halves of one training"),
        ({p: lr[p] for p in (G, H)}, {}, {p: there[p] for p in (G, H)}, DataError, "9998/host has a part"),
        (lr, {}, elsewhere, DataError, "another training"),
        (lr, {"target_name": "age"}, None, DataError, "target_name"),
    ]
    for i, (halves, params, trainings, kind, words) in enumerate(cases):
        with pytest.raises(ExceptionGroup) as caught:
            merge(tmp_path / str(i), halves, params, trainings=trainings)
        assert caught.group_contains(kind, match=words), (i, caught.value.exceptions)
    merge(tmp_path / "fits", lr, {}, trainings=there)


def test_two_runs_write_equal_files_and_the_arbiter_has_no_part(tmp_path: Path) -> None:
    first, second = (merge(tmp_path / name, boosted(), {"output_format": "all"}) for name in "ab")
    for name in ("model.pmml", "model.xgboost.json"):
        assert written(first, name) == written(second, name)
    assert not first.transcript.select(to=A)
