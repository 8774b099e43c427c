from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from partyd.algorithms.data_split import DataSplitParams, Splittable, allot, counts, data_split, draw, strata
from partyd.crypto.prg import Prg
from partyd.errors import DataError
from partyd.federation.simulate import simulate
from partyd.types import GUEST, HOST, Address

G, H = Address("1", GUEST), Address("2", HOST)


@pytest.mark.parametrize(
    ("sizes", "want"),
    [
        ({}, (8, 2, 0)),
        ({"train_size": 0.7, "test_size": 0.3}, (7, 0, 3)),
        ({"train_size": 5, "validate_size": 2}, (5, 2, 3)),
        ({"test_size": 3}, (7, 0, 3)),
        ({"train_size": 1.0}, (10, 0, 0)),
        ({"train_size": 0.25, "validate_size": 0.25, "test_size": 0.25}, (2, 2, 2)),
    ],
)
def test_sizes_as_shares_and_counts(sizes: dict[str, int | float], want: tuple[int, int, int]) -> None:
    assert counts(DataSplitParams.model_validate(sizes), 10) == want


@given(st.integers(1, 500), st.floats(0.01, 0.99))
def test_shares_that_sum_to_one_leave_no_row_out(rows: int, share: float) -> None:
    assert sum(counts(DataSplitParams(train_size=share, test_size=1 - share), rows)) == rows


def test_more_rows_than_there_are_cannot_be_taken() -> None:
    with pytest.raises(DataError, match="do not fit"):
        counts(DataSplitParams(train_size=8, test_size=8), 10)
    with pytest.raises(ValidationError):
        DataSplitParams(train_size=1.5)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.floats(0, 1), st.floats(0, 1))
def test_groups_keep_their_shares_to_within_a_row(groups: list[int], a: float, b: float) -> None:
    total = sum(groups)
    first = int(a * total)
    sizes = (first, int(b * (total - first)), total - first - int(b * (total - first)))
    shares = allot(groups, sizes)
    assert [sum(column) for column in zip(*shares, strict=True)] == list(sizes)
    assert [sum(row) for row in shares] == groups
    assert all(min(row) >= 0 for row in shares)


def test_a_random_state_fixes_the_split_and_a_seed_does_otherwise() -> None:
    def run(params: DataSplitParams, seed: bytes) -> list[int]:
        rows: list[int] = (
            asyncio.run(simulate(data_split, params, {G: Splittable(40), H: Splittable(40)}, seed=seed))
            .states[H]
            .train.tolist()
        )
        return rows

    fixed = DataSplitParams(random_state=7)
    assert run(fixed, b"a") == run(fixed, b"b")
    assert run(DataSplitParams(), b"a") != run(DataSplitParams(), b"b")


def test_a_stratified_split_that_hosts_see_is_not_drawn_from_what_they_know() -> None:
    """With the stream known, the positions would show which rows have which label."""
    label = np.array([0.0, 1.0] * 20)
    data = {G: Splittable(40, label), H: Splittable(40)}
    params = DataSplitParams(random_state=7, stratified=True)
    one, two = (asyncio.run(simulate(data_split, params, data, seed=seed)).states[H] for seed in (b"a", b"b"))
    assert one.train.tolist() != two.train.tolist()
    alone = params.model_copy(update={"hetero_sync": False})
    apart = {G: Splittable(40, label)}
    one, two = (asyncio.run(simulate(data_split, alone, apart, seed=seed)).states[G] for seed in (b"a", b"b"))
    assert one.train.tolist() == two.train.tolist()


def test_a_host_with_other_rows_is_named() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(data_split, DataSplitParams(), {G: Splittable(4), H: Splittable(5)}))
    assert caught.group_contains(DataError, match="psi")


def test_a_stratified_split_keeps_labels_in_proportion() -> None:
    label = np.array([1.0] * 20 + [0.0] * 80)
    train, validate, test = draw(
        DataSplitParams(train_size=0.5, test_size=0.5, stratified=True), Splittable(100, label), Prg(bytes(32))
    )
    assert (label[train].sum(), len(validate), label[test].sum()) == (10, 0, 10)
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(100))


def test_a_label_of_many_values_is_split_by_tenths() -> None:
    label = np.random.default_rng(4).normal(size=1000)
    parameters = DataSplitParams(train_size=0.7, test_size=0.3, stratified=True)
    train, _, test = draw(parameters, Splittable(1000, label), Prg(bytes(32), "t"))
    cuts = np.quantile(label, np.arange(1, 10) / 10)
    for rows, share in ((train, 70), (test, 30)):
        each = np.bincount(np.searchsorted(cuts, label[rows], side="right"), minlength=10)
        assert each.tolist() == pytest.approx([share] * 10, abs=1)


def test_few_values_and_missing_ones_are_strata_of_their_own() -> None:
    label = np.array([0.0, 1.0, np.nan, 1.0])
    assert strata(label).tolist() == [0.0, 1.0, np.inf, 1.0]


def test_null_sizes_are_the_defaults_of_fates_client() -> None:
    given = {"train_size": 0.6, "validate_size": 0.1, "test_size": None, "random_state": None, "stratified": False}
    assert counts(DataSplitParams.model_validate(given), 100) == (60, 10, 30)
    assert counts(DataSplitParams(train_size=200, test_size=50), 300) == (200, 50, 50)
    assert counts(DataSplitParams(train_size=0.7), 100) == (70, 0, 30)
