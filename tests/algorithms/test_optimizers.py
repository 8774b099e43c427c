"""Against PyTorch's update rules as its documentation states them, written out once more with plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.algorithms.optimizers import STEPS, Optimizer, Schedule, step


def walk(settings: dict[str, object], steps: int = 3, factor: float = 1.0) -> list[float]:
    """Minimise w^2 / 2 from 1."""
    optimizer = Optimizer.model_validate({"penalty": "none", **settings})
    w, moments, path = np.ones(1), (np.zeros(1), np.zeros(1)), []
    for taken in range(steps):
        w, moments = step(optimizer, factor, w, w.copy(), moments, taken, np.ones(1))
        path.append(float(w[0]))
    return path


def test_sgd_with_momentum() -> None:
    w, v, want = 1.0, 0.0, []
    for _ in range(3):
        v = 0.9 * v + w
        w -= 0.1 * v
        want.append(w)
    assert walk({"optimizer_params": {"lr": 0.1, "momentum": 0.9}}) == pytest.approx(want)


def test_nesterov_looks_ahead() -> None:
    w, v, want = 1.0, 0.0, []
    for _ in range(3):
        g = w
        v = 0.9 * v + g
        w -= 0.1 * (g + 0.9 * v)
        want.append(w)
    assert walk({"optimizer_params": {"lr": 0.1, "momentum": 0.9, "nesterov": True}}) == pytest.approx(want)


def test_adagrad() -> None:
    w, s, want = 1.0, 0.0, []
    for _ in range(3):
        s += w * w
        w -= 0.1 * w / (math.sqrt(s) + 1e-10)
        want.append(w)
    assert walk({"method": "adagrad", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_rmsprop() -> None:
    w, s, want = 1.0, 0.0, []
    for _ in range(3):
        s = 0.99 * s + 0.01 * w * w
        w -= 0.1 * w / (math.sqrt(s) + 1e-8)
        want.append(w)
    assert walk({"method": "rmsprop", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_adagrad_with_a_decaying_rate() -> None:
    w, s, want = 1.0, 0.0, []
    for t in range(3):
        s += w * w
        w -= 0.1 / (1 + 0.5 * t) * w / (math.sqrt(s) + 1e-10)
        want.append(w)
    assert walk({"method": "adagrad", "optimizer_params": {"lr": 0.1, "lr_decay": 0.5}}) == pytest.approx(want)


def test_rmsprop_with_momentum() -> None:
    w, s, v, want = 1.0, 0.0, 0.0, []
    for _ in range(3):
        s = 0.99 * s + 0.01 * w * w
        v = 0.9 * v + w / (math.sqrt(s) + 1e-8)
        w -= 0.1 * v
        want.append(w)
    assert walk({"method": "rmsprop", "optimizer_params": {"lr": 0.1, "momentum": 0.9}}) == pytest.approx(want)


def test_adam() -> None:
    w, m, s, want = 1.0, 0.0, 0.0, []
    for t in range(1, 4):
        g = w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(s / (1 - 0.999**t)) + 1e-8)
        want.append(w)
    assert walk({"method": "adam", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_adamw_takes_the_decay_off_the_weights() -> None:
    w, m, s, want = 1.0, 0.0, 0.0, []
    for t in range(1, 4):
        g = w
        w *= 1 - 0.1 * 0.3
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(s / (1 - 0.999**t)) + 1e-8)
        want.append(w)
    assert walk({"method": "AdamW", "optimizer_params": {"lr": 0.1, "weight_decay": 0.3}}) == pytest.approx(want)


def test_adamax() -> None:
    w, m, u, want = 1.0, 0.0, 0.0, []
    for t in range(1, 4):
        m, u = 0.9 * m + 0.1 * w, max(0.999 * u, abs(w) + 1e-8)
        w -= 0.1 / (1 - 0.9**t) * m / u
        want.append(w)
    assert walk({"method": "adamax", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_nadam() -> None:
    w, m, s, product, want = 1.0, 0.0, 0.0, 1.0, []
    for t in range(1, 4):
        g = w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        mu, then = (0.9 * (1 - 0.5 * 0.96 ** (k * 4e-3)) for k in (t, t + 1))
        product *= mu
        root = math.sqrt(s / (1 - 0.999**t)) + 1e-8
        w -= 0.1 * (1 - mu) / (1 - product) * g / root + 0.1 * then / (1 - product * then) * m / root
        want.append(w)
    assert walk({"method": "nadam", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_radam_rectifies_from_the_sixth_step_on() -> None:
    w, m, s, want = 1.0, 0.0, 0.0, []
    limit = 2 / (1 - 0.999) - 1
    for t in range(1, 9):
        g = w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        length, unbiased = limit - 2 * t * 0.999**t / (1 - 0.999**t), m / (1 - 0.9**t)
        if length > 5:
            r = math.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
            w -= 0.1 * unbiased * r * math.sqrt(1 - 0.999**t) / (math.sqrt(s) + 1e-8)
        else:
            w -= 0.1 * unbiased
        want.append(w)
    assert walk({"method": "radam", "optimizer_params": {"lr": 0.1}}, steps=8) == pytest.approx(want)


def test_adadelta() -> None:
    w, s, d, want = 1.0, 0.0, 0.0, []
    for _ in range(3):
        s = 0.9 * s + 0.1 * w * w
        delta = math.sqrt(d + 1e-6) / math.sqrt(s + 1e-6) * w
        d = 0.9 * d + 0.1 * delta * delta
        w -= 0.5 * delta
        want.append(w)
    assert walk({"method": "adadelta", "optimizer_params": {"lr": 0.5}}) == pytest.approx(want)


def test_asgd() -> None:
    w, eta, want = 1.0, 0.1, []
    for t in range(1, 4):
        w = w * (1 - 1e-4 * eta) - eta * w
        eta = 0.1 / (1 + 1e-4 * 0.1 * t) ** 0.75
        want.append(w)
    assert walk({"method": "asgd", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_rprop_grows_and_shrinks_its_steps_by_signs() -> None:
    path = walk({"method": "rprop", "optimizer_params": {"lr": 0.6}}, steps=4)
    assert path == pytest.approx([0.4, -0.32, -0.32, 0.04])


def test_dampening_begins_with_the_second_step() -> None:
    settings = {"optimizer_params": {"lr": 0.1, "momentum": 0.5, "dampening": 0.5}}
    assert walk(settings, steps=2) == pytest.approx([0.9, 0.9 - 0.1 * (0.5 * 1 + 0.5 * 0.9)])


def test_l1_draws_towards_zero_and_stops_there() -> None:
    optimizer = Optimizer.model_validate({"penalty": "L1", "alpha": 2.0, "optimizer_params": {"lr": 0.1}})
    moments, penalised = (np.zeros(3), np.zeros(3)), np.array([1.0, 1.0, 0.0])
    w, _ = step(optimizer, 1.0, np.array([1.0, -0.1, 0.5]), np.zeros(3), moments, 0, penalised)
    assert w.tolist() == pytest.approx([0.8, 0.0, 0.5])


@pytest.mark.parametrize("method", sorted(STEPS))
def test_every_method_goes_downhill_and_mixes_no_coordinates(method: str) -> None:
    optimizer = Optimizer.model_validate({"method": method, "penalty": None, "optimizer_params": {"lr": 0.1}})
    w, moments = np.array([1.0, -2.0, 0.0]), (np.zeros(3), np.zeros(3))
    alone, apart = w[:1], (np.zeros(1), np.zeros(1))
    for taken in range(10):
        w, moments = step(optimizer, 1.0, w, w.copy(), moments, taken, np.ones(3))
        alone, apart = step(optimizer, 1.0, alone, alone.copy(), apart, taken, np.ones(1))
    assert abs(w[0]) < 1
    assert abs(w[1]) < 2
    assert w[2] == 0
    assert w[0] == alone[0]


def test_the_penalty_shrinks_all_but_the_intercept() -> None:
    optimizer = Optimizer(alpha=0.5)
    w, _ = step(optimizer, 1.0, np.ones(2), np.zeros(2), (np.zeros(2), np.zeros(2)), 0, np.array([1.0, 0.0]))
    assert w.tolist() == pytest.approx([1 - 0.01 * 0.5, 1.0])


def test_schedules() -> None:
    def factors(settings: dict[str, object]) -> list[float]:
        return [Schedule.model_validate(settings).factor(epoch) for epoch in range(5)]

    linear = {"method": "linear", "scheduler_params": {"start_factor": 0.5, "total_iters": 2}}
    assert factors(linear) == [0.5, 0.75, 1, 1, 1]
    assert factors({"method": "constant", "scheduler_params": {"factor": 0.1, "total_iters": 3}})[2:4] == [0.1, 1.0]
    assert factors({"method": "step", "scheduler_params": {"step_size": 2, "gamma": 0.5}}) == [1, 1, 0.5, 0.5, 0.25]
    assert factors({}) == [1.0] * 5


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        Optimizer.model_validate({"optimizer_params": {"learning_rate": 1}})
