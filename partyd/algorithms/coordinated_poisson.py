"""Vertical Poisson regression with an arbiter that holds the Paillier key: FATE 1.x's HeteroPoisson, for any hosts.

The label y counts events, or is any number that is not negative, and its mean is m = e exp(z), with scores z = sum over
parties of X_p w_p and the row's exposure e, a column of the guest's (1 without one). The loss of a row, its deviance up
to what no weight changes, and the residual are

    loss = m - y (z + ln e)       d = m - y

The exponential of a sum is a product of the parties' exponentials, and a ciphertext can be multiplied by a number in
the clear. So the first host encrypts exp(z_1), each further one multiplies by its own exp(z_k), and the guest by
e exp(z_g): [[m]] is exact for any number of hosts, where FATE's has one. Of the loss, sum m - y is <1, d>, a column of
ones beside the guest's X; -sum y z_h the guest computes from [[z_h]]; the rest it knows.

==========  =================  ==========================================================
message     from, to           what the receiver learns
==========  =================  ==========================================================
Means       host k, host k+1   [[exp(z_1 + ... + z_k)]]: nothing
Means       last host, guest   [[exp(the sum of the hosts' scores)]]: nothing
HostScores  host, guest        [[X_h w_h]], for the loss: nothing
==========  =================  ==========================================================

Hosts stand in the order of their addresses. The other messages are those of `partyd.algorithms.coordinated`.

Every party's factor stays below 2^31 (a score of 21.4), which is declared, so that bounds do not depend on the data;
beyond it the training ends with an error that says so. The first factor is taken to 2^-40, the others to 2^-30: k hosts
take 71 + 61 k bits of the plaintext, of which a 2048-bit key has room for `MOST_HOSTS`.

Unlike a quadratic loss, d is no linear function of what the others have: a host's product X_b^T d = X_b^T (m - y)
weighs the guest's exponentials by its own, and these change from batch to batch as weights move. So each epoch gives
new equations about the others' exponentials, as many as a party has columns in each batch; about the labels alone it is
X_b^T y, the same in every epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.arbiter_key import ArbiterKey
from partyd.algorithms.coordinated import programs
from partyd.algorithms.coordinated_family import Batch
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
from partyd.algorithms.lr_parameters import CoordinatedPoissonParams
from partyd.algorithms.lr_rows import Labelled
from partyd.crypto.encoding import EXPONENT, MAGNITUDE, bound_of
from partyd.crypto.paillier import Ciphertexts, CipherVector, PublicKey
from partyd.errors import DataError, EncodingOverflow
from partyd.federation.algorithm import Algorithm, Disclosure
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address

Vector = NDArray[np.float64]
MOST_MEAN = 2.0**31
"""What each party's factor of a row's mean stays below."""
FACTOR_EXPONENT = -30
"""The factors that a ciphertext is multiplied by take 62 bits, a machine word."""
FIRST_BITS = bound_of(MOST_MEAN, EXPONENT).bit_length()
SCORE_BITS = bound_of(MAGNITUDE, EXPONENT).bit_length()
MOST_HOSTS = 24


class Means(Message, sender=HOST, receiver=GUEST | HOST):
    """[[exp]] of the sum of the scores of this host and of those before it."""

    m: Ciphertexts


class HostScores(Message, sender=HOST, receiver=GUEST):
    """[[X_h w_h]] of the batch."""

    z: Ciphertexts


@dataclass(frozen=True)
class PoissonLoss:
    """A `Family`: the residual from the product of all parties' exponentials."""

    name: str
    encryptions: int = 2

    def insist_on(self, data: Labelled) -> None:
        """Raise DataError for labels that count nothing, and for rows without exposure."""
        if not bool(np.all((data.y >= 0) & np.isfinite(data.y))):
            raise DataError("poisson regression counts: a label is missing or negative; mend the label column")
        if data.exposure is not None and not bool(np.all((data.exposure > 0) & np.isfinite(data.exposure))):
            raise DataError("a row's exposure is missing or not above 0; drop such rows or mend the exposure column")

    async def forward(self, party: Party, key: PublicKey, own: Vector) -> None:
        """Multiply the means so far by the host's own factor, pass them on, and send the scores for the loss."""
        hosts = sorted([party.me, *party.peers(HOST)], key=str)
        place, factor = hosts.index(party.me), mean(own)
        if not place:
            means = await party.ciphers.encrypt(key, factor, magnitude=MOST_MEAN)
        else:
            means = (await self._received(party, key, hosts[place - 1], place, len(own))).times(
                factor, FACTOR_EXPONENT, MOST_MEAN
            )
        last = place + 1 == len(hosts)
        following = party.peers(GUEST)[0] if last else hosts[place + 1]
        await party.send(Means(m=await party.ciphers.rerandomised(means)), to=following)
        await party.send(HostScores(z=await party.ciphers.rerandomised(await party.ciphers.encrypt(key, own))))

    async def residual(self, party: Party, key: PublicKey, rows: Batch) -> CipherVector:
        """Return [[d]]: a row's mean less its label, both as heavy as the row."""
        hosts = party.peers(HOST)
        if len(hosts) > MOST_HOSTS:
            raise DataError(f"poisson regression takes up to {MOST_HOSTS} hosts, this job has {len(hosts)}; use fewer")
        factor, heavy = mean(rows.own, rows.exposure), _heavy(rows)
        means = await self._received(party, key, hosts[-1], len(hosts), len(rows))
        exponent, _ = self.residual_form(len(hosts), weighted=rows.weight is not None)
        return means.times(_bounded(heavy * factor), FACTOR_EXPONENT, MOST_MEAN).plus(-heavy * rows.y, exponent)

    async def _received(self, party: Party, key: PublicKey, sender: Address, hosts: int, count: int) -> CipherVector:
        """Receive the product of the factors of so many hosts."""
        exponent, bits = means_form(hosts)
        return (await party.recv(Means, sender)).m.under(key, count=count, exponent=exponent, bound_bits=bits)

    def residual_form(self, hosts: int, *, weighted: bool) -> tuple[int, int]:  # noqa: ARG002 - weights are in factors
        """Return the exponent of [[d]] and the bits of its bound: the guest's factor multiplies as a host's does."""
        exponent, bits = means_form(hosts)
        exponent += FACTOR_EXPONENT
        product = ((1 << bits) - 1) * bound_of(MOST_MEAN, FACTOR_EXPONENT)
        return exponent, (product + bound_of(MAGNITUDE, exponent)).bit_length()

    def guest_column(self, rows: Batch) -> Vector:
        """Return ones: the sum of d is that of the means, less that of the labels."""
        return np.ones(len(rows))

    def host_column(self, _own: Vector) -> Vector | None:
        """Return None: the guest computes the hosts' parts from their scores."""
        return None

    async def host_loss(self, _party: Party, _key: PublicKey, _products: CipherVector) -> None:
        """Send nothing: the scores went with the means."""

    async def hosts_loss(
        self, party: Party, key: PublicKey, rows: Batch, product: CipherVector, _column_bound: int
    ) -> CipherVector:
        """Take label times score, summed over rows and hosts, off the guest's part."""
        received = (await party.gather(HostScores)).values()
        scores = [m.z.under(key, count=len(rows), exponent=EXPONENT, bound_bits=SCORE_BITS) for m in received]
        z = scores[0]
        for score in scores[1:]:
            z = z + score
        return product + await party.ciphers.premultiplied(z, (-_heavy(rows) * rows.y)[np.newaxis, :])

    def known_loss(self, rows: Batch) -> float:
        """Return what the labels and the guest's own scores make of the loss."""
        own = rows.own if rows.exposure is None else rows.own + np.log(rows.exposure)
        return float(np.mean(_heavy(rows) * rows.y * (1 - own)))


