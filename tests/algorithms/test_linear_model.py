from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partyd.algorithms.linear_model import (
    Init,
    batch,
    batch_count,
    guessed_auc,
    insist_on_rows,
    linear,
    probability,
    warning,
)
from partyd.crypto.prg import Prg
from partyd.errors import DataError


def test_linear_is_the_product_whatever_the_memory_layout() -> None:
    random = np.random.default_rng(2)
    x, w = random.normal(size=(50, 7)), random.normal(size=7)
    np.testing.assert_allclose(linear(x, w), x @ w, rtol=1e-12)
    assert linear(np.asfortranarray(x), w).tobytes() == linear(x, w).tobytes()


def test_probability_neither_overflows_nor_leaves_zero_to_one() -> None:
    p = probability(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    np.testing.assert_allclose(p, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])


@given(st.integers(1, 300), st.integers(10, 100), st.integers(0, 5))
def test_the_batches_of_an_epoch_take_every_row_once(rows: int, size: int, epoch: int) -> None:
    count = batch_count(rows, size)
    taken = [batch(b"seed" * 8, rows, count, epoch * count + i) for i in range(count)]
    assert sorted(np.concatenate(taken).tolist()) == list(range(rows))
    assert max(len(t) for t in taken) <= size
    assert max(len(t) for t in taken) - min(len(t) for t in taken) <= 1


def test_every_epoch_has_the_same_batches_in_an_order_that_the_seed_gives() -> None:
    first, again, other = batch(b"s" * 32, 100, 2, 1), batch(b"s" * 32, 100, 2, 3), batch(b"t" * 32, 100, 2, 1)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_fewer_than_two_rows_a_column_are_too_few() -> None:
    insist_on_rows(20, 10)
    with pytest.raises(DataError, match="larger batches or fewer features: 2 rows a column at least"):
        insist_on_rows(19, 10)
    with pytest.raises(DataError, match="at most 20000 go; drop some"):
        insist_on_rows(1 << 20, 20_001)


@pytest.mark.parametrize("guest", [True, False])
def test_small_batches_are_warned_of_with_what_they_tell(guest: bool) -> None:
    assert warning(600, 20, guest=guest) is None
    said = warning(300, 20, guest=guest)
    assert said is not None
    assert "batches of 300 rows" in said
    assert "AUC of about 0.65" in said
    assert "docs/leakage.md" in said
    assert guessed_auc(600, 20) == pytest.approx(0.6, abs=0.005)


def test_first_weights() -> None:
    def weights(**settings: object) -> list[float]:
        first: list[float] = Init.model_validate(settings).weights(Prg(bytes(32)), 2000).tolist()
        return first

    assert set(weights()) == {0.0}
    assert set(weights(method="ones")) == {1.0}
    assert set(weights(method="const", fill_val=0.5)) == {0.5}
    assert max(np.abs(weights(method="random_uniform"))) <= 0.1
    normal = weights(method="random_normal")
    assert abs(np.mean(normal)) < 0.01
    assert np.std(normal) == pytest.approx(0.1, rel=0.1)
    assert weights(method="random_uniform", random_state=1) != weights(method="random_uniform", random_state=2)
