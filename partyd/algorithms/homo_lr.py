"""Horizontal logistic regression: every party has the same columns of other rows; the arbiter averages their models.

McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017, algorithm 1,
under secure aggregation (`partyd.protocols.secure_aggregation`). In each round party u begins with the average w, takes
``aggregate_iters`` epochs over its own rows in batches, and hands in, masked, the one vector

    [ n_u w_u,  n_u,  l_u ]     n_u: the sum of its rows' weights (or how many rows),  l_u: n_u times its loss at w

so that row counts and losses are hidden as the weights are. The arbiter opens the sum over the parties that answered,

    w' = sum n_u w_u / sum n_u        loss = sum l_u / sum n_u   (of the model the round began with)

sends both back, and says when to stop. With more than two classes there is a model for each against the rest, all in
one vector. Moments of the optimizer stay with their party. Batches are drawn anew in every epoch: no other party sees
anything of a single batch.

=============  ====================  ===================================================================================
message        from, to              what the receiver learns
=============  ====================  ===================================================================================
(aggregation)  (see the protocol)    arbiter: the sum over the parties of [n_u w_u, n_u, l_u], each round
Average        arbiter, all others   the average model and the mean loss; with two parties of data, the other's update
=============  ====================  ===================================================================================

"diff", "abs" and "weight_diff" stop the training as `coordinated_lr` does, by the loss of all rows or by the averaged
weights; the last round's average has no loss of its own yet. Sums are integers modulo 2^64, so a party's vector may
arrive whenever it likes: the average is the same bit for bit.
"""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.homo_lr_parameters import HomoLrParams
from partyd.algorithms.homo_lr_rows import HomoRows, Progress, epochs_of, loss_of
from partyd.crypto.prg import Prg
from partyd.crypto.sharing import FixedPoint
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.protocols import aggregation
from partyd.protocols.aggregation import MEMBERS, Membership, Opened, Tally
from partyd.protocols.secure_aggregation import Setting
from partyd.types import ARBITER, GUEST, HOST
from partyd.wire.arrays import Floats

Vector = NDArray[np.float64]
FRACTION_BITS = 24
EXTRA = 2
"""What follows the weights in a vector: how much the rows weigh, and the loss."""


class Average(Message, sender=ARBITER, receiver=MEMBERS):
    """The average of a round: the weights, the mean loss of the model before it, and whether it is the last."""

    w: Floats
    loss: float
    stop: bool


class HomoModel(State):
    """What guest and hosts carry; a row of ``w`` is a class's weights, the intercept last where there is one."""

    w: Floats
    first: Floats
    second: Floats
    steps: int = 0
    epochs: int = 0
    membership: Membership
    trained: bool = False
    """Whether the round is in its second half."""
    losses: list[float] = Field(default_factory=list)
    converged: bool = False

    def evolve(self, **changes: object) -> HomoModel:
        """Return this state with other values in some fields."""
        return self.model_copy(update=changes)


class HomoArbiter(State):
    """What the arbiter carries: where the aggregation stands, and the averages that tell when to stop."""

    tally: Tally
    w: Floats = Field(default_factory=lambda: np.zeros(0))
    losses: list[float] = Field(default_factory=list)
    collected: bool = False
    stop: bool = False


async def start_member(party: Party, params: HomoLrParams, data: HomoRows) -> HomoModel:
    """Check the rows, set the first weights, and meet the other parties."""
    data.insist_on_labels(params.labels)
    setting, columns = _setting(party, params), data.width(intercept=params.init_param.fit_intercept)
    begin = data.start or Progress.zero(_first_weights(party, params, columns))
    if begin.w.shape != (params.models, columns):
        raise DataError(
            f"the earlier model has {begin.w.shape[0]} classes and {begin.w.shape[1]} weights each, this job has "
            f"{params.models} and {columns}; go on with its own columns and classes"
        )
    words, patience = begin.w.size + EXTRA, params.secure_aggregation.dropout_after_s
    membership = await aggregation.join(party, setting, _subject(data, begin.w), words, patience)
    return HomoModel(
        w=begin.w, first=begin.first, second=begin.second, steps=begin.steps, epochs=begin.epochs, membership=membership
    )


async def start_arbiter(party: Party, params: HomoLrParams, _data: object) -> HomoArbiter:
    """Meet the parties."""
    patience = params.secure_aggregation.dropout_after_s
    tally = await aggregation.enrol(party, _setting(party, params), patience)
    if (tally.words - EXTRA) % params.models or tally.words <= EXTRA:
        raise BadValue(f"vectors of {tally.words} words hold no {params.models} models; check the parties' versions")
    return HomoArbiter(tally=tally)


async def member(party: Party, params: HomoLrParams, data: HomoRows, state: HomoModel) -> HomoModel:
    """Take the average, train one round from it and open the sum; where parties may drop out, in two halves."""
    setting, patience = _setting(party, params), params.secure_aggregation.dropout_after_s
    if not state.trained:
        state = await _trained(party, params, data, state)
        if state.finished or patience is not None:
            return state
    following = await aggregation.open_round(party, setting, state.membership, patience)
    return state.evolve(membership=following, trained=False)


async def _trained(party: Party, params: HomoLrParams, data: HomoRows, state: HomoModel) -> HomoModel:
    """Take the average, and unless it is the last train from it and hand in what came of it."""
    setting = _setting(party, params)
    if state.membership.round:
        state = await _averaged(party, params, state)
        if state.finished:
            return state
    membership = await aggregation.hear(party, setting, state.membership)
    state = state.evolve(membership=membership, trained=True)
    if not membership.takes_part(party):
        party.report.info(f"round {membership.round + 1} began without this party, which had been silent")
        return state
    before, weight = loss_of(data, state.w), data.total_weight
    begin = Progress(state.w, state.first, state.second, state.steps, state.epochs)
    trained = epochs_of(params, data, begin, _epochs_in(params, membership.round), party.rng("batches"))
    vector = np.concatenate([weight * trained.w.ravel(), [weight, weight * before]])
    await aggregation.hand_in(party, setting, membership, _numbers(setting).encode(vector))
    return state.evolve(first=trained.first, second=trained.second, steps=trained.steps)


