from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import mean_poisson_deviance

from partyd.algorithms.arbiter_key import ArbiterKey
from partyd.algorithms.coordinated_messages import DecryptedGradient, MaskedGradient, Plan, Residual, Rounds, Verdict
from partyd.algorithms.coordinated_poisson import (
    MOST_HOSTS,
    POISSON,
    HostScores,
    Means,
    coordinated_poisson,
    deviance,
    mean,
)
from partyd.algorithms.linear_model import batch
from partyd.algorithms.lr_rows import Labelled
from partyd.crypto.encoding import MAGNITUDE, bound_of
from partyd.crypto.packing import MASK_BITS
from partyd.crypto.paillier import KEY_BITS
from partyd.errors import DataError, EncodingOverflow
from partyd.federation.message import Message
from partyd.federation.simulate import Run, simulate
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.conformance.examples import InsecurePoissonParams

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(60, 6)) / 2
EXPOSURE = RANDOM.uniform(0.5, 3, 60)
Y = RANDOM.poisson(EXPOSURE * np.exp(X @ RANDOM.normal(size=6) / 2)).astype(np.float64)
WEIGHT = np.linspace(0.25, 2, 60)


def params(**changes: object) -> InsecurePoissonParams:
    settings: dict[str, object] = {
        "epochs": 3,
        "batch_size": 20,
        "tol": 0.0,
        "init_param": {"method": "zeros"},
        "optimizer": {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.1}},
    }
    return InsecurePoissonParams.model_validate(settings | changes)


def run(
    p: InsecurePoissonParams,
    *,
    hosts: int = 1,
    weight: Matrix | None = None,
    exposure: Matrix | None = EXPOSURE,
    x: Matrix = X,
    y: Matrix = Y,
) -> Run:
    data: dict[Address, object] = {G: Labelled(x[:, :2], y, weight, exposure=exposure), A: None}
    data |= {H1: x[:, 2:]} if hosts == 1 else {H1: x[:, 2:4], H2: x[:, 4:]}
    return asyncio.run(simulate(coordinated_poisson, p, data))


def model(done: Run) -> Matrix:
    """Guest's features, hosts', intercept."""
    w = done.states[G].w
    hosts = [done.states[h].w for h in (H1, H2) if h in done.states]
    return np.concatenate([w[:2], *hosts, w[2:]])


def plaintext(done: Run, exposure: Matrix, weight: Matrix) -> tuple[Matrix, list[float]]:
    """The same iteration on pooled data, with numpy alone."""
    x, state = np.column_stack([X, np.ones(len(X))]), done.states[G]
    w, losses, shrink = np.zeros(7), [], 0.01 * np.append(np.ones(6), 0)
    for epoch in range(len(state.losses)):
        total = 0.0
        for b in range(state.batches):
            rows = batch(state.seed, len(Y), state.batches, epoch * state.batches + b)
            z = x[rows] @ w
            means = exposure[rows] * np.exp(z)
            total += float(np.sum(weight[rows] * (means - Y[rows] * (z + np.log(exposure[rows])))))
            gradient = x[rows].T @ (weight[rows] * (means - Y[rows])) / len(rows)
            w = w - 0.1 * (gradient + shrink * w)
        losses.append(total / len(Y))
    return w, losses


@pytest.mark.parametrize(("weight", "exposure"), [(None, None), (None, EXPOSURE), (WEIGHT, EXPOSURE)])
@pytest.mark.parametrize("hosts", [1, 2])
def test_equals_the_same_iteration_in_the_clear(hosts: int, weight: Matrix | None, exposure: Matrix | None) -> None:
    done = run(params(), hosts=hosts, weight=weight, exposure=exposure)
    ones = np.ones(60)
    w, losses = plaintext(done, ones if exposure is None else exposure, ones if weight is None else weight)
    np.testing.assert_allclose(model(done), w, atol=2e-6)
    np.testing.assert_allclose(done.states[G].losses, losses, atol=2e-6)


