from __future__ import annotations

import numpy as np
import pytest

from partyd.algorithms.packing import MASK_BITS, masked, pack, slot_bits, slots, unpack
from partyd.crypto.paillier import PrivateKey, generate_keypair
from partyd.crypto.prg import Prg


@pytest.fixture(scope="module")
def insecure_key() -> PrivateKey:
    return generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)[1]


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_what_is_packed_and_masked_comes_out_again(insecure_key: PrivateKey, count: int) -> None:
    values = [int(v) for v in np.random.default_rng(count).integers(-(2**40), 2**40, count)]
    values[0] = 1 - 2**40
    vector = insecure_key.encrypt_integers(values, 40)
    packed = pack(vector)
    sums, masks = masked(packed, Prg(bytes(32)))
    opened = [a - b for a, b in zip(insecure_key.decrypt_integers(sums), masks, strict=True)]
    assert unpack(opened, slots(vector), slot_bits(vector), count) == values
    assert len(packed) == -(-count // slots(vector))


def test_masks_are_forty_bits_wider_than_what_they_hide(insecure_key: PrivateKey) -> None:
    packed = pack(insecure_key.encrypt_integers([1] * 40, 40))
    _, masks = masked(packed, Prg(bytes(32)))
    widest = max(mask.bit_length() for mask in masks)
    assert packed.bound_bits + MASK_BITS - 8 < widest <= packed.bound_bits + MASK_BITS
