"""Vertical boosting against the same trees on pooled columns."""

from __future__ import annotations

import asyncio
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.algorithms.hetero_secureboost import hetero_secureboost
from partyd.algorithms.metrics import auc
from partyd.algorithms.secureboost_gradients import LEFT_OUT
from partyd.algorithms.secureboost_messages import (
    ChosenSplits,
    EncryptedSides,
    GuestRows,
    GuestState,
    HostKey,
    HostRows,
    MaskedSums,
    OpenedSums,
    Plan,
    Sides,
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Spool
from partyd.algorithms.secureboost_trees import Tree
from partyd.errors import DataError, TaskFailed
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address
from tests.algorithms.pooled_trees import pooled

G, H1, H2 = Address("10000", GUEST), Address("9998", HOST), Address("9999", HOST)
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]


class InsecureParams(SecureBoostParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def params(**changes: Any) -> InsecureParams:
    small = {"num_trees": 3, "max_depth": 3, "max_bin": 8, "min_child_weight": 0.5}
    return InsecureParams.model_validate(small | changes)


def rows(count: int = 120, columns: int = 6, seed: int = 1, *, missing: bool = False) -> tuple[Matrix, Vector]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, columns))
    y = (x[:, 0] + np.sin(2 * x[:, 2]) + x[:, 4] * x[:, 5] + 0.3 * random.normal(size=count) > 0).astype(np.float64)
    if missing:
        x[random.random(x.shape) < 0.15] = np.nan
    return x, y


def train(p: SecureBoostParams, x: Matrix, y: Vector, *, hosts: int = 1, **guest: Any) -> Run:
    data: dict[Address, object] = {G: GuestRows(x[:, :2], y=y, **guest), H1: HostRows(x[:, 2:])}
    if hosts == 2:
        data |= {H1: HostRows(x[:, 2:4]), H2: HostRows(x[:, 4:])}
    return asyncio.run(simulate(hetero_secureboost, p, data))


def splits(run: Run, hosts: int = 1) -> list[list[tuple[int, float, bool, float]]]:
    """What the oracle tells of each tree, put together from the parties' halves."""
    state: GuestState = run.states[G]
    found = []
    for data in state.trees:
        tree = []
        for node in Tree.from_bytes(data).nodes:
            if node.is_leaf:
                continue
            if node.owner == str(G):
                tree.append((node.column, node.threshold, node.missing_left, round(node.gain, 6)))
                continue
            address = Address.parse(node.owner)
            record = run.states[address].records[node.record]
            first = 2 if address == H1 else 4
            assert record.column == node.column
            tree.append((first + record.column, record.threshold, record.missing_left, round(node.gain, 6)))
        found.append(sorted(tree))
    return found


def leaves(run: Run) -> list[list[float]]:
    trees = [Tree.from_bytes(data) for data in run.states[G].trees]
    return [sorted(round(node.weight, 9) for node in tree.nodes if node.is_leaf) for tree in trees]


CASES: dict[str, tuple[dict[str, Any], bool]] = {
    "binary": ({}, False),
    "missing values": ({}, True),
    "without subtraction": ({"hist_sub": False}, False),
    "penalties and least leaves": ({"l1": 0.3, "l2": 1.0, "min_leaf_node": 7, "min_sample_split": 20}, False),
    "few levels": ({"gradient_levels": 8, "gradient_bits": 6, "max_depth": 2}, False),
}


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("case", list(CASES))
def test_trees_are_those_of_the_pooled_columns(case: str, hosts: int) -> None:
    changes, missing = CASES[case]
    p, (x, y) = params(**changes), rows(missing=missing)
    run, expected = train(p, x, y, hosts=hosts), pooled(p, x, y)
    assert splits(run) == expected.splits
    assert leaves(run) == expected.leaves
    np.testing.assert_allclose(run.states[G].scores, expected.scores, atol=1e-9)


def test_hosts_receive_masked_sums_and_chosen_splits_alone() -> None:
    x, y = rows()
    run = train(params(), x, y)
    assert run.transcript.kinds(to=HOST) == {Plan, MaskedSums, ChosenSplits}
    assert run.transcript.kinds(to=GUEST) == {HostKey, EncryptedSides, OpenedSums, Sides}
    trees = [Tree.from_bytes(data) for data in run.states[G].trees]
    mine = [node for tree in trees for node in tree.nodes if node.owner == str(H1)]
    told = [split for message in run.transcript.messages(ChosenSplits) for split in message.splits]
    assert len(told) == len(mine) == len(run.states[H1].records) < sum(not n.is_leaf for t in trees for n in t.nodes)
    assert all(len(split.rows) == 0 for split in told)
    columns = [message.columns.ravel() for message in run.transcript.messages(ChosenSplits)]
    assert abs(np.unpackbits(np.concatenate(columns)).mean() - 0.5) < 0.02


