"""Components for tests of jobs: FATE's names, ports and roles, and nothing behind them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from partyd.algorithms.coordinated_lr import coordinated_lr as lr_training
from partyd.algorithms.psi import psi as intersection
from partyd.components.base import Component, Kind, Port, TaskContext
from partyd.federation.algorithm import Algorithm, Params
from partyd.types import ARBITER, GUEST, HOST, Role

BOTH = GUEST | HOST
DATA, MODEL = Kind.DATA, Kind.MODEL


class Anything(Params):
    model_config = ConfigDict(frozen=True, extra="allow")


class ReaderParams(Params):
    namespace: str = Field(min_length=1)
    name: str = Field(min_length=1)


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: float = Field(default=0.1, gt=0)


class ScaleParams(Params):
    method: Literal["standard", "min_max"] = "standard"
    feature_range: tuple[float, float] | dict[str, tuple[float, float]] | None = None
    scale_col: tuple[str, ...] | None = None
    scale_idx: tuple[int, ...] | None = None
    strict_range: bool = True
    use_anonymous: bool = False
    inner: Inner = Inner()


async def nothing(context: TaskContext) -> None:
    raise NotImplementedError


def data(*names: str, **more: Any) -> tuple[Port, ...]:
    roles = more.pop("roles", BOTH)
    return tuple(Port(name, DATA, roles, **more) for name in names)


def component(
    name: str,
    inputs: tuple[Port, ...] = (),
    outputs: tuple[Port, ...] = (),
    *,
    roles: Role = BOTH,
    params: type[Params] = Anything,
    algorithms: tuple[Algorithm[Any], ...] = (),
    alone_if: tuple[tuple[str, object], ...] = (),
) -> Component:
    return Component(name, roles, params, nothing, inputs, outputs, algorithms, alone_if=alone_if)


TRAINED = (
    Port("train_data", DATA, BOTH, optional=True, needed=("train",), stages=("train",)),
    Port("validate_data", DATA, BOTH, optional=True, stages=("train",)),
    Port("test_data", DATA, BOTH, optional=True, needed=("predict",), stages=("predict",)),
    Port("cv_data", DATA, BOTH, optional=True, needed=("cross_validation",), stages=("cross_validation",)),
    Port("warm_start_model", MODEL, BOTH, optional=True, stages=("train",)),
    Port("input_model", MODEL, BOTH, optional=True, needed=("predict",), stages=("predict",)),
)
SCORED = data("train_output_data", "validate_output_data", "test_output_data", roles=GUEST, optional=True)
SCALED = (*data("train_output_data", "test_output_data"), Port("output_model", MODEL, BOTH))

REGISTRY = {
    c.name: c
    for c in (
        component("reader", outputs=data("output_data"), params=ReaderParams),
        component("psi", data("input_data"), data("output_data"), algorithms=(intersection,)),
        component(
            "data_split",
            data("input_data"),
            data("train_output_data", "validate_output_data", "test_output_data", optional=True),
        ),
        component("sample", data("input_data"), data("output_data")),
        component("union", data("input_datas", several=True), data("output_data")),
        component("statistics", data("input_data"), (Port("output_model", MODEL, BOTH),)),
        component("feature_scale", (*TRAINED[:1], TRAINED[2], TRAINED[5]), SCALED, params=ScaleParams),
        component("hetero_feature_binning", (*TRAINED[:1], TRAINED[2], TRAINED[5]), SCALED),
        component(
            "hetero_feature_selection",
            (*TRAINED[:1], TRAINED[2], TRAINED[5], Port("input_models", MODEL, BOTH, optional=True, several=True)),
            (*SCALED[:2], Port("train_output_model", MODEL, BOTH)),
        ),
        component(
            "coordinated_lr",
            TRAINED,
            (*SCORED, Port("output_model", MODEL, BOTH | ARBITER)),
            roles=BOTH | ARBITER,
            algorithms=(lr_training,),
        ),
        component("hetero_secureboost", TRAINED, (*SCORED, Port("output_model", MODEL, BOTH))),
        component("sshe_lr", TRAINED, (*SCORED, Port("output_model", MODEL, BOTH))),
        component("homo_lr", TRAINED, (*SCORED, Port("output_model", MODEL, BOTH)), roles=BOTH | ARBITER),
        component("toy_example"),
        component("evaluation", data("input_datas", roles=GUEST, several=True), roles=GUEST),
    )
}
