"""What a party brings to a vertical linear model: its rows, and where its weights begin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Start:
    """Where an earlier training ended: this party's weights (a guest's intercept last), moments, and what it took.

    A guest goes on with the batches of that training (``seed``): other batches of the same rows would give everybody
    more equations about them.
    """

    w: Vector
    first: Vector
    second: Vector
    steps: int = 0
    epochs: int = 0
    seed: bytes = b""


@dataclass(frozen=True)
class Features:
    """A host's rows, and where its weights begin when not as the parameters say."""

    x: Matrix
    start: Start | None = None


@dataclass(frozen=True)
class Labelled:
    """The guest's rows: features, labels, the rows' weights where they have any, and where its own begin.

    ``exposure`` is what the mean of a count is proportional to (`partyd.algorithms.coordinated_poisson`).
    """

    x: Matrix
    y: Vector
    weight: Vector | None = None
    start: Start | None = None
    exposure: Vector | None = None


def own_features(data: Matrix | Features) -> Matrix:
    """Return a host's features."""
    return data.x if isinstance(data, Features) else data
