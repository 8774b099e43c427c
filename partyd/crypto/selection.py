"""Oblivious selection of bits: for each row the chooser gets one of the owner's n bits, and the owner learns nothing.

One of n from correlated transfers (Naor and Pinkas, "Oblivious transfer and polynomial evaluation", STOC 1999, section
3.2): the chooser writes its index c in k = bits(n) bits and takes part in k transfers with them as choices
(`partyd.crypto.oblivious`). The owner then holds blocks q_j and the offset s, the chooser t_j = q_j xor c_j s. With a
hash H(x, tweak) the owner makes a key for every index v, the chooser only that of c:

    K_v = H(H(q_1 xor v_1 s, 1) xor ... xor H(q_k xor v_k s, k), 0)

and bit v of the row is sent behind the lowest bit of K_v, with v in the tweak. For any other v at least one of the
inner hashes is of a block that the chooser cannot know, since it lies s away from one that it knows. The index n means
"none": no bit is sent for it, and the owner cannot tell.

A session begins with base transfers (`begin`, `answer`, `ready`: two messages); then each selection takes two more:
``choose`` (chooser) and ``hide`` (owner), and ends with ``reveal``. All steps are pure. A selection has a label, which
both sides know and no other selection of the session has. It is worked off in pieces of `PIECE_TRANSFERS`, each under
a label of its own, so that a selection takes hardly more memory than its messages.

Security: semi-honest parties. H is the tweakable correlation robust hash of Guo, Katz, Wang and Yu ("Efficient and
secure multiparty computation from fixed-key block ciphers", S&P 2020, section 7.4), H(x, i) = p(p(x) xor i) xor p(x),
with p = AES-128 under a key that follows from the session's request and the selection's label.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import ECB
from numpy.typing import NDArray

from partyd.crypto.group import POINT_BYTES
from partyd.crypto.oblivious import (
    WIDTH,
    Blocks,
    Columns,
    ReceiverKeys,
    Request,
    Sender,
    SenderKeys,
    agree,
    concluded,
    offset_block,
    request,
    stretch,
    stretched,
)
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

__all__ = ["Choice", "Chooser", "Owner", "Question", "Request", "Sender", "answer", "begin", "choose", "hide", "reveal"]

KEY_BYTES = 32
OFFSET_BYTES = WIDTH // 8
MAX_TRANSFERS = 1 << 24
"""Transfers in one selection: 256 MiB of columns, which is what its message takes."""
PIECE_TRANSFERS = 1 << 18
"""Transfers that are worked off at once, in about 40 MiB."""
Indices = NDArray[np.int64]
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Question:
    """How many bits the owner has for each row, and for each row the wanted one: 0 to ``size``, the last for none."""

    size: int
    wanted: Indices


@dataclass(frozen=True)
class Owner:
    """What the owner of the bits keeps of the base transfers; secret."""

    session: bytes
    keys: SenderKeys

    def to_bytes(self) -> bytes:
        """Return it for the owner's own state."""
        return self.session + self.keys.offset + b"".join(self.keys.keys)

    @classmethod
    def from_bytes(cls, data: bytes) -> Owner:
        """Read what ``to_bytes`` wrote."""
        session, offset, keys = _parts(data, KEY_BYTES, OFFSET_BYTES)
        return cls(session, SenderKeys(offset, _keys(keys, WIDTH)))


@dataclass(frozen=True)
class Chooser:
    """What the chooser keeps of the base transfers; secret."""

    session: bytes
    keys: ReceiverKeys

    def to_bytes(self) -> bytes:
        """Return it for the chooser's own state."""
        return self.session + b"".join(key for pair in self.keys.pairs for key in pair)

    @classmethod
    def from_bytes(cls, data: bytes) -> Chooser:
        """Read what ``to_bytes`` wrote."""
        session, _, keys = _parts(data, KEY_BYTES, 0)
        split = _keys(keys, 2 * WIDTH)
        return cls(session, ReceiverKeys(tuple(zip(split[::2], split[1::2], strict=True))))


@dataclass(frozen=True)
class Choice:
    """What the chooser keeps between the steps of a selection: its own blocks, piece by piece; secret."""

    questions: Sequence[Question]
    blocks: Sequence[Blocks]
    session: bytes
    label: str


