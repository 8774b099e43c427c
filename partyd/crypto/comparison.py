"""Compare 64-bit numbers of two parties: both learn less, equal or greater for each pair, and nothing else.

A garbled circuit with free XOR (Kolesnikov and Schneider 2008) and half gates (Zahur, Rosulek and Evans, "Two halves
make a whole", EUROCRYPT 2015, figure 2), all comparisons of a run side by side in numpy arrays. The evaluator's
labels come from correlated oblivious transfer whose offset s is the circuit's Delta: q_j is the label of 0 and q_j
xor s that of 1, and the evaluator holds t_j, the label of its bit, without another message. The garbler's active
labels are a public pseudorandom stream; their labels of 0 are that xor x Delta.

Circuit, for x of the garbler and y of the evaluator, bit 0 lowest: e_i = not (x_i xor y_i); c_0 = 0 and c_{i+1} =
y_i xor ((y_i xor c_i) and e_i), so that c_64 = [x < y]; [x = y] is the conjunction of all e_i, as a tree. That is 64
+ 63 gates of 32 bytes. Outputs c_64 and [x = y] together are the three-way answer.

Four messages: request (garbler), choice (evaluator), garbled tables (garbler), answer (evaluator). The steps are
pure:

| step | who | function | message out | bytes |
|---|---|---|---|---|
| 1 | garbler | ``request`` (of ``oblivious``) | ``Request`` | 8,192 |
| 2 | evaluator | ``choose`` | ``Choice`` | 32 + 1,024 n |
| 3 | garbler | ``garble`` | ``Garbled`` | 32 + 4,066 n |
| 4 | evaluator | ``evaluate`` | ``Answer`` | 32 n |
| 5 | garbler | ``finish`` | | |

Security: semi-honest parties. What the receiver of each message learns: of ``Request`` and ``Choice`` nothing (base
transfers under the Diffie-Hellman assumption, the extension's PRG); of ``Garbled`` the evaluator learns its output
bits (half gates' simulator, with the tweakable circular correlation robust hash of Guo, Katz, Wang and Yu,
"Efficient and secure multiparty computation from fixed-key block ciphers", S&P 2020, section 7.4: H(x, i) = p(p(x)
xor i) xor p(x), p = AES-128 under a key that is drawn for each run); of ``Answer`` the garbler learns the same bits,
and no others can be claimed without guessing a label. Not covered is who deviates: a garbler can garble another
circuit, whose two output bits are any function of y; an evaluator can put other bits into some columns of its choice,
learn bits of Delta from whether the garbler accepts the answer, and with Delta read x out of the labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import ECB
from numpy.typing import NDArray

from partyd.crypto.oblivious import Blocks, Extension, Request, Sender, extend, offset_block, receive, request
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError

__all__ = ["Answer", "Choice", "Garbled", "Request", "choose", "evaluate", "finish", "garble", "ordered", "request"]

BITS = 64
GATES = 2 * BITS - 1
MAX_COUNT = 1 << 14
"""Comparisons in one run: bounds the tables to 64 MiB."""
BLOCK = 1024
"""Comparisons garbled side by side: as many as the processor's cache holds."""
Words = NDArray[np.uint64]
Order = NDArray[np.int8]
"""-1 where the garbler's number is less, 0 where equal, 1 where greater."""

Choice = Extension


@dataclass(frozen=True)
class Garbled:
    """Garbler to evaluator: hash key, seed of the garbler's labels, two blocks per gate, colours of the outputs."""

    key: bytes
    seed: bytes
    tables: Blocks
    colours: NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """Evaluator to garbler: the active labels of both outputs."""

    labels: Blocks


def ordered(values: NDArray[np.int64]) -> Words:
    """Return unsigned numbers in the same order as signed ``values``."""
    return values.astype(np.uint64) ^ np.uint64(1 << 63)


def choose(values: Words, received: Request, prg: Prg) -> tuple[Blocks, Choice]:
    """Step 2: return the evaluator's labels, to keep for step 4, and the message that lets the garbler make them."""
    _insist_on_words(values)
    return extend(_bits_of(values), received, prg)


