"""What the parties of vertical boosting say to each other, what each carries from round to round, and its data."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.secureboost_columns import Candidates, Columns, columns_of
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Spool
from partyd.algorithms.secureboost_trees import Tree
from partyd.crypto.paillier import Ciphertexts
from partyd.crypto.prg import Prg
from partyd.federation.algorithm import State
from partyd.federation.message import Message
from partyd.types import GUEST, HOST
from partyd.wire.arrays import Floats, Ints, Octets
from partyd.wire.codec import BigInt, Record, Secret

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]


class HostKey(Message, sender=HOST, receiver=GUEST):
    """The host's key with its proof, how many columns and splits it offers, and the number of its next record.

    ``offer`` begins the session of oblivious selections, where rows are hidden.
    """

    key: bytes
    proof: bytes
    columns: int
    candidates: int
    first: int
    offer: bytes


class Plan(Message, sender=GUEST, receiver=HOST):
    """How many rows are trained on and held out, bits of a gradient, sums for each candidate, rows in a message.

    ``point`` answers the receiver's offer.
    """

    rows: int
    held_out: int
    bits: int
    fields: int
    chunk_rows: int
    point: bytes


class EncryptedSides(Message, sender=HOST, receiver=GUEST):
    """[[sum_s v_is 2^(w s)]] of a chunk of rows, row by row."""

    sides: Ciphertexts


class MaskedSums(Message, sender=GUEST, receiver=HOST):
    """[[sums + mask]] of ``nodes`` nodes; none, where only other parties' splits are weighed.

    ``begins`` says that new trees begin, ``finished`` that no round follows.
    """

    sums: Ciphertexts | None
    nodes: int
    begins: bool
    finished: bool


class OpenedSums(Message, sender=HOST, receiver=GUEST):
    """The same in the clear modulo n, mask and all; when trees begin also which candidates may be used (bits; none:
    all).
    """

    values: list[BigInt]
    allowed: Octets


class Chosen(Record):
    """One node that goes to the receiver: its tree among those that grow, its candidate, and where rows are not hidden
    which rows are in it (bits, lowest first).
    """

    tree: int
    candidate: int
    rows: Octets
    held_out: Octets


class ChosenSplits(Message, sender=GUEST, receiver=HOST):
    """The nodes of this level that the receiver splits, tree by tree; and the selection of their rows' sides."""

    splits: list[Chosen]
    columns: Octets


class Split(Record):
    """Which of the node's rows go left (bits, held-out rows last), by which column, and the record's number."""

    left: Octets
    column: int
    record: int


class Sides(Message, sender=HOST, receiver=GUEST):
    """The host's answer for each chosen split; where rows are hidden, ``hidden`` holds all rows' sides behind keys."""

    splits: list[Split]
    hidden: Octets


class HostRecord(Record):
    """What only the host knows of a node: the rule that splits it."""

    column: int
    threshold: float
    missing_left: bool


class HostState(State):
    """What a host carries; ``depth`` is the level that comes next in the trees that grow."""

    key: Secret
    transfers: Secret = Secret(b"")
    seed: bytes
    met: bool = False
    sent: int = 0
    rows: int = 0
    held_out: int = 0
    bits: int = 0
    fields: int = 2
    chunk_rows: int = 1
    begun: int = 0
    depth: int = 0
    levels: int = 0
    records: list[HostRecord] = Field(default_factory=list)


class GuestState(State):
    """What the guest carries; ``trees`` are finished and written down, ``growing`` those of the round under way.

    ``place`` is the node of each row in each growing tree (trees x rows), ``sums`` those left of the hosts' candidates
    by host, tree and node.
    """

    seed: bytes
    scores: Floats
    held_scores: Floats
    begin: Floats
    n: dict[str, BigInt] = Field(default_factory=dict)
    transfers: dict[str, Secret] = Field(default_factory=dict)
    columns: dict[str, int] = Field(default_factory=dict)
    candidates: dict[str, int] = Field(default_factory=dict)
    first: dict[str, int] = Field(default_factory=dict)
    stored: int = 0
    trees: list[bytes] = Field(default_factory=list)
    round: int = 0
    depth: int = 0
    levels: int = 0
    fresh: bool = False
    growing: list[Tree] = Field(default_factory=list)
    place: Ints
    held_place: Ints
    codes: Octets
    g_levels: Ints
    h_levels: Ints
    units: Floats
    own_allowed: Octets
    allowed: dict[str, Octets] = Field(default_factory=dict)
    sums: dict[str, Ints] = Field(default_factory=dict)
    losses: list[float] = Field(default_factory=list)
    judged: list[float] = Field(default_factory=list)
    best: int = 0
    best_scores: Floats
    best_held_scores: Floats

    def evolve(self, **changes: object) -> GuestState:
        """Return this state with other values in some fields."""
        return self.model_copy(update=changes)


@dataclass
class HostRows:
    """A host's rows, those that are held out, and how many records an earlier training left."""

    x: Matrix
    held_out: Matrix | None = None
    first: int = 0
    _columns: Columns | None = field(default=None, repr=False)
    _offered: tuple[bytes, Candidates] | None = field(default=None, repr=False)

    def columns(self, params: SecureBoostParams) -> Columns:
        """Return the columns in bins, which are made once a process."""
        if self._columns is None:
            ways = {"use_missing": params.use_missing, "zero_as_missing": params.zero_as_missing}
            self._columns = columns_of(np.asarray(self.x), params.max_bin, **ways)
        return self._columns

    def offered(self, params: SecureBoostParams, seed: bytes) -> Candidates:
        """Return the candidates in this training's secret order, in which the columns are mixed; made once a process.

        Those of one column stay in their order: among splits that part a node's rows alike, the first is the lowest.
        """
        if self._offered is None or self._offered[0] != seed:
            self._offered = seed, self._in_secret_order(params, seed)
        return self._offered[1]

    def _in_secret_order(self, params: SecureBoostParams, seed: bytes) -> Candidates:
        candidates = self.columns(params).candidates()
        column = candidates.column[Prg(seed, "order").permutation(len(candidates))]
        order = np.empty(len(candidates), dtype=np.int64)
        order[np.argsort(column, kind="stable")] = np.argsort(candidates.column, kind="stable")
        return candidates.take(order)

    @property
    def held_rows(self) -> int:
        """How many rows are held out."""
        return 0 if self.held_out is None else len(self.held_out)


@dataclass
class GuestRows(HostRows):
    """The guest's rows with their labels and weights; ``scores`` are those of an earlier model, where there is one."""

    y: Vector = field(default_factory=lambda: np.zeros(0))
    weight: Vector | None = None
    held_y: Vector | None = None
    scores: Matrix | None = None
    held_scores: Matrix | None = None
    spool: Spool = field(default_factory=Spool)

    @property
    def weights(self) -> Vector:
        """How heavy each row is."""
        return np.ones(len(self.y)) if self.weight is None else np.asarray(self.weight)


def bits_of(chosen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return booleans as bits, the lowest first."""
    return np.packbits(chosen, bitorder="little")


def flags_of(packed: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    """Return ``count`` booleans from as many bits; the caller has checked how many bytes came."""
    return np.unpackbits(packed, count=count, bitorder="little").astype(np.bool_)
