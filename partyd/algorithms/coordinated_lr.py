"""Vertical logistic regression with an arbiter that holds the Paillier key: FATE's coordinated LR, gradients masked.

Hardy et al., "Private federated learning on vertically partitioned data via entity resolution and additively
homomorphic encryption", arXiv:1711.10677, sections 3.2 and 4: the logistic loss is replaced by its second-order Taylor
polynomial at 0, so that its gradient is linear in the scores. With labels y in {-1, +1} and scores z = sum over
parties of X_p w_p, the loss of a row and the residual are

    loss = ln 2 + 0.125 z^2 - 0.5 y z       d = 0.25 z - 0.5 y

which is the `QuadraticLoss` of slope 0.25 and pull 0.5. The messages are those of `partyd.algorithms.coordinated`, with
``Forward`` and ``HostLoss`` of `partyd.algorithms.quadratic_loss`.

All that a party ever learns of labels y and of the others' features goes through X_b^T of its own features in the
batches b, which are the same in every epoch: as many numbers as batches times columns, not more with more epochs.
"""

from __future__ import annotations

import math

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
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Labelled
from partyd.algorithms.quadratic_loss import HIDDEN_FORWARD, HIDDEN_LOSS, Forward, HostLoss, QuadraticLoss
from partyd.errors import DataError
from partyd.federation.algorithm import Algorithm, Disclosure
from partyd.types import HOST


def _insist_on_classes(data: Labelled) -> None:
    if not bool(np.all((data.y == 0) | (data.y == 1))):
        raise DataError("logistic regression needs labels 0 and 1; map the label column before the upload")


LOGISTIC = QuadraticLoss(
    name="coordinated_lr",
    slope=0.25,
    pull=0.5,
    check=_insist_on_classes,
    targets=lambda label: 2 * label - 1,
    constant=math.log(2) - 0.5,
)

coordinated_lr = Algorithm(
    name=LOGISTIC.name,
    version="2",
    params=CoordinatedLrParams,
    programs=programs(LOGISTIC, CoordinatedLrParams),
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
            "the gradient of its own weights, batch by batch: sums over its features of the residuals, which depend on "
            "the labels (from zero weights the first one gives each feature's covariance with the label)",
            DecryptedGradient,
        ),
        *STOPPING,
    ),
    coalitions=(
        "The arbiter holds the private key: with the guest it can open the hosts' scores, with a host the residuals "
        "and so the labels. Batches are the same in every epoch, so that a party gets no more equations about labels "
        "or scores than batches times its columns, and batches are refused that have fewer than two rows for each of "
        "them. With its own weights a host can score rows by its own features: on the breast data that alone reaches "
        "an AUC of 0.97. Beyond that, the gradient of a batch of n rows and k columns lets it guess the labels of "
        "these rows, also where its features say nothing about them, with an AUC of about Phi(sqrt(2 k / (n - k))): "
        "0.65 with 300 rows and 20 columns, 0.55 with 130 rows a column, but 0.92 with two rows a column, the floor; "
        "below one and a half rows a column it could compute them. A batch of fewer than about thirty rows a column, "
        "of which the job's log warns, still fixes 0/1 labels in principle, and a column that is zero, or constant, on "
        "all but a few rows of a batch (a rare category) shows those rows' residuals: take large batches, drop rare "
        f"categories. {BROKEN_PROTOCOL}"
    ),
)
