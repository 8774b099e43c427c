"""Several hidden integers in one ciphertext, so that fewer are encrypted, sent and decrypted.

Integers f_i with |f_i| < 2^(w_i - 1) stand in *slots* of w_i bits: P = f_0 + f_1 2^(w_0) + f_2 2^(w_0 + w_1) + ...
The lowest slot of P is f_0 modulo 2^(w_0), taken between -2^(w_0 - 1) and 2^(w_0 - 1); with it taken off, the next slot
is the lowest. So signs come out exactly, and the sum of such P unpacks to the sums of their fields as long as each
sum keeps within its slot. That is why widths come from bounds: of a field, of the number of summands, of a vector.

There are two levels, and a plaintext may have both. A ``Layout`` joins the fields of one sample (its gradient and its
hessian) before encryption; sums of these are made by multiplying ciphertexts as ever. ``pack`` joins entries of a
vector that was computed, for the key's owner to decrypt: entries within the bound B have slots of bits(B) + 1 bits,
and P is built by Horner's rule, a squaring modulo n^2 for each bit. A ciphertext of a 2048-bit key has room for 14
entries of 142 bits, or for 30 of 65, at the price of a fifteenth of a decryption for such an entry. The running product
is kept as low + high n, whose square takes three products and two reductions of half the length: three quarters to
nine tenths of what ``powmod`` takes.

``masked`` hides the whole of P behind one uniform mask, ``MASK_BITS`` wider than P's bound: whatever the entries are,
the sum is within a statistical distance of 2^-40 of uniform. That is so as long as P keeps within its bound, which
rests on whoever encrypted the summands. ``blinded`` adds a mask uniform modulo n, modulo n: what comes out is uniform
whatever stands behind it, and takes no room; only who made the mask can tell the sum from it (`unblinded`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gmpy2
import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.ciphers import CipherVector
from partyd.crypto.multiexp import products_of_pairs
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

if TYPE_CHECKING:
    from partyd.crypto.paillier import PublicKey

MASK_BITS = 40


@dataclass(frozen=True)
class Layout:
    """Slots of ``widths`` bits, the lowest first, for the signed fields of one sample and for sums of samples."""

    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.widths or min(self.widths) < 2:
            raise CryptoError(f"slots of {self.widths} bits hold no signed numbers; give each field 2 or more")

    @classmethod
    def for_sums(cls, bounds: Sequence[int], terms: int) -> Layout:
        """Return the narrowest layout for fields within ``bounds`` and sums of up to ``terms`` samples."""
        return cls(tuple((bound * max(terms, 1)).bit_length() + 1 for bound in bounds))

    @property
    def bits(self) -> int:
        """The width of all slots; the integers that ``join`` gives lie below 2^(bits - 1) in magnitude."""
        return sum(self.widths)

    def bound(self, bounds: Sequence[int], terms: int = 1) -> int:
        """Return the bound of a sum of ``terms`` samples whose fields keep within ``bounds``.

        Raises EncodingOverflow where a field's sum might leave its slot.
        """
        if len(bounds) != len(self.widths):
            raise CryptoError(f"{len(bounds)} bounds do not match {len(self.widths)} fields")
        if any(bound * terms >> (width - 1) for bound, width in zip(bounds, self.widths, strict=True)):
            raise EncodingOverflow(f"sums of {terms} fields within {tuple(bounds)} leave slots of {self.widths} bits")
        return self._at_offsets([bound * terms for bound in bounds])

    def join(self, fields: Sequence[Sequence[int] | NDArray[np.int64]]) -> list[int]:
        """Return one integer for each sample from the columns ``fields``; raises EncodingOverflow beyond a slot."""
        if len(fields) != len(self.widths):
            raise CryptoError(f"{len(fields)} columns do not match {len(self.widths)} fields")
        for column, width in zip(fields, self.widths, strict=True):
            if any(abs(int(value)) >> (width - 1) for value in column):
                raise EncodingOverflow(f"a field exceeds its slot of {width} bits; declare a larger bound")
        return [self._at_offsets(sample) for sample in zip(*fields, strict=True)]

    def split(self, integers: Sequence[int]) -> list[list[int]]:
        """Return the columns of fields that ``integers`` hold; raises CryptoError for one that no layout gave."""
        samples = [_taken_apart(int(integer), self.widths) for integer in integers]
        return [[sample[i] for sample in samples] for i in range(len(self.widths))]

    def _at_offsets(self, sample: Sequence[int]) -> int:
        total = 0
        for field, width in zip(reversed(sample), reversed(self.widths), strict=True):
            total = (total << width) + int(field)
        return total


def slot_bits(vector: CipherVector) -> int:
    """Return the width of a slot: the entries' bits and one for the sign."""
    return vector.bound_bits + 1


