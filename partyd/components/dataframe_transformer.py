"""Turn what an upload left into a table of features: FATE 2.2's dataframe_transformer, as a task of a job.

An uploaded table is one of features already: its schema was settled when it was read. So the task gives the table on;
``namespace``, ``name`` and ``site_name`` say in FATE where a copy is kept and under which site's names, and change
nothing here: a job's outputs stay with the job.
"""

from __future__ import annotations

from pydantic import Field

from partyd.algorithms.parameters import FateParams
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.types import GUEST, HOST

BOTH = GUEST | HOST


class TransformerParams(FateParams):
    """FATE 2.2's parameters, and those of its server's own jobs."""

    namespace: str | None = Field(default=None, max_length=256)
    name: str | None = Field(default=None, max_length=256)
    site_name: str | None = Field(default=None, max_length=256)
    anonymous_role: str | None = Field(default=None, max_length=64)
    anonymous_party_id: str | None = Field(default=None, max_length=64)


async def run(context: TaskContext) -> None:
    """Give the table on; its files are linked, not copied, where the file system allows."""
    assert isinstance(context.params, TransformerParams)
    table = context.read_table("table")
    context.write_table("dataframe_output", table)
    if context.params.name is not None:
        context.party.report.info(f"{context.params.name} is not kept as a table of its own: it stays with this job")
    context.write_document("metric", {"count": len(table), "columns": list(table.schema.features)})
    context.party.report.info(f"{len(table)} rows and {len(table.schema.features)} features")


dataframe_transformer = Component(
    "dataframe_transformer",
    BOTH,
    TransformerParams,
    run,
    inputs=(Port("table", Kind.DATA, BOTH),),
    outputs=(Port("dataframe_output", Kind.DATA, BOTH),),
)