@pytest.mark.parametrize("hosts", [1, 2])
def test_without_hiding_hosts_learn_the_rows_of_their_own_nodes_and_the_trees_are_the_same(hosts: int) -> None:
    x, y = rows(missing=True)
    hidden, told = (train(params(hide_rows=hide), x, y, hosts=hosts) for hide in (True, False))
    assert hidden.states[G].trees == told.states[G].trees
    trees = [Tree.from_bytes(data) for data in told.states[G].trees]
    mine = [node for tree in trees for node in tree.nodes if node.owner == str(H1)]
    splits = [split for message in told.transcript.messages(ChosenSplits, to=H1) for split in message.splits]
    assert sorted(node.rows for node in mine) == sorted(int(np.unpackbits(split.rows).sum()) for split in splits)


def test_what_a_host_receives_is_as_long_whatever_the_labels_of_the_rows_are() -> None:
    """Two trainings whose labels are exchanged in the same way differ for the host by nothing that tells rows apart."""
    x, y = rows()
    p = params(num_trees=1, max_depth=2, complete_secure=0)
    sizes = [[len(s.body) for s in train(p, x, labels).transcript.select(to=HOST)] for labels in (y, 1 - y)]
    assert len(sizes[0]) == len(sizes[1])
    assert max(abs(a - b) for a, b in zip(*sizes, strict=True)) < 16


def test_what_hosts_open_looks_uniform_whatever_the_labels_are() -> None:
    x, y = rows()
    p = params(num_trees=1, max_depth=1)
    for labels in (y, 1 - y):
        opened = train(p, x, labels).transcript.messages(OpenedSums)[0]
        assert max(value.bit_length() for value in opened.values) in (511, 512)


def test_split_values_stay_at_the_host() -> None:
    x, y = rows()
    run = train(params(), x, y)
    thresholds = {record.threshold for record in run.states[H1].records}
    sent = b"".join(one.body for one in run.transcript.select(by=HOST))
    assert thresholds
    assert not any(struct.pack(order, value) in sent for value in thresholds for order in ("<d", ">d"))
    guest_nodes = [n for data in run.states[G].trees for n in Tree.from_bytes(data).nodes if n.owner == str(H1)]
    assert {node.threshold for node in guest_nodes} == {0.0}


def owners(run: Run) -> list[set[str]]:
    """Who splits each tree."""
    trees = [Tree.from_bytes(data) for data in run.states[G].trees]
    return [{node.owner for node in tree.nodes if not node.is_leaf} for tree in trees]


def test_the_first_trees_may_be_the_guests_alone() -> None:
    x, y = rows()
    found = owners(train(params(complete_secure=2, num_trees=3), x, y))
    assert found[:2] == [{str(G)}, {str(G)}]
    assert str(H1) in found[2]


def test_in_mix_mode_parties_take_turns() -> None:
    x, y = rows()
    p = params(boosting_strategy="mix", tree_num_per_party=1, num_trees=4)
    assert owners(train(p, x, y, hosts=2)) == [{str(G)}, {str(H1)}, {str(H2)}, {str(G)}]


def test_in_layered_mode_hosts_split_first_and_the_guest_below() -> None:
    x, y = rows()
    run = train(params(boosting_strategy="layered", host_depth=1, guest_depth=2, num_trees=2), x, y)
    for data in run.states[G].trees:
        nodes = Tree.from_bytes(data).nodes
        assert nodes[0].owner == str(H1)
        assert {n.owner for n in nodes if n.depth > 0 and not n.is_leaf} == {str(G)}
        assert max(n.depth for n in nodes) == 3


def test_classes_grow_a_tree_each_round() -> None:
    x, y = rows(count=150)
    classes = y + (x[:, 3] > 0.4)
    p = params(objective="multi:ce", num_class=3, num_trees=2)
    run, expected = train(p, x, classes), pooled(p, x, classes)
    assert splits(run) == expected.splits
    np.testing.assert_allclose(run.states[G].scores, expected.scores, atol=1e-9)