def slots(vector: CipherVector) -> int:
    """Return how many entries fit one ciphertext, the mask and its carry taken off."""
    room = vector.key.capacity.bit_length() - MASK_BITS - 3
    return max(1, room // slot_bits(vector))


def pack(vector: CipherVector) -> CipherVector:
    """Return the entries of ``vector``, several to a ciphertext.

    The tighter the vector's bound, the faster; where the protocol knows a smaller one, see ``within``.
    """
    each, width, key = slots(vector), slot_bits(vector), vector.key
    bound = sum(vector.bound << width * i for i in range(min(each, len(vector))))
    key.insist_on_room(bound)
    values = vector.raw()
    packed = [_horner(values[start : start + each], width, key.n) for start in range(0, len(values), each)]
    return CipherVector(key, packed, vector.exponent, bound)


def unpack(packed: Sequence[int], each: int, width: int, count: int) -> list[int]:
    """Return the ``count`` entries that ``packed`` holds, ``each`` to an integer in slots of ``width`` bits.

    Raises CryptoError for another number of integers and for one that exceeds its slots.
    """
    if len(packed) != -(-count // each):
        raise CryptoError(f"{count} entries, {each} to an integer, do not come in {len(packed)} integers; refuse them")
    entries: list[int] = []
    for number in packed:
        entries += _taken_apart(int(number), (width,) * min(each, count - len(entries)))
    return entries


def within(vector: CipherVector, bound: int) -> CipherVector:
    """Return ``vector`` at a bound that the protocol knows to hold; raises EncodingOverflow for one that is no smaller.

    The wire rounds bounds up to whole bits. Whoever encrypted the numbers must keep the promise: sums of numbers beyond
    it come out wrong for their receiver.
    """
    if bound > vector.bound:
        raise EncodingOverflow(f"{bound.bit_length()} bits are more than the vector's {vector.bound_bits}; give fewer")
    return CipherVector(vector.key, vector.raw(), vector.exponent, bound)


def masked(vector: CipherVector, rng: Prg) -> tuple[CipherVector, list[int]]:
    """Add uniform masks, ``MASK_BITS`` wider than the bound, to the hidden integers; return the sums and the masks."""
    bits = vector.bound_bits + MASK_BITS
    masks = rng.integers(bits, len(vector))
    return vector.add_integers(masks, bits), masks


def blinded_bits(key: PublicKey) -> int:
    """Return the bits that a vector under masks modulo n declares: the room of its key, for it has no bound."""
    return key.capacity.bit_length() - 1


def blinded(vector: CipherVector, rng: Prg) -> tuple[CipherVector, list[int]]:
    """Add masks uniform modulo n, modulo n, to the hidden integers; return the sums and the masks.

    To be opened by ``PrivateKey.decrypt_residues``.
    """
    key = vector.key
    masks = rng.below(int(key.n), len(vector))
    sums = products_of_pairs(vector.raw(), [1 + mask * key.n for mask in masks], key.n2)
    return CipherVector(key, sums, vector.exponent, (1 << blinded_bits(key)) - 1), masks


def unblinded(residues: Sequence[int], masks: Sequence[int], n: int) -> list[int]:
    """Return the integers behind masks modulo n, between -n / 2 and n / 2; raises CryptoError for what is no residue.

    How large they may be is for the caller to check.
    """
    if any(not 0 <= residue < n for residue in residues):
        raise CryptoError("a number that was opened is no residue modulo the key; refuse it")
    differences = [(residue - mask) % n for residue, mask in zip(residues, masks, strict=True)]
    return [value - n if value > n // 2 else value for value in differences]


def _taken_apart(number: int, widths: tuple[int, ...]) -> list[int]:
    """Return the balanced digits of ``number``, which must have no more of them than ``widths``."""
    fields, rest = [], number
    for width in widths:
        half = 1 << (width - 1)
        field = ((rest + half) & ((1 << width) - 1)) - half
        fields.append(field)
        rest = (rest - field) >> width
    if rest:
        raise CryptoError(f"an integer of {number.bit_length()} bits exceeds slots of {sum(widths)}; refuse it")
    return fields


def _horner(values: Sequence[mpz], width: int, n: mpz) -> mpz:
    """Return v_0 v_1^(2^w) v_2^(2^(2 w)) ... modulo n^2."""
    divmod_n = gmpy2.f_divmod
    high, low = divmod_n(values[-1], n)
    for value in reversed(values[:-1]):
        for _ in range(width):
            high *= low
            carry, low = divmod_n(low * low, n)
            high = (high + high + carry) % n
        b, a = divmod_n(value, n)
        high, low = high * a + low * b, low * a
        carry, low = divmod_n(low, n)
        high = (high + carry) % n
    return low + high * n
