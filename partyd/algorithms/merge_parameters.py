"""The parameters of merging a model's halves: FATE 1.x's words where it has them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from partyd.algorithms.parameters import FateParams, lower

OutputFormat = Literal["pmml", "xgboost", "all"]


class ModelMergeParams(FateParams):
    """``output_format`` xgboost is for trees alone; ``all`` writes every format that the model can have.

    ``host_names`` says whether the hosts' columns keep their names or get those that peers know them by, such as
    ``host_9999_x3``. ``target_name`` is what the label is called in the merged model.
    """

    output_format: Annotated[OutputFormat, BeforeValidator(lower)] = "pmml"
    host_names: Annotated[Literal["real", "anonymous"], BeforeValidator(lower)] = "anonymous"
    target_name: str = Field(default="y", min_length=1, max_length=256)

    @property
    def models_apart(self) -> int:
        """How much of the hosts' halves stays hidden: `partyd.components.limits.Limits` has the floor."""
        return 0 if self.host_names == "real" else 1
