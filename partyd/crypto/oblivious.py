"""Correlated oblivious transfer: millions of transfers from 128, for two semi-honest parties.

The *sender* ends with a secret offset s of 128 bits and a random block q_j per transfer; the *receiver*, who put in
bits r_j, ends with t_j = q_j xor r_j s. The sender learns nothing of r, the receiver nothing of s. Three pure steps,
two messages:

1. sender -> receiver: 128 base transfers' requests, one per bit of s. Masny and Rindal ("Endemic oblivious
   transfer", CCS 2019, section 5): a request is two points (r_0, r_1) where r_c = b G - H(r_{1-c}) for the wanted c;
   the other is random.
2. receiver -> sender: A = a G; the base transfer's keys are k_j = KDF(a (r_j + H(r_{1-j}))), of which the sender can
   make one, KDF(b A). With them the extension of Ishai, Kilian, Nissim and Petrank ("Extending oblivious transfers
   efficiently", CRYPTO 2003, section 3): column i of T is PRG(k_i0), and u_i = PRG(k_i0) xor PRG(k_i1) xor r is
   sent.
3. the sender sets column i of Q to PRG(k_i,s_i) xor s_i u_i; row j of Q is q_j, row j of T is t_j.

Bit 0 of s is always 1 (the colour bit of garbled circuits), so s holds 127 random bits. Blocks are pairs of 64-bit
words. Offset and blocks serve one run: never use them for other inputs.

A session of many runs does the base transfers once: ``agree`` and ``concluded`` give each side its keys, and every
run draws its columns from the keys' streams under a label of its own (``stretch``, ``stretched``). The offset is the
same in all runs, so whatever hashes the blocks must separate the runs, too; a label is for one set of choices only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from partyd.crypto import group
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

WIDTH = 128
"""Base transfers, and bits of a block."""
PAIR_BYTES = 2 * group.POINT_BYTES
Blocks = NDArray[np.uint64]
Columns = NDArray[np.uint8]
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """Sender to receiver: two points per base transfer, 8 KiB."""

    points: bytes


@dataclass(frozen=True)
class Extension:
    """Receiver to sender: one point, and 128 columns of bits: 16 bytes per transfer."""

    point: bytes
    columns: Columns


@dataclass(frozen=True)
class Sender:
    """What the sender keeps between its steps; secret."""

    offset: bytes = field(repr=False)
    scalars: tuple[bytes, ...] = field(repr=False)
    request: Request


def request(prg: Prg) -> Sender:
    """Step 1: draw the offset and ask for one key of each base transfer by its bits."""
    offset = bytearray(prg.take(WIDTH // 8))
    offset[0] |= 1
    scalars = tuple(group.random_scalar(prg) for _ in range(WIDTH))
    pairs = []
    for i, (bit, scalar) in enumerate(zip(_bits(bytes(offset)), scalars, strict=True)):
        other = group.multiply_base(group.random_scalar(prg))
        wanted = group.subtract(group.multiply_base(scalar), _oracle(i, bit, other))
        pairs.append(other + wanted if bit else wanted + other)
    return Sender(bytes(offset), scalars, Request(b"".join(pairs)))


@dataclass(frozen=True)
class SenderKeys:
    """The sender's half of the base transfers: the offset, and one key for each of its bits; secret."""

    offset: bytes = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class ReceiverKeys:
    """The receiver's half: both keys of each base transfer; secret."""

    pairs: tuple[tuple[bytes, bytes], ...] = field(repr=False)


def agree(received: Request, prg: Prg) -> tuple[ReceiverKeys, bytes]:
    """Return the receiver's keys and the point that it answers the request with.

    Raises CryptoError if the request is not 128 pairs of the group's points.
    """
    if len(received.points) != WIDTH * PAIR_BYTES:
        raise CryptoError(f"an oblivious transfer request takes {WIDTH * PAIR_BYTES} bytes, not {len(received.points)}")
    group.check_points(received.points)
    scalar = group.random_scalar(prg)
    point = group.multiply_base(scalar)
    return ReceiverKeys(tuple(_both_keys(i, received.points, scalar, point) for i in range(WIDTH))), point


def concluded(sender: Sender, point: bytes) -> SenderKeys:
    """Return the sender's keys; raises CryptoError for a point that is none."""
    keys = []
    for i, (bit, scalar) in enumerate(zip(_bits(sender.offset), sender.scalars, strict=True)):
        pair = sender.request.points[i * PAIR_BYTES : (i + 1) * PAIR_BYTES]
        keys.append(_key(i, bit, pair, point, group.multiply(scalar, point)))
    return SenderKeys(sender.offset, tuple(keys))


