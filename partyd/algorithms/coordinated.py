"""Vertical linear models with an arbiter that holds the Paillier key: the rounds that they share, gradients masked.

Hardy et al., "Private federated learning on vertically partitioned data via entity resolution and additively
homomorphic encryption", arXiv:1711.10677, section 4. Party p has columns X_p and weights w_p of the same rows; scores
are z = sum over parties of X_p w_p. A family (`partyd.algorithms.coordinated_family`) says
what the residual d of a row is and what the loss, such that

    gradient of party p = X_p^T d / n                     w_p moves along it as `partyd.algorithms.optimizers` says

Brackets [[.]] are ciphertexts under the arbiter's key. With weights of rows, d and the loss of each row are multiplied
by its weight; hosts learn that there are weights, and see no more of them than of the residuals. A *setup* round comes
first, then one round for each batch.

=================  ====================  ===============================================================================
message            from, to              what the receiver learns
=================  ====================  ===============================================================================
ArbiterKey         arbiter, all          the public key
Plan               guest, hosts          the rows' order in batches, and whether rows have weights
Rounds             guest, arbiter        how many batches an epoch has
(the family's)     hosts, guest          what the guest needs for d, encrypted: nothing
Residual           guest, hosts          [[d]]: nothing
(the family's)     host, guest           the host's part of the loss, encrypted: nothing
MaskedGradient     guest, host, arbiter  X_p^T d packed (guest: with the loss), plus a mask 40 bits wider: its length
DecryptedGradient  arbiter, its owner    X_p^T d of one batch; the guest also the batch's loss
Settled            host, guest           whether the host's weights moved less than ``tol`` ("weight_diff" only)
Verdict            guest, others         whether training stops here (at the end of an epoch)
=================  ====================  ===============================================================================

The numbers that travel are integers of a fixed scale, the order of every sum is fixed, and every ciphertext is
re-randomised before it leaves; so the same seed gives the same model bit for bit whatever was repeated or lost.

The batches are drawn once and are the same in every epoch. So all that a party ever learns of the residuals goes
through X_b^T of its own features in the batches b; what that means for labels and scores, each family says. Bounds in
the ciphertexts' headers follow from parameters and row counts, and are insisted on.

Early stopping compares the epoch's mean loss without the penalty (FATE: the sum of the batches' losses with it), for
any number of hosts; "weight_diff" asks that no weight of any party moved ``tol`` in any step (FATE: that the norm of
the epoch's change of all weights together is below it).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.arbiter_key import new_key, private_key, public_key, receive_key, send_key
from partyd.algorithms.coordinated_family import MOST_WEIGHT, Batch, Family
from partyd.algorithms.coordinated_messages import (
    ArbiterState,
    DecryptedGradient,
    MaskedGradient,
    Plan,
    Residual,
    Rounds,
    Settled,
    Verdict,
    Weights,
)
from partyd.algorithms.linear_model import (
    MOST_COLUMNS,
    batch,
    batch_count,
    insist_on_finite,
    insist_on_rows,
    linear,
    warning,
    with_ones,
)
from partyd.algorithms.lr_parameters import CoordinatedParams
from partyd.algorithms.lr_rows import Features, Labelled, own_features
from partyd.algorithms.optimizers import step
from partyd.crypto.encoding import MAGNITUDE, bound_of, decode
from partyd.crypto.packing import masked, slot_bits, slots, unpack
from partyd.crypto.paillier import CipherVector, PublicKey, concatenate
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Program
from partyd.federation.party import Party
from partyd.types import ARBITER, GUEST, HOST, Role

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
P = TypeVar("P", bound=CoordinatedParams)
MAX_BATCHES = 1 << 20
MOST_OPENED = MOST_COLUMNS + 2
"""Ciphertexts that a party has opened in a batch: a gradient, intercept and loss, where none share a ciphertext."""
SUMS = 4
"""About how many sums, packed, a party re-randomises in a batch beside its rows."""


async def start_guest(family: Family, party: Party, params: CoordinatedParams, data: Labelled) -> Weights:
    """Check labels and weights of the rows, and set the weights of the features."""
    family.insist_on(data)
    if data.weight is not None and not bool(np.all((data.weight >= 0) & (data.weight <= MOST_WEIGHT))):
        raise DataError(f"a row's weight is missing, negative or above {MOST_WEIGHT:.0f}; mend the weight column")
    x = with_ones(data.x) if params.init_param.fit_intercept else data.x
    return (await start_host(party, params, Features(x, data.start))).evolve(weighted=data.weight is not None)


async def start_host(party: Party, params: CoordinatedParams, data: Matrix | Features) -> Weights:
    """Check the features and set the weights."""
    x, start = own_features(data), data.start if isinstance(data, Features) else None
    insist_on_finite(x)
    least = len(x) // batch_count(len(x), params.batch_size)
    insist_on_rows(least, x.shape[1])
    warned = warning(least, x.shape[1], guest=party.me.role == GUEST)
    if warned:
        party.report.info(warned)
    if start is None:
        w = params.init_param.weights(party.rng("weights"), x.shape[1])
        return Weights(w=w, first=np.zeros_like(w), second=np.zeros_like(w))
    if any(vector.shape != (x.shape[1],) for vector in (start.w, start.first, start.second)):
        raise DataError(f"the earlier model has {len(start.w)} weights here, for {x.shape[1]} columns; use its columns")
    moments = {"first": start.first, "second": start.second, "seed": start.seed}
    return Weights(w=start.w, **moments, steps_before=start.steps, epochs_before=start.epochs)


async def start_arbiter(_party: Party, params: CoordinatedParams, _data: object) -> ArbiterState:
    """Make the key. It is sent in the next round, when this state has been checkpointed."""
    return ArbiterState(key=new_key(params.key_bits))


async def guest(family: Family, party: Party, params: CoordinatedParams, data: Labelled, state: Weights) -> Weights:
    """Set up, or perform one batch: the residual, the own gradient, the loss, and the verdict at an epoch's end."""
    if not state.n:
        return await _set_up_guest(family, party, params, data, state)
    key, rows = _key(family, party, params, state, len(data.y)), _batch(params, data, state)
    d = await family.residual(party, key, rows)
    await party.send(Residual(d=await party.ciphers.rerandomised(d)))
    gradient = await _products(party, params, d, rows.x, family.guest_column(rows))
    bound = bound_of(MAGNITUDE, -params.floating_point_precision)
    loss = await family.hosts_loss(party, key, rows, gradient[-1:], bound)
    opened = await _opened(party, concatenate([gradient[:-1], loss]))
    moved = _descend(params, state, opened[:-1] / len(rows), intercept=params.init_param.fit_intercept)
    batch_loss = family.known_loss(rows) + float(opened[-1]) / len(rows)
    return await _judge(party, params, moved.evolve(loss=state.loss + batch_loss * len(rows) / len(data.y)))


