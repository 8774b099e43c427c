"""Sums of ciphertexts by level, each level's to powers of its own, for rows that lie in storage as units.

For rows i of ciphertexts c_i, each on one of a few levels l(i), and exponents x_(l, f) of every level and field f:

    P_f = prod_l (prod_(i on l) c_i)^(x_(l, f)) = [[sum_i x_(l(i), f) m_i]]

The product of a level is made once for all fields, and there are far fewer levels than rows, so that a row costs one
product and a power costs nothing beside. A ciphertext that is multiplied again and again is kept as a unit a (1 + t n)
(`partyd.crypto.multiexp`): a and t side by side, as long as the ciphertext was.

A partition is rows, levels and the bytes of a ciphertext, the exponents (levels x fields, int64), a level for each row
(a byte), and the units of the rows; what is shared is n.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.ciphers import CipherVector
from partyd.crypto.multiexp import finished, product_of, products_of_powers, units

HEAD = struct.Struct(">IIQ")


def units_of(vector: CipherVector) -> list[bytes]:
    """Return each ciphertext as a unit, ready to be stored."""
    half = vector.key.ciphertext_bytes // 2
    pairs = [unit for unit, _ in units(vector.raw(), vector.key.n)]
    return [b"".join([int(part).to_bytes(half, "big") for part in pair]) for pair in pairs]


def asked(exponents: NDArray[np.int64], levels: NDArray[np.uint8], stored: bytes, width: int) -> bytes:
    """Return the partition that asks for the sums of rows on ``levels`` whose units are ``stored``."""
    head = HEAD.pack(len(levels), len(exponents), width)
    return b"".join([head, np.ascontiguousarray(exponents, dtype="<i8").tobytes(), levels.tobytes(), stored])


def level_sums_part(shared: bytes, partition: bytes) -> bytes:
    """Return P_f of the rows, one for each field."""
    n = mpz.from_bytes(shared, "big")
    rows, levels, width = HEAD.unpack_from(partition)
    fields = (len(partition) - HEAD.size - rows * (1 + width)) // (8 * max(levels, 1))
    exponents = np.frombuffer(partition, dtype="<i8", count=levels * fields, offset=HEAD.size).reshape(levels, fields)
    codes = np.frombuffer(partition, dtype=np.uint8, count=rows, offset=HEAD.size + 8 * levels * fields)
    halves = _numbers(partition[HEAD.size + 8 * levels * fields + rows :], width // 2)
    order, n2 = np.argsort(codes, kind="stable"), n * n
    present, begins = np.unique(codes[order], return_index=True)
    low, high = [halves[2 * i] for i in order.tolist()], [halves[2 * i + 1] for i in order.tolist()]
    edges = [*begins.tolist(), rows]
    bases = [finished(product_of(low[a:b], n2), sum(high[a:b], mpz(0)), n) for a, b in pairwise(edges)]
    powers = products_of_powers(bases, exponents[present].astype(np.int64), n) if bases else [mpz(1)] * fields
    return b"".join([int(power).to_bytes(width, "big") for power in powers])


def joined(key_n2: mpz, answers: list[bytes], width: int) -> list[mpz]:
    """Return the products, field by field, of what several partitions gave."""
    return [product_of(field, key_n2) for field in zip(*(_numbers(answer, width) for answer in answers), strict=True)]


def _numbers(data: bytes, width: int) -> list[mpz]:
    return [mpz.from_bytes(data[i : i + width], "big") for i in range(0, len(data), width)]
