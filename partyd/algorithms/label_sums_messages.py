"""What guest and hosts say to each other about labels in bins, what each carries from block to block, and its data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.binning_parameters import MOST_BINS
from partyd.crypto.ciphers import CipherVector
from partyd.crypto.packing import Layout
from partyd.crypto.paillier import Ciphertexts, PublicKey
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import State
from partyd.federation.message import Message
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Floats, Ints, Octets
from partyd.wire.codec import BigInt, Record, Secret

MOST_CLASSES = 64
MOST_COLUMNS = 2000
MOST_CELLS = 1 << 18
MOST_BLOCK = 1 << 18
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class GuestLabels:
    """Each row's class, 0 to ``classes`` - 1; with ``classes`` 1, whether it has the event (1) or not (0)."""

    codes: Codes
    classes: int


@dataclass(frozen=True)
class HostBins:
    """Each row's bin in each column (rows x columns), the missing last; ``bins`` without it; and what is asked for.

    The bins of the first ``joins`` columns are to be joined.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int16]
    bins: Codes
    joins: int = 0
    wants_woe: bool = False


class LabelPlan(Message, sender=GUEST, receiver=HOST):
    """How many rows, classes, and rows in a block."""

    rows: int
    classes: int
    block_rows: int


class HostColumns(Message, sender=HOST, receiver=GUEST):
    """The names that peers know, bins without the missing, of how many columns to join them, whether to tell WOE."""

    names: list[str]
    bins: Ints
    joins: int
    wants_woe: bool


class Ready(Message, sender=HOST, receiver=GUEST):
    """The host has added up the rows before ``start``."""

    start: int


class EncryptedLabels(Message, sender=GUEST, receiver=HOST):
    """[[label]] of a block of rows."""

    y: Ciphertexts


class BinSums(Message, sender=HOST, receiver=GUEST):
    """Rows of every bin, column after column, and the encrypted sums of their labels, packed."""

    rows: Ints
    sums: Ciphertexts | None


class KeptCuts(Message, sender=GUEST, receiver=HOST):
    """A 1 for every cut that remains, column after column."""

    kept: Octets


class BinWoe(Message, sender=GUEST, receiver=HOST):
    """The WOE of every bin, those of missing values among them, column after column."""

    woe: Floats


class HostSums(Record):
    """What the guest learned of one host: ``bins`` of each column without the missing; cells x classes of events."""

    names: list[str]
    bins: Ints
    rows: Ints
    events: Ints
    joins: int = 0
    wants_woe: bool = False


class GuestState(State):
    """The guest's key, how far it is, and what the hosts sent by address."""

    key: Secret
    done: int = 0
    hosts: dict[str, HostSums] = Field(default_factory=dict)


class HostState(State):
    """The guest's key and plan, how far this host is, the sums so far, and at the end what it asked for."""

    n: BigInt
    classes: int
    block_rows: int
    done: int = 0
    sums: bytes = b""
    kept: Octets | None = None
    woe: Floats | None = None


@dataclass(frozen=True)
class Packing:
    """How labels of ``classes`` classes, and sums of ``rows`` of them, stand in plaintexts; both sides compute it."""

    key: PublicKey
    rows: int
    classes: int

    @property
    def layout(self) -> Layout:
        """A slot for each class, wide enough for all rows."""
        return Layout.for_sums((1,) * self.classes, self.rows)

    @property
    def label_bits(self) -> int:
        """The bits of one row's plaintext."""
        return self.layout.widths[0] * (self.classes - 1) + 1

    def vector(self, values: list[mpz]) -> CipherVector:
        """Return ``values`` as sums of labels, which are never larger than those of all rows."""
        return CipherVector(self.key, values, 0, self.layout.bound((1,) * self.classes, self.rows))

    def insist_on_room(self) -> None:
        """Raise DataError where the key has no room for so many rows and classes."""
        if self.label_bits + self.rows.bit_length() + 1 >= self.key.capacity.bit_length():
            raise DataError(f"a {self.key.bits}-bit key has no room for {self.classes} classes; take a longer key")


def spans(bins: Codes) -> list[slice]:
    """Return where each column's cells are, one more than its ``bins``."""
    ends = np.cumsum(bins + 1).tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def cut_up(values: Octets, lengths: Codes) -> list[Octets]:
    """Return what each column has of a flat array."""
    return list(np.split(values, np.cumsum(lengths)[:-1])) if len(lengths) else []


def insist_on_columns(message: HostColumns, peer: Address) -> None:
    """Insist on columns that a model can hold."""
    names, bins = message.names, message.bins
    if len(names) > MOST_COLUMNS or len(set(names)) != len(names) or any(not 1 <= len(n) <= 100 for n in names):
        raise BadValue(f"{peer} bins {len(names)} columns, not up to {MOST_COLUMNS} with names; check its version")
    if bins.shape != (len(names),) or bool(np.any((bins < 1) | (bins > MOST_BINS))) or bins.sum() > MOST_CELLS:
        raise BadValue(f"{peer} does not have 1 to {MOST_BINS} bins in each column; check its version")
    if not 0 <= message.joins <= len(names):
        raise BadValue(
            f"{peer} wants the bins of {message.joins} columns joined and has {len(names)}; check its version"
        )


def insist_on_sums(rows: Codes, events: Codes, host: HostSums, data: GuestLabels, peer: Address) -> None:
    """Insist that every column has all rows, all events, and in no bin more events than rows."""
    everybody = np.bincount(data.codes, minlength=max(data.classes, 2)).astype(np.int64)
    all_events = everybody[1:] if data.classes == 1 else everybody
    sensible = bool(np.all(rows >= 0) and np.all(events >= 0) and np.all(events.sum(axis=1) <= rows))
    for cells in spans(host.bins) if sensible else []:
        sensible &= int(rows[cells].sum()) == len(data.codes)
        sensible &= np.array_equal(events[cells].sum(axis=0), all_events)
    if not sensible:
        raise BadValue(f"{peer} sent numbers of rows and labels that cannot be; do not go on with this host")
