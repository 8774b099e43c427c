"""What a host of coordinated_lr can infer of the labels: the values that its declaration gives, and no more."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from functools import cache

import gmpy2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer

from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.coordinated_messages import Residual
from partyd.algorithms.linear_model import batch, guessed_auc, insist_on_rows
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.errors import DataError
from partyd.federation.simulate import Run, simulate
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.attacks.gradients_seen import gradients_seen
from tests.attacks.inference import auc_either_way, boxed, cosines, declared_auc, least_squares, norms

G, H, A = Address("10000", GUEST), Address("9999", HOST), Address("1", ARBITER)
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
MARGIN = 0.05


class InsecureParams(CoordinatedLrParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


@dataclass(frozen=True)
class Trained:
    """A training, and what its host holds: rows, their batches, and the gradient of every batch it was sent."""

    run: Run
    x: Matrix
    y: Vector
    batches: list[NDArray[np.int64]]
    gradients: list[Vector]


def trained(guest: Matrix, host: Matrix, y: Vector, *, epochs: int, batch_size: int) -> Trained:
    given = {"epochs": epochs, "batch_size": batch_size, "tol": 0, "init_param": {"method": "zeros"}}
    params = InsecureParams.model_validate(given | {"optimizer": {"method": "sgd", "optimizer_params": {"lr": 0.3}}})
    run = asyncio.run(simulate(coordinated_lr, params, {G: Labelled(guest, y), H: host, A: None}))
    state, count = run.states[H], -(-len(y) // batch_size)
    batches = [batch(state.seed, len(y), count, taken) for taken in range(epochs * count)]
    assert len({len(rows) for rows in batches}) == 1
    return Trained(run, host, y, batches, gradients_seen(run, H, params, len(batches[0])))


@cache
def unrelated() -> Trained:
    """600 rows in two batches, and 20 columns of the host that say nothing about the label."""
    random = np.random.default_rng(4)
    y = (random.random(600) < 0.5).astype(np.float64)
    guest = np.column_stack([y + random.normal(size=600), random.normal(size=600)])
    return trained(guest, random.normal(size=(600, 20)), y, epochs=4, batch_size=300)


def of_batches(done: Trained, first: int, stop: int) -> float:
    """Return the AUC, batch by batch, of the residuals that some of the batches' gradients give by least squares."""
    guesses = np.zeros(len(done.y))
    for rows, gradient in list(zip(done.batches, done.gradients, strict=True))[first:stop]:
        guesses[rows] += least_squares(done.x[rows], gradient)
    return float(np.mean([auc_either_way(done.y[rows], guesses[rows]) for rows in done.batches[:2]]))


def test_the_gradients_are_those_of_the_batches() -> None:
    done = unrelated()
    rows = done.batches[0]
    np.testing.assert_allclose(done.gradients[0], done.x[rows].T @ (0.5 - done.y[rows]), atol=1e-4)
    assert len(done.gradients) == 8


def test_a_batch_gives_away_what_the_declaration_says_and_no_more() -> None:
    found = of_batches(unrelated(), 0, 2)
    assert declared_auc(300, 20) == pytest.approx(0.647, abs=0.001)
    assert found == pytest.approx(declared_auc(300, 20), abs=MARGIN)


def test_further_epochs_of_the_same_batches_add_nothing() -> None:
    assert of_batches(unrelated(), 0, 8) < declared_auc(300, 20) + MARGIN


def test_knowing_that_labels_are_0_or_1_adds_nothing_at_fifteen_rows_a_column() -> None:
    done = unrelated()
    (rows, *_), (gradient, *_) = done.batches, done.gradients
    guess = boxed(done.x[rows], gradient, 0.5)
    assert auc_either_way(done.y[rows], guess) < declared_auc(300, 20) + MARGIN


def test_weights_of_unrelated_columns_score_no_better_than_the_batches() -> None:
    done = unrelated()
    assert auc_either_way(done.y, done.x @ done.run.states[H].w) < declared_auc(300, 20) + MARGIN


