"""What components share that learn from one table and change tables by it, each party alone.

``train`` learns from ``train_data``, changes it, and ``test_data`` where that is connected; ``predict`` changes
``test_data`` by the ``input_model``. The model is ``{"data": what was learned, "meta": model_type and parameters}``.
With FATE 1.x's ``need_run`` off, a party gives its tables out as they came, also in predictions with that model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from partyd.algorithms.parameters import FateParams
from partyd.components.base import JsonObject, Kind, Port, TaskContext
from partyd.data.table import Table
from partyd.errors import TaskFailed
from partyd.types import Role


class LocalParams(FateParams):
    """What every one of these components has among its parameters; ``need_run`` false leaves the tables alone."""

    need_run: bool = True


class Learned(BaseModel):
    """Base of what a training leaves for transforming; it stands in the model under ``data``."""

    model_config = ConfigDict(frozen=True, extra="forbid")


L = TypeVar("L", bound=Learned)


def carry_out(
    context: TaskContext, name: str, kind: type[L], fit: Callable[[Table], L], transform: Callable[[Table, L], Table]
) -> L | None:
    """Learn and transform, or transform by a model; return what was learned, None where nothing was to be done."""
    assert isinstance(context.params, LocalParams)
    if context.stage == "predict" or not context.has_input("train_data"):
        learned = read(context.read_model("input_model"), name, kind)
        _give(context, "test", learned, transform)
        return learned
    learned = fit(context.read_table("train_data")) if context.params.need_run else None
    data = {} if learned is None else learned.model_dump(mode="json")
    meta = {"model_type": name} | context.params.model_dump(mode="json")
    context.write_model("output_model", {"data": data, "meta": meta})
    for part in ("train", "test"):
        if context.has_input(f"{part}_data"):
            _give(context, part, learned, transform)
    return learned


def _give(context: TaskContext, part: str, learned: L | None, transform: Callable[[Table, L], Table]) -> None:
    table = context.read_table(f"{part}_data")
    changed = table if learned is None else transform(table, learned)
    context.write_table(f"{part}_output_data", changed)
    done = "gave out as they came" if learned is None else "transformed"
    context.party.report.info(f"{done}: {len(table)} rows of {part}_data")


def read(model: JsonObject, name: str, kind: type[L]) -> L | None:
    """Return what a model holds, None for that of a party that did nothing; raises TaskFailed for a foreign one."""
    meta = model.get("meta")
    if not isinstance(meta, dict) or meta.get("model_type") != name:
        raise TaskFailed(f"the input model is not one of {name}; connect its output_model")
    if meta.get("need_run") is False:
        return None
    try:
        return kind.model_validate(model.get("data"))
    except ValidationError as error:
        raise TaskFailed(f"the model lacks what {name} needs ({error.error_count()} fields); train it again") from error


def inputs(roles: Role) -> tuple[Port, ...]:
    """Return the inputs: tables to learn from and to transform, and a model."""
    return (
        Port("train_data", Kind.DATA, roles, optional=True, needed=("train",), stages=("train", "default")),
        Port("test_data", Kind.DATA, roles, optional=True, needed=("predict",)),
        Port("input_model", Kind.MODEL, roles, optional=True, needed=("predict",)),
    )


def outputs(roles: Role) -> tuple[Port, ...]:
    """Return the outputs: the transformed tables, and the model."""
    return (
        Port("train_output_data", Kind.DATA, roles, optional=True, stages=("train", "default")),
        Port("test_output_data", Kind.DATA, roles, optional=True),
        Port("output_model", Kind.MODEL, roles, optional=True, stages=("train", "default")),
    )
