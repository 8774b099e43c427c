"""Cut aligned tables into training, validation and test rows: FATE 2.2's data_split."""

from __future__ import annotations

import numpy as np

from partyd.algorithms.data_split import DataSplitParams, Parts, Splittable
from partyd.algorithms.data_split import data_split as splitting
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST
OUTPUTS = ("train_output_data", "validate_output_data", "test_output_data")


async def run(context: TaskContext) -> None:
    """Split; a part without rows gives no table."""
    assert isinstance(context.params, DataSplitParams)
    table = context.read_table("input_data")
    context.limits.insist_on_rows(len(table))
    draws = context.party.me.role == GUEST or not context.params.hetero_sync
    label = np.asarray(table.require_label()) if context.params.stratified and draws else None
    data = Splittable(len(table), label)
    state = await context.driver.run("split", splitting, context.params, data, Parts)
    parts = dict(zip(OUTPUTS, (state.train, state.validate_, state.test), strict=True))
    for port, rows in parts.items():
        if len(rows):
            context.write_table(port, table.take(rows))
    summary = {
        "original_count": len(table),
        "train_count": len(state.train) or None,
        "validate_count": len(state.validate_) or None,
        "test_count": len(state.test) or None,
        "stratified": context.params.stratified,
    }
    context.write_document("metric", summary)
    context.party.report.info(
        f"{len(state.train)} rows to train, {len(state.validate_)} to validate, {len(state.test)} to test"
    )


data_split = Component(
    "data_split",
    BOTH,
    DataSplitParams,
    run,
    inputs=(Port("input_data", Kind.DATA, BOTH),),
    outputs=tuple(Port(port, Kind.DATA, BOTH, optional=True) for port in OUTPUTS),
    alone_if=(("hetero_sync", False),),
    agreed=("hetero_sync",),
    algorithms=(splitting,),
)
