"""The parameters of FATE 1.x's modules that work on one party's own table: encoding, filling, labels, weights, scores.

Their ``need_run`` is kept: a party for which it is off gives its table out as it came.
"""

from __future__ import annotations

from collections.abc import Mapping

from partyd.dsl.parameters import columns
from partyd.dsl.rules import Rule, To

NEED_RUN: Mapping[str, Rule] = {"need_run": To(("need_run",))}


def _kept(*names: str) -> Mapping[str, Rule]:
    return {name: To((name,)) for name in names}


ONE_HOT: Mapping[str, Rule] = {
    "transform_col_indexes": columns("transform_col_indexes"),
    "transform_col_names": columns("transform_col_names"),
    **NEED_RUN,
}
IMPUTATION: Mapping[str, Rule] = {
    **_kept("default_value", "missing_fill_method", "col_missing_fill_method", "missing_impute"),
    **NEED_RUN,
}
LABELS: Mapping[str, Rule] = {**_kept("label_encoder", "label_list"), **NEED_RUN}
WEIGHTS: Mapping[str, Rule] = {**_kept("class_weight", "sample_weight_name", "normalize"), **NEED_RUN}
EXPANSION: Mapping[str, Rule] = {**_kept("append_header", "method", "fill_value"), **NEED_RUN}
CREDIT: Mapping[str, Rule] = {
    **_kept("method", "offset", "factor", "factor_base", "upper_limit_ratio", "lower_limit_value"),
    **NEED_RUN,
}
SCORED_AT_GUEST = frozenset(
    {"coordinated_lr", "coordinated_linr", "coordinated_poisson", "sshe_lr", "sshe_linr", "hetero_secureboost"}
)
"""The components whose predictions the guest alone has, so that what reads them runs there alone."""
