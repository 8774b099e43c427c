"""Histograms against numpy's sums of the plaintexts and, ciphertext by ciphertext, against one product a row."""

from __future__ import annotations

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from partyd.crypto.histogram import Prepared, histograms
from partyd.crypto.matrix import CipherMatrix
from partyd.crypto.paillier import CipherVector, PrivateKey
from partyd.crypto.prg import Prg
from partyd.errors import CryptoError, EncodingOverflow

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
RNG = Prg(bytes(32), "histogram")


@pytest.fixture(scope="module")
def insecure_rows(insecure_key: PrivateKey) -> tuple[NDArray[np.int64], CipherVector]:
    values = np.random.default_rng(0).integers(-1000, 1001, 2000)
    return values, insecure_key.encrypt_integers(values.tolist(), 10, RNG)


def by_row(vector: CipherVector, bins: NDArray[np.int64], n_bins: int, rows: NDArray[np.intp]) -> list[mpz]:
    """One product for each row and feature."""
    sums = np.full((bins.shape[1], n_bins), mpz(1), dtype=object)
    values = vector.raw()
    for row in rows.tolist():
        for feature, each in enumerate(bins[row].tolist()):
            if each >= 0:
                sums[feature, each] = sums[feature, each] * values[row] % vector.key.n2
    return list(sums.ravel())


def in_plain(values: NDArray[np.int64], bins: NDArray[np.int64], n_bins: int) -> NDArray[np.int64]:
    columns = [np.bincount(column + 1, values, n_bins + 1)[1:] for column in bins.T]
    return np.array(columns, dtype=np.int64).reshape(-1, n_bins)


def opened(key: PrivateKey, sums: CipherMatrix) -> NDArray[np.int64]:
    return np.array(key.decrypt_integers(sums.vector), dtype=np.int64).reshape(sums.shape)


