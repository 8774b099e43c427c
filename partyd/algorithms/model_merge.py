"""Put the halves of a model together at the guest, so that it can be used without the hosts.

This gives away what training kept apart, so a host sends its half only when its policy says so (``merge_models``),
which its component checks before the first message. The guest says what it needs: of a linear model every weight, of
trees the splits that are used, by number; a host gives nothing that was not asked for.

===========  ===========  =====================================================================================
message      from, to     what the receiver learns
===========  ===========  =====================================================================================
Wanted       guest, host  which training is meant; how many linear models, or which of its splits, are needed
LinearHalf   host, guest  the host's weights w_h and what its columns are called (or their anonymous names)
TreeHalf     host, guest  of each split asked for: the column, the value it splits at, where missing values go
===========  ===========  =====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.merge_parameters import ModelMergeParams
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Floats, Ints, Octets
from partyd.wire.codec import Record

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]
MOST_COLUMNS = 100_000
MOST_SPLITS = 10_000_000
MOST_MODELS = 100
MOST_NAME = 1024


@dataclass(frozen=True)
class Linear:
    """A host's half of linear models: ``weights`` is models x columns."""

    columns: tuple[str, ...]
    weights: Matrix
    training: str = ""


@dataclass(frozen=True)
class Splits:
    """A host's half of trees: its splits by number."""

    columns: tuple[str, ...]
    thresholds: Vector
    missing_left: NDArray[np.bool_]
    training: str = ""


@dataclass(frozen=True)
class Request:
    """What the guest needs: so many linear models (0: none, it has trees), or by host these splits."""

    models: int
    splits: Mapping[str, tuple[int, ...]]
    training: str = ""
    """The mark of the training, where it is known: the hosts compare it with their own."""


class Wanted(Message, sender=GUEST, receiver=HOST):
    """What the receiver is to send: weights of so many models, or these splits where ``models`` is 0."""

    models: int
    splits: Ints
    training: str


class LinearHalf(Message, sender=HOST, receiver=GUEST):
    """A host's weights, models x columns, and the columns' names."""

    columns: list[str]
    weights: Floats


class TreeHalf(Message, sender=HOST, receiver=GUEST):
    """A host's splits in the order in which they were asked for."""

    columns: list[str]
    thresholds: Floats
    missing_left: Octets


class Half(Record):
    """What one host sent; of the arrays those of the other kind of model are empty."""

    columns: list[str]
    weights: Floats
    thresholds: Floats
    missing_left: Octets

    def linear(self) -> Linear:
        """Return the half of linear models."""
        return Linear(tuple(self.columns), np.asarray(self.weights))

    def splits(self) -> Splits:
        """Return the half of trees."""
        return Splits(tuple(self.columns), np.asarray(self.thresholds), self.missing_left.astype(np.bool_))


class Merged(State):
    """At the guest: each host's half by address. At a host: nothing."""

    halves: dict[str, Half] = Field(default_factory=dict)


async def guest(party: Party, _params: ModelMergeParams, data: Request) -> Merged:
    """Ask every host for its half and check what comes."""
    for peer in party.peers(HOST):
        splits = np.array(data.splits.get(str(peer), ()), dtype=np.int64)
        await party.send(Wanted(models=data.models, splits=splits, training=data.training), to=peer)
    halves: dict[str, Half] = {}
    for peer in party.peers(HOST):
        if data.models:
            halves[str(peer)] = _linear(await party.recv(LinearHalf, peer), data.models)
        else:
            halves[str(peer)] = _trees(await party.recv(TreeHalf, peer), len(data.splits.get(str(peer), ())))
    return Merged(finished=True, halves=halves)


async def host(party: Party, _params: ModelMergeParams, data: Linear | Splits) -> Merged:
    """Give the half that is asked for; raises DataError when this party's model is not the other half of it."""
    wanted = await party.recv(Wanted)
    if wanted.training and data.training and wanted.training != data.training:
        raise DataError("the guest's half comes from another training than this party's; name one model at all parties")
    if isinstance(data, Linear):
        if wanted.models != len(data.weights) or wanted.splits.size:
            raise DataError(_other_half(f"{len(data.weights)} linear models"))
        await party.send(LinearHalf(columns=list(data.columns), weights=data.weights))
        return Merged(finished=True)
    chosen = wanted.splits
    known = chosen.ndim == 1 and bool(np.all((chosen >= 0) & (chosen < len(data.columns))))
    if wanted.models or not known or len(np.unique(chosen)) != len(chosen):
        raise DataError(_other_half(f"trees with {len(data.columns)} splits here"))
    columns = [data.columns[number] for number in chosen.tolist()]
    left = data.missing_left[chosen].astype(np.uint8)
    await party.send(TreeHalf(columns=columns, thresholds=data.thresholds[chosen], missing_left=left))
    return Merged(finished=True)


def _other_half(mine: str) -> str:
    return f"the guest's half does not fit this party's, which has {mine}; connect the halves of one training"


def _linear(half: LinearHalf, models: int) -> Half:
    _insist_on_names(half.columns, MOST_COLUMNS)
    if len(set(half.columns)) != len(half.columns):
        raise BadValue("a host names a column twice; check its version")
    if half.weights.shape != (models, len(half.columns)) or not bool(np.all(np.isfinite(half.weights))):
        raise BadValue(f"a host's weights have the shape {half.weights.shape} or are no numbers; check its version")
    return Half(columns=half.columns, weights=half.weights, thresholds=np.zeros(0), missing_left=_none())


def _trees(half: TreeHalf, splits: int) -> Half:
    _insist_on_names(half.columns, MOST_SPLITS)
    shapes = {(len(half.columns),), half.thresholds.shape, half.missing_left.shape}
    if shapes != {(splits,)} or not bool(np.all(np.isfinite(half.thresholds))):
        raise BadValue(f"a host's splits are not the {splits} that were asked for; check its version")
    if bool(np.any(half.missing_left > 1)):
        raise BadValue("a host says otherwise than by 0 or 1 where missing values go; check its version")
    weights = np.zeros((0, 0))
    return Half(columns=half.columns, weights=weights, thresholds=half.thresholds, missing_left=half.missing_left)


def _insist_on_names(names: list[str], most: int) -> None:
    if len(names) > most or not all(0 < len(name) <= MOST_NAME and name.isprintable() for name in names):
        raise BadValue(f"a host sends more than {most} columns, or a name that is none; check its version")


def _none() -> NDArray[np.uint8]:
    return np.zeros(0, dtype=np.uint8)


model_merge = Algorithm(
    name="model_merge",
    version="1",
    params=ModelMergeParams,
    programs={GUEST: Program(Merged, guest), HOST: Program(Merged, host)},
    messages=(Wanted, LinearHalf, TreeHalf),
    disclosures=(
        Disclosure(
            HOST,
            "which training the guest's half comes from, and how many linear models are merged, or which of its own "
            "splits the guest's trees use",
            Wanted,
        ),
        Disclosure(
            GUEST,
            "the host's whole half of a linear model: the weight of each of its columns, with the column's name or "
            "(host_names anonymous) its position; so which columns count, how much and in which direction, and the "
            "host's share of the score of any customer whose values the guest learns elsewhere",
            LinearHalf,
        ),
        Disclosure(
            GUEST,
            "the host's half of the trees: for each of its splits the column, by name or (host_names anonymous) by "
            "position, and the value it splits at, which is near a value that some training row has; with the sides of "
            "rows that it learnt in training and prediction, the guest now knows between which values those rows lie",
            TreeHalf,
        ),
    ),
    coalitions="nobody else learns anything; whoever is given the merged model learns what the guest does",
)