@dataclass(frozen=True)
class _Piece:
    """Some rows of one question or table, and the bytes of their transfers in each column."""

    number: int
    rows: slice
    width: int
    columns: slice

    @property
    def count(self) -> int:
        return int(self.rows.stop - self.rows.start) * self.width

    def label(self, whole: str) -> str:
        return f"{whole} {self.number} {self.rows.start}"


def begin(prg: Prg) -> Sender:
    """Begin a session at the owner; its ``request`` goes to the chooser."""
    return request(prg)


def answer(received: Request, prg: Prg) -> tuple[Chooser, bytes]:
    """Return what the chooser keeps and the point that goes to the owner; raises CryptoError for a bad request."""
    keys, point = agree(received, prg)
    return Chooser(_session(received), keys), point


def ready(sender: Sender, point: bytes) -> Owner:
    """Return what the owner keeps; raises CryptoError for a bad point."""
    if len(point) != POINT_BYTES:
        raise CryptoError(f"a point takes {POINT_BYTES} bytes, {len(point)} came; refuse the message")
    return Owner(_session(sender.request), concluded(sender, point))


def transfers_of(size: int) -> int:
    """Return how many transfers a selection of one of ``size`` bits, or none, takes."""
    return size.bit_length()


def transfers(sizes: Sequence[int], rows: int) -> int:
    """Return how many transfers selections of those sizes for ``rows`` rows take."""
    return rows * sum(transfers_of(size) for size in sizes)


def choose(chooser: Chooser, questions: Sequence[Question], label: str) -> tuple[Choice, Columns]:
    """Return what the chooser keeps, and its message to the owner."""
    pieces = _pieces([(len(question.wanted), question.size) for question in questions])
    blocks, sent = list[Blocks](), np.empty((WIDTH, pieces[-1].columns.stop if pieces else 0), dtype=np.uint8)
    for piece in pieces:
        wanted = questions[piece.number].wanted[piece.rows]
        bits = ((wanted[:, None] >> np.arange(piece.width)) & 1).astype(np.uint8)
        kept, sent[:, piece.columns] = stretch(chooser.keys, bits.reshape(1, -1), piece.label(label))
        blocks.append(kept[0])
    return Choice(tuple(questions), tuple(blocks), chooser.session, label), sent


def hide(owner: Owner, columns: Columns, tables: Sequence[Bits], label: str) -> Bits:
    """Return the bits of ``tables`` (rows x n each), each hidden behind its own key; as whole bytes, table by table."""
    shapes = [(table.shape[0], table.shape[1]) for table in tables]
    pieces = _pieces(shapes)
    size = pieces[-1].columns.stop if pieces else 0
    if columns.shape != (WIDTH, size):
        raise CryptoError(f"a selection of {shapes} takes {WIDTH} columns of {size} bytes; refuse the message")
    hashed, offset, found = _Hash(owner.session, label), offset_block(owner.keys), list[Bits]()
    for piece in pieces:
        own = stretched(owner.keys, columns[:, piece.columns], (1, piece.count), piece.label(label))[0]
        table = tables[piece.number][piece.rows]
        found.append(np.packbits(_hidden(hashed, piece, own, own ^ offset, table), bitorder="little"))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.uint8)


def _hidden(hashed: _Hash, piece: _Piece, zeros: Blocks, ones: Blocks, table: Bits) -> Bits:
    """Return the bits of some rows behind their keys."""
    rows, size = table.shape
    shape = (rows, piece.width, 2)
    inner = [hashed.inner(blocks.reshape(shape), piece) for blocks in (zeros, ones)]
    hidden = np.empty((rows, size), dtype=np.uint8)
    for v in range(size):
        chosen = inner[v & 1][:, 0].copy()
        for j in range(1, piece.width):
            chosen ^= inner[(v >> j) & 1][:, j]
        hidden[:, v] = table[:, v] ^ hashed.outer(chosen, np.full(rows, v), piece)
    return hidden


