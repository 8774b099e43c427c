"""What the parties of a vertical linear model with an arbiter say to each other, what they carry, and what they learn.

`partyd.algorithms.coordinated` tells the conversation. The messages here are common to all these models; what only one
of them sends stands beside its mathematics.
"""

from __future__ import annotations

from pydantic import Field

from partyd.algorithms import arbiter_key
from partyd.crypto.paillier import Ciphertexts
from partyd.federation.algorithm import Disclosure, State
from partyd.federation.message import Message
from partyd.types import ARBITER, GUEST, HOST
from partyd.wire.arrays import Floats
from partyd.wire.codec import BigInt, Secret


class Plan(Message, sender=GUEST, receiver=HOST):
    """The seed of the batches' order, how many rows there must be, and whether they have weights."""

    seed: bytes
    rows: int
    weighted: bool


class Rounds(Message, sender=GUEST, receiver=ARBITER):
    """How many batches an epoch has."""

    batches: int


class Residual(Message, sender=GUEST, receiver=HOST):
    """[[d]] of the batch."""

    d: Ciphertexts


class MaskedGradient(Message, sender=GUEST | HOST, receiver=ARBITER):
    """[[X_p^T d + mask]], packed (`partyd.crypto.packing`); the guest's ends with the loss, masked too."""

    g: Ciphertexts


class DecryptedGradient(Message, sender=ARBITER, receiver=GUEST | HOST):
    """The same in the clear, mask and all, as the integers that were hidden."""

    g: list[BigInt]


class Settled(Message, sender=HOST, receiver=GUEST):
    """Whether this host's weights have come to rest."""

    settled: bool


class Verdict(Message, sender=GUEST, receiver=HOST | ARBITER):
    """Whether training stops at the end of this epoch."""

    stop: bool


class Weights(State):
    """What guest and hosts carry; the guest's last weight is the intercept where there is one."""

    w: Floats
    first: Floats
    second: Floats
    n: BigInt = 0
    seed: bytes = b""
    batches: int = 1
    taken: int = 0
    settled: bool = True
    loss: float = 0.0
    losses: list[float] = Field(default_factory=list)
    weighted: bool = False
    steps_before: int = 0
    epochs_before: int = 0

    def evolve(self, **changes: object) -> Weights:
        """Return this state with other values in some fields."""
        return self.model_copy(update=changes)


class ArbiterState(State):
    """The arbiter's private key, and where it stands."""

    key: Secret
    batches: int = 0
    taken: int = 0


SETTING_UP = (
    *arbiter_key.DISCLOSURES,
    Disclosure(HOST, "the number of rows, their order in batches, and whether rows have weights", Plan),
    Disclosure(ARBITER, "how many batches an epoch has", Rounds),
)
HIDDEN_RESIDUAL = Disclosure(HOST, "nothing: the residuals are encrypted under the arbiter's key", Residual)
MASKED = Disclosure(
    ARBITER,
    "roughly how many features each party has; gradients and loss are under masks 40 bits wider than they",
    MaskedGradient,
)
GUEST_GRADIENT = Disclosure(
    GUEST,
    "the gradient of its own weights and the loss, batch by batch; both depend on the host's scores",
    DecryptedGradient,
)
STOPPING = (
    Disclosure(GUEST, "whether the host's weights moved less than tol in an epoch (weight_diff only)", Settled),
    Disclosure(HOST, "in which epoch the loss came to rest", Verdict),
    Disclosure(ARBITER, "in which epoch the loss came to rest", Verdict),
)
BROKEN_PROTOCOL = (
    "Each job and each new attempt of a task, each fold of a cross validation, and each class, is a training with "
    "batches and equations of its own. A party that breaks the protocol can have the arbiter decrypt other "
    "ciphertexts than its gradient, a host thus the residuals, and the arbiter can return false "
    "gradients: that is outside what is promised."
)
"""What is said of every one of these models at the end of what coalitions learn."""
