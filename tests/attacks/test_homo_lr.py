"""What the arbiter of homo_lr receives says nothing of a single party's labels."""

from __future__ import annotations

import asyncio
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kstest

from partyd.algorithms.homo_lr import homo_lr
from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import HomoRows
from partyd.federation.simulate import simulate
from partyd.protocols.aggregation import MaskedVector
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.attacks.inference import auc_either_way, cosines, norms

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
RUNS = 40


@cache
def received() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the guest's masked vectors of many trainings as shares of 2^64, and which of two labellings it had."""
    random = np.random.default_rng(3)
    x, y = random.normal(size=(30, 40)), (random.random(30) < 0.5).astype(np.float64)
    names, vectors, which = tuple(f"x{j:02}" for j in range(40)), [], np.arange(RUNS) % 2
    params = HomoLrParams.model_validate({"epochs": 1, "tol": 0})
    for number, flipped in enumerate(which.tolist()):
        rows: dict[Address, object] = {p: HomoRows(names, x, y) for p in (H1, H2)} | {A: None}
        rows[G] = HomoRows(names, x, 1 - y if flipped else y)
        run = asyncio.run(simulate(homo_lr, params, rows, seed=bytes([number])))
        (sent,) = [one for one in run.transcript.select(to=ARBITER, by=G) if one.id.kind == "MaskedVector"]
        vectors.append(MaskedVector.from_bytes(sent.body).y.astype(np.float64) / 2.0**64)
    return np.array(vectors), which.astype(np.float64)


def test_masked_vectors_are_uniform_whatever_the_labels_are() -> None:
    vectors, which = received()
    assert all(kstest(vectors[which == one].ravel(), "uniform").pvalue > 1e-3 for one in (0, 1))


def test_trainings_with_opposite_labels_cannot_be_told_apart() -> None:
    vectors, which = received()
    spread = 0.5 / np.sqrt(RUNS)  # more than the deviation of an AUC by chance
    assert all(auc_either_way(which, guess) < 0.5 + 3 * spread for guess in (norms(vectors), cosines(vectors)))
