"""Train and apply vertical linear regression: FATE 2.2's component of this name.

`partyd.components.coordinated` tells what each stage does. The label is a number, which is predicted. Rows weigh as
much as the guest's weight column says. Columns should be of like scales (`feature_scale`), as for every descent.
"""

from __future__ import annotations

from partyd.algorithms.coordinated_linr import coordinated_linr as training
from partyd.components.base import TaskContext
from partyd.components.coordinated import carry_out, component
from partyd.components.coordinated_numbers import NumberOutcome

NUMBERS = NumberOutcome(training, predicted=lambda z, _exposure: z)


async def run(context: TaskContext) -> None:
    """Train, cross-validate, or predict, as the job's stage says."""
    await carry_out(context, NUMBERS)


coordinated_linr = component(NUMBERS, run)