def reveal(choice: Choice, hidden: Bits) -> list[Bits]:
    """Return the wanted bit of each row for each question, 0 where none was wanted; raises CryptoError for too few."""
    pieces = _pieces([(len(question.wanted), question.size) for question in choice.questions])
    sizes = [-(-(p.rows.stop - p.rows.start) * choice.questions[p.number].size // 8) for p in pieces]
    if hidden.shape != (sum(sizes),):
        raise CryptoError(f"a selection's answer takes {sum(sizes)} bytes, {hidden.size} came; refuse the message")
    hashed, at = _Hash(choice.session, choice.label), 0
    found = [np.zeros(len(question.wanted), dtype=np.uint8) for question in choice.questions]
    for piece, blocks, taken in zip(pieces, choice.blocks, sizes, strict=True):
        question = choice.questions[piece.number]
        asked = question.wanted[piece.rows]
        rows, size = len(asked), question.size
        table = np.unpackbits(hidden[at : at + taken], count=rows * size, bitorder="little").reshape(rows, size)
        key = np.bitwise_xor.reduce(hashed.inner(blocks.reshape(rows, piece.width, 2), piece), axis=1)
        inside = asked < size
        wanted = np.where(inside, asked, 0)
        bits = table[np.arange(rows), wanted] ^ hashed.outer(key, wanted, piece)
        found[piece.number][piece.rows] = np.where(inside, bits, 0)
        at += taken
    return found


def _pieces(shapes: Sequence[tuple[int, int]]) -> list[_Piece]:
    """Cut selections of so many rows, of one of so many bits each, into pieces; all but the last whole bytes long."""
    insist_on_transfers(sum(rows * transfers_of(size) for rows, size in shapes))
    pieces, at = list[_Piece](), 0
    for number, (rows, size) in enumerate(shapes):
        width = transfers_of(size)
        step = max(8, PIECE_TRANSFERS // max(width, 1) // 8 * 8)
        for start in range(0, rows, step):
            stop = min(start + step, rows)
            taken = -(-(stop - start) * width // 8)
            pieces.append(_Piece(number, slice(start, stop), width, slice(at, at + taken)))
            at += taken
    return pieces


class _Hash:
    """H(x, tweak) on arrays of blocks; the key follows from the session and the selection's label."""

    def __init__(self, session: bytes, label: str) -> None:
        key = hashlib.sha256(b"partyd selection 1" + session + label.encode()).digest()[:16]
        self._permutation = Cipher(AES128(key), ECB()).encryptor()  # noqa: S305 - a fixed-key permutation

    def inner(self, blocks: Blocks, piece: _Piece) -> Blocks:
        """Hash rows x transfers of blocks; row, transfer and question are the tweak."""
        rows, width = blocks.shape[:2]
        place = np.arange(rows * width, dtype=np.uint64).reshape(rows, width) + np.uint64(piece.rows.start * width)
        return self._hash(blocks, place, (piece.number << 1) | 1)

    def outer(self, blocks: Blocks, index: Indices, piece: _Piece) -> Bits:
        """Return the lowest bit of each row's key for the index."""
        row = np.arange(len(blocks), dtype=np.uint64) + np.uint64(piece.rows.start)
        place = row | (index.astype(np.uint64) << np.uint64(32))
        return (self._hash(blocks, place, piece.number << 1)[:, 0] & np.uint64(1)).astype(np.uint8)

    def _hash(self, blocks: Blocks, place: NDArray[np.uint64], number: int) -> Blocks:
        tweaks = np.empty_like(blocks)
        tweaks[..., 0], tweaks[..., 1] = place, np.uint64(number)
        once = self._permute(blocks)
        return self._permute(once ^ tweaks) ^ once

    def _permute(self, blocks: Blocks) -> Blocks:
        return np.frombuffer(self._permutation.update(blocks.tobytes()), np.uint64).reshape(blocks.shape)


def insist_on_transfers(count: int) -> None:
    """Raise CryptoError for more transfers than a selection may have."""
    if count > MAX_TRANSFERS:
        raise CryptoError(f"a selection of {count} transfers exceeds {MAX_TRANSFERS}; take fewer rows at a time")


def _session(received: Request) -> bytes:
    return hashlib.sha256(b"partyd selection session 1" + received.points).digest()


def _parts(data: bytes, first: int, second: int) -> tuple[bytes, bytes, bytes]:
    return data[:first], data[first : first + second], data[first + second :]


def _keys(data: bytes, count: int) -> tuple[bytes, ...]:
    if len(data) != count * KEY_BYTES:
        raise CryptoError(f"{count} keys take {count * KEY_BYTES} bytes, not {len(data)}; restore a backup")
    return tuple(data[i : i + KEY_BYTES] for i in range(0, len(data), KEY_BYTES))
