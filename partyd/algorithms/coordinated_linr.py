"""Vertical linear regression with an arbiter that holds the Paillier key: FATE's coordinated LinR, gradients masked.

Hardy et al., arXiv:1711.10677, section 4, with the squared loss, which needs no approximation. With labels y and scores
z = sum over parties of X_p w_p, the loss of a row and the residual are

    loss = 0.5 (z - y)^2       d = z - y

which is the `QuadraticLoss` of slope and pull 1. The messages are those of `partyd.algorithms.coordinated`, with
``Forward`` and ``HostLoss`` of `partyd.algorithms.quadratic_loss`. Labels and scores must stay within 2^32.

All that a party ever learns of labels y and of the others' features goes through X_b^T of its own features in the
batches b, which are the same in every epoch: as many numbers as batches times columns, not more with more epochs.
"""

from __future__ import annotations

import numpy as np

from partyd.algorithms.arbiter_key import ArbiterKey
from partyd.algorithms.coordinated import programs
from partyd.algorithms.coordinated_messages import (
    BROKEN_PROTOCOL,
    GUEST_GRADIENT,
    HIDDEN_RESIDUAL,
    MASKED,
    SETTING_UP,
    STOPPING,
    DecryptedGradient,
    MaskedGradient,
    Plan,
    Residual,
    Rounds,
    Settled,
    Verdict,
)
from partyd.algorithms.lr_parameters import CoordinatedLinrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.quadratic_loss import HIDDEN_FORWARD, HIDDEN_LOSS, Forward, HostLoss, QuadraticLoss
from partyd.errors import DataError
from partyd.federation.algorithm import Algorithm, Disclosure
from partyd.types import HOST


def _insist_on_numbers(data: Labelled) -> None:
    if not bool(np.all(np.isfinite(data.y))):
        raise DataError("a row has no label, or one that is no number; drop such rows before the upload")


LINEAR = QuadraticLoss(
    name="coordinated_linr",
    slope=1.0,
    pull=1.0,
    check=_insist_on_numbers,
    targets=lambda label: label,
    constant=0.0,
)

coordinated_linr = Algorithm(
    name=LINEAR.name,
    version="1",
    params=CoordinatedLinrParams,
    programs=programs(LINEAR, CoordinatedLinrParams),
    messages=(
        ArbiterKey,
        Plan,
        Rounds,
        Forward,
        Residual,
        HostLoss,
        MaskedGradient,
        DecryptedGradient,
        Settled,
        Verdict,
    ),
    disclosures=(
        *SETTING_UP,
        HIDDEN_FORWARD,
        HIDDEN_RESIDUAL,
        HIDDEN_LOSS,
        MASKED,
        GUEST_GRADIENT,
        Disclosure(
            HOST,
            "the gradient of its own weights, batch by batch: sums over its features of the residuals, score minus "
            "label (from zero weights the first one gives the sum of each feature times the label)",
            DecryptedGradient,
        ),
        *STOPPING,
    ),
    coalitions=(
        "The arbiter holds the private key: with the guest it can open the hosts' scores, with a host the residuals "
        "and so nearly the labels. Batches are the same in every epoch, so that a party gets no more equations about "
        "labels or scores than batches times its columns, and batches are refused that have fewer than two rows for "
        "each of them. Labels that are known to be few whole numbers are nearer to being fixed than real ones, and "
        "a column that is zero, or constant, on all but a few rows of a batch (a rare category) shows those rows' "
        f"residuals: take large batches, drop rare categories. {BROKEN_PROTOCOL}"
    ),
)
