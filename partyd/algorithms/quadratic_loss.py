"""Vertical linear models whose loss is quadratic in the scores: residuals and loss from encrypted scores alone.

With scores z, targets y, slope a and pull b the loss of a row and its derivative, the residual d, are

    loss = a z^2 / 2 - b y z + (b y)^2 / (2 a) + c      d = a z - b y

Of the loss each party adds what it can: summed over the rows it is sum_hosts <z_h / 2, d> + <z_g / 2 - b y / (2 a), d>
and c for each row. The products are one more column beside X_p.

========  ===========  =======================================
message   from, to     what the receiver learns
========  ===========  =======================================
Forward   host, guest  [[X_h w_h]]: nothing
HostLoss  host, guest  [[<z_h / 2, d>]]: nothing
========  ===========  =======================================

All scores and labels lie within 2^32. A score is encrypted to 2^-40; ``a`` and ``b`` are powers of two, so that d is
exact, and a's binary places finer than z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.coordinated_family import MOST_WEIGHT, Batch
from partyd.algorithms.lr_rows import Labelled
from partyd.crypto.encoding import EXPONENT, MAGNITUDE, bound_of, exact_scalar
from partyd.crypto.paillier import Ciphertexts, CipherVector, PublicKey
from partyd.federation.algorithm import Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST

Vector = NDArray[np.float64]
WEIGHT_EXPONENT = -20
"""A row's weight is taken to a millionth."""
FORWARD_BITS = bound_of(MAGNITUDE, EXPONENT).bit_length()


class Forward(Message, sender=HOST, receiver=GUEST):
    """[[X_h w_h]] of the batch."""

    z: Ciphertexts


class HostLoss(Message, sender=HOST, receiver=GUEST):
    """[[<0.5 z_h, d>]]: the host's part of the loss."""

    loss: Ciphertexts


HIDDEN_FORWARD = Disclosure(GUEST, "nothing: the host's scores are encrypted under the arbiter's key", Forward)
HIDDEN_LOSS = Disclosure(GUEST, "nothing: the host's part of the loss is encrypted under the arbiter's key", HostLoss)


@dataclass(frozen=True)
class QuadraticLoss:
    """A `Family`: a, b and c of the module's docstring; ``check`` refuses rows, ``targets`` makes y of labels."""

    name: str
    slope: float
    pull: float
    check: Callable[[Labelled], None]
    targets: Callable[[Vector], Vector]
    constant: float
    encryptions: int = 1

    def insist_on(self, data: Labelled) -> None:
        """Raise DataError for rows that the model cannot be trained on."""
        self.check(data)

    async def forward(self, party: Party, key: PublicKey, own: Vector) -> None:
        """Send the host's scores."""
        await party.send(Forward(z=await party.ciphers.rerandomised(await party.ciphers.encrypt(key, own))))

    async def residual(self, party: Party, key: PublicKey, rows: Batch) -> CipherVector:
        """Return [[d]] from the hosts' scores and the guest's own part of it; a row's d is as heavy as the row."""
        received = (await party.gather(Forward)).values()
        forwards = [m.z.under(key, count=len(rows), exponent=EXPONENT, bound_bits=FORWARD_BITS) for m in received]
        z = forwards[0]
        for forward in forwards[1:]:
            z = z + forward
        own = self.slope * rows.own - self.pull * self.targets(rows.y)
        if rows.weight is None:
            return (self.slope * z).plus(own, self.exponent)
        weighted = (self.slope * z).times(rows.weight, WEIGHT_EXPONENT, MOST_WEIGHT)
        return weighted.plus(rows.weight * own, self.exponent + WEIGHT_EXPONENT)

    @property
    def exponent(self) -> int:
        """The exponent of d where rows have no weights."""
        return EXPONENT + exact_scalar(self.slope)[1]

    def residual_form(self, hosts: int, *, weighted: bool) -> tuple[int, int]:
        """Return the exponent of [[d]] and the bits of its bound, for so many hosts."""
        scores = hosts * ((1 << FORWARD_BITS) - 1) * exact_scalar(self.slope)[0]
        if not weighted:
            return self.exponent, (scores + bound_of(MAGNITUDE, self.exponent)).bit_length()
        weight, exponent = bound_of(MOST_WEIGHT, WEIGHT_EXPONENT), self.exponent + WEIGHT_EXPONENT
        return exponent, (scores * weight + bound_of(MAGNITUDE, exponent)).bit_length()

    def guest_column(self, rows: Batch) -> Vector:
        """Return what the guest multiplies d with for its part of the loss."""
        return 0.5 * rows.own - self.pull / (2 * self.slope) * self.targets(rows.y)

    def host_column(self, own: Vector) -> Vector | None:
        """Return what a host multiplies d with for its part of the loss."""
        return 0.5 * own

    async def host_loss(self, party: Party, _key: PublicKey, products: CipherVector) -> None:
        """Send the last of the products."""
        await party.send(HostLoss(loss=await party.ciphers.rerandomised(products[-1:])))

    async def hosts_loss(
        self, party: Party, key: PublicKey, rows: Batch, product: CipherVector, column_bound: int
    ) -> CipherVector:
        """Add the hosts' parts of the loss to the guest's."""
        _, bits = self.residual_form(len(party.peers(HOST)), weighted=rows.weight is not None)
        bound = ((1 << bits) - 1) * column_bound * len(rows)
        for message in (await party.gather(HostLoss)).values():
            product = product + message.loss.under(
                key, count=1, exponent=product.exponent, bound_bits=bound.bit_length()
            )
        return product

    def known_loss(self, rows: Batch) -> float:
        """Return c, times the mean weight of the batch's rows."""
        return self.constant * (1.0 if rows.weight is None else float(rows.weight.mean()))
