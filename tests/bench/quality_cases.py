"""What ``bench_quality`` compares: a federated training of a table, and a model of the same rows pooled.

The rule is FATE's own for its quality benchmark: a score within one per cent of the local model's. Its local model is
scikit-learn's with the same columns; here it is scikit-learn's optimum (lbfgs, least squares) or histogram boosting.
"""

from __future__ import annotations

import asyncio
import csv
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, mean_squared_error, roc_auc_score

from partyd.components import COMPONENTS
from partyd.components.base import Component, Stage
from partyd.components.simulate import Seat, simulate_task
from partyd.data.table import Schema, Table
from partyd.federation.algorithm import Params
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.conftest import SHARED_DATA

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
G, H, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", ARBITER)
HELD_OUT = 0.2
SEED = 20


@dataclass(frozen=True)
class Data:
    """Rows x columns and the label; the first ``guest`` columns are the guest's. ``parts`` cuts rows instead."""

    x: Matrix
    y: Vector
    guest: int
    test: tuple[Matrix, Vector] | None = None
    """Rows to hold out; without them a fifth is drawn."""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    component: str
    data: Callable[[], Data | None]
    params: Mapping[str, Any]
    local: Callable[[], Any]
    metric: str = "auc"
    arbiter: bool = False
    horizontal: bool = False
    reference: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """What came of a case on one set of rows."""

    HEADS = ("case", "rows", "metric", "federated", "local", "difference", "published")
    name: str
    rows: str
    metric: str
    federated: float
    local: float
    reference: str

    @property
    def worse_by(self) -> float:
        """How much worse the federated score is, as a share of the local one; below zero where it is better."""
        sign = -1.0 if self.metric == "rmse" else 1.0
        return sign * (self.local - self.federated) / abs(self.local)

    def cells(self) -> tuple[str, ...]:
        """Return the line as words."""
        difference = f"{-100 * self.worse_by:+.2f} %"
        numbers = (f"{self.federated:.4f}", f"{self.local:.4f}", difference)
        return (self.name, self.rows, self.metric, *numbers, self.reference)


def carried_out(case: Case, data: Data, folder: Path, bits: int) -> list[Row]:
    """Train and predict federated and locally; return the scores of trained and of held-out rows."""
    train, test = _cut(data)
    trained = _run(case, train, data.guest, folder, bits, "train", None)
    tested = _run(case, test, data.guest, folder, bits, "predict", folder / "train")
    local = case.local().fit(*train)
    rows = []
    for name, found, (x, y) in (("train", trained, train), ("held out", tested, test)):
        score = _score(case.metric, y, *found)
        rows.append(Row(case.name, f"{name} {len(y)}", case.metric, score, _local(case.metric, local, x, y), ""))
    return [dataclasses.replace(rows[0], reference=case.reference), rows[1]]


def _cut(data: Data) -> tuple[tuple[Matrix, Vector], tuple[Matrix, Vector]]:
    if data.test is not None:
        return (data.x, data.y), data.test
    order = np.random.default_rng(SEED).permutation(len(data.y))
    cut = int(len(order) * HELD_OUT)
    return (data.x[order[cut:]], data.y[order[cut:]]), (data.x[order[:cut]], data.y[order[:cut]])


