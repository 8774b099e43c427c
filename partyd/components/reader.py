"""Bring an uploaded table into a job; every party names its own."""

from __future__ import annotations

from pydantic import Field

from partyd.algorithms.parameters import FateParams
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.data.schema import anonymous_names
from partyd.types import GUEST, HOST


class ReaderParams(FateParams):
    """Which of the tables that were uploaded to this party."""

    namespace: str = Field(min_length=1, max_length=256)
    name: str = Field(min_length=1, max_length=256)


async def run(context: TaskContext) -> None:
    """Give the uploaded table out; its files are linked, not copied, where the file system allows."""
    assert isinstance(context.params, ReaderParams)
    table = context.source.open_table(context.params.namespace, context.params.name)
    context.write_table("output_data", table)
    columns = list(table.schema.features)
    metric = {"count": len(table), "columns": columns, "label": table.schema.label}
    others_see = list(anonymous_names(table.schema, context.party.me))
    context.write_document("metric", metric | {"anonymous_columns": others_see})
    context.party.report.info(f"read {len(table)} rows and {len(columns)} features")


reader = Component(
    "reader",
    GUEST | HOST,
    ReaderParams,
    run,
    outputs=(Port("output_data", Kind.DATA, GUEST | HOST),),
)
