"""Split aligned rows into training, validation and test rows, the same at every party.

The guest draws the split and tells every host the positions; hosts follow, as their rows stand in the guest's order. A
stratified split keeps the share of each label in each part; which rows go where is random within a label. A label of
more than a hundred values counts as continuous, and each part gets its share of each tenth of it.

``random_state`` is a parameter that all parties read. Whoever knows the stream of a *stratified* split knows which of
each label's rows were taken, and so can read labels off the positions: there the guest draws from its own secret seed
and ``random_state`` fixes nothing.

========  ===========  ==========================================================================================
message   from, to     what the receiver learns
========  ===========  ==========================================================================================
Split     guest, host  which rows are for what: random positions (stratified: their sizes follow the labels' counts)
========  ===========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from partyd.algorithms.parameters import FateParams
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Ints

Rows = NDArray[np.int64]
Vector = NDArray[np.float64]
LEFT_GO_TO = (0, 2, 1)
"""Which part takes the rows that are left, the first of them without a size: train, test, validate, as in FATE."""
STRATA = 10
MOST_CLASSES = 100
"""A label with more values is continuous: it is split by tenths of its range of ranks."""


class DataSplitParams(FateParams):
    """FATE 2.2's parameters; a size is a share (with a point) or a number of rows, and None takes what is left."""

    train_size: int | float | None = None
    validate_size: int | float | None = None
    test_size: int | float | None = None
    stratified: bool = False
    random_state: int | None = Field(default=None, ge=0, lt=1 << 63)
    hetero_sync: bool = True

    @model_validator(mode="after")
    def _sizes_make_sense(self) -> DataSplitParams:
        sizes = [s for s in (self.train_size, self.validate_size, self.test_size) if s is not None]
        if any(s < 0 or (isinstance(s, float) and s > 1) for s in sizes):
            raise ValueError("a size is a share from 0.0 to 1.0 or a number of rows from 0")
        return self


@dataclass(frozen=True)
class Splittable:
    """How many rows there are, and for a stratified split their labels."""

    rows: int
    label: Vector | None = None


class Split(Message, sender=GUEST, receiver=HOST):
    """Positions of each part, of ``rows`` in all."""

    rows: int
    train: Ints
    validate_: Ints
    test: Ints


class Parts(State):
    """Positions of each part, in ascending order."""

    train: Ints
    validate_: Ints
    test: Ints


async def guest(party: Party, params: DataSplitParams, data: Splittable) -> Parts:
    """Draw the split and share it."""
    train, validate, test = draw(params, data, _stream(party, params))
    if params.hetero_sync:
        await party.send(Split(rows=data.rows, train=train, validate_=validate, test=test))
    return Parts(finished=True, train=train, validate_=validate, test=test)


async def host(party: Party, params: DataSplitParams, data: Splittable) -> Parts:
    """Take the guest's split, or draw one's own when the parties' rows are not aligned."""
    if not params.hetero_sync:
        return await guest(party, params, data)
    split = await party.recv(Split)
    if split.rows != data.rows:
        raise DataError(f"the guest splits {split.rows} rows, this host has {data.rows}; align them with psi first")
    if any(part.ndim != 1 for part in (split.train, split.validate_, split.test)):
        raise BadValue("a part of the guest's split is no list of rows; refuse it")
    every = np.concatenate([split.train, split.validate_, split.test])
    if len(np.unique(every)) != len(every) or not bool(np.all((every >= 0) & (every < data.rows))):
        raise BadValue("the guest's split names a row twice or one that is not there; refuse it")
    return Parts(finished=True, train=split.train, validate_=split.validate_, test=split.test)


def _stream(party: Party, params: DataSplitParams) -> Prg:
    """Return where the split is drawn from: what ``random_state`` fixes, unless that would show labels to hosts."""
    if params.random_state is None or (params.stratified and params.hetero_sync):
        return party.rng("split")
    return Prg(params.random_state.to_bytes(32, "big"), "split")


def draw(params: DataSplitParams, data: Splittable, prg: Prg) -> tuple[Rows, Rows, Rows]:
    """Return the three parts; raises DataError when the sizes exceed the rows."""
    groups = [np.arange(data.rows)]
    if params.stratified:
        if data.label is None:
            raise DataError(
                "a stratified split needs labels; set stratified to false or upload the guest's table with one"
            )
        stratum = strata(data.label)
        groups = [np.flatnonzero(stratum == value) for value in np.unique(stratum)]
    sizes = allot([len(rows) for rows in groups], counts(params, data.rows))
    parts: list[list[Rows]] = [[], [], []]
    for i, rows in enumerate(groups):
        shuffled, taken = rows[prg.permutation(len(rows))], 0
        for part, size in zip(parts, sizes[i], strict=True):
            part.append(shuffled[taken : taken + size])
            taken += size
    train, validate, test = (np.sort(np.concatenate(part)).astype(np.int64) for part in parts)
    return train, validate, test


def strata(label: Vector) -> Vector:
    """Return what must be alike in every part: the label, or its tenth where it has too many values to be a class."""
    known = label[~np.isnan(label)]
    if len(np.unique(known)) <= MOST_CLASSES:
        return np.where(np.isnan(label), np.inf, label)
    cuts = np.quantile(known, np.linspace(0, 1, STRATA + 1)[1:-1])
    return np.where(np.isnan(label), np.inf, np.searchsorted(cuts, label, side="right").astype(np.float64))


def counts(params: DataSplitParams, rows: int) -> tuple[int, int, int]:
    """Return how many rows each part gets; without any size it is 80, 20 and 0 in a hundred, as in FATE."""
    asked = (params.train_size, params.validate_size, params.test_size)
    if asked == (None, None, None):
        asked = (0.8, 0.2, 0.0)
    given = [None if a is None else round(a * rows) if isinstance(a, float) else a for a in asked]
    shares = [a for a in asked if a is not None]
    left = rows - sum(g for g in given if g is not None)
    if all(isinstance(a, float) for a in shares) and abs(sum(shares) - 1) < 1e-9:
        last = max(i for i, a in enumerate(asked) if a)
        given[last] = (given[last] or 0) + left
        left = 0
    for i in LEFT_GO_TO:
        if given[i] is None:
            given[i], left = left, 0
    sizes = [g or 0 for g in given]
    if min(sizes) < 0 or sum(sizes) > rows:
        raise DataError(f"parts of {sizes} rows do not fit {rows}; lower train_size, validate_size or test_size")
    return sizes[0], sizes[1], sizes[2]


def allot(groups: list[int], sizes: tuple[int, int, int]) -> list[list[int]]:
    """Return each group's share of each part, by largest remainders, so that the parts have exactly their sizes."""
    remaining, result = list(groups), [[0, 0, 0] for _ in groups]
    for part, size in enumerate(sizes):
        total = sum(remaining)
        exact = [size * r / total if total else 0.0 for r in remaining]
        share = [int(e) for e in exact]
        order = sorted(range(len(groups)), key=lambda i: (share[i] - exact[i], i))
        for i in order[: size - sum(share)]:
            share[i] += 1
        for i, s in enumerate(share):
            result[i][part], remaining[i] = s, remaining[i] - s
    return result


data_split = Algorithm(
    name="data_split",
    version="1",
    params=DataSplitParams,
    programs={GUEST: Program(Parts, guest), HOST: Program(Parts, host)},
    messages=(Split,),
    disclosures=(
        Disclosure(
            HOST,
            "which of the common rows are for training, validation and test (a stratified split draws within each "
            "label, from a seed that only the guest knows, and the positions of all labels are mixed)",
            Split,
        ),
    ),
)