async def arbiter(party: Party, params: HomoLrParams, _data: object, state: HomoArbiter) -> HomoArbiter:
    """Send the average, take the masked vectors of the next round and open their sum; in two halves as members do."""
    setting, patience = _setting(party, params), params.secure_aggregation.dropout_after_s
    if not state.collected:
        if state.tally.round:
            await party.send(Average(w=state.w, loss=state.losses[-1], stop=state.stop))
            if state.stop:
                return state.model_copy(update={"finished": True})
        await aggregation.announce(party, state.tally)
        tally = await aggregation.collect(party, setting, state.tally, patience)
        state = state.model_copy(update={"tally": tally, "collected": True})
        if patience is not None:
            return state
    total, tally = await aggregation.reveal(party, setting, state.tally, patience)
    return _judged(params, state, _numbers(setting).decode(total), tally)


def _judged(params: HomoLrParams, state: HomoArbiter, total: Vector, tally: Tally) -> HomoArbiter:
    """Return the state with the new average, and whether it is the last."""
    weight = float(total[-EXTRA])
    if weight <= 0:
        raise DataError("the rows of all parties together weigh nothing; mend the weight columns")
    w, losses = total[:-EXTRA] / weight, [*state.losses, float(total[-1]) / weight]
    if params.early_stop == "weight_diff":
        stop = state.w.shape == w.shape and bool(np.all(np.abs(w - state.w) < params.tol))
    elif params.early_stop == "abs":
        stop = losses[-1] < params.tol
    else:
        stop = len(losses) > 1 and abs(losses[-1] - losses[-2]) < params.tol
    stop = stop or tally.round >= params.rounds
    return HomoArbiter(tally=tally, w=w, losses=losses[-2:], stop=stop)


async def _averaged(party: Party, params: HomoLrParams, state: HomoModel) -> HomoModel:
    """Take the round's average, and report what it says of the model before it."""
    message, round_ = await party.recv(Average), state.membership.round
    if message.w.shape != (state.w.size,) or not bool(np.all(np.isfinite(message.w))):
        raise BadValue(f"the arbiter's average is not of {state.w.size} finite weights; check its version")
    party.report.progress(min(round_ * params.aggregate_iters, params.epochs), params.epochs, "training")
    party.report.info(f"round {round_} of {params.rounds}: it began with a loss of {message.loss:.6f}")
    if party.me.role == GUEST:
        party.report.metric("loss", round_ - 1, message.loss)
    converged = message.stop and round_ < params.rounds
    if converged:
        party.report.info(f"converged after {round_} rounds")
    return state.evolve(
        w=message.w.reshape(state.w.shape),
        epochs=state.epochs + _epochs_in(params, round_ - 1),
        losses=[*state.losses, message.loss],
        converged=converged,
        finished=message.stop,
    )


def _epochs_in(params: HomoLrParams, round_: int) -> int:
    """Return how many epochs a round has, counted from 0: the last may have fewer."""
    return min(params.aggregate_iters, params.epochs - round_ * params.aggregate_iters)


def _setting(party: Party, params: HomoLrParams) -> Setting:
    return aggregation.setting_of(party, params.secure_aggregation.threshold)


def _numbers(setting: Setting) -> FixedPoint:
    return FixedPoint(FRACTION_BITS, terms=len(setting.members))


def _first_weights(party: Party, params: HomoLrParams, columns: int) -> Vector:
    """Return the weights before the first round, the same at every party: they come from what all know."""
    draw = partial(params.init_param.weights, columns=columns)
    return np.stack([draw(Prg(party.context, "homo_lr weights", str(k))) for k in range(params.models)])


def _subject(data: HomoRows, w: Vector) -> bytes:
    """Return the digest of what all parties must have in common: columns, classes and first weights."""
    digest = hashlib.sha256(repr((tuple(data.columns), w.shape)).encode())
    digest.update(np.ascontiguousarray(w).tobytes())
    return digest.digest()


_SUM = (
    "in each round three sums over the parties that answered, of rows, of weights times rows and of losses: so the "
    "average model, the mean loss and how many rows there are in all; of a single party nothing"
)
_AVERAGE = (
    "the average model and the mean loss of each round; where only two parties have data, each learns from it the "
    "direction of the other's model update, and from many rounds much of what that update depends on"
)
homo_lr = Algorithm(
    name="homo_lr",
    version="1",
    params=HomoLrParams,
    programs={
        GUEST: Program(HomoModel, start_member, member),
        HOST: Program(HomoModel, start_member, member),
        ARBITER: Program(HomoArbiter, start_arbiter, arbiter),
    },
    messages=(*aggregation.MESSAGES, Average),
    disclosures=(
        *aggregation.DISCLOSURES,
        Disclosure(ARBITER, _SUM, Opened),
        Disclosure(GUEST, _AVERAGE, Average),
        Disclosure(HOST, _AVERAGE, Average),
    ),
    coalitions=(
        "Parties that put what they handed in together with the average learn the average of the others: all parties "
        "of data but one learn that one's model of every round up to scale, with the arbiter also its rows and loss. "
        "The arbiter and as many parties as the threshold open every vector; an arbiter that lies about who is silent "
        "needs 2 threshold - n of the n parties on its side. After drop-outs a sum covers as many parties as the "
        "threshold, or more."
    ),
)
