"""Levels of gradients, sampling by gradient, and the hidden sums that they are made for."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from partyd.algorithms.secureboost_gradients import LEFT_OUT, goss, levels, unit
from partyd.algorithms.secureboost_sums import Packing, Spool, Summands, kept, node_sums
from partyd.crypto.paillier import generate_keypair
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, DataError
from partyd.federation.engine import Inline

RANDOM = np.random.default_rng(5)


def test_levels_are_few_and_keep_sums() -> None:
    p, y = RANDOM.random(2000), RANDOM.random(2000) < 0.3
    g, h = p - y, p * (1 - p)
    found = levels(g, h, 64, 12, np.ones(2000, dtype=np.bool_))
    assert len(found.g) == 64 == len(np.unique(found.codes))
    assert np.abs(found.g).max() <= 1 << 12
    half = RANDOM.random(2000) < 0.5
    for exact, table, size in ((g, found.g, found.g_unit), (h, found.h, found.h_unit)):
        assert (table[found.codes] * size).sum() == pytest.approx(exact.sum(), abs=0.3)
        assert (table[found.codes[half]] * size).sum() == pytest.approx(exact[half].sum(), abs=0.5)


def test_values_that_are_few_are_levels_as_they_are() -> None:
    g, h = np.array([-0.5, 0.5, 0.5, -0.5]), np.full(4, 0.25)
    found = levels(g, h, 8, 10, np.array([True, True, True, False]))
    assert found.codes.tolist()[3] == LEFT_OUT
    assert (found.g[found.codes[:3]] * found.g_unit).tolist() == [-0.5, 0.5, 0.5]
    assert (found.h[found.codes[:3]] * found.h_unit).tolist() == [0.25] * 3


def test_units_are_powers_of_two() -> None:
    assert unit(np.array([0.3, -0.9]), 10) == 2.0**-10
    assert unit(np.array([4.0]), 10) == 2.0**-7
    assert unit(np.zeros(2), 10) == 1.0


def test_goss_takes_the_steepest_and_some_of_the_others() -> None:
    g = RANDOM.normal(size=(100, 2))
    rows, factor = goss(g, 0.2, 0.1, Prg(b"s" * 32))
    steep = np.argsort(-np.abs(g).sum(axis=1))[:20]
    assert rows.sum() == 30
    assert rows[steep].all()
    assert set(factor[steep]) == {1.0}
    assert sorted(set(factor[rows].tolist())) == [1.0, 8.0]


@pytest.mark.parametrize("fields", [2, 3])
def test_hidden_sums_are_the_plain_sums(fields: int) -> None:
    public, private = generate_keypair(512, insecure_for_tests=True)
    rows, count = 40, 30
    packing = Packing.of(public, rows, 8, count)
    lefts = RANDOM.random((rows, count)) < 0.5
    hidden = private.encrypt_integers(packing.plaintexts(lefts), packing.plain_bits)
    spool = Spool()
    spool.put("host", kept(hidden, packing, 0, rows))
    stored = spool.stored("host", rows, packing.per_row, public.ciphertext_bytes)
    exponents = RANDOM.integers(-255, 256, (5, fields))
    codes = RANDOM.integers(0, 5, rows).astype(np.uint8)
    nodes = [Summands(chosen, codes[chosen], exponents) for chosen in (np.arange(rows), np.arange(3), np.arange(0))]
    sums = asyncio.run(node_sums(Inline(), public, packing, stored, nodes))
    opened = packing.opened(public, private.decrypt_residues(sums), [0] * len(sums), fields)
    for node, found in zip(nodes, opened, strict=True):
        assert np.array_equal(found, exponents[node.codes].T @ lefts[node.rows].astype(np.int64))


def test_sums_that_cannot_be_are_refused() -> None:
    public, _ = generate_keypair(512, insecure_for_tests=True)
    packing = Packing.of(public, 40, 8, 3)
    with pytest.raises(BadValue, match="do not go on"):
        packing.opened(public, [1 << 500], [0], 1)
    with pytest.raises(DataError, match="gradient_bits"):
        Packing.of(public, 1 << 500, 24, 3)
