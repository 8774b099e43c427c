"""Train and apply vertical Poisson regression: FATE 1.x's HeteroPoisson, with the parameters and ports of FATE 2.

`partyd.components.coordinated` tells what each stage does. The label counts events, and its mean is predicted.
``exposure_colname`` names the guest's column that the mean is proportional to, a length of time or a number of people:
no weight is trained for it, and predictions need it too. Rows weigh as much as the guest's weight column says. Columns
should be of like scales (`feature_scale`), all the more as the exponential of a score must not overflow.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.coordinated_poisson import coordinated_poisson as training
from partyd.algorithms.coordinated_poisson import deviance
from partyd.components.base import TaskContext
from partyd.components.coordinated import carry_out, component
from partyd.components.coordinated_numbers import NumberOutcome
from partyd.errors import DataError

Vector = NDArray[np.float64]


def predicted(z: Vector, exposure: Vector | None) -> Vector:
    """Return exposure exp(z); raises DataError for a row whose mean no double holds, or without exposure."""
    if exposure is not None and not bool(np.all((exposure >= 0) & np.isfinite(exposure))):
        raise DataError("a row's exposure is missing or negative; mend the exposure column")
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.exp(z) if exposure is None else exposure * np.exp(z)
    if not bool(np.all(np.isfinite(mean))):
        raise DataError("a row's mean is beyond all numbers; scale its features as those of the training were")
    return mean


def measures(label: Vector, mean: Vector) -> dict[str, float]:
    """Return the mean deviance, of rows that have one: counts, with means above 0."""
    counted = bool(np.all((label >= 0) & (mean > 0)))
    return {"mean_poisson_deviance": deviance(label, mean)} if counted else {}


COUNTS = NumberOutcome(training, predicted, measures)


async def run(context: TaskContext) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    await carry_out(context, COUNTS)


coordinated_poisson = component(COUNTS, run)
