"""Draw some of the aligned rows, the same at every party.

The guest draws and tells every host the positions; hosts follow, as their rows stand in the guest's order. A share by
label draws within each label; which rows of a label are taken is random.

``random_state`` is a parameter that all parties read. Whoever knows the stream of a draw *by label* could read labels
off the positions: there the guest draws from its own secret seed and ``random_state`` fixes nothing.

========  ===========  ==========================================================================================
message   from, to     what the receiver learns
========  ===========  ==========================================================================================
Drawn     guest, host  which of the common rows were drawn, and how often each (by label: their number follows the
                       labels' counts)
========  ===========  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, model_validator

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
MOST_ROWS = 1 << 28
MOST_TIMES = 1000.0


class SampleParams(FateParams):
    """FATE 2.2's parameters; without ``frac`` and ``n`` every row is taken, as is a label that ``frac`` leaves out."""

    replace: bool = False
    frac: PositiveFloat | dict[float, PositiveFloat] | None = None
    n: int | None = Field(default=None, gt=0, le=MOST_ROWS)
    random_state: int | None = Field(default=None, ge=0, lt=1 << 63)
    hetero_sync: bool = True

    @model_validator(mode="after")
    def _one_way_to_say_how_many(self) -> SampleParams:
        if self.frac is not None and self.n is not None:
            raise ValueError("give frac or n, not both")
        shares = self.by_label.values() if self.by_label else [self.frac] if isinstance(self.frac, float) else []
        if any(share > (MOST_TIMES if self.replace else 1) for share in shares):
            raise ValueError(f"a share above 1 draws rows again: set replace to true (and stay below {MOST_TIMES:.0f})")
        return self

    @property
    def by_label(self) -> Mapping[float, float] | None:
        """The share of each label, where they differ."""
        return self.frac if isinstance(self.frac, dict) else None


@dataclass(frozen=True)
class Drawable:
    """How many rows there are, and for a draw by label their labels."""

    rows: int
    label: Vector | None = None


class Drawn(Message, sender=GUEST, receiver=HOST):
    """The positions that were drawn, of ``rows`` in all; one that was drawn several times stands there as often."""

    rows: int
    positions: Ints


class Chosen(State):
    """The positions that were drawn, in ascending order."""

    positions: Ints


async def guest(party: Party, params: SampleParams, data: Drawable) -> Chosen:
    """Draw, and share what was drawn."""
    positions = draw(params, data, _stream(party, params))
    if params.hetero_sync:
        await party.send(Drawn(rows=data.rows, positions=positions))
    return Chosen(finished=True, positions=positions)


async def host(party: Party, params: SampleParams, data: Drawable) -> Chosen:
    """Take what the guest drew, or draw oneself when the parties' rows are not aligned."""
    if not params.hetero_sync:
        return await guest(party, params, data)
    drawn = await party.recv(Drawn)
    if drawn.rows != data.rows:
        raise DataError(f"the guest draws from {drawn.rows} rows, this host has {data.rows}; align them with psi first")
    insist_on_drawn(drawn.positions, data.rows, replace=params.replace)
    return Chosen(finished=True, positions=drawn.positions)


def insist_on_drawn(positions: Rows, rows: int, *, replace: bool) -> None:
    """Raise BadValue unless ``positions`` are ascending positions of ``rows``, without repetition unless allowed."""
    steps = np.diff(positions) if positions.ndim == 1 else np.array([-1])
    inside = positions.ndim == 1 and bool(np.all((positions >= 0) & (positions < rows)))
    if not inside or bool(np.any(steps < (0 if replace else 1))):
        raise BadValue("the guest drew a row twice, or one that is not there; refuse it")


def _stream(party: Party, params: SampleParams) -> Prg:
    """Return where the rows are drawn from: what ``random_state`` fixes, unless that would show labels to hosts."""
    if params.random_state is None or (params.by_label is not None and params.hetero_sync):
        return party.rng("sample")
    return Prg(params.random_state.to_bytes(32, "big"), "sample")


def draw(params: SampleParams, data: Drawable, prg: Prg) -> Rows:
    """Return the drawn positions in ascending order; raises DataError when there are too few rows."""
    if params.by_label is None:
        count = params.n if params.n is not None else _share(data.rows, params.frac)
        return np.sort(_pick(np.arange(data.rows), count, prg, replace=params.replace))
    if data.label is None:
        raise DataError("frac by label needs labels; give one frac for all rows, or upload the table with its label")
    known = np.unique(data.label)
    strange = [value for value in params.by_label if value not in known]
    if strange:
        raise DataError(f"frac names the label {strange[0]:g}, which no row has; the labels are {known[:20].tolist()}")
    picked = [np.zeros(0, np.int64)]
    for value in known.tolist():
        rows = np.flatnonzero(data.label == value)
        count = _share(len(rows), params.by_label.get(value, 1.0))
        picked.append(_pick(rows, count, prg, replace=params.replace))
    return np.sort(np.concatenate(picked))


def _share(rows: int, share: object) -> int:
    """Return how many rows a share is: at least one, as in FATE."""
    return rows if not isinstance(share, float) else min(max(1, int(rows * share)), MOST_ROWS)


def _pick(rows: Rows, count: int, prg: Prg, *, replace: bool) -> Rows:
    if count and not len(rows):
        raise DataError("the table has no rows to draw from; look at what the task before this one gave out")
    if replace:
        return rows[np.array(prg.below(len(rows), count), dtype=np.int64)]
    if count > len(rows):
        raise DataError(f"{count} rows cannot be drawn from {len(rows)}; lower n, or set replace to true")
    return rows[prg.permutation(len(rows))[:count]].astype(np.int64)


sample = Algorithm(
    name="sample",
    version="1",
    params=SampleParams,
    programs={GUEST: Program(Chosen, guest), HOST: Program(Chosen, host)},
    messages=(Drawn,),
    disclosures=(
        Disclosure(
            HOST,
            "which of the common rows are drawn and how often (a draw by label takes a share of each label, from a "
            "seed that only the guest knows, and the positions of all labels are mixed)",
            Drawn,
        ),
    ),
)
