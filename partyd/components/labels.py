"""Labels as classes: which there are, and others in their place."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from partyd.errors import DataError

Vector = NDArray[np.float64]
MOST_CLASSES = 1000
"""A label with more values is no class."""


def classes(label: Vector) -> dict[float, int]:
    """Return how many rows are of each class, in order; raises DataError for too many. A missing label is no class."""
    found, counts = np.unique(label[~np.isnan(label)], return_counts=True)
    if len(found) > MOST_CLASSES:
        raise DataError(f"the label has more than {MOST_CLASSES} values, so it is no class; is it the right column?")
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def replaced(values: Vector, by: Mapping[float, float]) -> Vector:
    """Return what ``by`` has for each value; a missing one stays missing. Raises DataError for one that it lacks."""
    keys = np.array(sorted(by), dtype=np.float64)
    images = np.array([by[key] for key in keys.tolist()], dtype=np.float64)
    gone = np.isnan(values)
    at = np.searchsorted(keys, values[~gone])
    if len(at) and (not len(keys) or not bool(np.all(keys[np.minimum(at, len(keys) - 1)] == values[~gone]))):
        raise DataError("a row has a label that the label encoder lacks; name every class in label_encoder")
    result = np.full(len(values), np.nan)
    result[~gone] = images[at]
    return result
