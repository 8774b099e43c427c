"""FATE's toy: both sides have ones, and the guest learns how many there are in all."""

from __future__ import annotations

import numpy as np

from partyd.algorithms.secure_sum import SecureSumParams, SecureSumState, secure_sum
from partyd.components.base import Component, TaskContext
from partyd.types import GUEST, HOST


async def run(context: TaskContext) -> None:
    """Sum ``data_num`` ones of each side."""
    assert isinstance(context.params, SecureSumParams)
    ones = np.ones(context.params.data_num)
    state = await context.driver.run("sum", secure_sum, context.params, ones, SecureSumState)
    if state.total is not None:
        context.party.report.metric("secure_sum", 0, state.total)
        context.write_document("metric", {"secure_sum": state.total})


toy_example = Component(
    "toy_example", GUEST | HOST, SecureSumParams, run, algorithms=(secure_sum,), agreed=("data_num",)
)