async def host(
    family: Family, party: Party, params: CoordinatedParams, data: Matrix | Features, state: Weights
) -> Weights:
    """Set up, or perform one batch: the forward score, the own gradient, the part of the loss."""
    x = own_features(data)
    if not state.n:
        return await _set_up_host(family, party, params, x, state)
    key, rows = _key(family, party, params, state, len(x)), batch(state.seed, len(x), state.batches, state.taken)
    own = linear(x[rows], state.w)
    await family.forward(party, key, own)
    exponent, bits = family.residual_form(1 + len(party.peers(HOST)), weighted=state.weighted)
    d = (await party.recv(Residual)).d.under(key, count=len(rows), exponent=exponent, bound_bits=bits)
    products = await _products(party, params, d, x[rows], family.host_column(own))
    await family.host_loss(party, key, products)
    opened = await _opened(party, products[: x.shape[1]])
    moved = _descend(params, state, opened / len(rows), intercept=False)
    if moved.taken % moved.batches:
        return moved
    return await _obey(party, params, moved)


async def arbiter(
    family: Family, party: Party, params: CoordinatedParams, _data: object, state: ArbiterState
) -> ArbiterState:
    """Set up, or open every party's masked gradient of one batch."""
    private = private_key(state.key, params.key_bits, params.he_param.obfuscation)
    if not state.batches:
        await send_key(party, family.name, private)
        batches = (await party.recv(Rounds)).batches
        if not 1 <= batches <= MAX_BATCHES:
            raise BadValue(f"the guest plans {batches} batches an epoch, not 1 to {MAX_BATCHES}; check its version")
        return state.model_copy(update={"batches": batches})
    for peer, message in (await party.gather(MaskedGradient)).items():
        if len(message.g) > MOST_OPENED:
            raise BadValue(
                f"{peer} wants {len(message.g)} numbers opened at once; the gradient of {MOST_COLUMNS} columns has at "
                f"most {MOST_OPENED}; do not go on with this party"
            )
        opened = await party.ciphers.decrypt_integers(private, message.g.under(private.public))
        await party.send(DecryptedGradient(g=opened), to=peer)
    taken = state.taken + 1
    finished = taken >= params.epochs * state.batches
    if not finished and taken % state.batches == 0:
        finished = (await party.recv(Verdict)).stop
    return state.model_copy(update={"taken": taken, "finished": finished})


