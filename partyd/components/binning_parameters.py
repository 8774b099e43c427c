"""The parameters of hetero_feature_binning: FATE 2.2's, and optimal binning of 1.x."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from partyd.algorithms.binning_parameters import MOST_BINS, LabelSumsParams
from partyd.algorithms.parameters import lower

Points = tuple[FiniteFloat, ...] | dict[str, FiniteFloat]


class HeteroFeatureBinningParams(LabelSumsParams):
    """Without ``bin_col`` and ``bin_idx`` every column is binned but those of ``category_col`` and ``category_idx``.

    ``split_pt_dict`` has the cuts of each column for the method manual. ``transform_method`` says what becomes of a
    value: its bin's number or WOE; in a prediction the training's method holds where nothing is said. Quantiles are
    exact up to 2^20 rows, whatever ``relative_error`` allows.
    """

    method: Annotated[Literal["quantile", "bucket", "manual", "optimal"], BeforeValidator(lower)] = "quantile"
    split_pt_dict: dict[str, Points] = Field(default_factory=dict)
    bin_col: tuple[str, ...] | None = None
    bin_idx: tuple[int, ...] | None = None
    category_col: tuple[str, ...] | None = None
    category_idx: tuple[int, ...] | None = None
    use_anonymous: bool = False
    transform_method: Annotated[Literal["none", "woe", "bin_idx"], BeforeValidator(lower)] | None = None
    skip_metrics: bool = False
    local_only: bool = False
    relative_error: float = Field(default=1e-6, gt=0, le=1)

    @model_validator(mode="after")
    def _makes_sense(self) -> HeteroFeatureBinningParams:
        if self.bin_col is not None and self.bin_idx is not None:
            raise ValueError("give bin_col or bin_idx, not both")
        if self.category_col is not None and self.category_idx is not None:
            raise ValueError("give category_col or category_idx, not both")
        if self.skip_metrics and self.method == "optimal":
            raise ValueError("optimal bins need the labels that skip_metrics leaves out; choose another method")
        if self.skip_metrics and self.transform_method == "woe":
            raise ValueError("WOE needs the labels that skip_metrics leaves out; transform to bin_idx")
        if any(len(points) >= MOST_BINS for points in self.split_pt_dict.values()):
            raise ValueError(f"a column has {MOST_BINS} cuts or more in split_pt_dict; give fewer")
        return self
