"""The parameters of FATE 1.x's HomoLR, and the values that it takes where a job says nothing."""

from __future__ import annotations

from collections.abc import Mapping

from partyd.dsl.parameters import GRADIENT_DEFAULTS, SAME_RESULT, TRAINING, WITH_OPTIMIZER
from partyd.dsl.rules import Left, Rule, To

HOMO_LR: Mapping[str, Rule] = {
    **TRAINING,
    **WITH_OPTIMIZER,
    **{name: To((name,)) for name in ("batch_size", "aggregate_iters", "use_proximal", "mu")},
    "encrypt_param": Left("models are hidden by secure aggregation, not by encryption; " + SAME_RESULT),
    "re_encrypt_batches": Left(SAME_RESULT),
    "multi_class": Left("more than two classes need ovr and label_num, which 1.x has not: add them", ("ovr", None)),
}
HOMO_LR_DEFAULTS: Mapping[str, object] = {**GRADIENT_DEFAULTS, "batch_size": -1}