def _run(
    case: Case, rows: tuple[Matrix, Vector], guest: int, folder: Path, bits: int, stage: Stage, models: Path | None
) -> tuple[Vector, Vector]:
    """Run the component at every party; return the scores and results of ``rows`` in their order."""
    component, (x, y) = _with_key(COMPONENTS[case.component], bits), rows
    port = "train_data" if stage == "train" else "test_data"
    seats = {}
    for address, (columns, label, own) in _halves(case, x, y, guest).items():
        place = folder / f"{stage}-{address.party_id}"
        _table(columns, label, own).save(place)
        inputs: dict[str, Path | tuple[Path, ...]] = {port: place}
        if models is not None:
            inputs["input_model"] = models / f"{address.party_id}-{address.role.label}" / "output_model"
        seats[address] = Seat(case.params, inputs)
    if case.arbiter:
        seats[A] = Seat(case.params)
    done = asyncio.run(simulate_task(component, seats, folder / stage, stage=stage))
    found: dict[int, tuple[float, float]] = {}
    for address in seats:
        output = done.outputs[address] / port.replace("_data", "_output_data")
        if output.exists():
            scored = Table.load(output)
            pairs = zip(scored.features[:, 0].tolist(), scored.features[:, 1].tolist(), strict=True)
            found |= dict(zip([int(i) for i in scored.ids.tolist()], pairs, strict=True))
    both = np.array([found[i] for i in range(len(y))])
    return both[:, 0], both[:, 1]


def _with_key(component: Component, bits: int) -> Component:
    """Return the component with keys of ``bits`` where it has any, which only measuring may make so short."""
    if not hasattr(component.params, "key_bits"):
        return component
    short = type("ShortKeys", (component.params,), {"key_bits": property(lambda _: bits)})
    return dataclasses.replace(component, params=cast("type[Params]", short))


def _halves(case: Case, x: Matrix, y: Vector, guest: int) -> dict[Address, tuple[Matrix, Vector | None, Vector]]:
    """Return each party's columns, label and ids."""
    ids = np.arange(len(y), dtype=np.float64)
    if case.horizontal:
        own = np.arange(len(y)) < guest if guest < len(y) else np.arange(len(y)) % 2 == 0
        return {G: (x[own], y[own], ids[own]), H: (x[~own], y[~own], ids[~own])}
    return {G: (x[:, :guest], y, ids), H: (x[:, guest:], None, ids)}


def _table(x: Matrix, label: Vector | None, ids: Vector) -> Table:
    names = tuple(f"x{i}" for i in range(x.shape[1]))
    schema = Schema(rows=len(x), features=names, label=None if label is None else "y")
    return Table(schema=schema, ids=np.array([b"%d" % i for i in ids]), features=x, label=label)


def _score(metric: str, y: Vector, score: Vector, result: Vector) -> float:
    if metric == "auc":
        return float(roc_auc_score(y, score))
    return float(accuracy_score(y, result)) if metric == "accuracy" else float(mean_squared_error(y, score) ** 0.5)


def _local(metric: str, model: Any, x: Matrix, y: Vector) -> float:
    if metric == "auc":
        return float(roc_auc_score(y, model.predict_proba(x)[:, 1]))
    return _score(metric, y, model.predict(x), model.predict(x))


