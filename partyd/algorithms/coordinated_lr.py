"""Vertical logistic regression with an arbiter that holds the Paillier key: FATE's coordinated LR, gradients masked.

Hardy et al., "Private federated learning on vertically partitioned data via entity resolution and additively
homomorphic encryption", arXiv:1711.10677, sections 3.2 and 4: the logistic loss is replaced by its second-order Taylor
polynomial at 0, so that its gradient is linear in the scores. With labels y in {-1, +1}, scores z = sum over parties of
X_p w_p, and n rows:

    loss = ln 2 + (sum 0.125 z^2 - 0.5 y z) / n       d = 0.25 z - 0.5 y       gradient of party p = X_p^T d / n

Brackets [[.]] are ciphertexts under the arbiter's key. Of the loss each party adds what it can: with d in place of y,
sum 0.125 z^2 - 0.5 y z = sum_hosts <0.5 z_h, d> + <0.5 z_g - y, d> - 0.5 n, which is one more column beside X_p.
With weights of rows, d and the loss of each row are multiplied by its weight; hosts learn that there are weights, and
see no more of them than of the residuals. A *setup* round comes first, then one round for each batch.

=================  ====================  ===============================================================================
message            from, to              what the receiver learns
=================  ====================  ===============================================================================
ArbiterKey         arbiter, all          the public key
Plan               guest, hosts          the rows' order in batches, and whether rows have weights
Rounds             guest, arbiter        how many batches an epoch has
Forward            host, guest           [[X_h w_h]]: nothing
Residual           guest, hosts          [[d]]: nothing
HostLoss           host, guest           [[<0.5 z_h, d>]]: nothing
MaskedGradient     guest, host, arbiter  X_p^T d packed (guest: with the loss), plus a mask 40 bits wider: its length
DecryptedGradient  arbiter, its owner    X_p^T d of one batch; the guest also the batch's loss
Settled            host, guest           whether the host's weights moved less than ``tol`` ("weight_diff" only)
Verdict            guest, others         whether training stops here (at the end of an epoch)
=================  ====================  ===============================================================================

The numbers that travel are integers of a fixed scale, the order of every sum is fixed, and every ciphertext is
re-randomised before it leaves; so the same seed gives the same model bit for bit whatever was repeated or lost.

The batches are drawn once and are the same in every epoch. So all that a party ever learns of labels y and of the
others' features goes through X_b^T of its own features in the batches b: as many numbers as batches times columns, not
more with more epochs. Bounds in the ciphertexts' headers follow from parameters and row counts, and are insisted on.

Early stopping compares the epoch's mean loss without the penalty (FATE: the sum of the batches' losses with it), for
any number of hosts; "weight_diff" asks that no weight of any party moved ``tol`` in any step (FATE: that the norm of
the epoch's change of all weights together is below it).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.arbiter_key import (
    DISCLOSURES,
    ArbiterKey,
    new_key,
    private_key,
    public_key,
    receive_key,
    send_key,
)
from partyd.algorithms.linear_model import (
    batch,
    batch_count,
    insist_on_finite,
    insist_on_rows,
    linear,
    with_ones,
)
from partyd.algorithms.lr_parameters import CoordinatedLrParams
from partyd.algorithms.lr_rows import Features, Labelled, own_features
from partyd.algorithms.optimizers import step
from partyd.crypto.encoding import EXPONENT, MAGNITUDE, bound_of, decode
from partyd.crypto.packing import masked, slot_bits, slots, unpack
from partyd.crypto.paillier import (
    Ciphertexts,
    CipherVector,
    PublicKey,
    concatenate,
)
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import ARBITER, GUEST, HOST
from partyd.wire.arrays import Floats
from partyd.wire.codec import BigInt, Secret

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
RESIDUAL_EXPONENT = EXPONENT - 2
"""d = 0.25 z - 0.5 y stands two binary places finer than z, so that 0.25 is exact."""
MOST_WEIGHT = 1024.0
"""How heavy a row may be."""
WEIGHT_EXPONENT = -20
"""A row's weight is taken to a millionth."""
FORWARD_BITS = bound_of(MAGNITUDE, EXPONENT).bit_length()
MAX_BATCHES = 1 << 20
SUMS = 4
"""About how many sums, packed, a party re-randomises in a batch beside its rows."""
NAME = "coordinated_lr"