def garble(sender: Sender, values: Words, choice: Choice, prg: Prg) -> tuple[Blocks, Garbled]:
    """Step 3: return the outputs' labels of 0, to keep for step 5, and the garbled circuit."""
    _insist_on_words(values)
    delta = offset_block(sender)
    key, seed = prg.take(16), prg.take(16)
    theirs = receive(sender, choice, (BITS, len(values)))
    ours = _garbler_labels(seed, len(values)) ^ (_bits_of(values)[..., None] * delta)
    tables = np.empty((GATES, 2, len(values), 2), np.uint64)
    zeros = _by_blocks(_Garbler(_Hash(key), delta, tables), ours ^ theirs ^ delta, theirs)
    return zeros, Garbled(key, seed, tables, (zeros[..., 0] & np.uint64(1)).astype(np.uint8))


def evaluate(labels: Blocks, garbled: Garbled) -> tuple[Order, Answer]:
    """Step 4: return the answer, and its labels for the garbler; ``labels`` are those of step 2.

    Raises CryptoError if the garbled circuit is not one for as many comparisons.
    """
    count = labels.shape[1]
    if garbled.tables.shape != (GATES, 2, count, 2) or garbled.tables.dtype != np.uint64:
        raise CryptoError(f"the garbled circuit is not one of {count} comparisons; refuse the message")
    if len(garbled.key) != 16 or len(garbled.seed) != 16:
        raise CryptoError("the garbled circuit lacks its key or its seed; refuse the message")
    colours = garbled.colours
    if colours.shape != (2, count) or colours.dtype != np.uint8 or bool(np.any(colours > 1)):
        raise CryptoError(f"the garbled circuit's output colours are not two bits for each of {count}; refuse it")
    half_gates = _Evaluator(_Hash(garbled.key), garbled.tables)
    active = _by_blocks(half_gates, _garbler_labels(garbled.seed, count) ^ labels, labels)
    bits = (active[..., 0] & np.uint64(1)).astype(np.uint8) ^ colours
    return _order(bits), Answer(active)


def finish(sender: Sender, zeros: Blocks, answer: Answer) -> Order:
    """Step 5: return the answer from the labels; raises CryptoError if one is no label of its output."""
    if answer.labels.shape != zeros.shape or answer.labels.dtype != np.uint64:
        raise CryptoError(f"the answer does not hold two labels for each of {zeros.shape[1]} comparisons")
    ones = np.all(answer.labels == zeros ^ offset_block(sender), axis=2)
    if not bool(np.all(ones | np.all(answer.labels == zeros, axis=2))):
        raise CryptoError("the answer holds a label that the circuit cannot give; refuse the peer's result")
    return _order(ones.astype(np.uint8))


class _Hash:
    """H(x, i) = p(p(x) xor i) xor p(x) on arrays of blocks."""

    def __init__(self, key: bytes) -> None:
        self._permutation = Cipher(AES128(key), ECB()).encryptor()  # noqa: S305 - a fixed-key permutation, not encryption

    def __call__(self, blocks: Blocks, tweaks: Blocks) -> Blocks:
        once = self._permute(blocks)
        return self._permute(once ^ tweaks) ^ once

    def _permute(self, blocks: Blocks) -> Blocks:
        return np.frombuffer(self._permutation.update(blocks.tobytes()), np.uint64).reshape(blocks.shape)


class _Garbler:
    """Garble AND gates on labels of 0 of shape (gates, comparisons, 2) into ``tables``."""

    def __init__(self, hashed: _Hash, delta: Blocks, tables: Blocks) -> None:
        self._hash, self._delta, self._tables = hashed, delta, tables

    def conjunction(self, a: Blocks, b: Blocks, gates: slice, block: slice) -> Blocks:
        left, right = _tweaks(gates, block)
        both = np.stack([a, a ^ self._delta, b, b ^ self._delta])
        a0, a1, b0, b1 = self._hash(both, np.stack([left, left, right, right]))
        colour_a, colour_b = _colour(a), _colour(b)
        generator = a0 ^ a1 ^ (colour_b & self._delta)
        evaluator = b0 ^ b1 ^ a
        self._tables[gates, 0, block], self._tables[gates, 1, block] = generator, evaluator
        zeros: Blocks = a0 ^ (colour_a & generator) ^ b0 ^ (colour_b & (evaluator ^ a))
        return zeros


