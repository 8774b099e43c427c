from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression, Ridge

from partyd.algorithms.arbiter_key import ArbiterKey
from partyd.algorithms.coordinated_linr import coordinated_linr
from partyd.algorithms.coordinated_messages import DecryptedGradient, MaskedGradient, Plan, Residual, Rounds, Verdict
from partyd.algorithms.linear_model import batch
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.quadratic_loss import Forward, HostLoss
from partyd.errors import DataError
from partyd.federation.message import Message
from partyd.federation.simulate import Run, simulate
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.conformance.examples import InsecureLinrParams

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(60, 6))
Y = X @ RANDOM.normal(size=6) + 3 + 0.1 * RANDOM.normal(size=60)
WEIGHT = np.linspace(0.25, 4, 60)


def params(**changes: object) -> InsecureLinrParams:
    settings: dict[str, object] = {
        "epochs": 3,
        "batch_size": 20,
        "tol": 0.0,
        "init_param": {"method": "zeros"},
        "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.3}},
    }
    return InsecureLinrParams.model_validate(settings | changes)


def run(p: InsecureLinrParams, *, hosts: int = 1, weight: Matrix | None = None, y: Matrix = Y) -> Run:
    data: dict[Address, object] = {G: Labelled(X[:, :2], y, weight), A: None}
    data |= {H1: X[:, 2:]} if hosts == 1 else {H1: X[:, 2:4], H2: X[:, 4:]}
    return asyncio.run(simulate(coordinated_linr, p, data))


def model(done: Run) -> Matrix:
    """Guest's features, hosts', intercept."""
    w = done.states[G].w
    hosts = [done.states[h].w for h in (H1, H2) if h in done.states]
    return np.concatenate([w[:2], *hosts, w[2:]])


def plaintext(done: Run, weight: Matrix) -> tuple[Matrix, list[float]]:
    """The same iteration on pooled data, with numpy alone."""
    x, state = np.column_stack([X, np.ones(len(X))]), done.states[G]
    w, losses, shrink = np.zeros(7), [], 0.01 * np.append(np.ones(6), 0)
    for epoch in range(len(state.losses)):
        total = 0.0
        for b in range(state.batches):
            rows = batch(state.seed, len(Y), state.batches, epoch * state.batches + b)
            error = x[rows] @ w - Y[rows]
            total += float(np.sum(weight[rows] * error**2) / 2)
            w = w - 0.3 * (x[rows].T @ (weight[rows] * error) / len(rows) + shrink * w)
        losses.append(total / len(Y))
    return w, losses


@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("hosts", [1, 2])
def test_equals_the_same_iteration_in_the_clear(hosts: int, weight: Matrix | None) -> None:
    done = run(params(), hosts=hosts, weight=weight)
    w, losses = plaintext(done, np.ones(60) if weight is None else weight)
    np.testing.assert_allclose(model(done), w, atol=2e-6)
    np.testing.assert_allclose(done.states[G].losses, losses, atol=2e-6)


def test_it_ends_at_scikit_learns_ridge() -> None:
    """Ridge minimises the sum of squares and its alpha, this the mean of half squares: 60 alphas."""
    given = {"method": "sgd", "penalty": "l2", "alpha": 0.1, "optimizer_params": {"lr": 0.6, "momentum": 0.3}}
    done = run(params(epochs=20, batch_size=None, optimizer=given))
    ridge = Ridge(alpha=6.0).fit(X, Y)
    np.testing.assert_allclose(model(done), np.append(ridge.coef_, ridge.intercept_), atol=1e-4)


@pytest.mark.parametrize(
    ("method", "lr"), [("sgd", 0.5), ("adagrad", 1.0), ("rmsprop", 0.2), ("adam", 0.5), ("nesterov", 0.3)]
)
def test_every_optimizer_comes_near_the_least_squares(method: str, lr: float) -> None:
    more = {"momentum": 0.5, "nesterov": True} if method == "nesterov" else {}
    name = "sgd" if method == "nesterov" else method
    given = {"method": name, "penalty": "none", "alpha": 0, "optimizer_params": {"lr": lr, **more}}
    done = run(params(epochs=12, batch_size=None, optimizer=given))
    best = float(np.mean((LinearRegression().fit(X, Y).predict(X) - Y) ** 2) / 2)
    assert best <= done.states[G].losses[-1] < best + 0.8
    assert done.states[G].losses[0] > 5


def test_l1_leaves_out_columns_that_say_nothing() -> None:
    y = 2 * X[:, 0] + 3 * X[:, 3]
    given = {"method": "sgd", "penalty": "L1", "alpha": 0.3, "optimizer_params": {"lr": 0.3}}
    w = model(run(params(epochs=15, batch_size=None, optimizer=given), y=y))
    assert (w[[1, 2, 4, 5]] == 0).all()
    assert (np.abs(w[[0, 3]]) > 1).all()


def test_what_each_role_receives() -> None:
    transcript = run(params(), hosts=2).transcript
    to_guest: set[type[Message]] = {ArbiterKey, Forward, HostLoss, DecryptedGradient}
    to_host: set[type[Message]] = {ArbiterKey, Plan, Residual, DecryptedGradient, Verdict}
    to_arbiter: set[type[Message]] = {Rounds, MaskedGradient, Verdict}
    assert transcript.kinds(to=ARBITER) == to_arbiter
    assert transcript.kinds(to=GUEST) == to_guest
    assert transcript.kinds(to=HOST) == to_host
    assert not [s for s in transcript.sent if s.id.source.role & s.id.destination.role & HOST]


@pytest.mark.parametrize("label", [np.where(Y > 3, np.nan, 1.0), np.where(Y > 3, np.inf, 1.0)])
def test_labels_that_are_no_numbers_are_refused(label: Matrix) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(params(), y=label)
    assert caught.group_contains(DataError, match="no label")