class Plan(Message, sender=GUEST, receiver=HOST):
    """The seed of the batches' order, how many rows there must be, and whether they have weights."""

    seed: bytes
    rows: int
    weighted: bool


class Rounds(Message, sender=GUEST, receiver=ARBITER):
    """How many batches an epoch has."""

    batches: int


class Forward(Message, sender=HOST, receiver=GUEST):
    """[[X_h w_h]] of the batch."""

    z: Ciphertexts


class Residual(Message, sender=GUEST, receiver=HOST):
    """[[d]] of the batch."""

    d: Ciphertexts


class HostLoss(Message, sender=HOST, receiver=GUEST):
    """[[<0.5 z_h, d>]]: the host's part of the loss."""

    loss: Ciphertexts


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


async def start_guest(party: Party, params: CoordinatedLrParams, data: Labelled) -> Weights:
    """Check labels and weights of the rows, and set the weights of the features."""
    if not bool(np.all((data.y == 0) | (data.y == 1))):
        raise DataError("logistic regression needs labels 0 and 1; map the label column before the upload")
    if data.weight is not None and not bool(np.all((data.weight >= 0) & (data.weight <= MOST_WEIGHT))):
        raise DataError(f"a row's weight is missing, negative or above {MOST_WEIGHT:.0f}; mend the weight column")
    x = with_ones(data.x) if params.init_param.fit_intercept else data.x
    return (await start_host(party, params, Features(x, data.start))).evolve(weighted=data.weight is not None)


