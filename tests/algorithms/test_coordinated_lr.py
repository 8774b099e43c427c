from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from partyd.algorithms.coordinated_lr import (
    CoordinatedLrParams,
    Labelled,
    coordinated_lr,
)
from partyd.algorithms.linear_model import batch
from partyd.federation.simulate import Faults, Run, simulate
from partyd.types import ARBITER, GUEST, HOST, Address

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
Matrix = NDArray[np.float64]
INSECURE_BITS = 512


class InsecureParams(CoordinatedLrParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return INSECURE_BITS


def made(rows: int = 40, columns: int = 6) -> tuple[Matrix, Matrix]:
    random = np.random.default_rng(1)
    x = random.normal(size=(rows, columns))
    return x, (x @ random.normal(size=columns) > 0).astype(np.float64)


def params(**changes: object) -> InsecureParams:
    settings: dict[str, object] = {
        "epochs": 3,
        "batch_size": 20,
        "tol": 0.0,
        "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.3}},
    }
    return InsecureParams.model_validate(settings | changes)


def run(p: InsecureParams | None = None, *, hosts: int = 1, faults: Faults | None = None, seed: bytes = b"s") -> Run:
    x, y = made()
    data: dict[Address, object] = {G: Labelled(x[:, :2], y), A: None}
    data |= {H1: x[:, 2:]} if hosts == 1 else {H1: x[:, 2:4], H2: x[:, 4:]}
    return asyncio.run(simulate(coordinated_lr, p or params(), data, faults=faults, seed=seed))


def model(done: Run) -> Matrix:
    """Guest's features, hosts', intercept."""
    w = done.states[G].w
    hosts = [done.states[h].w for h in (H1, H2) if h in done.states]
    return np.concatenate([w[:2], *hosts, w[2:]])


def plaintext(done: Run, p: InsecureParams) -> tuple[Matrix, list[float]]:
    """The same iteration on pooled data, with numpy alone."""
    x, y = made()
    x, y = np.column_stack([x, np.ones(len(x))]), 2 * y - 1
    w, losses, state = np.zeros(x.shape[1]), [], done.states[G]
    shrink = p.optimizer.alpha * np.append(np.ones(x.shape[1] - 1), 0)
    for epoch in range(len(state.losses)):
        total = 0.0
        for b in range(state.batches):
            rows = batch(state.seed, len(y), state.batches, epoch * state.batches + b)
            z = x[rows] @ w
            total += float(np.sum(math.log(2) - 0.5 * y[rows] * z + 0.125 * z * z))
            gradient = x[rows].T @ (0.25 * z - 0.5 * y[rows]) / len(rows)
            w = w - p.optimizer.optimizer_params.lr * (gradient + shrink * w)
        losses.append(total / len(y))
    return w, losses


@pytest.mark.parametrize("hosts", [1, 2])
def test_equals_the_same_iteration_in_the_clear(hosts: int) -> None:
    done = run(hosts=hosts)
    w, losses = plaintext(done, params())
    np.testing.assert_allclose(model(done), w, atol=1e-6)
    np.testing.assert_allclose(done.states[G].losses, losses, atol=1e-6)
    assert [done.reports[G].metrics["loss", epoch] for epoch in range(3)] == done.states[G].losses
