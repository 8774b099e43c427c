"""Several hidden integers in one ciphertext, masked as one, so that fewer are sent and decrypted.

A ciphertext of a 2048-bit key has room for a dozen gradient entries. Entries g_i within the bound B of their vector
stand in slots of w = bits(B) + 1 bits: P = sum g_i 2^(w i), built by Horner's rule with w squarings an entry, which is
a fraction of a decryption. One uniform mask, ``MASK_BITS`` wider than P's bound, hides the whole of P: whatever the g_i
are, the sum is within a statistical distance of 2^-40 of uniform.
"""

from __future__ import annotations

from partyd.crypto.paillier import CipherVector, concatenate
from partyd.crypto.prg import Prg

MASK_BITS = 40


def slot_bits(vector: CipherVector) -> int:
    """Return the width of a slot: the entries' bits and one for the sign."""
    return vector.bound_bits + 1


def slots(vector: CipherVector) -> int:
    """Return how many entries fit one ciphertext, the mask and its carry taken off."""
    room = vector.key.capacity.bit_length() - MASK_BITS - 3
    return max(1, room // slot_bits(vector))


def pack(vector: CipherVector) -> CipherVector:
    """Return the entries of ``vector``, several to a ciphertext."""
    each, shift = slots(vector), 1 << slot_bits(vector)
    packed = []
    for start in range(0, len(vector), each):
        part = vector[start : start + each]
        total = part[-1]
        for i in range(len(part) - 2, -1, -1):
            total = total * shift + part[i]
        packed.append(total)
    return concatenate(packed)


def unpack(packed: list[int], each: int, width: int, count: int) -> list[int]:
    """Return the ``count`` entries that ``packed`` holds, ``each`` to an integer in slots of ``width`` bits."""
    entries: list[int] = []
    half, full = 1 << (width - 1), 1 << width
    for number in packed:
        rest = number
        for _ in range(min(each, count - len(entries))):
            entry = (rest + half) % full - half
            entries.append(entry)
            rest = (rest - entry) >> width
    return entries


def masked(vector: CipherVector, rng: Prg) -> tuple[CipherVector, list[int]]:
    """Add uniform masks, ``MASK_BITS`` wider than the bound, to the hidden integers; return the sums and the masks."""
    bits = vector.bound_bits + MASK_BITS
    masks = rng.integers(bits, len(vector))
    return vector.add_integers(masks, bits), masks
