"""A host's sides under its own key, and what the guest computes with them.

Row i goes left of candidate s or not: v_is is 1 or 0. A host writes the v_is of a row side by side into plaintexts,
sum_s v_is 2^(w s), ``each`` candidates to a plaintext, and encrypts them. For the rows of a node the guest computes

    prod_i [[v_i]]^(x_i) = [[sum_s 2^(w s) sum_i x_i v_is]]

with its own integers x_i in the exponents: g_i, then h_i, and 1 where rows are counted. A slot of w bits holds a sum of
all rows of the table, sign included, so slots never run into each other and no packing is left to do. What leaves the
guest is the square of that: twice the sums, by even exponents (`partyd.algorithms.hetero_secureboost` says why), under
masks that are uniform modulo n. So all of a plaintext's room is for slots. Rows of the same
level (`partyd.algorithms.secureboost_gradients`) are multiplied first, each level's product is raised once. Since every
ciphertext is multiplied again and again, it is kept as a unit a (1 + t n) (`partyd.crypto.multiexp`): a and t side by
side, as long as the ciphertext was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partyd.crypto import level_sums
from partyd.crypto.ciphers import CipherVector
from partyd.crypto.level_sums import level_sums_part, units_of
from partyd.crypto.packing import unblinded, unpack
from partyd.crypto.paillier import PublicKey
from partyd.errors import BadValue, CryptoError, DataError, TaskFailed
from partyd.federation.engine import Engine, Inline

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Codes = NDArray[np.uint8]
PART_ROWS = 1 << 13
"""Rows that one process multiplies at a time."""
WAVE_BYTES = 24 << 20
"""Ciphertexts that are on their way to the processes at once."""
WORTH_PRODUCTS = 2000
"""From so many products on, other processes pay."""


@dataclass(frozen=True)
class Packing:
    """How ``count`` candidates of a host stand in plaintexts: slots of ``width`` bits, ``each`` to a plaintext."""

    width: int
    each: int
    count: int

    @classmethod
    def of(cls, key: PublicKey, rows: int, bits: int, count: int) -> Packing:
        """Return the packing for sums of ``rows`` numbers of ``bits`` bits."""
        width = bits + rows.bit_length() + 1
        room = key.capacity.bit_length() - 2  # what is hidden is twice the sums
        if room < width:
            raise DataError(f"sums of {width} bits do not fit a {key.bits}-bit key; lower gradient_bits")
        return cls(width, room // width, count)

    @property
    def per_row(self) -> int:
        """How many ciphertexts a row takes."""
        return max(1, -(-self.count // self.each))

    @property
    def plain_bits(self) -> int:
        """The bits that a row's plaintext declares."""
        return self.width * (self.each - 1) + 1

    @property
    def sum_bound(self) -> int:
        """What a plaintext of sums keeps within, doubled as it is."""
        return (1 << (self.width * self.each + 1)) - 1

    def chunk_rows(self, key: PublicKey, chunk_bytes: int) -> int:
        """Return how many rows' ciphertexts a message holds."""
        return max(1, chunk_bytes // (self.per_row * key.ciphertext_bytes))

    def plaintexts(self, lefts: Mask) -> list[int]:
        """Return the plaintexts of rows x candidates, row by row."""
        rows = len(lefts)
        slots = np.zeros((rows, self.per_row * self.each, self.width), dtype=np.uint8)
        slots[:, : self.count, 0] = lefts
        packed = np.packbits(slots.reshape(rows * self.per_row, -1), axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in packed]

    def opened(self, key: PublicKey, residues: Sequence[int], masks: Sequence[int], fields: int) -> list[Integers]:
        """Return each node's sums (fields x candidates) behind the masks; raises BadValue where they cannot be."""
        step = self.per_row
        try:
            plain = [_halved(value) for value in unblinded(residues, masks, int(key.n))]
            rows = [unpack(plain[i : i + step], self.each, self.width, self.count) for i in range(0, len(plain), step)]
        except CryptoError as error:
            raise BadValue("a host opened sums that cannot be; do not go on with this host") from error
        table = np.array(rows, dtype=np.int64).reshape(-1, fields, self.count)
        return list(table)


@dataclass(frozen=True)
class Stored:
    """Ciphertexts as units, plaintext by plaintext and there row by row: in a file, or in memory.

    A file is mapped for as long as a caller holds one plaintext's rows, so that a large one does not stay in memory.
    """

    source: Path | bytearray
    rows: int
    per_row: int
    width: int

    def column(self, number: int) -> Codes:
        """Return the ciphertexts (rows x bytes) of one plaintext."""
        offset, shape = number * self.rows * self.width, (self.rows, self.width)
        if isinstance(self.source, Path):
            return np.memmap(self.source, dtype=np.uint8, mode="r", offset=offset, shape=shape)
        return np.frombuffer(self.source, np.uint8, self.rows * self.width, offset).reshape(shape)


@dataclass
class Spool:
    """Where the guest keeps the hosts' ciphertexts while it trains: files in ``folder``, or memory without one.

    What is written here was received, and is written again when its round is repeated; it is no state.
    """

    folder: Path | None = None

    def __post_init__(self) -> None:
        self._memory: dict[str, bytearray] = {}

    def put(self, name: str, pieces: Sequence[tuple[int, bytes]]) -> None:
        """Keep each piece of data at its offset."""
        if self.folder is None:
            held = self._memory.setdefault(name, bytearray())
            for offset, data in pieces:
                held.extend(bytes(max(0, offset - len(held))))
                held[offset : offset + len(data)] = data
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        with path.open("r+b" if path.exists() else "w+b") as file:
            for offset, data in pieces:
                file.seek(offset)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())  # the state that counts on it is written next

    def stored(self, name: str, rows: int, per_row: int, width: int) -> Stored:
        """Return what is kept; raises TaskFailed unless it is all there."""
        path, size = None if self.folder is None else self.folder / name, rows * per_row * width
        if path is not None and path.exists() and path.stat().st_size == size:
            return Stored(path, rows, per_row, width)
        held = self._memory.get(name, bytearray())
        if path is None and len(held) == size:
            return Stored(held, rows, per_row, width)
        raise TaskFailed("the hosts' ciphertexts of this attempt are gone from the disk; run the task again")

    def clear(self) -> None:
        """Forget everything."""
        self._memory.clear()
        if self.folder is not None and self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()


