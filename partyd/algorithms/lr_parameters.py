"""The parameters of vertical linear models with an arbiter: FATE's names and defaults.

Logistic and linear regression are FATE 2.2's components. Poisson regression is FATE 1.x's, its parameters written as
those of the others are.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.linear_model import Init
from partyd.algorithms.optimizers import Optimizer, Schedule
from partyd.algorithms.parameters import FateParams, Settings, lower

MetricName = Annotated[Literal["auc", "ks", "accuracy", "mse"], BeforeValidator(lower)]
ErrorName = Annotated[
    Literal["mse", "rmse", "mae", "median_absolute_error", "r2", "explained_variance", "mean_poisson_deviance"],
    BeforeValidator(lower),
]
Listed = BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)


class FoldParam(Settings):
    """How the rows of a cross validation are cut: in order, or by ``shuffle`` in an order that all parties know."""

    n_splits: int = Field(default=5, ge=2, le=100)
    shuffle: bool = False
    random_state: int | None = Field(default=None, ge=0, lt=1 << 63)


class CoordinatedParams(FateParams):
    """What they share; ``batch_size`` null takes all rows, ``floating_point_precision`` counts binary places."""

    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=10)
    optimizer: Optimizer = Optimizer()
    learning_rate_scheduler: Schedule = Schedule()
    init_param: Init = Init(method="random_uniform")
    tol: float = Field(default=1e-4, ge=0)
    early_stop: Annotated[Literal["diff", "abs", "weight_diff"], BeforeValidator(lower)] = "diff"
    he_param: HeParam = HeParam()
    floating_point_precision: int = Field(default=23, ge=8, le=28)
    cv_param: FoldParam = FoldParam()
    output_cv_data: bool = True

    @property
    def key_bits(self) -> int:
        """Bits of the arbiter's key: what was asked for, never below the floor. A test's own subclass may go lower."""
        return self.he_param.key_bits

    @property
    def exposure(self) -> str | None:
        """The guest's column that is the rows' exposure, if there is one."""
        return None


class CoordinatedLrParams(CoordinatedParams):
    """Those of logistic regression: a row's class is 1 above ``threshold``."""

    threshold: float = Field(default=0.5, ge=0, le=1)
    metrics: Annotated[tuple[MetricName, ...], Listed] = ("auc",)


class CoordinatedLinrParams(CoordinatedParams):
    """Those of linear regression."""

    metrics: Annotated[tuple[ErrorName, ...], Listed] = ("mse",)


class CoordinatedPoissonParams(CoordinatedParams):
    """Those of Poisson regression; its loss may be negative, so ``early_stop`` "abs" may end it after one epoch."""

    optimizer: Optimizer = Optimizer(method="rmsprop")
    exposure_colname: str | None = None
    metrics: Annotated[tuple[ErrorName, ...], Listed] = ("rmse", "mae")

    @property
    def exposure(self) -> str | None:
        """The guest's column that is the rows' exposure, if there is one."""
        return self.exposure_colname