@pytest.mark.parametrize("objective", ["l2", "l1", "huber", "fair", "log_cosh", "tweedie"])
def test_regressions_are_those_of_the_pooled_columns(objective: str) -> None:
    x, y = rows(count=80)
    target = np.exp(x[:, 0] + 0.5 * x[:, 3]) if objective == "tweedie" else 10 * x[:, 0] + 5 * x[:, 3] + y
    p = params(objective=f"regression:{objective}", num_trees=2, max_depth=2)
    run, expected = train(p, x, target), pooled(p, x, target)
    assert splits(run) == expected.splits
    np.testing.assert_allclose(run.states[G].scores, expected.scores, rtol=1e-9)
    assert run.states[G].losses[1] < run.states[G].losses[0]


def test_weights_count() -> None:
    x, y = rows()
    weight = np.where(y == 1, 3.0, 0.5)
    p = params(num_trees=2)
    run, expected = train(p, x, y, weight=weight), pooled(p, x, y, weight)
    assert splits(run) == expected.splits
    assert splits(run) != splits(train(p, x, y))


def test_sampling_by_gradient_looks_at_fewer_rows_and_still_learns() -> None:
    x, y = rows(count=200)
    run = train(params(goss=True, top_rate=0.3, other_rate=0.2, num_trees=6), x, y)
    assert auc(y, run.states[G].scores[:, 0]) > 0.9
    assert int((run.states[G].codes != LEFT_OUT).sum()) == 60 + 40


def test_trees_of_some_columns_use_no_others() -> None:
    x, y = rows()
    run = train(params(subsample_feature_rate=0.25, num_trees=5), x, y)
    for number, tree in enumerate(splits(run)):
        used = {column for column, *_ in tree}
        assert len(used & {0, 1}) <= 1, number
        assert len(used - {0, 1}) <= 1, number


def test_training_stops_when_held_out_rows_stop_improving_and_keeps_the_best_trees() -> None:
    x, y = rows(count=200)
    held = {"held_out": x[150:, :2], "held_y": 1 - y[150:]}  # the better the fit, the worse this gets
    p = params(num_trees=8, early_stopping_rounds=2)
    guest = GuestRows(x[:150, :2], y=y[:150], **held)
    run = asyncio.run(simulate(hetero_secureboost, p, {G: guest, H1: HostRows(x[:150, 2:], x[150:, 2:])}))
    state: GuestState = run.states[G]
    assert len(state.judged) < 8
    assert len(state.trees) == state.best + 1
    assert state.judged[state.best] == max(state.judged)
    assert state.held_scores.shape == (50, 1)


def test_training_ends_when_the_loss_settles() -> None:
    x, y = rows()
    run = train(params(num_trees=9, n_iter_no_change=True, tol=0.2), x, y)
    assert len(run.states[G].trees) == 2


def test_the_same_seed_gives_the_same_trees() -> None:
    x, y = rows()
    one, two = (train(params(), x, y).states[G].trees for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("y", "changes", "match"),
    [
        (np.array([0.0, 2.0] * 60), {}, "labels 0 and 1"),
        (np.array([0.0, 5.0] * 60), {"objective": "multi:ce", "num_class": 3}, "num_class"),
        (np.array([-1.0, 5.0] * 60), {"objective": "regression:tweedie"}, "not negative"),
        (np.array([0.0, np.nan] * 60), {}, "no label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(y: Vector, changes: dict[str, Any], match: str) -> None:
    x, _ = rows()
    with pytest.raises(ExceptionGroup) as caught:
        train(params(**changes), x, y)
    (error,) = caught.value.exceptions
    assert isinstance(error, DataError)
    assert re.search(match, str(error))


def test_missing_values_are_refused_where_they_are_not_welcome() -> None:
    x, y = rows(missing=True)
    with pytest.raises(ExceptionGroup) as caught:
        train(params(use_missing=False), x, y)
    assert caught.value.subgroup(DataError) is not None


def test_a_lost_spool_says_what_to_do() -> None:
    with pytest.raises(TaskFailed, match="run the task again"):
        Spool().stored("sides-1", 2, 1, 8)


def test_the_spool_is_the_same_on_disk(tmp_path: Path) -> None:
    for spool in (Spool(), Spool(tmp_path / "working")):
        spool.put("a", [(8, b"cdefghij")])
        spool.put("a", [(4, b"4567"), (0, b"0123")])
        for rows_, per_row in ((2, 1), (1, 2)):
            stored = spool.stored("a", rows_, per_row, 8)
            assert b"".join(stored.column(j).tobytes() for j in range(per_row)) == b"01234567cdefghij"
        spool.clear()
        spool.clear()
    assert not (tmp_path / "working").exists()
