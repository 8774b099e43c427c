"""What tells one vertical linear model with an arbiter from another (`partyd.algorithms.coordinated`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.lr_rows import Labelled
from partyd.crypto.paillier import CipherVector, PublicKey
from partyd.federation.party import Party

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
MOST_WEIGHT = 1024.0
"""How heavy a row may be."""


@dataclass(frozen=True)
class Batch:
    """The guest's rows of one batch: features with the intercept's ones, labels, the guest's own part of the scores."""

    x: Matrix
    y: Vector
    own: Vector
    weight: Vector | None = None
    exposure: Vector | None = None

    def __len__(self) -> int:
        return len(self.y)


class Family(Protocol):
    """What tells one model from another: its residual and its loss."""

    @property
    def name(self) -> str:
        """The algorithm's name; the arbiter's key is proved for it."""

    @property
    def encryptions(self) -> int:
        """How many ciphertexts a party makes for each row, at most."""

    def insist_on(self, data: Labelled) -> None:
        """Raise DataError for rows that the model cannot be trained on."""

    async def forward(self, party: Party, key: PublicKey, own: Vector) -> None:
        """Send, as a host, what the guest needs of the scores of a batch."""

    async def residual(self, party: Party, key: PublicKey, rows: Batch) -> CipherVector:
        """Return, at the guest, [[d]] of a batch."""

    def residual_form(self, hosts: int, *, weighted: bool) -> tuple[int, int]:
        """Return the exponent of [[d]] and the bits of its bound, for so many hosts."""

    def guest_column(self, rows: Batch) -> Vector:
        """Return the column whose product with d is the guest's part of the loss."""

    async def host_loss(self, party: Party, key: PublicKey, products: CipherVector) -> None:
        """Send, as a host, what remains of the loss; ``products`` ends with that of `host_column`, if there is one."""

    def host_column(self, own: Vector) -> Vector | None:
        """Return the column whose product with d is a host's part of the loss, None if it has none."""

    async def hosts_loss(
        self, party: Party, key: PublicKey, rows: Batch, product: CipherVector, column_bound: int
    ) -> CipherVector:
        """Return, at the guest, the loss: ``product``, its own part, and what comes of the hosts.

        ``column_bound`` is the bound of a host's column, of which the bound of its part follows.
        """

    def known_loss(self, rows: Batch) -> float:
        """Return the part of the mean loss of a batch that the guest knows."""
