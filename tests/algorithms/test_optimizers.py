"""Against PyTorch's update rules as its documentation states them, written out once more with plain numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from partyd.algorithms.optimizers import Optimizer, Schedule, step


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
        w -= 0.1 * w / (math.sqrt(s) + 1e-8)
        want.append(w)
    assert walk({"method": "adagrad", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_rmsprop() -> None:
    w, s, want = 1.0, 0.0, []
    for _ in range(3):
        s = 0.99 * s + 0.01 * w * w
        w -= 0.1 * w / (math.sqrt(s) + 1e-8)
        want.append(w)
    assert walk({"method": "rmsprop", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


def test_adam() -> None:
    w, m, s, want = 1.0, 0.0, 0.0, []
    for t in range(1, 4):
        g = w
        m, s = 0.9 * m + 0.1 * g, 0.999 * s + 0.001 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (math.sqrt(s / (1 - 0.999**t)) + 1e-8)
        want.append(w)
    assert walk({"method": "adam", "optimizer_params": {"lr": 0.1}}) == pytest.approx(want)


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
