"""The parameters of vertical gradient boosting: FATE 2.2's names and defaults, and what FATE 1.x has beyond them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.lr_parameters import FoldParam
from partyd.algorithms.parameters import FateParams, lower
from partyd.algorithms.secureboost_objectives import Objective, ObjectiveName, objective
from partyd.crypto.paillier import KEY_BITS

Strategy = Literal["std", "mix", "layered"]
BoostMetric = Literal["auc", "ks", "accuracy", "rmse", "mae", "mse", "r2_score", "loss"]
MOST_LEVELS = 255
"""A row's level stands in one byte, beside one value for rows that a tree leaves out."""


class SecureBoostParams(FateParams):
    """FATE 2.2's parameters. ``gh_pack``, ``split_info_pack`` and ``hist_sub`` change no result here.

    ``gradient_levels`` and ``gradient_bits`` say how finely gradients are told apart when hosts' splits are weighed
    (`partyd.algorithms.secureboost_gradients`). Without ``hide_rows`` a host is told which rows are in the nodes that
    it splits, which saves the oblivious transfers.
    """

    num_trees: int = Field(default=3, ge=1, le=100_000)
    learning_rate: float = Field(default=0.3, gt=0)
    max_depth: int = Field(default=3, ge=1, le=20)
    complete_secure: int = Field(default=0, ge=0)
    max_bin: int = Field(default=32, ge=2, le=1 << 12)
    objective: Annotated[ObjectiveName, BeforeValidator(lower)] = "binary:bce"
    objective_shape: float | None = Field(default=None, gt=0)
    num_class: int = Field(default=2, ge=2, le=100)
    goss: bool = False
    goss_start_iter: int = Field(default=0, ge=0)
    top_rate: float = Field(default=0.2, gt=0, lt=1)
    other_rate: float = Field(default=0.1, gt=0, lt=1)
    l1: float = Field(default=0.0, ge=0)
    l2: float = Field(default=0.1, ge=0)
    min_impurity_split: float = Field(default=1e-2, gt=0)
    min_sample_split: int = Field(default=2, ge=1)
    min_leaf_node: int = Field(default=1, ge=1)
    min_child_weight: float = Field(default=1.0, gt=0)
    gh_pack: bool = True
    split_info_pack: bool = True
    hist_sub: bool = True
    he_param: HeParam = HeParam()
    cv_param: FoldParam = FoldParam()
    output_cv_data: bool = True
    subsample_feature_rate: float = Field(default=1.0, gt=0, le=1)
    boosting_strategy: Annotated[Strategy, BeforeValidator(lower)] = "std"
    tree_num_per_party: int = Field(default=1, ge=1)
    guest_depth: int = Field(default=2, ge=0)
    host_depth: int = Field(default=3, ge=1)
    use_missing: bool = True
    zero_as_missing: bool = False
    early_stopping_rounds: int | None = Field(default=None, ge=1)
    metrics: tuple[BoostMetric, ...] | None = None
    n_iter_no_change: bool = False
    tol: float = Field(default=1e-4, ge=0)
    threshold: float = Field(default=0.5, ge=0, le=1)
    random_state: int = Field(default=100, ge=0, lt=1 << 63)
    hide_rows: bool = True
    gradient_levels: int = Field(default=64, ge=2, le=MOST_LEVELS)
    gradient_bits: int = Field(default=12, ge=6, le=24)

    @model_validator(mode="after")
    def _makes_sense(self) -> SecureBoostParams:
        if self.top_rate + self.other_rate > 1:
            raise ValueError("top_rate and other_rate together are more than all rows; lower one of them")
        if self.objective == "multi:ce" and self.num_class < 3:
            raise ValueError("multi:ce needs num_class of 3 or more; for two classes take binary:bce")
        if self.objective == "regression:tweedie" and not 1 < (self.objective_shape or 1.5) < 2:
            raise ValueError("regression:tweedie needs an objective_shape between 1 and 2, its variance power")
        return self

    @property
    def key_bits(self) -> int:
        """Bits of each host's key: what was asked for, never below the floor. A test's own subclass may go lower."""
        return max(self.he_param.key_length, KEY_BITS)

    @property
    def depth(self) -> int:
        """How many levels of splits a tree may have."""
        return self.guest_depth + self.host_depth if self.boosting_strategy == "layered" else self.max_depth

    @property
    def fields(self) -> int:
        """How many sums are opened for each candidate: g, h, and rows where leaves have a least size."""
        return 3 if self.min_leaf_node > 1 else 2

    @property
    def aim(self) -> Objective:
        """What is minimised."""
        return objective(self.objective, self.num_class, self.objective_shape)

    @property
    def early_metric(self) -> BoostMetric:
        """The metric of the validation rows that early stopping looks at: the first named, or the objective's own."""
        defaults: dict[str, BoostMetric] = {"binary": "auc", "multi": "accuracy", "regression": "rmse"}
        return self.metrics[0] if self.metrics else defaults[self.aim.task]
