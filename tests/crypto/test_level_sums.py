"""Sums of ciphertexts by level, against one power of each ciphertext."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz

from partyd.crypto.level_sums import asked, joined, level_sums_part, units_of
from partyd.crypto.paillier import generate_keypair
from partyd.crypto.prg import Prg

PUBLIC, PRIVATE = generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)
WIDTH = PUBLIC.ciphertext_bytes
SHARED = int(PUBLIC.n).to_bytes(64, "big")


@pytest.mark.parametrize(("rows", "levels", "fields"), [(0, 3, 2), (1, 1, 1), (17, 5, 3), (40, 40, 2)])
def test_sums_are_those_of_single_powers_however_the_rows_are_cut(rows: int, levels: int, fields: int) -> None:
    chance = np.random.default_rng(rows)
    vector = PUBLIC.encrypt_integers(chance.integers(-9, 10, rows).tolist(), 4, Prg(bytes(32), "rows"))
    exponents = chance.integers(-(1 << 20), 1 << 20, (levels, fields))
    on = chance.integers(0, levels, rows).astype(np.uint8)
    stored = units_of(vector)
    cuts = [slice(0, rows // 3), slice(rows // 3, rows)]
    answers = [level_sums_part(SHARED, asked(exponents, on[cut], b"".join(stored[cut]), WIDTH)) for cut in cuts]
    want = [mpz(1)] * fields
    for value, level in zip(vector.raw(), on.tolist(), strict=True):
        for field in range(fields):
            want[field] = want[field] * pow(value, mpz(int(exponents[level, field])), PUBLIC.n2) % PUBLIC.n2
    assert joined(PUBLIC.n2, answers, WIDTH) == want