def test_ciphertexts_of_residuals_say_nothing() -> None:
    done = unrelated()
    n, seen, labels = gmpy2.mpz(done.run.states[H].n), [], []
    for rows, message in zip(done.batches, done.run.transcript.messages(Residual, to=H), strict=True):
        assert isinstance(message, Residual)
        assert {gmpy2.jacobi(c, n) for c in message.d.values} == {1}
        seen += [
            [float(c >> 900), float(c % (1 << 53)), float(c % n >> 400), float(c // n >> 400)] for c in message.d.values
        ]
        labels += done.y[rows].tolist()
    table = np.array(seen)
    table /= table.max(axis=0)
    for guess in (norms(table), cosines(table), *table.T):
        assert auc_either_way(np.array(labels), guess) < 0.55 + MARGIN


def made(rows: int, columns: int, seed: int) -> tuple[Matrix, Vector, Vector]:
    """Return a batch, its labels, and the gradient of its host's weights while all weights are zero."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(rows, columns)), (random.random(rows) < 0.5).astype(np.float64)
    return x, y, x.T @ (0.5 - y)


def least_batch(seed: int) -> tuple[Matrix, Vector, Vector]:
    return made(40, 20, seed)


@pytest.mark.parametrize(("rows", "at_least", "at_most"), [(30, 0.99, 1.0), (40, 0.85, 1.0), (80, 0.7, 0.87)])
def test_small_batches_give_labels_away_as_declared(rows: int, at_least: float, at_most: float) -> None:
    cases = [made(rows, 20, seed) for seed in range(8)]
    found = np.mean([auc_either_way(y, boxed(x, gradient, 0.5)) for x, y, gradient in cases])
    assert at_least <= found <= at_most
    assert found == pytest.approx(declared_auc(rows, 20), abs=MARGIN)


def test_every_further_training_adds_equations_of_its_own_as_declared() -> None:
    found = []
    for seed in range(4):
        x, y, _ = made(600, 20, seed)
        orders = [np.random.default_rng(100 * seed + job).permutation(600) for job in range(4)]
        cut = [half for order in orders for half in (order[:300], order[300:])]
        equations = np.column_stack([np.where(np.isin(np.arange(600), half)[:, None], x, 0.0) for half in cut])
        found.append(auc_either_way(y, least_squares(equations, equations.T @ (0.5 - y))))
    assert float(np.mean(found)) == pytest.approx(declared_auc(600, 5 * 20), abs=MARGIN)  # a job's two sums agree
    assert "Each job and each new attempt" in coordinated_lr.coalitions


def test_from_130_rows_a_column_a_batch_says_next_to_nothing() -> None:
    cases = [made(2600, 20, seed) for seed in range(4)]
    found = float(np.mean([auc_either_way(y, least_squares(x, gradient)) for x, y, gradient in cases]))
    assert found == pytest.approx(declared_auc(2600, 20), abs=0.015)
    assert declared_auc(2600, 20) < 0.551


def test_the_least_batch_that_is_not_refused_gives_its_labels_away_as_declared() -> None:
    with pytest.raises(DataError, match="larger batches"):
        insist_on_rows(39, 20)
    insist_on_rows(40, 20)
    found = np.mean([auc_either_way(y, boxed(x, gradient, 0.5)) for x, y, gradient in map(least_batch, range(8))])
    assert found == pytest.approx(declared_auc(40, 20), abs=MARGIN)
    assert declared_auc(40, 20) == pytest.approx(0.92, abs=0.005) == guessed_auc(40, 20)


def test_a_column_that_is_zero_on_all_but_one_row_shows_its_residual_as_declared() -> None:
    x, y, _ = made(60, 3, 1)
    x[:, 1] = 0
    x[7, 1] = 2.0
    done = trained(x[:, :1], x, y, epochs=1, batch_size=60)
    residual = done.gradients[0][1] / 2.0
    assert residual == pytest.approx(0.5 - y[7], abs=1e-6)


def test_features_that_predict_the_label_predict_it_as_declared() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x = (x[:568] - x.mean(axis=0)) / x.std(axis=0)
    done = trained(x[:, :10], x[:, 10:], y[:568].astype(np.float64), epochs=1, batch_size=284)
    first = auc_either_way(done.y, done.x @ done.gradients[0])
    assert 0.94 < first < 0.99
    assert 0.94 < auc_either_way(done.y, done.x @ done.run.states[H].w) < 0.99


def test_the_declaration_names_these_values() -> None:
    words = re.sub(r"\s+", " ", coordinated_lr.coalitions)
    for value in ("0.65", "0.55", "0.97", "0.92", "130 rows a column", "one and a half rows a column"):
        assert value in words, value
