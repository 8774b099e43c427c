"""Correlation across parties against numpy, and who receives what."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from partyd.algorithms.cross_correlation import (
    Columns,
    CrossCorrelationParams,
    GuestColumns,
    GuestShare,
    HostShare,
    Product,
    cross_correlation,
    unit,
)
from partyd.algorithms.guest_key import GuestKey
from partyd.errors import BadValue, DataError
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H1, H2 = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)


class InsecureParams(CrossCorrelationParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def columns(x: np.ndarray, owner: str) -> Columns:
    return Columns(x, tuple(f"{owner}_x{i}" for i in range(x.shape[1])))


def run(**data: np.ndarray) -> Run:
    of = {"guest": G, "host": H1, "other": H2}
    rows: dict[Address, object] = {of[name]: columns(x, name) for name, x in data.items()}
    return asyncio.run(simulate(cross_correlation, InsecureParams(), rows))


def correlated_tables(rows: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(8)
    base = random.normal(size=(rows, 3))
    guest = np.column_stack([base, base[:, 0] * 1e6 + random.normal(size=rows)])
    return guest, -base[:, :2] + random.normal(size=(rows, 2)) * 0.3, random.gamma(2, size=(rows, 3))


def test_every_pair_of_columns_equals_numpy() -> None:
    guest, host, other = correlated_tables()
    done = run(guest=guest, host=host, other=other)
    for peer, theirs in ((H1, host), (H2, other)):
        want = np.corrcoef(np.column_stack([guest, theirs]).T)[: guest.shape[1], guest.shape[1] :]
        assert np.allclose(done.states[G].values[str(peer)], want, atol=1e-7)
        assert np.array_equal(done.states[peer].values[str(G)], done.states[G].values[str(peer)].T)
    assert done.states[G].names == {str(H2): ["other_x0", "other_x1", "other_x2"], str(H1): ["host_x0", "host_x1"]}
    assert done.states[H1].names == {str(G): [f"guest_x{i}" for i in range(4)]}


def test_copies_opposites_and_constants() -> None:
    x = np.arange(20.0).reshape(-1, 1)
    done = run(guest=np.column_stack([x, np.full(20, 0.1)]), host=np.column_stack([-x, x]))
    assert np.allclose(done.states[G].values[str(H1)], [[-1, 1], [0, 0]], atol=1e-7)


def test_a_constant_is_found_whatever_its_size() -> None:
    assert not np.any(unit(np.full((9, 1), 0.1)))
    assert not np.any(unit(np.full((9, 1), 1e300 / 3)))
    assert np.allclose(np.sum(unit(np.array([[1e9], [1e9 + 1], [1e9]])) ** 2), 1)


def test_who_receives_what() -> None:
    guest, host, other = correlated_tables()
    transcript = run(guest=guest, host=host, other=other).transcript
    assert transcript.kinds(to=HOST) == {GuestKey, GuestColumns, GuestShare}
    assert transcript.kinds(to=GUEST) == {Product, HostShare}


def test_a_share_alone_says_nothing_of_the_product() -> None:
    """The guest's share is a mask 40 bits wider than any product: its high bits do not depend on the columns."""
    x = np.arange(30.0).reshape(-1, 1)
    shares = []
    for host in (x, -x, np.roll(x, 7)):
        sent = run(guest=x, host=host).transcript.sent
        (body,) = [s.body for s in sent if s.id.kind == "GuestShare"]
        (share,) = GuestShare.from_bytes(body).share
        shares.append(share >> 100)
    assert len(set(shares)) == 1, "the masks come from the host's seed alone, and hide all but their own bits"


@pytest.mark.parametrize(
    ("host", "error", "match"),
    [
        (np.zeros((19, 1)), DataError, "align them with psi"),
        (np.zeros((20, 11)), DataError, "take more rows or fewer columns"),
        (np.full((20, 1), np.nan), DataError, "missing"),
        (np.zeros((20, 0)), DataError, "no column"),
    ],
)
def test_rows_that_cannot_be_compared_are_refused(host: np.ndarray, error: type[Exception], match: str) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        run(guest=np.arange(20.0).reshape(-1, 1), host=host)
    assert caught.group_contains(error, match=match)


def test_names_that_repeat_are_refused() -> None:
    x = np.arange(20.0).reshape(-1, 1)
    rows: dict[Address, object] = {G: Columns(np.column_stack([x, x]), ("a", "a")), H1: columns(x, "host")}
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(cross_correlation, InsecureParams(), rows))
    assert caught.group_contains(BadValue, match="two of its columns one name")
