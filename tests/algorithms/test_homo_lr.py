"""homo_lr: the averages against numpy, quality against the pooled model, silence, and who is told what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression

from partyd.algorithms.homo_lr import Average, HomoModel, homo_lr
from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import HomoRows, Progress, epochs_of, gradient, loss_of
from partyd.algorithms.linear_model import probability
from partyd.algorithms.metrics import auc
from partyd.algorithms.optimizers import step
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, DataError, EncodingOverflow, TaskFailed
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, Run, simulate
from partyd.protocols.aggregation import (
    Enrolment,
    MaskedVector,
    MemberKey,
    Opened,
    Participants,
    Survivors,
    Witness,
)
from partyd.types import ARBITER, GUEST, HOST, Address
from tests.conftest import SHARED_DATA
from tests.protocols.silence import Silence, Stuck, run_with_silence

G, H1, H2, A = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST), Address("1", ARBITER)
Matrix = NDArray[np.float64]
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(90, 3))
Y = (X @ [1.0, -2.0, 0.5] + RANDOM.normal(size=90) > 0).astype(np.float64)
CUTS = {G: slice(0, 40), H1: slice(40, 70), H2: slice(70, 90)}
COLUMNS = ("a", "b", "c")
SGD = {"method": "sgd", "penalty": "l2", "alpha": 0.01, "optimizer_params": {"lr": 0.5}}
FULL: dict[str, Any] = {"batch_size": -1, "tol": 0, "optimizer": SGD, "epochs": 4}


def rows(*parties: Address, y: Matrix = Y, **more: Any) -> dict[Address, object]:
    return {p: HomoRows(COLUMNS, X[CUTS[p]], y[CUTS[p]], **more) for p in parties or (G, H1, H2)} | {A: None}


def train(params: dict[str, Any], data: Mapping[Address, object] | None = None, **more: Any) -> Run:
    return asyncio.run(simulate(homo_lr, HomoLrParams.model_validate(params), data or rows(), **more))


def pooled(epochs: int, x: Matrix = X, y: Matrix = Y, weight: Matrix | None = None) -> Matrix:
    """The same descent on all rows together: with one full batch an epoch, averages of steps are steps."""
    x, w, heavy = np.column_stack([x, np.ones(len(x))]), np.zeros(4), np.ones(len(x)) if weight is None else weight
    for _ in range(epochs):
        w = w - 0.5 * (x.T @ (heavy * (probability(x @ w) - y)) / heavy.sum() + 0.01 * w * [1, 1, 1, 0])
    return w


def mean_loss(x: Matrix, y: Matrix, w: Matrix) -> float:
    p = probability(np.column_stack([x, np.ones(len(x))]) @ w)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def test_with_full_batches_the_average_is_the_pooled_descent() -> None:
    done = train(FULL)
    for party in (G, H1, H2):
        np.testing.assert_allclose(done.states[party].w, [pooled(4)], atol=1e-6)
    want = [mean_loss(X, Y, pooled(epoch)) for epoch in range(4)]
    np.testing.assert_allclose(done.states[G].losses, want, atol=1e-6)
    assert [done.reports[G].metrics["loss", i] for i in range(4)] == done.states[H1].losses
    assert done.reports[G].done == (4, 4)


def test_rows_weigh_as_much_as_they_are_said_to() -> None:
    weight = np.linspace(0, 3, len(Y))
    data = {p: HomoRows(COLUMNS, X[CUTS[p]], Y[CUTS[p]], weight[CUTS[p]]) for p in (G, H1, H2)} | {A: None}
    done = train(FULL, data)
    np.testing.assert_allclose(done.states[G].w, [pooled(4, weight=weight)], atol=1e-6)


def test_several_classes_are_trained_one_against_the_rest() -> None:
    y = np.floor(RANDOM.uniform(size=90) * 3)
    done = train(FULL | {"ovr": True, "label_num": 3}, rows(y=y))
    for k in range(3):
        np.testing.assert_allclose(done.states[H2].w[k], pooled(4, y=(y == k).astype(float)), atol=1e-6)
    two = train(FULL | {"ovr": True, "label_num": 2})
    np.testing.assert_array_equal(two.states[G].w, train(FULL).states[G].w)


def test_two_local_epochs_make_one_round_and_the_last_round_may_be_shorter() -> None:
    done = train(FULL | {"epochs": 3, "aggregate_iters": 2})
    assert (done.states[G].membership.round, done.states[G].epochs, done.states[G].steps) == (2, 3, 3)
    begin = Progress.zero(np.zeros((1, 4)))
    params = HomoLrParams.model_validate(FULL)
    for epochs in (2, 1):
        parts = [(len(Y[c]), HomoRows(COLUMNS, X[c], Y[c])) for c in CUTS.values()]
        weighted = [n * epochs_of(params, part, begin, epochs, Prg(bytes(32))).w for n, part in parts]
        begin = Progress.zero(np.sum(weighted, axis=0) / len(Y))
    np.testing.assert_allclose(done.states[G].w, begin.w, atol=1e-6)


@pytest.mark.parametrize(
    ("early_stop", "tol", "rounds"), [("diff", 1.0, 2), ("abs", 1.0, 1), ("weight_diff", 10.0, 2), ("diff", 0, 4)]
)
def test_training_stops_early_as_it_is_told(early_stop: str, tol: float, rounds: int) -> None:
    done = train(FULL | {"early_stop": early_stop, "tol": tol})
    assert {state.membership.round for p, state in done.states.items() if p != A} == {rounds}
    assert done.states[G].converged == (rounds < 4)
    assert (f"converged after {rounds} rounds" in done.reports[H1].lines) == (rounds < 4)


def test_the_proximal_term_keeps_parties_near_the_average() -> None:
    rare = FULL | {"epochs": 8, "aggregate_iters": 8}
    free, pulled = (train(rare | {"use_proximal": on, "mu": 1.0}).states[G].w for on in (False, True))
    assert np.linalg.norm(pulled) < 0.8 * np.linalg.norm(free)


def test_a_warm_start_goes_on_where_training_ended() -> None:
    params = FULL | {"optimizer": SGD | {"method": "adam"}}
    first = train(params | {"epochs": 2})
    states = {p: first.states[p] for p in CUTS}
    starts = {p: Progress(s.w, s.first, s.second, s.steps, s.epochs) for p, s in states.items()}
    data = {p: HomoRows(COLUMNS, X[CUTS[p]], Y[CUTS[p]], start=starts[p]) for p in CUTS}
    second = train(params | {"epochs": 2}, data | {A: None})
    whole = train(params)
    np.testing.assert_array_equal(second.states[G].w, whole.states[G].w)
    assert (second.states[G].steps, second.states[G].epochs) == (4, 4)
    with pytest.raises(ExceptionGroup) as caught:
        train(params, data | {H1: HomoRows(COLUMNS, X[CUTS[H1]], Y[CUTS[H1]]), A: None})
    assert caught.group_contains(DataError, match="one and the same earlier model")


def test_without_an_intercept_and_with_random_first_weights_all_begin_alike() -> None:
    init = {"method": "random", "fit_intercept": False}
    done = train(FULL | {"init_param": init, "epochs": 1})
    assert done.states[G].w.shape == (1, 3)
    np.testing.assert_array_equal(done.states[G].w, done.states[H2].w)
    assert np.any(done.states[G].w != 0)


def test_the_gradient_is_that_of_the_loss() -> None:
    data, w = HomoRows(COLUMNS, X, np.floor(RANDOM.uniform(size=90) * 3), RANDOM.uniform(size=90)), X[:3, :3]
    found = gradient(data.x, data.y, data.weights, w)
    for k, j in np.ndindex(3, 3):
        nudge = np.zeros((3, 3))
        nudge[k, j] = 1e-6
        slope = 3 * (loss_of(data, w + nudge) - loss_of(data, w - nudge)) / 2e-6
        assert found[k, j] == pytest.approx(slope, abs=1e-7)
    assert not gradient(data.x, data.y, np.zeros(90), w).any()


def test_batches_are_drawn_anew_and_every_row_is_in_one_of_them() -> None:
    params = HomoLrParams.model_validate(FULL | {"batch_size": 20})
    data, begin = HomoRows(COLUMNS, X, Y), Progress.zero(np.zeros((1, 4)))
    one, two = (epochs_of(params, data, begin, 1, Prg(bytes(32), label)) for label in "ab")
    assert one.steps == 5
    assert not np.array_equal(one.w, two.w)
    x, w, moments, order = np.column_stack([X, np.ones(90)]), begin.w, (begin.w, begin.w), Prg(bytes(32), "a")
    for part in np.array_split(order.permutation(90), 5):
        g = (x[part].T @ (probability(x[part] @ w[0]) - Y[part]) / len(part))[None]
        w, moments = step(params.optimizer, 1.0, w, g, moments, 0, np.array([1, 1, 1, 0.0]))
    np.testing.assert_allclose(one.w, w, atol=1e-12)


def quality(parts: list[tuple[Matrix, Matrix]], held_out: tuple[Matrix, Matrix]) -> None:
    """The default parameters, against scikit-learn on all rows together: within 1 % of its AUC."""
    columns = tuple(f"x{j:02d}" for j in range(parts[0][0].shape[1]))
    data = {p: HomoRows(columns, x, y) for p, (x, y) in zip((G, H1), parts, strict=True)}
    w = train({}, data | {A: None}).states[G].w[0]
    x, y = np.vstack([x for x, _ in parts]), np.concatenate([y for _, y in parts])
    best = LogisticRegression(max_iter=2000).fit(x, y)
    for these, label in ((x, y), held_out):
        wanted, found = auc(label, best.decision_function(these)), auc(label, these @ w[:-1] + w[-1])
        assert found >= 0.99 * wanted, f"AUC {found:.4f}, pooled {wanted:.4f}"


def test_the_defaults_are_as_good_as_the_pooled_model_on_breast() -> None:
    data = load_breast_cancer()
    x, y = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0), data.target.astype(np.float64)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    quality([(x[:227], y[:227]), (x[227:455], y[227:455])], (x[455:], y[455:]))


@pytest.mark.needs("shared-data")
def test_the_defaults_are_as_good_as_the_pooled_model_on_fates_breast() -> None:
    parts = [
        np.genfromtxt(SHARED_DATA / f"breast_homo_{name}.csv", delimiter=",", skip_header=1)
        for name in ("guest", "host", "test")
    ]
    guest, host, test = ((part[:, 2:], part[:, 1]) for part in parts)
    quality([guest, host], test)


def test_only_masked_vectors_and_sums_reach_the_arbiter() -> None:
    told: set[type[Message]] = {Survivors, Witness}
    for params, more in ((SILENT, told), (FULL, told - told)):
        transcript = train(params).transcript
        assert transcript.kinds(to=A) == {Enrolment, MaskedVector, Opened}
        assert transcript.kinds(to=HOST) - more == {MemberKey, Participants, Average}
        assert transcript.kinds(to=HOST) >= more
        assert transcript.kinds(to=HOST, by=GUEST | HOST) - {MemberKey} == more - {Survivors}
    vectors = [m.y for m in transcript.messages(MaskedVector) if isinstance(m, MaskedVector)]
    assert len(vectors) == 12
    words = np.concatenate(vectors)
    assert len(np.unique(words)) == len(words)
    assert abs(np.unpackbits(words.view(np.uint8)).mean() - 0.5) < 5 * 0.5 / np.sqrt(64 * len(words))


def test_the_average_is_the_same_whatever_the_rows_of_the_others_are_called() -> None:
    """What a host sees of the guest is the average: two guests with the same sums are one to it."""
    twice = {p: HomoRows(COLUMNS, np.vstack([X[c], X[c]]), np.tile(Y[c], 2)) for p, c in CUTS.items()}
    np.testing.assert_allclose(train(FULL, twice | {A: None}).states[H1].w, train(FULL).states[H1].w, atol=1e-6)


SILENT: dict[str, Any] = FULL | {"secure_aggregation": {"dropout_after_s": 60}}


@pytest.mark.parametrize("after", range(5, 40, 3))
def test_training_goes_on_without_a_silent_host(after: int) -> None:
    params = HomoLrParams.model_validate(SILENT)
    done, _ = run_with_silence(homo_lr, params, rows(), {H2: Silence(after)})
    guest, host = done.states[G], done.states[H1]
    assert guest.finished
    np.testing.assert_array_equal(guest.w, host.w)
    assert guest.membership.round == 4
    if after < 8:
        both = np.r_[0:70]
        np.testing.assert_allclose(guest.w, [pooled(4, X[both], Y[both])], atol=1e-6)


@pytest.mark.parametrize("crash", range(0, 30, 4))
def test_who_comes_back_has_the_others_model_in_the_end(crash: int) -> None:
    params = HomoLrParams.model_validate(SILENT)
    silent = {H2: Silence(7, 100.0)}
    done, _ = run_with_silence(homo_lr, params, rows(), silent, Faults(crash=(A, crash)))
    assert len(done.states) == 4
    np.testing.assert_array_equal(done.states[H2].w, done.states[G].w)
    assert any("began without this party" in line for line in done.reports[H2].lines)


def test_a_majority_is_needed_and_a_higher_threshold_may_be_asked_for() -> None:
    everybody = {"secure_aggregation": {"dropout_after_s": 60, "threshold": 3}}
    with pytest.raises(Stuck):
        run_with_silence(homo_lr, HomoLrParams.model_validate(FULL | everybody), rows(), {H2: Silence(7)})
    with pytest.raises(ExceptionGroup) as caught:
        train(FULL | {"secure_aggregation": {"threshold": 4}})
    assert caught.group_contains(TaskFailed, match="take 2 to 3")


def spoilt(**changes: Any) -> dict[Address, object]:
    given: dict[str, Any] = {"columns": COLUMNS, "x": X[CUTS[H2]], "y": Y[CUTS[H2]]}
    return rows() | {H2: HomoRows(**given | changes)}


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (spoilt(columns=("a", "b", "z")), "other feature columns"),
        (spoilt(columns=("b", "a", "c")), "not in order"),
        (spoilt(x=np.full((20, 3), np.nan)), "missing or infinite"),
        (spoilt(y=np.full(20, 2.0)), "not one of 0 to 1"),
        (spoilt(y=np.full(20, np.nan)), "not one of 0 to 1"),
        (spoilt(y=np.full(20, 0.5)), "not one of 0 to 1"),
        (spoilt(weight=np.full(20, -1.0)), "weight is missing or negative"),
        (spoilt(weight=np.zeros(20)), "weight is missing or negative"),
        (spoilt(x=np.zeros((0, 3)), y=np.zeros(0)), "there are no rows"),
        (spoilt(start=Progress.zero(np.zeros((1, 9)))), "the earlier model has 1 classes and 9 weights"),
    ],
)
def test_rows_that_cannot_be_trained_on_are_refused(data: dict[Address, object], match: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        train(FULL, data)
    assert caught.group_contains(DataError, match=match)


def test_weights_that_run_away_are_named_and_not_wrapped_around() -> None:
    wild = FULL | {"optimizer": SGD | {"optimizer_params": {"lr": 1e12}}}
    with pytest.raises(ExceptionGroup) as caught:
        train(wild)
    assert caught.group_contains(EncodingOverflow, match="scale the data")


@pytest.mark.parametrize("w", [np.zeros(3), np.full(4, np.inf), np.zeros((1, 4))], ids=["short", "infinite", "matrix"])
def test_an_average_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch, w: Matrix) -> None:
    send = Party.send

    async def lying(party: Party, message: Message, to: Address | None = None) -> None:
        lie = message.model_copy(update={"w": w}) if isinstance(message, Average) else message
        await send(party, lie, to)

    monkeypatch.setattr(Party, "send", lying)
    with pytest.raises(ExceptionGroup) as caught:
        train(FULL)
    assert caught.group_contains(BadValue, match="not of 4 finite weights")


def test_vectors_that_hold_no_whole_number_of_models_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    send = Party.send

    async def lying(party: Party, message: Message, to: Address | None = None) -> None:
        await send(party, message.model_copy(update={"words": 12}) if isinstance(message, Enrolment) else message, to)

    monkeypatch.setattr(Party, "send", lying)
    with pytest.raises(ExceptionGroup) as caught:
        train(FULL | {"ovr": True, "label_num": 3})
    assert caught.group_contains(BadValue, match="hold no 3 models")


@pytest.mark.parametrize(
    "params",
    [
        {"ovr": True},
        {"batch_size": -2},
        {"secure_aggregation": {"threshold": 1}},
        {"secure_aggregation": {"dropout_after_s": 0}},
        {"secure_aggregate": False},
        {"unknown": 1},
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HomoLrParams.model_validate(params)


def test_fates_words_are_understood_and_silence_is_the_default() -> None:
    given = {"batch_size": None, "optimizer": {"method": "SGD", "penalty": "L2"}, "secure_aggregate": True}
    params = HomoLrParams.model_validate(given | {"label_num": None, "init_param": {"method": "random"}})
    assert (params.batch_size, params.rows_a_batch, params.optimizer.alpha) == (100, 100, 0.001)
    assert HomoLrParams(batch_size=-1).rows_a_batch is HomoLrParams(batch_size=0).rows_a_batch is None
    assert (params.labels, params.models, params.rounds) == (2, 1, 20)
    assert HomoLrParams(epochs=5, aggregate_iters=2).rounds == 3


def test_a_state_says_nothing_of_its_secret() -> None:
    state = train(FULL).states[G]
    assert isinstance(state, HomoModel)
    assert state.membership.root.to_bytes().hex() not in repr(state)
    assert repr(state.membership.root.to_bytes()) not in repr(state)
