"""Trees as the guest knows them, and which split of a node is best.

With G and H the sums of gradients and curvatures over a node's rows, T(G) = sign(G) max(|G| - l1, 0), and L and R for
the two sides of a split (Chen and Guestrin, "XGBoost: a scalable tree boosting system", KDD 2016, equations 5 and 7):

    weight = -T(G) / (H + l2)
    gain = T(G_L)^2 / (H_L + l2) + T(G_R)^2 / (H_R + l2) - T(G)^2 / (H + l2)

Of equal gains the first candidate wins: the guest's own first, then the hosts' by address, each in its own order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.wire.codec import Record

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
OPEN = "?"
"""The owner of a node that is still to be split or closed; a leaf has none."""


class Node(Record):
    """A node of a tree; ``owner`` is the address of the party that splits it, empty at a leaf.

    The guest's own splits have a column and a threshold; of a host's it knows the column's position (as in the names
    that others see), and under which ``record`` the host keeps the rest.
    """

    nid: int
    depth: int
    parent: int = -1
    left: int = -1
    right: int = -1
    owner: str = OPEN
    column: int = -1
    threshold: float = 0.0
    missing_left: bool = False
    record: int = -1
    rows: int = 0
    grad: float = 0.0
    hess: float = 0.0
    weight: float = 0.0
    gain: float = 0.0

    def evolve(self, **changes: object) -> Node:
        """Return this node with other values in some fields."""
        return self.model_copy(update=changes)

    @property
    def is_leaf(self) -> bool:
        """Whether rows end here."""
        return self.owner == ""


class Tree(Record):
    """A finished tree: its nodes by number, the root first."""

    nodes: list[Node]


@dataclass(frozen=True)
class Rules:
    """What a split must keep, and how gains and weights are penalised."""

    l1: float
    l2: float
    min_gain: float
    min_rows: int
    min_leaf: int
    min_hess: float

    @property
    def counts(self) -> bool:
        """Whether a split is judged by the rows on its sides, too; a side with any curvature has at least one."""
        return self.min_leaf > 1

    def weight(self, g: float, h: float) -> float:
        """Return a leaf's weight."""
        return -float(_shrunk(np.array([g]), self.l1)[0]) / (h + self.l2)

    def could_split(self, rows: int, h: float) -> bool:
        """Return whether any split of such a node could be allowed."""
        return rows >= max(self.min_rows, 2 * self.min_leaf) and h >= 2 * self.min_hess


@dataclass(frozen=True)
class Sums:
    """Sums of g, h and rows: of nodes (one number each), or left of candidates (nodes x candidates)."""

    g: Vector
    h: Vector
    rows: Vector

    def minus(self, other: Sums) -> Sums:
        """Return what is left when ``other`` is taken off."""
        return Sums(self.g - other.g, self.h - other.h, self.rows - other.rows)


@dataclass(frozen=True)
class Best:
    """The best candidate of a node and its gain; ``candidate`` is -1 where none is allowed."""

    candidate: int = -1
    gain: float = -np.inf


def best_splits(left: Sums, total: Sums, allowed: Mask, rules: Rules) -> list[Best]:
    """Return the best candidate of every node."""
    if not left.g.shape[1]:
        return [Best()] * len(left.g)
    whole = Sums(total.g[:, None], total.h[:, None], total.rows[:, None])
    right = whole.minus(left)
    gain = _score(left, rules) + _score(right, rules) - _score(whole, rules)
    good = allowed & (left.h >= rules.min_hess) & (right.h >= rules.min_hess) & (gain >= rules.min_gain)
    if rules.counts:
        good &= (left.rows >= rules.min_leaf) & (right.rows >= rules.min_leaf)
    gain = np.where(good, gain, -np.inf)
    chosen = np.argmax(gain, axis=1)
    found = gain[np.arange(len(gain)), chosen]
    return [Best(int(c), float(g)) if g > -np.inf else Best() for c, g in zip(chosen, found, strict=True)]


def grown(nodes: Sequence[Node], nid: int, split: Node) -> list[Node]:
    """Return the nodes with ``nid`` split as ``split`` says, and two open children at the end."""
    left, right = len(nodes), len(nodes) + 1
    parent = split.evolve(left=left, right=right)
    children = [Node(nid=child, depth=parent.depth + 1, parent=nid) for child in (left, right)]
    return [*nodes[:nid], parent, *nodes[nid + 1 :], *children]


def _score(sums: Sums, rules: Rules) -> Vector:
    with np.errstate(divide="ignore", invalid="ignore"):
        score: Vector = _shrunk(sums.g, rules.l1) ** 2 / (sums.h + rules.l2)
    return np.where(sums.h + rules.l2 > 0, score, 0.0)


def _shrunk(g: Vector, l1: float) -> Vector:
    return np.sign(g) * np.maximum(np.abs(g) - l1, 0.0) if l1 else g