@st.composite
def tables(draw: st.DrawFn) -> tuple[NDArray[np.int64], int, NDArray[np.intp]]:
    """Bins of few or many values, some of them missing, and rows chosen from them."""
    n_bins = draw(st.sampled_from([1, 2, 3, 8, 64]))
    rows, features = draw(st.sampled_from([0, 1, 9, 300, 900])), draw(st.integers(0, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    used = rng.integers(1, n_bins + 1, features)
    bins = rng.integers(-1 if draw(st.booleans()) else 0, np.maximum(used, 1), (rows, features))
    return bins, n_bins, rng.permutation(rows)[: draw(st.integers(0, rows))]


@quick
@given(tables())
def test_sums_are_the_sums(insecure_key, insecure_rows, table):
    bins, n_bins, chosen = table
    values, vector = insecure_rows[0][: len(bins)], insecure_rows[1][: len(bins)]
    for source in (vector, Prepared(vector)):
        everything = histograms(source, bins, n_bins)
        assert np.array_equal(opened(insecure_key, everything), in_plain(values, bins, n_bins))
        part = histograms(source, bins, n_bins, chosen)
        assert part.shape == (bins.shape[1], n_bins)
        assert part.vector.raw() == by_row(vector, bins, n_bins, chosen)
        assert part.vector.bound == vector.bound * max(len(chosen), 1)


@quick
@given(arrays.arrays(np.int64, st.integers(0, 40), elements=st.integers(-1, 4)))
def test_one_feature(insecure_key, insecure_rows, bins):
    values, vector = insecure_rows[0][: len(bins)], insecure_rows[1][: len(bins)]
    sums = vector.sums_by_bin(bins, 5)
    assert insecure_key.decrypt_integers(sums) == in_plain(values, bins[:, None], 5)[0].tolist()
    assert sums.raw() == by_row(vector, bins[:, None], 5, np.arange(len(bins)))


@pytest.mark.parametrize(("features", "n_bins"), [(2, 8), (6, 2), (4, 24), (6, 12), (6, 120), (9, 120)])
def test_many_rows_in_groups_of_any_size(insecure_key, insecure_rows, features, n_bins):
    values, vector = insecure_rows
    bins = np.random.default_rng(features).integers(0, n_bins, (len(values), features))
    for source in (vector, Prepared(vector)):
        assert np.array_equal(opened(insecure_key, histograms(source, bins, n_bins)), in_plain(values, bins, n_bins))


def test_missing_values_are_counted_nowhere_or_in_a_bin_of_their_own(insecure_key, insecure_rows):
    values, vector = insecure_rows
    bins = np.random.default_rng(3).integers(-1, 4, (len(values), 3))
    bins[:700] = -1
    bins[700:, 1] = -1
    nowhere = opened(insecure_key, histograms(vector, bins, 4))
    assert np.array_equal(nowhere, in_plain(values, bins, 4))
    assert not nowhere[1].any()
    own = opened(insecure_key, histograms(vector, np.where(bins < 0, 4, bins), 5))
    assert np.array_equal(own[:, :4], nowhere)
    assert (own.sum(axis=1) == values.sum()).all()


def test_parent_minus_child_is_the_other_child(insecure_key, insecure_rows):
    values, vector = insecure_rows
    bins = np.random.default_rng(4).integers(0, 16, (len(values), 5))
    left = np.flatnonzero(bins[:, 0] < 5)
    prepared = Prepared(vector)
    parent, child = histograms(prepared, bins, 16), histograms(prepared, bins, 16, left)
    other = np.delete(np.arange(len(values)), left)
    assert np.array_equal(opened(insecure_key, parent - child), in_plain(values[other], bins[other], 16))


def test_an_empty_bin_is_hidden_before_it_leaves(insecure_key, insecure_rows):
    sums = insecure_rows[1][:4].sums_by_bin(np.array([0, 0, 2, 2]), 3)
    assert sums.raw()[1] == 1
    sent = sums.rerandomised(RNG)
    assert sent.values[1] != 1
    assert insecure_key.decrypt_integers(sent.under(insecure_key.public))[1] == 0


def test_overflow_is_refused_before_it_happens(insecure_key):
    wide = insecure_key.encrypt_integers([1] * 8, 508, RNG)
    bins = np.zeros((8, 1), dtype=np.int64)
    with pytest.raises(EncodingOverflow):
        histograms(wide, bins, 1)
    with pytest.raises(EncodingOverflow):
        wide.sums_by_bin(bins[:, 0], 1)
    assert opened(insecure_key, histograms(wide, bins, 1, np.array([3]))).tolist() == [[1]]


@pytest.mark.parametrize(
    ("bins", "n_bins", "rows"),
    [
        (np.array([[0], [2], [1]]), 2, None),
        (np.array([[0], [-2], [1]]), 2, None),
        (np.array([[0], [1]]), 2, None),
        (np.array([0, 1, 1]), 2, None),
        (np.array([[0.0], [1.0], [1.0]]), 2, None),
        (np.array([[0], [1], [1]]), 0, None),
        (np.array([[0], [1], [1]]), 1 << 17, None),
        (np.array([[0], [1], [1]]), 2, np.array([3])),
        (np.array([[0], [1], [1]]), 2, np.array([-1])),
        (np.array([[0], [1], [1]]), 2, np.array([True, False, True])),
        (np.array([[0], [1], [1]]), 2, np.array([[0]])),
    ],
)
def test_bins_and_rows_out_of_range_are_refused(insecure_rows, bins, n_bins, rows):
    with pytest.raises(CryptoError):
        histograms(insecure_rows[1][:3], bins, n_bins, rows)


def test_small_types_of_bins_count_alike(insecure_key, insecure_rows):
    bins = np.random.default_rng(5).integers(-1, 100, (2000, 2))
    expected = opened(insecure_key, histograms(insecure_rows[1], bins, 100))
    assert np.array_equal(opened(insecure_key, histograms(insecure_rows[1], bins.astype(np.int8), 100)), expected)