def programs(family: Family, _params: type[P]) -> Mapping[Role, Program[P, Any, Any]]:
    """Return what each role does in the training of a model of ``family``."""
    return {
        GUEST: Program(Weights, partial(start_guest, family), partial(guest, family)),
        HOST: Program(Weights, start_host, partial(host, family)),
        ARBITER: Program(ArbiterState, start_arbiter, partial(arbiter, family)),
    }


async def _set_up_guest(
    family: Family, party: Party, params: CoordinatedParams, data: Labelled, state: Weights
) -> Weights:
    n, rows = await receive_key(party, family.name, params.key_bits), len(data.y)
    count, seed = batch_count(rows, params.batch_size), state.seed or party.rng("batches").take(32)
    await party.send(Plan(seed=seed, rows=rows, weighted=state.weighted))
    await party.send(Rounds(batches=count))
    return state.evolve(n=n, seed=seed, batches=count)


async def _set_up_host(family: Family, party: Party, params: CoordinatedParams, x: Matrix, state: Weights) -> Weights:
    n, plan = await receive_key(party, family.name, params.key_bits), await party.recv(Plan)
    if plan.rows != len(x):
        raise DataError(f"the guest trains on {plan.rows} rows, this host has {len(x)}; align them with psi first")
    batches = batch_count(len(x), params.batch_size)
    return state.evolve(n=n, seed=plan.seed, batches=batches, weighted=plan.weighted)


def _key(family: Family, party: Party, params: CoordinatedParams, state: Weights, rows: int) -> PublicKey:
    """Return the arbiter's key, and say how much will be encrypted under it in the batches that are left."""
    key, left = public_key(state.n, params.he_param.obfuscation), params.epochs * state.batches - state.taken
    party.obfuscators(key, left * (family.encryptions * -(-rows // state.batches) + SUMS))
    return key


def _batch(params: CoordinatedParams, data: Labelled, state: Weights) -> Batch:
    """Return the guest's rows of the batch that is next."""
    rows = batch(state.seed, len(data.y), state.batches, state.taken)
    x = with_ones(data.x[rows]) if params.init_param.fit_intercept else data.x[rows]
    weight, exposure = (None if column is None else column[rows] for column in (data.weight, data.exposure))
    return Batch(x, data.y[rows], linear(x, state.w), weight, exposure)


async def _products(
    party: Party, params: CoordinatedParams, d: CipherVector, x: Matrix, loss: Vector | None
) -> CipherVector:
    """Return [[X^T d]], followed by [[<loss, d>]] where there is such a column."""
    columns = (x if loss is None else np.column_stack([x, loss])).T
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


def _descend(params: CoordinatedParams, state: Weights, gradient: Vector, *, intercept: bool) -> Weights:
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


async def _judge(party: Party, params: CoordinatedParams, state: Weights) -> Weights:
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


async def _obey(party: Party, params: CoordinatedParams, state: Weights) -> Weights:
    """Do at a host what the end of an epoch asks for."""
    party.report.progress(state.taken, params.epochs * state.batches, "training")
    if state.taken == params.epochs * state.batches:
        return state.evolve(finished=True)
    if params.early_stop == "weight_diff":
        await party.send(Settled(settled=state.settled))
    return state.evolve(finished=(await party.recv(Verdict)).stop)
