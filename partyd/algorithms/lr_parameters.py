"""The parameters of vertical logistic regression: FATE 2.2's names and defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.linear_model import Init
from partyd.algorithms.optimizers import Optimizer, Schedule
from partyd.algorithms.parameters import FateParams, Settings, lower

MetricName = Annotated[Literal["auc", "ks", "accuracy", "mse"], BeforeValidator(lower)]


class FoldParam(Settings):
    """How the rows of a cross validation are cut: in order, or by ``shuffle`` in an order that all parties know."""

    n_splits: int = Field(default=5, ge=2, le=100)
    shuffle: bool = False
    random_state: int | None = Field(default=None, ge=0, lt=1 << 63)


class CoordinatedLrParams(FateParams):
    """FATE 2.2's parameters; ``batch_size`` null takes all rows, ``floating_point_precision`` counts binary places."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=10)
    optimizer: Optimizer = Optimizer()
    learning_rate_scheduler: Schedule = Schedule()
    init_param: Init = Init(method="random_uniform")
    tol: float = Field(default=1e-4, ge=0)
    early_stop: Annotated[Literal["diff", "abs", "weight_diff"], BeforeValidator(lower)] = "diff"
    he_param: HeParam = HeParam()
    floating_point_precision: int = Field(default=23, ge=8, le=28)
    threshold: float = Field(default=0.5, ge=0, le=1)
    metrics: Annotated[tuple[MetricName, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)] = ("auc",)
    cv_param: FoldParam = FoldParam()
    output_cv_data: bool = True

    @property
    def key_bits(self) -> int:
        """Bits of the arbiter's key: what was asked for, never below the floor. A test's own subclass may go lower."""
        return self.he_param.key_bits
