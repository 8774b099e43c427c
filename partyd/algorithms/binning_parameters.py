"""What guest and hosts agree on when they bin columns and weigh the bins by the guest's label: FATE's names."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from partyd.algorithms.he_parameters import HeParam
from partyd.algorithms.parameters import FateParams, Settings, lower
from partyd.crypto.paillier import KEY_BITS

MOST_BINS = 1024
"""Bins of a column, those of missing values not counted."""
Criterion = Literal["iv", "gini", "chi_square", "ks"]


def _criterion(value: object) -> object:
    word = lower(value)
    return word.replace("-", "_") if isinstance(word, str) else word


class OptimalBinningParam(Settings):
    """FATE 1.x's: fine bins are made first, then neighbours are joined so that the criterion is best.

    A bin has between ``min_bin_pct`` and ``max_bin_pct`` of the column's known rows and, with ``mixture``, rows with
    and without the event.
    """

    metric_method: Annotated[Criterion, BeforeValidator(_criterion)] = "iv"
    min_bin_pct: float = Field(default=0.05, ge=0, le=1)
    max_bin_pct: float = Field(default=1.0, gt=0, le=1)
    init_bin_nums: int = Field(default=100, ge=2, le=1000)
    mixture: bool = True
    init_bucket_method: Annotated[Literal["quantile", "bucket"], BeforeValidator(lower)] = "quantile"

    @model_validator(mode="after")
    def _some_size_is_left(self) -> OptimalBinningParam:
        if self.min_bin_pct > self.max_bin_pct:
            raise ValueError("min_bin_pct is above max_bin_pct, so that no bin is left")
        return self


class LabelSumsParams(FateParams):
    """The encryption, how bins are weighed and joined, and whether a host is told the weights of its own.

    ``host_woe`` lets a host transform to WOE as well, which FATE does not have: it learns the WOE of its bins, that is
    the share of events among their rows. Bins of fewer than ``host_woe_rows`` rows, or in which fewer than
    ``host_woe_events`` rows have the event or lack it, are told only together with their neighbours; nothing is told
    where all numbers together could say more than ``host_woe_bits`` bits for each row.
    """

    n_bins: int = Field(default=10, gt=1, le=MOST_BINS)
    adjustment_factor: FiniteFloat = Field(default=0.5, gt=0)
    optimal_binning_param: OptimalBinningParam = OptimalBinningParam()
    host_woe: bool = False
    host_woe_rows: int = Field(default=50, ge=2)
    host_woe_events: int = Field(default=5, ge=1)
    host_woe_bits: FiniteFloat = Field(default=0.25, gt=0)
    he_param: HeParam = HeParam()
    block_rows: int = Field(default=1 << 14, ge=1, le=1 << 18)
    """Labels that are encrypted and sent in one message."""

    @model_validator(mode="after")
    def _bins_of_that_size_fit(self) -> LabelSumsParams:
        if 1 / self.optimal_binning_param.max_bin_pct > self.n_bins:
            raise ValueError(f"{self.n_bins} bins of at most max_bin_pct do not hold all rows; raise n_bins")
        return self

    @property
    def key_bits(self) -> int:
        """Bits of the guest's key, never below the floor. A test's own subclass may go lower."""
        return max(self.he_param.key_length, KEY_BITS)
