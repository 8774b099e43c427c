"""The parameters of horizontal logistic regression: FATE 2.2's names, and defaults that converge.

FATE's own defaults (a penalty of 1, steps of 0.01, random first weights) leave a model of 20 epochs far from its
optimum. Here a job that says nothing gets Adam with steps of 0.02, a penalty of 0.001 and first weights of zero.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from partyd.algorithms.linear_model import Init
from partyd.algorithms.optimizers import Optimizer, Schedule, StepSettings
from partyd.algorithms.parameters import FateParams, Settings, lower

MOST_LABELS = 100
PENALTY = 0.001
LEARNING_RATE = 0.02


class HomoOptimizer(Optimizer):
    """FATE 2.2's ``optimizer``; without a word on ``alpha`` the penalty is mild."""

    alpha: float = Field(default=PENALTY, ge=0)


class Aggregation(Settings):
    """Secure aggregation: how many parties must answer, and how long a silent one is waited for.

    ``threshold`` null is the smallest majority. ``dropout_after_s`` null waits for every party, however long; a number
    goes on without a party that hands nothing in for so long, so it must be more than the slowest party's epoch takes.
    """

    threshold: int | None = Field(default=None, ge=2, le=256)
    dropout_after_s: float | None = Field(default=None, gt=0, le=7 * 86_400)


class HomoLrParams(FateParams):
    """FATE 2.2's parameters; ``batch_size`` -1 or 0 takes all rows, ``label_num`` is asked for with ``ovr``.

    From FATE 1.x: ``aggregate_iters`` is how many epochs a party trains by itself between two averages;
    ``use_proximal`` draws its weights towards the round's average by ``mu`` (Li et al., FedProx, arXiv:1812.06127).
    """

    epochs: int = Field(default=20, ge=1, le=100_000)
    batch_size: int = Field(default=100, ge=-1)
    optimizer: HomoOptimizer = HomoOptimizer(method="adam", optimizer_params=StepSettings(lr=LEARNING_RATE))
    learning_rate_scheduler: Schedule = Schedule(method="constant")
    init_param: Init = Init()
    threshold: float = Field(default=0.5, ge=0, le=1)
    ovr: bool = False
    label_num: int | None = Field(default=None, ge=2, le=MOST_LABELS)
    tol: float = Field(default=1e-4, ge=0)
    early_stop: Annotated[Literal["diff", "abs", "weight_diff"], BeforeValidator(lower)] = "diff"
    aggregate_iters: int = Field(default=1, ge=1, le=1000)
    use_proximal: bool = False
    mu: float = Field(default=0.1, ge=0)
    secure_aggregation: Aggregation = Aggregation()

    @model_validator(mode="before")
    @classmethod
    def _switch_is_the_default(cls, given: Any) -> Any:
        """Read FATE 1.x's ``secure_aggregate: true``, for sums are always secure here."""
        if isinstance(given, dict) and given.get("secure_aggregate") is True:
            return {name: value for name, value in given.items() if name != "secure_aggregate"}
        return given

    @model_validator(mode="after")
    def _labels_are_counted(self) -> Self:
        if self.ovr and self.label_num is None:
            raise ValueError("with ovr every party must know how many classes there are; give label_num")
        return self

    @property
    def labels(self) -> int:
        """How many classes there are."""
        return self.label_num or 2 if self.ovr else 2

    @property
    def models(self) -> int:
        """How many models are trained: one, or one for each of more than two classes."""
        return self.labels if self.labels > 2 else 1

    @property
    def rows_a_batch(self) -> int | None:
        """Rows of a batch; None for all."""
        return self.batch_size if self.batch_size > 0 else None

    @property
    def pull(self) -> float:
        """How strongly a party's weights are drawn towards the average."""
        return self.mu if self.use_proximal else 0.0

    @property
    def rounds(self) -> int:
        """How often the models are averaged."""
        return -(-self.epochs // self.aggregate_iters)