def stretch(keys: ReceiverKeys, choices: Bits, *label: str) -> tuple[Blocks, Columns]:
    """Return t for each bit of ``choices`` (rows of bits, one transfer each) and the columns for the sender."""
    packed = np.packbits(choices, axis=1, bitorder="little")
    columns, kept = np.empty((WIDTH, packed.size), np.uint8), np.empty((WIDTH, packed.size), np.uint8)
    for i, pair in enumerate(keys.pairs):
        first, second = (_stream(key, packed.size, label) for key in pair)
        kept[i], columns[i] = first, first ^ second ^ packed.ravel()
    return _rows(kept, choices.shape), columns


def stretched(keys: SenderKeys, columns: Columns, shape: tuple[int, int], *label: str) -> Blocks:
    """Return q for each transfer of a ``shape`` of rows and transfers a row; raises CryptoError for another shape."""
    size = shape[0] * -(-shape[1] // 8)
    if columns.shape != (WIDTH, size) or columns.dtype != np.uint8:
        raise CryptoError(f"an oblivious transfer of {shape} takes {WIDTH} columns of {size} bytes; refuse the message")
    mine = np.empty((WIDTH, size), np.uint8)
    for i, (bit, key) in enumerate(zip(_bits(keys.offset), keys.keys, strict=True)):
        mine[i] = _stream(key, size, label)
        if bit:
            mine[i] ^= columns[i]
    return _rows(mine, shape)


def extend(choices: Bits, received: Request, prg: Prg) -> tuple[Blocks, Extension]:
    """Step 2: return t for each bit of ``choices`` (rows of bits, one transfer each) and the answer to the sender.

    Raises CryptoError if the request is not 128 pairs of the group's points.
    """
    keys, point = agree(received, prg)
    blocks, columns = stretch(keys, choices)
    return blocks, Extension(point, columns)


def receive(sender: Sender, extension: Extension, shape: tuple[int, int]) -> Blocks:
    """Step 3: return q for each transfer of a ``shape`` of rows and transfers a row.

    Raises CryptoError if the extension is of another shape or its point is bad.
    """
    return stretched(concluded(sender, extension.point), extension.columns, shape)


def offset_block(sender: Sender | SenderKeys) -> Blocks:
    """Return the offset s as a block."""
    return np.frombuffer(sender.offset, "<u8").astype(np.uint64)


def _both_keys(i: int, points: bytes, scalar: bytes, point: bytes) -> tuple[bytes, bytes]:
    pair = points[i * PAIR_BYTES : (i + 1) * PAIR_BYTES]
    zero, one = pair[: group.POINT_BYTES], pair[group.POINT_BYTES :]
    shared_zero = group.multiply(scalar, group.add(zero, _oracle(i, 0, one)))
    shared_one = group.multiply(scalar, group.add(one, _oracle(i, 1, zero)))
    return _key(i, 0, pair, point, shared_zero), _key(i, 1, pair, point, shared_one)


def _oracle(i: int, wanted: int, other: bytes) -> bytes:
    """H(r_{1-c}) for base transfer ``i``, c = ``wanted``."""
    return group.hash_to_point(bytes([i, wanted]) + other, b"partyd base transfer 1")


def _key(i: int, bit: int, pair: bytes, point: bytes, shared: bytes) -> bytes:
    return hashlib.sha256(b"partyd base key 1" + bytes([i, bit]) + pair + point + shared).digest()


def _stream(key: bytes, size: int, label: tuple[str, ...]) -> Columns:
    return np.frombuffer(Prg(key, "column", *label).take(size), np.uint8)


def _bits(block: bytes) -> list[int]:
    return np.unpackbits(np.frombuffer(block, np.uint8), bitorder="little").tolist()


def _rows(columns: Columns, shape: tuple[int, int]) -> Blocks:
    """Transpose 128 columns of bits into blocks (rows, transfers a row, 2 words)."""
    rows, width = shape
    each = columns.reshape(WIDTH, rows, -1)
    blocks = np.empty((rows, width, 2), np.uint64)
    for row in range(rows):
        squares = np.ascontiguousarray(each[:, row].reshape(WIDTH // 8, 8, -1).transpose(2, 0, 1)).view("<u8")
        turned = _turn(squares).view(np.uint8).transpose(0, 2, 1)
        blocks[row] = np.ascontiguousarray(turned).view("<u8").reshape(-1, 2)[:width]
    return blocks


def _turn(squares: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Transpose words as squares of 8 by 8 bits (Warren, "Hacker's Delight", section 7-3)."""
    for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
        swapped = (squares ^ (squares >> np.uint64(shift))) & np.uint64(mask)
        squares = squares ^ swapped ^ (swapped << np.uint64(shift))
    return squares
