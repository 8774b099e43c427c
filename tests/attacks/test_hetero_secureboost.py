"""What a host of hetero_secureboost can infer of the labels, from all that it receives, decrypts and keeps."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest
from sklearn.datasets import load_breast_cancer

from partyd.algorithms.he_parameters import HIDING
from partyd.algorithms.hetero_secureboost import hetero_secureboost
from partyd.algorithms.secureboost_messages import (
    ChosenSplits,
    GuestRows,
    HostRecord,
    HostRows,
    MaskedSums,
    OpenedSums,
    Plan,
    flags_of,
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.crypto.paillier import PublicKey
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address
from tests.attacks.inference import auc_either_way, cosines, norms

G, H = Address("10000", GUEST), Address("9999", HOST)
Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
MOST = 0.55
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "sampled by gradient": {"goss": True, "top_rate": 0.3, "other_rate": 0.3},
    "first tree of the guest alone": {"complete_secure": 1},
}


class InsecureParams(SecureBoostParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def trained(guest: Matrix, host: Matrix, y: Vector, **changes: Any) -> Run:
    small = {"num_trees": 3, "max_depth": 3, "max_bin": 8}
    params = InsecureParams.model_validate(small | changes)
    return asyncio.run(simulate(hetero_secureboost, params, {G: GuestRows(guest, y=y), H: HostRows(host)}))


@cache
def rows() -> tuple[Matrix, Matrix, Vector]:
    """A guest whose first column tells much of the label, and a host whose columns tell nothing."""
    random = np.random.default_rng(0)
    y = (random.random(1000) < 0.5).astype(np.float64)
    guest = np.column_stack([y + 0.7 * random.normal(size=1000), random.normal(size=1000)])
    return guest, random.normal(size=(1000, 5)), y


@cache
def unrelated(variant: str) -> Run:
    return trained(*rows(), **VARIANTS[variant])


@cache
def with_rows_told() -> Run:
    return trained(*rows(), hide_rows=False)


def sides(records: list[HostRecord], x: Matrix) -> Matrix:
    """Return 1 and -1 for the sides of the host's rows at the splits that were chosen."""
    return np.column_stack([np.where(x[:, r.column] <= r.threshold, 1.0, -1.0) for r in records])


def nodes_told(run: Run, count: int) -> Matrix:
    """Return 1 for the rows of each node that the host was told."""
    told = [split for message in run.transcript.messages(ChosenSplits, to=H) for split in message.splits]
    return np.column_stack([flags_of(split.rows, count).astype(np.float64) for split in told])


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_chosen_splits_of_unrelated_columns_tell_no_labels(variant: str) -> None:
    _, x, y = rows()
    run = unrelated(variant)
    table = sides(run.states[H].records, x)
    assert table.shape[1] >= 3
    for guess in (norms(table), cosines(table), table.sum(axis=1), *table.T):
        assert auc_either_way(y, guess) <= MOST


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_what_a_host_receives_tells_no_rows_apart(variant: str) -> None:
    _, _, y = rows()
    run = unrelated(variant)
    assert run.transcript.kinds(to=HOST) == {Plan, MaskedSums, ChosenSplits}
    guesses = np.zeros((len(y), 0))
    for message in run.transcript.messages(ChosenSplits, to=H):
        assert isinstance(message, ChosenSplits)
        assert not any(split.rows.size or split.held_out.size for split in message.splits)
        if message.columns.size:
            bits = np.unpackbits(message.columns, axis=1, bitorder="little")
            width = bits.shape[1] // len(y)
            transfers = bits[:, : len(y) * width].reshape(128, len(y), width)
            guesses = np.column_stack([guesses, transfers.transpose(1, 0, 2).reshape(len(y), -1).astype(np.float64)])
    assert guesses.shape[1] >= 128
    for guess in (norms(guesses), cosines(guesses)):
        assert auc_either_way(y, guess) <= MOST


def test_what_a_host_decrypts_is_uniform() -> None:
    run = unrelated("default")
    n = next(iter(run.states[G].n.values()))
    values = [value for message in run.transcript.messages(OpenedSums) for value in message.values]
    shares = np.array([value / n for value in values])
    assert len(shares) > 40
    assert kstest(shares, "uniform").pvalue > 1e-3
    assert abs(float(np.corrcoef(shares[:-1], shares[1:])[0, 1])) < 4 / np.sqrt(len(shares))


def test_the_first_tree_of_the_guest_alone_is_grown_without_asking_hosts() -> None:
    begins = [message.begins for message in unrelated("first tree of the guest alone").transcript.messages(MaskedSums)]
    assert sum(begins) == 2
    assert sum(message.begins for message in unrelated("default").transcript.messages(MaskedSums)) == 3


def test_nodes_rows_follow_the_label_as_declared_where_the_job_tells_them() -> None:
    guest, x, y = rows()
    told = nodes_told(with_rows_told(), len(x))
    best = max(
        auc_either_way(y, (guest[:, 0] <= cut).astype(np.float64)) for cut in np.quantile(guest[:, 0], [0.4, 0.5])
    )
    found = max(auc_either_way(y, guess) for guess in (norms(told), cosines(told), *told.T))
    assert 0.6 < found < best + 0.02
    (words,) = [d.learns for d in hetero_secureboost.disclosures if d.source is ChosenSplits]
    assert "hide_rows to false" in words
    assert "follow the label" in words


def test_splits_of_columns_that_predict_the_label_predict_it() -> None:
    x, y = load_breast_cancer(return_X_y=True)
    run = trained(x[:, :10], x[:, 20:], y.astype(np.float64), num_trees=2)
    assert 0.9 < auc_either_way(y.astype(np.float64), cosines(sides(run.states[H].records, x[:, 20:]))) < 1.0


@pytest.mark.parametrize("by_hosts", ["djn256", "djn448", "djn_half", "full"])
def test_the_guests_randomness_is_far_longer_than_the_hosts_sums_of_exponents(by_hosts: Any) -> None:
    n = (1 << 2048) - 1942289
    of_host, of_guest = PublicKey(n, by_hosts), PublicKey(n, HIDING[by_hosts])
    if of_guest.obfuscation == "full":  # uniform, whatever stands beside it
        return
    gradient_bits, row_bits = 24, 31
    sums_bits = 8 * of_host.exponent_bytes + gradient_bits + row_bits
    assert 8 * of_guest.exponent_bytes >= sums_bits + 128