def _read(name: str, *, label: str | None = None) -> tuple[dict[str, list[float]], Vector]:
    """Return a CSV's rows by id, and the label."""
    with (SHARED_DATA / f"{name}.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    at = head.index(label) if label else None
    rows = {line[0]: [float(v) for i, v in enumerate(line) if i not in (0, at)] for line in lines}
    return rows, np.array([float(line[at]) for line in lines] if at is not None else [])


def vertical(name: str, label: str = "y", guest: str = "guest") -> Callable[[], Data | None]:
    """Return a reader of a published pair of tables; None where they are not there."""

    def read() -> Data | None:
        if not (SHARED_DATA / f"{name}_{guest}.csv").exists():
            return _breast() if name == "breast_hetero" else None
        (own, y), (theirs, _) = _read(f"{name}_{guest}", label=label), _read(f"{name}_host")
        kept = [i for i in own if i in theirs]
        y = y[[i in theirs for i in own]]
        x = np.array([own[i] + theirs[i] for i in kept])
        return Data(x, y, len(next(iter(own.values()))))

    return read


def horizontal() -> Data:
    """Return the homo pair with its own test rows, or scikit-learn's table halved."""
    if not (SHARED_DATA / "breast_homo_guest.csv").exists():
        made = _breast()
        return Data(made.x, made.y, len(made.y))
    parts = [_read(f"breast_homo_{part}", label="y") for part in ("guest", "host", "test")]
    (gx, gy), (hx, hy), (tx, ty) = ((np.array(list(rows.values())), y) for rows, y in parts)
    return Data(np.vstack([gx, hx]), np.concatenate([gy, hy]), len(gy), (tx, ty))


def _breast() -> Data:
    x, y = load_breast_cancer(return_X_y=True)
    return Data((x - x.mean(0)) / x.std(0), y.astype(np.float64), 10)


def _boosted(trees: int, depth: int, bins: int) -> Callable[[], Any]:
    return lambda: HistGradientBoostingClassifier(
        max_iter=trees, max_depth=depth, max_leaf_nodes=None, max_bins=bins, learning_rate=0.3, l2_regularization=0.1,
        min_samples_leaf=1, early_stopping=False,
    )  # fmt: skip


def _lr(method: str, alpha: float, lr: float, epochs: int, batch: int) -> dict[str, Any]:
    optimizer = {"method": method, "penalty": "l2", "alpha": alpha, "optimizer_params": {"lr": lr}}
    return {"epochs": epochs, "batch_size": batch, "tol": 0, "optimizer": optimizer, "init_param": {"method": "zeros"}}


CASES = (
    Case(
        "LR breast", "coordinated_lr", vertical("breast_hetero"), _lr("rmsprop", 0.01, 0.15, 30, 5000),
        lambda: LogisticRegression(max_iter=1000), arbiter=True, reference="FATE's flow test 0.9752",
    ),
    Case(
        "LR default_credit", "coordinated_lr", vertical("default_credit_hetero"),
        _lr("adam", 0.0001, 0.02, 8, 1000), lambda: LogisticRegression(max_iter=1000), arbiter=True,
        reference="UniFed 0.717",
    ),
    Case(
        "LinR motor", "coordinated_linr", vertical("motor_hetero", label="motor_speed"),
        {
            "epochs": 300, "tol": 0, "init_param": {"method": "zeros"},
            "learning_rate_scheduler": {"method": "constant"},
            "optimizer": {
                "method": "sgd", "penalty": None, "alpha": 0, "optimizer_params": {"lr": 0.4, "momentum": 0.97},
            },
        },
        LinearRegression, "rmse", arbiter=True, reference="FATE 0.3140",
    ),
    Case(
        "SecureBoost breast, 5 trees", "hetero_secureboost", vertical("breast_hetero"),
        {"num_trees": 5, "max_depth": 3, "max_bin": 32}, _boosted(5, 3, 32), reference="FATE 0.9972",
    ),
    Case(
        "SecureBoost vehicle", "hetero_secureboost", vertical("vehicle_scale_hetero"),
        {"num_trees": 50, "max_depth": 3, "max_bin": 32, "objective": "multi:ce", "num_class": 4},
        _boosted(50, 3, 32), "accuracy", reference="UniFed 0.9917 (train)",
    ),
    Case(
        "SecureBoost default_credit, 30 trees", "hetero_secureboost", vertical("default_credit_hetero"),
        {"num_trees": 30, "max_depth": 3, "max_bin": 32}, _boosted(30, 3, 32),
    ),
    Case(
        "SecureBoost default_credit, 64 trees of depth 6", "hetero_secureboost", vertical("default_credit_hetero"),
        {"num_trees": 64, "max_depth": 6, "max_bin": 64, "learning_rate": 0.1}, _boosted(64, 6, 64),
        reference="UniFed 0.820",
    ),
    Case(
        "homo LR breast", "homo_lr", horizontal, {}, lambda: LogisticRegression(max_iter=1000), arbiter=True,
        horizontal=True, reference="FATE's flow test 0.9981",
    ),
)  # fmt: skip
"""In the order of the table."""
