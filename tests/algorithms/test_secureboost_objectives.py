"""Objectives: derivatives agree with the losses, predictions and first scores are what they should be."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from partyd.algorithms.secureboost_objectives import ObjectiveName, objective

RANDOM = np.random.default_rng(4)
NAMES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
CURVED = tuple(name for name in NAMES if name not in ("regression:l1", "regression:fair", "multi:ce"))


def labels(name: ObjectiveName, rows: int) -> np.ndarray:
    if name == "binary:bce":
        return RANDOM.integers(0, 2, rows).astype(np.float64)
    if name == "multi:ce":
        return RANDOM.integers(0, 3, rows).astype(np.float64)
    return np.abs(RANDOM.normal(size=rows)) * 3


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_loss(name: ObjectiveName) -> None:
    aim = objective(name, 3)
    y, s, step = labels(name, 50), RANDOM.normal(size=(50, aim.trees)), 1e-6
    g, h = aim.derivatives(y, s)
    assert g.shape == h.shape == s.shape
    assert bool(np.all(h > 0))
    for c in range(aim.trees):
        moved = np.zeros_like(s)
        moved[:, c] = step
        slope = (aim.losses(y, s + moved) - aim.losses(y, s - moved)) / (2 * step)
        np.testing.assert_allclose(g[:, c], slope, atol=1e-5)
        if name in CURVED:
            bend = (aim.derivatives(y, s + moved)[0] - aim.derivatives(y, s - moved)[0])[:, c] / (2 * step)
            np.testing.assert_allclose(h[:, c], bend, atol=1e-5)


def test_predictions() -> None:
    s = np.array([[-800.0], [0.0], [800.0]])
    assert objective("binary:bce", 2).predict(s)[:, 0].tolist() == [0.0, 0.5, 1.0]
    shares = objective("multi:ce", 3).predict(np.array([[1000.0, 1000.0, 0.0]]))
    assert shares.tolist() == [[0.5, 0.5, 0.0]]
    assert objective("regression:l2", 2).predict(s) is s
    assert objective("regression:tweedie", 2).predict(np.zeros((1, 1))).tolist() == [[1.0]]


def test_first_scores() -> None:
    y, w = np.array([1.0, 2.0, 9.0]), np.array([1.0, 1.0, 2.0])
    assert objective("regression:l2", 2).begin(y, w).tolist() == [5.25]
    assert objective("regression:l1", 2).begin(y, np.ones(3)).tolist() == [2.0]
    assert objective("regression:tweedie", 2).begin(y, w).tolist() == pytest.approx([np.log(5.25)])
    assert objective("multi:ce", 4).begin(y, w).tolist() == [0.0] * 4
