"""Scale the probability of default to a credit score: FATE 1.x's Scorecard, where the scores are. Nothing is exchanged.

    credit_score = offset + factor / ln(factor_base) * ln((1 - p) / p)

so that the score rises by ``factor`` when the odds of being good rise ``factor_base``-fold. It is kept between
``lower_limit_value`` and ``upper_limit_ratio * offset``, which are the scores of p = 1 and p = 0, and rounded to cents.
Input is the table of predictions of a binary classifier; output are its label, ``predict_result``, ``predict_score``
and ``credit_score``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from partyd.algorithms.parameters import lower
from partyd.components.base import Component, TaskContext
from partyd.components.columns import column
from partyd.components.fitted import Learned, LocalParams, carry_out, inputs, outputs
from partyd.data.render import DETAIL, PREDICT_RESULT, PREDICT_SCORE, SCORED_LABEL, is_scored
from partyd.data.table import Table
from partyd.errors import DataError
from partyd.types import GUEST

Vector = NDArray[np.float64]
CREDIT_SCORE = "credit_score"
EDGE = 1e-8
"""How near to 0 or 1 a probability has no odds."""


class ScorecardParams(LocalParams):
    """FATE 1.x's parameters."""

    method: Annotated[Literal["credit"], BeforeValidator(lower)] = "credit"
    offset: FiniteFloat = 500.0
    factor: FiniteFloat = 20.0
    factor_base: FiniteFloat = Field(default=2.0, gt=0)
    upper_limit_ratio: FiniteFloat = 3.0
    lower_limit_value: FiniteFloat = 0.0

    @model_validator(mode="after")
    def _scores_exist(self) -> ScorecardParams:
        if self.factor_base == 1:
            raise ValueError("a factor_base of 1 has no logarithm to divide by; 2 is usual")
        if self.lower_limit_value > self.upper_limit_ratio * self.offset:
            raise ValueError("lower_limit_value is above upper_limit_ratio * offset, so that no score is left")
        return self


class Scale(Learned):
    """How scores are computed."""

    offset: FiniteFloat
    factor: FiniteFloat
    factor_base: FiniteFloat
    upper: FiniteFloat
    lower: FiniteFloat

    @property
    def formula(self) -> str:
        """The computation in words, as FATE prints it."""
        return f"Score = {self.offset:g} + {self.factor:g} / ln({self.factor_base:g}) * ln(Odds)"

    def scores(self, p: Vector) -> Vector:
        """Return the credit score of each probability."""
        inside = np.clip(p, EDGE, 1 - EDGE)
        scores = self.offset + self.factor / math.log(self.factor_base) * np.log((1 - inside) / inside)
        scores = np.where(p <= EDGE, self.upper, np.where(p >= 1 - EDGE, self.lower, scores))
        return np.asarray(np.round(np.clip(scores, self.lower, self.upper), 2), dtype=np.float64)


async def run(context: TaskContext) -> None:
    """Score the predictions of a training, or others with the same scale."""
    params = context.params
    assert isinstance(params, ScorecardParams)
    scale = carry_out(context, "scorecard", Scale, lambda _: fit(params), transform)
    if scale is not None:
        context.write_document("metric", {"scorecard_compute_formula": scale.formula})


def fit(params: ScorecardParams) -> Scale:
    """Return the scale that the parameters describe."""
    return Scale(
        offset=params.offset,
        factor=params.factor,
        factor_base=params.factor_base,
        upper=params.upper_limit_ratio * params.offset,
        lower=params.lower_limit_value,
    )


def transform(table: Table, scale: Scale) -> Table:
    """Return the credit scores; raises DataError for a table without probabilities of one class."""
    classes = [name for name in table.schema.features if name.startswith(DETAIL)]
    if not is_scored(table) or len(classes) > 2:
        raise DataError("a scorecard reads the predictions of a binary classifier; connect a model's output table")
    p = column(table, PREDICT_SCORE)
    if not bool(np.all((p >= 0) & (p <= 1))):
        raise DataError("a prediction is no probability; a scorecard reads those of a classifier, not of a regression")
    columns = np.column_stack([column(table, PREDICT_RESULT), p, scale.scores(p)])
    scored = table.with_features((PREDICT_RESULT, PREDICT_SCORE, CREDIT_SCORE), columns)
    if scored.label is None:
        return scored
    schema = scored.schema.model_copy(update={"label": SCORED_LABEL})
    return Table(schema, scored.ids, scored.features, scored.match_ids, scored.label, scored.weight)


scorecard = Component("scorecard", GUEST, ScorecardParams, run, inputs(GUEST), outputs(GUEST))
