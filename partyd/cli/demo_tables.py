"""The demo's data: scikit-learn's breast-cancer table, cut into what two organisations would have.

Both know most of the users, neither all; the first ten features and the label are the guest's, the others the host's.
`pooled` is what neither could do alone: the same model on the two tables put together, for comparison only.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
GUEST_FEATURES = 10
MISSED_SHARE = 0.13
"""Of all users, those that one side has and the other misses: about 15 % of a side's own."""
SEED = 7


@dataclass(frozen=True)
class Users:
    """Every user: an id, a label, features by name."""

    ids: tuple[str, ...]
    y: Vector
    x: Matrix
    names: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """The two organisations' files, and which users they have in common."""

    guest: Path
    host: Path
    guest_rows: int
    host_rows: int
    common: frozenset[str]


@dataclass(frozen=True)
class Score:
    """How well rows are told apart."""

    rows: int
    auc: float
    ks: float


def load_users() -> Users:
    """Return the table with ids such as ``user-000123``."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    names = tuple(str(name).replace(" ", "_") for name in table.feature_names)
    ids = tuple(f"user-{i:06d}" for i in range(len(table.target)))
    return Users(ids, np.asarray(table.target, dtype=np.float64), np.asarray(table.data, dtype=np.float64), names)


def cut(users: Users, folder: Path) -> Cut:
    """Write ``guest.csv`` and ``host.csv`` into ``folder``, rows in an order of their own."""
    guest, host = known_to_each(len(users.ids))
    x, names = users.x, users.names
    guest_lines = ([users.ids[i], f"{users.y[i]:.0f}", *map(repr, x[i, :GUEST_FEATURES].tolist())] for i in guest)
    host_lines = ([users.ids[i], *map(repr, x[i, GUEST_FEATURES:].tolist())] for i in host)
    write(folder / "guest.csv", ["id", "y", *names[:GUEST_FEATURES]], guest_lines)
    write(folder / "host.csv", ["id", *names[GUEST_FEATURES:]], host_lines)
    common = frozenset(users.ids[i] for i in set(guest.tolist()) & set(host.tolist()))
    return Cut(folder / "guest.csv", folder / "host.csv", len(guest), len(host), common)


def known_to_each(users: int) -> tuple[Rows, Rows]:
    """Return which of so many users the guest knows, and which the host, each in an order of its own."""
    rng = np.random.default_rng(SEED)
    rows = rng.permutation(users)
    missed = round(MISSED_SHARE * users)
    guest, host = rows[missed:], np.concatenate([rows[:missed], rows[2 * missed :]])
    return rng.permutation(guest), rng.permutation(host)


def pooled(users: Users, train_ids: Sequence[str], held_out_ids: Sequence[str]) -> tuple[Score, Score]:
    """Return how scikit-learn's logistic regression does on the pooled columns, in training and held out."""
    from sklearn.linear_model import LogisticRegression

    place = {user: i for i, user in enumerate(users.ids)}
    train, held_out = ([place[user] for user in ids] for ids in (train_ids, held_out_ids))
    mean, spread = users.x[train].mean(axis=0), users.x[train].std(axis=0)
    x = (users.x - mean) / spread
    model = LogisticRegression(max_iter=1000).fit(x[train], users.y[train])
    return _score(users.y[train], model.decision_function(x[train])), _score(
        users.y[held_out], model.decision_function(x[held_out])
    )


def _score(label: Vector, score: Vector) -> Score:
    return Score(len(label), metrics.auc(label, score), metrics.ks(label, score)[0])


def write(path: Path, header: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(lines)
