"""Histograms of hidden numbers: the sum of a ``CipherVector`` over each bin of each feature.

``buckets`` does the work, with features taken in groups that share a pass over the rows. A sum costs a product modulo
n^2; ``Prepared`` makes it cheaper. It keeps the ciphertexts as units a (1 + t n) with a below n (`multiexp`), so that
the t add up and a product takes little more than half of its time. Preparing a row takes two products, so it pays for
the nodes of a tree, which see a row again and again, or for many features at once, when ``histograms`` does it by
itself.

A missing value is a bin of its own if the caller gives it one; bin -1 is counted nowhere. The sum of an empty bin is
the ciphertext 1, which hides a zero from nobody; sums are products that whoever knows the rows' ciphertexts could make
himself. As a ``CipherMatrix``, neither can be sent before ``rerandomised`` has hidden both. A parent's histogram minus
one child's is the other child's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gmpy2 import mpz
from numpy.typing import NDArray

from partyd.crypto.buckets import Bins, Codes, Factors, by_feature, checked_bins, checked_rows, plan
from partyd.crypto.ciphers import CipherVector
from partyd.crypto.matrix import CipherMatrix
from partyd.crypto.multiexp import units

CELL_COST = 1.1
"""What a product of two cells takes of a product of two rows; a tenth is for the lists of cells."""
PREPARED_CELL_COST = 1.8
"""The same, where rows are units."""
PASSES_TO_PREPARE = 8


class Prepared:
    """The rows of one vector, made ready for many histograms: it stands for ``vector`` in ``histograms``."""

    __slots__ = ("factors", "vector")

    def __init__(self, vector: CipherVector) -> None:
        ready = [unit for unit, _ in units(vector.raw(), vector.key.n)]
        self.vector, self.factors = vector, Factors([a for a, _ in ready], [t for _, t in ready], vector.key.n2)

    def __len__(self) -> int:
        return len(self.vector)


def histograms(
    source: CipherVector | Prepared, bins: Bins, n_bins: int, rows: NDArray[np.intp] | None = None
) -> CipherMatrix:
    """Return the sums (features, n_bins) of the chosen rows over the bins of each feature.

    ``bins`` (rows, features) gives each element of the vector a bin of 0..n_bins-1, or -1; ``rows`` chooses elements by
    their index, by default all. Raises CryptoError for bins or rows out of range, EncodingOverflow where a sum of so
    many rows might not fit.
    """
    vector = source.vector if isinstance(source, Prepared) else source
    chosen, key = checked_rows(rows, len(vector)), vector.key
    codes = checked_bins(bins, len(vector), n_bins, chosen)
    bound = vector.bound * max(len(codes), 1)
    key.insist_on_room(bound)
    found = _sums(source, chosen, codes, n_bins)
    values = [value for feature in range(codes.shape[1]) for value in _finished(found[feature], key.n)]
    return CipherMatrix(CipherVector(key, values, vector.exponent, bound), (codes.shape[1], n_bins))


def _sums(source: CipherVector | Prepared, chosen: Codes, codes: Codes, n_bins: int) -> dict[int, Factors]:
    """Return the sums of each feature, having prepared the rows where they have many passes ahead."""
    if isinstance(source, Prepared):
        return by_feature(source.factors.take(chosen), plan(codes, n_bins, PREPARED_CELL_COST))
    part, groups = source[chosen], plan(codes, n_bins, CELL_COST)
    if len(groups) >= PASSES_TO_PREPARE:
        return by_feature(Prepared(part).factors, plan(codes, n_bins, PREPARED_CELL_COST))
    return by_feature(Factors(part.raw(), [], part.key.n2), groups)


def _finished(sums: Factors, n: mpz) -> Sequence[mpz]:
    """Return the ciphertexts: product (1 + total n) is product + (product total mod n) n."""
    if not sums.totals:
        return sums.products
    return [(p + p % n * t % n * n) % sums.modulus for p, t in zip(sums.products, sums.totals, strict=True)]
