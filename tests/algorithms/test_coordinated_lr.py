from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from partyd.algorithms import coordinated
from partyd.algorithms.coordinated_lr import coordinated_lr
from partyd.algorithms.coordinated_messages import (
    DecryptedGradient,
    MaskedGradient,
    Residual,
    Rounds,
    Settled,
    Verdict,
)
from partyd.algorithms.linear_model import batch, with_ones
from partyd.algorithms.linear_score import LinearScoreParams, Scored, linear_score
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.metrics import auc
from partyd.errors import BadValue, DataError
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
        "init_param": {"method": "zeros"},
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


def test_the_arbiter_sees_counts_masked_sums_and_verdicts_alone() -> None:
    transcript = run(hosts=2).transcript
    assert transcript.kinds(to=ARBITER) == {Rounds, MaskedGradient, Verdict}
    assert Settled not in transcript.kinds()


def test_a_party_that_wants_too_much_opened_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinated, "MOST_OPENED", 0)
    with pytest.raises(ExceptionGroup) as caught:
        run()
    assert caught.group_contains(BadValue, match="wants 2 numbers opened at once.*do not go on with this party")


def test_small_batches_are_warned_of_at_guest_and_host() -> None:
    done = run()
    (guest,) = (line for line in done.reports[G].lines if "WARNING" in line)
    (host,) = (line for line in done.reports[H1].lines if "WARNING" in line)
    assert "a host with 3 columns, as many as here, can guess" in guest
    assert "this host with its 4 columns can guess the guest's labels with an AUC of about 0.76" in host


def test_hosts_hear_nothing_of_each_other() -> None:
    transcript = run(hosts=2).transcript
    assert not [s for s in transcript.sent if s.id.source.role & s.id.destination.role & HOST]


def test_no_ciphertext_is_open_and_none_shares_its_randomness_with_another() -> None:
    """Modulo n only the randomness is left: 1 if there is none, equal where one was made from the other by adding."""
    done = run(hosts=2)
    n = done.states[G].n
    seen: set[int] = set()
    for sent in done.transcript.sent:
        if sent.id.kind == Residual.__name__ and sent.id.destination == H2:
            continue  # both hosts get the same residuals
        kind = done.transcript.classes[sent.id.kind]
        message = kind.from_bytes(sent.body)
        for field in ("z", "d", "loss", "g"):
            hidden = getattr(message, field, None)
            if hidden is None or kind is DecryptedGradient:
                continue
            values = {int(v) % n for v in hidden.values}
            assert len(values) == len(hidden)
            assert not values & seen
            assert 1 not in values
            seen |= values
    assert len(seen) > 300


def test_what_the_arbiter_opens_tells_nothing_of_the_gradient() -> None:
    """The masked numbers are 40 bits wider than anything they hide, and follow the mask, not the gradient."""
    many = params(epochs=40, early_stop="abs")
    opened, again = (run(many, seed=s).transcript.messages(DecryptedGradient, to=H1) for s in (b"a", b"b"))
    first = np.array([m.g[0] for m in opened if isinstance(m, DecryptedGradient)], dtype=np.float64)
    second = np.array([m.g[0] for m in again if isinstance(m, DecryptedGradient)], dtype=np.float64)
    ranks = np.sort(first / first.max())
    assert np.abs(ranks - (np.arange(len(ranks)) + 0.5) / len(ranks)).max() < 1.95 / len(ranks) ** 0.5
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.45


@pytest.mark.parametrize("rule", ["diff", "abs", "weight_diff"])
def test_training_stops_when_it_has_come_to_rest(rule: str) -> None:
    done = run(params(epochs=50, tol=0.7 if rule == "abs" else 0.05, early_stop=rule))
    epochs = {done.states[p].taken for p in (G, H1, A)}
    assert epochs == {len(done.states[G].losses) * 2}
    assert len(done.states[G].losses) < 50


@pytest.mark.parametrize("method", ["sgd", "adagrad", "rmsprop", "adam"])
def test_other_optimizers_lower_the_loss(method: str) -> None:
    settings = {"method": method, "penalty": "none", "alpha": 0, "optimizer_params": {"lr": 0.05, "momentum": 0.5}}
    losses = run(params(epochs=4, optimizer=settings)).states[G].losses
    assert losses[-1] < losses[0]


def test_without_intercept_the_guest_has_its_features_alone() -> None:
    done = run(params(init_param={"fit_intercept": False, "method": "random_uniform"}))
    assert len(done.states[G].w) == 2


def test_a_short_key_is_lifted_to_the_floor() -> None:
    asked = CoordinatedLrParams.model_validate({"he_param": {"kind": "Paillier", "key_length": 1024}})
    assert asked.key_bits == 2048


def test_batches_that_give_the_residuals_away_are_refused() -> None:
    x, y = made(rows=10, columns=14)
    data: dict[Address, object] = {G: Labelled(x[:, :2], y), H1: x[:, 2:], A: None}
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(coordinated_lr, params(batch_size=None), data))
    assert caught.group_contains(DataError, match="larger batches")


def test_more_epochs_give_a_host_no_more_equations_about_the_labels() -> None:
    """All its gradients are X_b^T d of two batches b: of the labels they show 2 x 4 numbers, whatever the epochs."""
    x, _ = made()
    state = run(params(epochs=12)).states[H1]
    equations = np.zeros((state.taken, 4, len(x)))
    for taken in range(state.taken):
        rows = batch(state.seed, len(x), state.batches, taken)
        equations[taken][:, rows] = x[rows, 2:].T
    assert state.taken == 24
    assert np.linalg.matrix_rank(equations.reshape(-1, len(x))) == 8


def test_labels_other_than_0_and_1_are_refused() -> None:
    x, y = made()
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(coordinated_lr, params(), {G: Labelled(x, y + 1), H1: x, A: None}))
    assert caught.group_contains(DataError, match="labels 0 and 1")


def test_auc_is_scikit_learns_on_breast_cancer_split_between_two() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x, y = (x - x.mean(0)) / x.std(0), y.astype(np.float64)
    p = params(epochs=10, batch_size=300)
    data: dict[Address, object] = {G: Labelled(x[:, :10], y), H1: x[:, 10:], A: None}
    done = asyncio.run(simulate(coordinated_lr, p, data))
    rows: dict[Address, object] = {
        G: Scored(with_ones(x[:, :10]), done.states[G].w),
        H1: Scored(x[:, 10:], done.states[H1].w),
    }
    z = asyncio.run(simulate(linear_score, LinearScoreParams(), rows)).states[G].z
    pooled = LogisticRegression(max_iter=1000).fit(x, y).predict_proba(x)[:, 1]
    assert auc(y, z) == pytest.approx(auc(y, pooled), abs=0.01)