def test_it_ends_at_scikit_learns_poisson_regressor() -> None:
    """scikit-learn has no offset: it fits y / exposure with the exposure as weight, which is the same optimum."""
    given = {"method": "sgd", "penalty": "l2", "alpha": 0.5, "optimizer_params": {"lr": 0.3, "momentum": 0.3}}
    done = run(params(epochs=20, batch_size=None, optimizer=given), hosts=2)
    alpha = 0.5 / float(EXPOSURE.mean())  # it divides by the sum of the weights, this by the number of rows
    sklearn = PoissonRegressor(alpha=alpha, tol=1e-8, max_iter=1000).fit(X, Y / EXPOSURE, sample_weight=EXPOSURE)
    np.testing.assert_allclose(model(done), np.append(sklearn.coef_, sklearn.intercept_), atol=1e-5)
    ours = EXPOSURE * np.exp(np.column_stack([X, np.ones(60)]) @ model(done))
    theirs = EXPOSURE * sklearn.predict(X)
    assert deviance(Y, ours) == pytest.approx(deviance(Y, theirs), rel=1e-5)


def test_the_deviance_is_scikit_learns() -> None:
    predicted = RANDOM.uniform(0.1, 5, 60)
    assert deviance(Y, predicted) == pytest.approx(mean_poisson_deviance(Y, predicted))


def test_what_each_role_receives() -> None:
    transcript = run(params(), hosts=2).transcript
    to_guest: set[type[Message]] = {ArbiterKey, Means, HostScores, DecryptedGradient}
    to_host: set[type[Message]] = {ArbiterKey, Plan, Means, Residual, DecryptedGradient, Verdict}
    to_arbiter: set[type[Message]] = {Rounds, MaskedGradient, Verdict}
    assert transcript.kinds(to=ARBITER) == to_arbiter
    assert transcript.kinds(to=GUEST) == to_guest
    assert transcript.kinds(to=H1) == to_host
    assert transcript.kinds(to=H2) == to_host - {Means}
    between = {s.id.kind for s in transcript.sent if s.id.source.role & s.id.destination.role & HOST}
    assert between == {Means.__name__}
    assert {s.id.source for s in transcript.select(to=G) if s.id.kind == Means.__name__} == {H1}


def test_no_ciphertext_is_open_and_none_shares_its_randomness_with_another() -> None:
    """Modulo n only the randomness is left: 1 if there is none, equal where one was made from the other by adding."""
    done = run(params(epochs=1), hosts=2)
    n, seen = done.states[G].n, set[int]()
    for kind, field in ((Means, "m"), (HostScores, "z"), (Residual, "d"), (MaskedGradient, "g")):
        messages = {m.to_bytes(): m for m in done.transcript.messages(kind)}  # both hosts get the same residuals
        for message in messages.values():
            hidden = getattr(message, field)
            values = {int(v) % n for v in hidden.values}
            assert len(values) == len(hidden)
            assert not values & seen
            assert 1 not in values
            seen |= values
    assert len(seen) > 300


def test_a_mean_beyond_the_declared_is_an_error_that_says_what_to_do() -> None:
    assert mean(np.array([21.0]))[0] == pytest.approx(np.exp(21))
    for z, exposure in ((np.array([21.5]), None), (np.array([20.0]), np.array([1000.0])), (np.array([np.nan]), None)):
        with pytest.raises(EncodingOverflow, match="scale the features"):
            mean(z, exposure)
    with pytest.raises(ExceptionGroup) as caught:
        run(params(epochs=10), x=20 * X)
    assert caught.group_contains(EncodingOverflow, match="scale the features")


@pytest.mark.parametrize("hosts", [1, 2, MOST_HOSTS])
def test_a_key_has_room_for_the_products_of_all_hosts(hosts: int) -> None:
    exponent, bits = POISSON.residual_form(hosts, weighted=True)
    assert exponent == -40 - 30 * hosts
    gradient = ((1 << bits) - 1) * bound_of(MAGNITUDE, -28) * (1 << 26)
    assert gradient.bit_length() + MASK_BITS + 3 < KEY_BITS - 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y": -Y}, "counts"),
        ({"y": np.where(Y > 1, np.nan, Y)}, "counts"),
        ({"exposure": np.zeros(60)}, "exposure"),
        ({"exposure": np.full(60, np.nan)}, "exposure"),
    ],
)
def test_rows_that_count_nothing_are_refused(changes: dict[str, Matrix], message: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(params(), **changes)  # type: ignore[arg-type]
    assert caught.group_contains(DataError, match=message)