def mean(z: Vector, exposure: Vector | None = None) -> Vector:
    """Return ``exposure`` exp(z); raises EncodingOverflow for a mean that no count of this world has."""
    if not bool(np.all(z < math.log(MOST_MEAN))):
        raise _too_large()
    factor = np.exp(z)
    return factor if exposure is None else _bounded(exposure * factor)


def means_form(hosts: int) -> tuple[int, int]:
    """Return exponent and bits of the bound of the product of so many hosts' factors, as the last of them sends it."""
    exponent, bits = EXPONENT, FIRST_BITS
    for _ in range(hosts - 1):
        exponent += FACTOR_EXPONENT
        bits = (((1 << bits) - 1) * bound_of(MOST_MEAN, FACTOR_EXPONENT)).bit_length()
    return exponent, bits


def deviance(label: Vector, predicted: Vector) -> float:
    """Return the mean Poisson deviance of means above 0: twice the mean of y ln(y / m) - y + m."""
    counted = np.where(label > 0, label, 1.0)
    return float(2 * np.mean(label * np.log(counted / predicted) - label + predicted))


def _heavy(rows: Batch) -> Vector:
    return np.ones(len(rows)) if rows.weight is None else rows.weight


def _bounded(factor: Vector) -> Vector:
    if not bool(np.all(factor <= MOST_MEAN)):
        raise _too_large()
    return factor


def _too_large() -> EncodingOverflow:
    return EncodingOverflow(
        "a row's mean grew beyond 2^31 by this party's features alone, so the training diverges; scale the features "
        "(feature_scale) and the exposure, or lower the learning rate"
    )


POISSON = PoissonLoss("coordinated_poisson")

coordinated_poisson = Algorithm(
    name=POISSON.name,
    version="1",
    params=CoordinatedPoissonParams,
    programs=programs(POISSON, CoordinatedPoissonParams),
    messages=(
        ArbiterKey,
        Plan,
        Rounds,
        Means,
        HostScores,
        Residual,
        MaskedGradient,
        DecryptedGradient,
        Settled,
        Verdict,
    ),
    disclosures=(
        *SETTING_UP,
        Disclosure(HOST, "nothing: the other hosts' factors of the means are encrypted", Means),
        Disclosure(GUEST, "nothing: the hosts' factors of the means are encrypted under the arbiter's key", Means),
        Disclosure(GUEST, "nothing: the host's scores are encrypted under the arbiter's key", HostScores),
        HIDDEN_RESIDUAL,
        MASKED,
        GUEST_GRADIENT,
        Disclosure(
            HOST,
            "the gradient of its own weights, batch by batch: sums over its features of mean minus label (from zero "
            "weights the first one gives the sums of each feature times exposure minus label)",
            DecryptedGradient,
        ),
        *STOPPING,
    ),
    coalitions=(
        "The arbiter holds the private key: with the guest it can open the hosts' scores, with a host the residuals "
        "and the factors of the hosts before it. The means are products: every epoch shows a party its features' sums "
        "of the others' factors, weighed by its own, which move with its weights. So, unlike with a linear or logistic "
        "regression, each epoch gives new equations about the others' factors; when these have come to rest, as many "
        "epochs as a batch has rows for each column would do to solve for them, and through them for sums of labels. "
        "About the labels beside them there are no more equations than batches times columns. Take few epochs, large "
        "batches and few columns, and stop early. Batches are refused that have fewer than two rows for each of a "
        "party's columns. A column that is zero, or constant, on all but a few rows of a batch (a rare category) shows "
        f"those rows' residuals: drop rare categories. {BROKEN_PROTOCOL}"
    ),
)