async def start_host(party: Party, params: CoordinatedLrParams, data: Matrix | Features) -> Weights:
    """Check the features and set the weights."""
    x, start = own_features(data), data.start if isinstance(data, Features) else None
    insist_on_finite(x)
    insist_on_rows(len(x) // batch_count(len(x), params.batch_size), x.shape[1])
    if start is None:
        w = params.init_param.weights(party.rng("weights"), x.shape[1])
        return Weights(w=w, first=np.zeros_like(w), second=np.zeros_like(w))
    if any(vector.shape != (x.shape[1],) for vector in (start.w, start.first, start.second)):
        raise DataError(f"the earlier model has {len(start.w)} weights here, for {x.shape[1]} columns; use its columns")
    moments = {"first": start.first, "second": start.second, "seed": start.seed}
    return Weights(w=start.w, **moments, steps_before=start.steps, epochs_before=start.epochs)


async def start_arbiter(_party: Party, params: CoordinatedLrParams, _data: object) -> ArbiterState:
    """Make the key. It is sent in the next round, when this state has been checkpointed."""
    return ArbiterState(key=new_key(params.key_bits))


async def guest(party: Party, params: CoordinatedLrParams, data: Labelled, state: Weights) -> Weights:
    """Set up, or perform one batch: the residual, the own gradient, the loss, and the verdict at an epoch's end."""
    if not state.n:
        return await _set_up_guest(party, params, data, state)
    key, rows = _key(party, params, state, len(data.y)), batch(state.seed, len(data.y), state.batches, state.taken)
    x, y = data.x[rows], 2 * data.y[rows] - 1
    if params.init_param.fit_intercept:
        x = with_ones(x)
    own, weight = linear(x, state.w), None if data.weight is None else data.weight[rows]
    d = await _residual(party, key, 0.25 * own - 0.5 * y, weight)
    await party.send(Residual(d=await party.ciphers.rerandomised(d)))
    gradient = await _products(party, params, d, x, 0.5 * own - y)
    loss = gradient[-1:]
    bits = loss_bits(params, len(party.peers(HOST)), len(rows), weighted=state.weighted)
    for message in (await party.gather(HostLoss)).values():
        loss = loss + message.loss.under(key, count=1, exponent=gradient.exponent, bound_bits=bits)
    opened = await _opened(party, concatenate([gradient[:-1], loss]))
    moved = _descend(params, state, opened[:-1] / len(rows), intercept=params.init_param.fit_intercept)
    share = 1.0 if weight is None else float(weight.mean())
    batch_loss = (math.log(2) - 0.5) * share + float(opened[-1]) / len(rows)
    return await _judge(party, params, moved.evolve(loss=state.loss + batch_loss * len(rows) / len(data.y)))


async def host(party: Party, params: CoordinatedLrParams, data: Matrix | Features, state: Weights) -> Weights:
    """Set up, or perform one batch: the forward score, the own gradient, the part of the loss."""
    x = own_features(data)
    if not state.n:
        n, plan = await receive_key(party, NAME, params.key_bits), await party.recv(Plan)
        if plan.rows != len(x):
            raise DataError(f"the guest trains on {plan.rows} rows, this host has {len(x)}; align them with psi first")
        batches = batch_count(len(x), params.batch_size)
        return state.evolve(n=n, seed=plan.seed, batches=batches, weighted=plan.weighted)
    key, rows = _key(party, params, state, len(x)), batch(state.seed, len(x), state.batches, state.taken)
    own = linear(x[rows], state.w)
    await party.send(Forward(z=await party.ciphers.rerandomised(await party.ciphers.encrypt(key, own))))
    bits = residual_bits(1 + len(party.peers(HOST)), weighted=state.weighted)
    exponent = RESIDUAL_EXPONENT + (WEIGHT_EXPONENT if state.weighted else 0)
    d = (await party.recv(Residual)).d.under(key, count=len(rows), exponent=exponent, bound_bits=bits)
    gradient = await _products(party, params, d, x[rows], 0.5 * own)
    await party.send(HostLoss(loss=await party.ciphers.rerandomised(gradient[-1:])))
    opened = await _opened(party, gradient[:-1])
    moved = _descend(params, state, opened / len(rows), intercept=False)
    if moved.taken % moved.batches:
        return moved
    return await _obey(party, params, moved)


async def arbiter(party: Party, params: CoordinatedLrParams, _data: object, state: ArbiterState) -> ArbiterState:
    """Set up, or open every party's masked gradient of one batch."""
    private = private_key(state.key, params.key_bits, params.he_param.obfuscation)
    if not state.batches:
        await send_key(party, NAME, private)
        batches = (await party.recv(Rounds)).batches
        if not 1 <= batches <= MAX_BATCHES:
            raise BadValue(f"the guest plans {batches} batches an epoch, not 1 to {MAX_BATCHES}; check its version")
        return state.model_copy(update={"batches": batches})
    for peer, message in (await party.gather(MaskedGradient)).items():
        opened = await party.ciphers.decrypt_integers(private, message.g.under(private.public))
        await party.send(DecryptedGradient(g=opened), to=peer)
    taken = state.taken + 1
    finished = taken >= params.epochs * state.batches
    if not finished and taken % state.batches == 0:
        finished = (await party.recv(Verdict)).stop
    return state.model_copy(update={"taken": taken, "finished": finished})


async def _set_up_guest(party: Party, params: CoordinatedLrParams, data: Labelled, state: Weights) -> Weights:
    n, rows = await receive_key(party, NAME, params.key_bits), len(data.y)
    count, seed = batch_count(rows, params.batch_size), state.seed or party.rng("batches").take(32)
    await party.send(Plan(seed=seed, rows=rows, weighted=state.weighted))
    await party.send(Rounds(batches=count))
    return state.evolve(n=n, seed=seed, batches=count)


def _key(party: Party, params: CoordinatedLrParams, state: Weights, rows: int) -> PublicKey:
    """Return the arbiter's key, and say how much will be encrypted under it in the batches that are left."""
    key, left = public_key(state.n, params.he_param.obfuscation), params.epochs * state.batches - state.taken
    party.obfuscators(key, left * (-(-rows // state.batches) + SUMS))
    return key


async def _residual(party: Party, key: PublicKey, own: Vector, weight: Vector | None) -> CipherVector:
    """Return [[d]] from the hosts' scores and the guest's own part of it; a row's d is as heavy as the row."""
    received = (await party.gather(Forward)).values()
    forwards = [m.z.under(key, count=len(own), exponent=EXPONENT, bound_bits=FORWARD_BITS) for m in received]
    z = forwards[0]
    for forward in forwards[1:]:
        z = z + forward
    if weight is None:
        return (0.25 * z).plus(own, RESIDUAL_EXPONENT)
    weighted = (0.25 * z).times(weight, WEIGHT_EXPONENT, MOST_WEIGHT)
    return weighted.plus(weight * own, RESIDUAL_EXPONENT + WEIGHT_EXPONENT)


async def _products(
    party: Party, params: CoordinatedLrParams, d: CipherVector, x: Matrix, loss: Vector
) -> CipherVector:
    """Return [[X^T d]] followed by [[<loss, d>]]."""
    columns = np.column_stack([x, loss]).T
    return await party.ciphers.premultiplied(d, columns, exponent=-params.floating_point_precision)


async def _opened(party: Party, hidden: CipherVector) -> Vector:
    """Let the arbiter decrypt ``hidden`` under a mask in the integers, and take the mask off."""
    packed = await party.ciphers.pack(hidden)
    sums, masks = masked(packed, party.rng("mask"))
    await party.send(MaskedGradient(g=await party.ciphers.rerandomised(sums)))
    reply = (await party.recv(DecryptedGradient)).g
    if len(reply) != len(masks):
        raise BadValue(f"the arbiter returned {len(reply)} numbers for {len(masks)}; check its version")
    opened = [value - mask for value, mask in zip(reply, masks, strict=True)]
    if any(abs(value) > packed.bound for value in opened):
        raise BadValue("the arbiter returned a number outside the gradient's bound; do not go on with this arbiter")
    integers = unpack(opened, slots(hidden), slot_bits(hidden), len(hidden))
    return decode(integers, hidden.exponent)


def _descend(params: CoordinatedLrParams, state: Weights, gradient: Vector, *, intercept: bool) -> Weights:
    """Return the state after one step along ``gradient``."""
    penalised = np.ones_like(state.w)
    if intercept:
        penalised[-1] = 0.0
    factor = params.learning_rate_scheduler.factor(state.epochs_before + state.taken // state.batches)
    moments, steps = (state.first, state.second), state.steps_before + state.taken
    w, (first, second) = step(params.optimizer, factor, state.w, gradient, moments, steps, penalised)
    fresh = state.taken % state.batches == 0
    settled = (fresh or state.settled) and bool(np.all(np.abs(w - state.w) < params.tol))
    return state.evolve(w=w, first=first, second=second, taken=state.taken + 1, settled=settled)


async def _judge(party: Party, params: CoordinatedLrParams, state: Weights) -> Weights:
    """Report, and at an epoch's end decide with the guest's loss whether to go on."""
    party.report.progress(state.taken, params.epochs * state.batches, "training")
    if state.taken % state.batches:
        return state
    epoch, losses = state.taken // state.batches, [*state.losses, state.loss]
    party.report.metric("loss", epoch - 1, state.loss)
    party.report.info(f"epoch {epoch} of {params.epochs}: loss {state.loss:.6f}")
    ended = state.evolve(losses=losses, loss=0.0)
    if epoch == params.epochs:
        return ended.evolve(finished=True)
    if params.early_stop == "weight_diff":
        settled = [message.settled for message in (await party.gather(Settled)).values()]
        stop = state.settled and all(settled)
    elif params.early_stop == "abs":
        stop = losses[-1] < params.tol
    else:
        stop = len(losses) > 1 and abs(losses[-1] - losses[-2]) < params.tol
    await party.send(Verdict(stop=stop))
    if stop:
        party.report.info(f"converged after {epoch} epochs")
    return ended.evolve(finished=stop)


async def _obey(party: Party, params: CoordinatedLrParams, state: Weights) -> Weights:
    """Do at a host what the end of an epoch asks for."""
    party.report.progress(state.taken, params.epochs * state.batches, "training")
    if state.taken == params.epochs * state.batches:
        return state.evolve(finished=True)
    if params.early_stop == "weight_diff":
        await party.send(Settled(settled=state.settled))
    return state.evolve(finished=(await party.recv(Verdict)).stop)


def residual_bound(hosts: int, *, weighted: bool) -> int:
    """Return the bound that a residual of so many hosts' scores has."""
    scores = hosts * ((1 << FORWARD_BITS) - 1)
    if not weighted:
        return scores + bound_of(MAGNITUDE, RESIDUAL_EXPONENT)
    weight, exponent = bound_of(MOST_WEIGHT, WEIGHT_EXPONENT), RESIDUAL_EXPONENT + WEIGHT_EXPONENT
    return scores * weight + bound_of(MAGNITUDE, exponent)


def residual_bits(hosts: int, *, weighted: bool = False) -> int:
    """Return the bits of the bound that such a residual declares."""
    return residual_bound(hosts, weighted=weighted).bit_length()


def loss_bits(params: CoordinatedLrParams, hosts: int, rows: int, *, weighted: bool = False) -> int:
    """Return the bits of the bound that a host's part of the loss of ``rows`` declares."""
    residual = (1 << residual_bits(hosts, weighted=weighted)) - 1
    return (residual * bound_of(MAGNITUDE, -params.floating_point_precision) * rows).bit_length()


coordinated_lr = Algorithm(
    name=NAME,
    version="2",
    params=CoordinatedLrParams,
    programs={
        GUEST: Program(Weights, start_guest, guest),
        HOST: Program(Weights, start_host, host),
        ARBITER: Program(ArbiterState, start_arbiter, arbiter),
    },
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
        *DISCLOSURES,
        Disclosure(HOST, "the number of rows, their order in batches, and whether rows have weights", Plan),
        Disclosure(ARBITER, "how many batches an epoch has", Rounds),
        Disclosure(GUEST, "nothing: the host's scores are encrypted under the arbiter's key", Forward),
        Disclosure(HOST, "nothing: the residuals are encrypted under the arbiter's key", Residual),
        Disclosure(GUEST, "nothing: the host's part of the loss is encrypted under the arbiter's key", HostLoss),
        Disclosure(
            ARBITER,
            "roughly how many features each party has; gradients and loss are under masks 40 bits wider than they",
            MaskedGradient,
        ),
        Disclosure(
            GUEST,
            "the gradient of its own weights and the loss, batch by batch; both depend on the host's scores",
            DecryptedGradient,
        ),
        Disclosure(
            HOST,
            "the gradient of its own weights, batch by batch: sums over its features of the residuals, which depend on "
            "the labels (from zero weights the first one gives each feature's covariance with the label)",
            DecryptedGradient,
        ),
        Disclosure(GUEST, "whether the host's weights moved less than tol in an epoch (weight_diff only)", Settled),
        Disclosure(HOST, "in which epoch the loss came to rest", Verdict),
        Disclosure(ARBITER, "in which epoch the loss came to rest", Verdict),
    ),
    coalitions=(
        "The arbiter holds the private key: with the guest it can open the hosts' scores, with a host the residuals "
        "and so the labels. Batches are the same in every epoch, so that a party gets no more equations about labels "
        "or scores than batches times its columns, and batches are refused that have no more rows than it has columns. "
        "A batch of fewer than about thirty rows a column still fixes 0/1 labels in principle, and a column that is "
        "zero, or constant, on all but a few rows of a batch (a rare category) shows those rows' residuals: take large "
        "batches, drop rare categories. Each fold of a cross validation, and each class, is a training with "
        "equations of its own. A party that breaks the protocol can have the arbiter decrypt other "
        "ciphertexts than its gradient, a host thus the residuals, and the arbiter can return false "
        "gradients: that is outside what is promised."
    ),
)