class _Evaluator:
    """Evaluate the same gates on active labels."""

    def __init__(self, hashed: _Hash, tables: Blocks) -> None:
        self._hash, self._tables = hashed, tables

    def conjunction(self, a: Blocks, b: Blocks, gates: slice, block: slice) -> Blocks:
        left, right = _tweaks(gates, block)
        hash_a, hash_b = self._hash(np.stack([a, b]), np.stack([left, right]))
        generator, evaluator = self._tables[gates, 0, block], self._tables[gates, 1, block]
        active: Blocks = hash_a ^ (_colour(a) & generator) ^ hash_b ^ (_colour(b) & (evaluator ^ a))
        return active


def _by_blocks(half_gates: _Garbler | _Evaluator, same: Blocks, theirs: Blocks) -> Blocks:
    """Return the outputs' labels of all comparisons, BLOCK of them at a time."""
    outputs, count = np.empty((2, theirs.shape[1], 2), np.uint64), theirs.shape[1]
    for start in range(0, count, BLOCK):
        block = slice(start, min(start + BLOCK, count))
        outputs[:, block] = _circuit(half_gates, same[:, block], theirs[:, block], block)
    return outputs


def _circuit(half_gates: _Garbler | _Evaluator, same: Blocks, theirs: Blocks, block: slice) -> Blocks:
    """Return the labels of [x < y] and [x = y] from those of e_i and y_i, lowest bit first."""
    less = np.zeros_like(theirs[:1])
    for i in range(BITS):
        y, e = theirs[i : i + 1], same[i : i + 1]
        less = y ^ half_gates.conjunction(y ^ less, e, slice(i, i + 1), block)
    gate = BITS
    while len(same) > 1:
        gates = slice(gate, gate + len(same) // 2)
        same = half_gates.conjunction(same[0::2], same[1::2], gates, block)
        gate = gates.stop
    return np.concatenate([less, same])


def _tweaks(gates: slice, block: slice) -> tuple[Blocks, Blocks]:
    """Return a block for each half of each gate of each comparison, none twice in a run."""
    left = np.empty((gates.stop - gates.start, block.stop - block.start, 2), np.uint64)
    left[..., 0] = 2 * np.arange(gates.start, gates.stop, dtype=np.uint64)[:, None]
    left[..., 1] = np.arange(block.start, block.stop, dtype=np.uint64)
    right = left.copy()
    right[..., 0] += np.uint64(1)
    return left, right


def _colour(labels: Blocks) -> Blocks:
    """Return all ones where a label's lowest bit is set, else zeros; to mask blocks with."""
    mask: Blocks = np.negative(labels[..., :1] & np.uint64(1))
    return mask


def _garbler_labels(seed: bytes, count: int) -> Blocks:
    return Prg(seed, "garbler labels").uint64((BITS, count, 2))


def _bits_of(values: Words) -> NDArray[np.uint8]:
    shifts = np.arange(BITS, dtype=np.uint64)[:, None]
    return ((values[None, :] >> shifts) & np.uint64(1)).astype(np.uint8)


def _order(bits: NDArray[np.uint8]) -> Order:
    less, equal = bits[0].astype(np.int8), bits[1].astype(np.int8)
    if bool(np.any(less & equal)):
        raise CryptoError("a pair is both less and equal, which no circuit of ours says; refuse the peer's result")
    order: Order = np.int8(1) - equal - np.int8(2) * less
    return order


def _insist_on_words(values: Words) -> None:
    if values.dtype != np.uint64 or values.ndim != 1:
        raise CryptoError(
            f"compare a vector of unsigned 64-bit integers, not {values.dtype} of {values.ndim} dimensions"
        )
    if len(values) > MAX_COUNT:
        raise CryptoError(f"{len(values)} comparisons exceed {MAX_COUNT} a run; split them")
