"""Vertical boosting against the same trees on pooled columns."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.algorithms.hetero_secureboost import hetero_secureboost
from partyd.algorithms.secureboost_messages import GuestRows, GuestState, HostRows
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_trees import Tree
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