@dataclass(frozen=True)
class Summands:
    """The rows of one node, each row's level, and each level's exponents (levels x fields)."""

    rows: Integers
    codes: Codes
    exponents: Integers


async def node_sums(
    engine: Engine, key: PublicKey, packing: Packing, stored: Stored, nodes: Sequence[Summands]
) -> CipherVector:
    """Return twice the hidden sums of every node: by node, field and plaintext; not for sending as they are."""
    asked = [  # plaintext by plaintext, since that is how they are stored
        (i, column, start)
        for column in range(packing.per_row)
        for i, node in enumerate(nodes)
        for start in range(0, max(len(node.rows), 1), PART_ROWS)
    ]
    fields = nodes[0].exponents.shape[1] if nodes else 0
    answers: dict[tuple[int, int], list[bytes]] = {}
    work = sum(len(node.rows) for node in nodes) * packing.per_row
    mapper: Engine = engine if work >= WORTH_PRODUCTS else Inline()
    n_bytes = int(key.n).to_bytes(-(-key.bits // 8), "big")
    per_wave = max(1, WAVE_BYTES // (PART_ROWS * key.ciphertext_bytes))
    for first in range(0, len(asked), per_wave):
        wave = asked[first : first + per_wave]
        parts = [_part(nodes[i], stored, column, start) for i, column, start in wave]
        for (i, column, _), answer in zip(wave, await mapper.map(level_sums_part, parts, n_bytes), strict=True):
            answers.setdefault((i, column), []).append(answer)
    sums = {place: level_sums.joined(key.n2, found, key.ciphertext_bytes) for place, found in answers.items()}
    columns = range(packing.per_row)
    values = [sums[i, j][field] for i in range(len(nodes)) for field in range(fields) for j in columns]
    once = CipherVector(key, values, 0, packing.sum_bound // 2)
    return once + once


def _halved(value: int) -> int:
    if value % 2:
        raise CryptoError("a sum that was asked for twice over is odd; refuse it")
    return value // 2


def kept(vector: CipherVector, packing: Packing, begin: int, rows: int) -> list[tuple[int, bytes]]:
    """Return ciphertexts of the rows from ``begin`` on, of ``rows`` in all, as units and where these are kept."""
    data, width = units_of(vector), vector.key.ciphertext_bytes
    step = packing.per_row
    return [((j * rows + begin) * width, b"".join(data[j::step])) for j in range(step)]


def _part(node: Summands, stored: Stored, column: int, start: int) -> bytes:
    rows = node.rows[start : start + PART_ROWS]
    units = stored.column(column)[rows].tobytes()
    return level_sums.asked(node.exponents, node.codes[start : start + PART_ROWS], units, stored.width)
