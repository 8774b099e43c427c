from __future__ import annotations

from collections.abc import Sequence

import gmpy2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partyd.crypto.packing import MASK_BITS, Layout, blinded, masked, pack, slot_bits, slots, unblinded, unpack, within
from partyd.crypto.paillier import PrivateKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = Prg(bytes(32), "packing")


def opened(key: PrivateKey, values: Sequence[int], bits: int) -> list[int]:
    vector = key.encrypt_integers(values, bits, RNG)
    return unpack(key.decrypt_integers(pack(vector)), slots(vector), slot_bits(vector), len(vector))


@pytest.mark.parametrize("count", [1, 2, 5, 11, 12])
def test_what_is_packed_and_masked_comes_out_again(insecure_key: PrivateKey, count: int) -> None:
    values = [int(v) for v in np.random.default_rng(count).integers(-(2**40), 2**40, count)]
    values[0] = 1 - 2**40
    vector = insecure_key.encrypt_integers(values, 40)
    packed = pack(vector)
    sums, masks = masked(packed, Prg(bytes(32)))
    unmasked = [a - b for a, b in zip(insecure_key.decrypt_integers(sums), masks, strict=True)]
    assert unpack(unmasked, slots(vector), slot_bits(vector), count) == values
    assert len(packed) == -(-count // slots(vector))


def test_masks_are_forty_bits_wider_than_what_they_hide(insecure_key: PrivateKey) -> None:
    packed = pack(insecure_key.encrypt_integers([1] * 40, 40))
    _, masks = masked(packed, Prg(bytes(32)))
    widest = max(mask.bit_length() for mask in masks)
    assert packed.bound_bits + MASK_BITS - 8 < widest <= packed.bound_bits + MASK_BITS


def test_masks_modulo_n_come_off_whatever_stands_behind_them(insecure_key: PrivateKey) -> None:
    n = int(insecure_key.public.n)
    values = [0, 1, -1, 2**500, -(2**500)]
    sums, masks = blinded(insecure_key.encrypt_integers(values, 501), RNG)
    residues = insecure_key.decrypt_residues(sums)
    assert residues == [(value + mask) % n for value, mask in zip(values, masks, strict=True)]
    assert unblinded(residues, masks, n) == values
    for odd in (-1, n):
        with pytest.raises(CryptoError, match="no residue"):
            unblinded([odd], masks[:1], n)


@quick
@given(st.data(), st.integers(1, 300))
def test_any_entries_come_out_with_their_signs(insecure_key: PrivateKey, data: st.DataObject, bits: int) -> None:
    top = (1 << bits) - 1
    entry = st.one_of(st.sampled_from([0, 1, -1, top, -top]), st.integers(-top, top))
    values = data.draw(st.lists(entry, min_size=1, max_size=12))
    assert opened(insecure_key, values, bits) == values


@pytest.mark.parametrize("sign", [1, -1])
def test_full_slots_of_extremes(insecure_key: PrivateKey, sign: int) -> None:
    for bits in (1, 7, 65, 460):
        values = [sign * ((1 << bits) - 1)] * (500 // bits + 1)
        assert opened(insecure_key, values, bits) == values


def test_packing_is_shifting_and_adding(insecure_key: PrivateKey) -> None:
    vector, n2 = insecure_key.encrypt_integers([5, -6, 7], 30, RNG), insecure_key.public.n2
    a, b, c = vector.raw()
    shifted = [gmpy2.powmod(b, 1 << 31, n2), gmpy2.powmod(c, 1 << 62, n2)]
    assert pack(vector).raw() == [a * shifted[0] % n2 * shifted[1] % n2]
    assert pack(vector).exponent == vector.exponent
    assert len(pack(vector[0:0])) == 0


def test_fourteen_sums_and_more_fit_a_ciphertext(full_size_key: PrivateKey) -> None:
    sums = full_size_key.encrypt_integers([0], 72 + 69, RNG)
    assert slots(sums) == 14, "values of 2^32 at 2^-40, times factors and rows of 69 bits together"
    g_h = Layout.for_sums((1 << 20, 1 << 18), 30_000)
    vector = within(full_size_key.encrypt_integers([0], g_h.bits - 1, RNG), g_h.bound((1 << 20, 1 << 18), 30_000))
    assert slots(vector) >= 28, "sums of gradients and hessians over 30,000 rows, to a millionth"


@quick
@given(st.data(), st.lists(st.integers(2, 40), min_size=1, max_size=5))
def test_fields_come_out_of_their_slots(data: st.DataObject, widths: list[int]) -> None:
    layout, tops = Layout(tuple(widths)), [(1 << (width - 1)) - 1 for width in widths]
    columns = [
        data.draw(
            st.lists(st.one_of(st.sampled_from([0, -1, top, -top]), st.integers(-top, top)), min_size=3, max_size=3)
        )
        for top in tops
    ]
    joined = layout.join(columns)
    assert layout.split(joined) == columns
    assert all(abs(integer) < 1 << (layout.bits - 1) for integer in joined)


@quick
@given(
    st.lists(st.tuples(st.integers(-(2**20), 2**20), st.integers(0, 2**18), st.integers(-1, 1)), min_size=1, max_size=9)
)
def test_sums_of_samples_are_sums_of_fields(insecure_key: PrivateKey, samples: list[tuple[int, int, int]]) -> None:
    layout = Layout.for_sums((2**20, 2**18, 1), len(samples))
    columns = [list(column) for column in zip(*samples, strict=True)]
    vector = insecure_key.encrypt_integers(layout.join(columns), layout.bits - 1, RNG)
    (total,) = insecure_key.decrypt_integers(vector.sum())
    assert layout.split([total]) == [[sum(column)] for column in columns]


@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_sums_of_extreme_samples_fill_their_slots(insecure_key: PrivateKey, signs: tuple[int, int]) -> None:
    bounds, terms = (2**20, 2**18), 9
    layout = Layout.for_sums(bounds, terms)
    columns = [[sign * bound] * terms for sign, bound in zip(signs, bounds, strict=True)]
    rows = insecure_key.encrypt_integers(layout.join(columns), layout.bits - 1, RNG)
    sums = within(rows, layout.bound(bounds)).sum()
    assert layout.split(insecure_key.decrypt_integers(sums)) == [[terms * column[0]] for column in columns]
    assert sums.bound == layout.bound(bounds, terms) < 1 << (layout.bits - 1)


def test_both_levels(insecure_key: PrivateKey) -> None:
    bounds, rng = (2**20, 2**18), np.random.default_rng(1)
    g, h = rng.integers(-(2**20), 2**20, 60), rng.integers(0, 2**18, 60)
    layout = Layout.for_sums(bounds, 60)
    rows = within(insecure_key.encrypt_integers(layout.join([g, h]), layout.bits - 1, RNG), layout.bound(bounds))
    sums = rows.sums_by_bin(np.arange(60) % 11, 11)
    packed = pack(sums)
    assert len(packed) == 2
    entries = unpack(insecure_key.decrypt_integers(packed), slots(sums), slot_bits(sums), 11)
    assert layout.split(entries) == [[int(column[b::11].sum()) for b in range(11)] for column in (g, h)]


def test_what_would_not_fit_is_refused_beforehand(insecure_key: PrivateKey) -> None:
    layout = Layout((8, 5))
    for call in (
        lambda: layout.join([[128], [0]]),
        lambda: layout.join([[0], [-16]]),
        lambda: layout.bound((64, 1), 2),
        lambda: layout.bound((1, 1), 16),
        lambda: within(insecure_key.encrypt_integers([1], 5, RNG), 32),
        lambda: insecure_key.encrypt_integers(Layout((300, 300)).join([[0], [1]]), 599),
    ):
        with pytest.raises(EncodingOverflow):
            call()
    assert layout.bound((127, 1)) == 127 + 256


def test_wrong_shapes_and_foreign_numbers_are_refused() -> None:
    layout = Layout((8, 5))
    for call in (
        lambda: Layout(()),
        lambda: Layout((8, 1)),
        lambda: layout.join([[1]]),
        lambda: layout.bound((1,)),
        lambda: layout.split([1 << 13]),
        lambda: layout.split([-(1 << 13)]),
        lambda: unpack([1 << 20], 2, 10, 2),
        lambda: unpack([1 << 10], 2, 10, 1),
        lambda: unpack([0, 0], 2, 10, 2),
        lambda: unpack([], 2, 10, 1),
    ):
        with pytest.raises(CryptoError):
            call()
