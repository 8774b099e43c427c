from __future__ import annotations

import asyncio

import numpy as np
import pytest

from partyd.algorithms.secure_sum import (
    RING,
    GuestShare,
    HostShare,
    HostSum,
    SecureSumParams,
    secure_sum,
)
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

GUEST_1, HOST_1 = Address("10000", GUEST), Address("9999", HOST)


def run(x: float = 1.0, y: float = 1.0, n: int = 1000, seed: bytes = b"s") -> Run:
    data = {GUEST_1: np.full(n, x), HOST_1: np.full(n, y)}
    return asyncio.run(simulate(secure_sum, SecureSumParams(data_num=n), data, seed=seed))


def test_a_thousand_ones_on_each_side_are_two_thousand() -> None:
    done = run()
    assert done.states[GUEST_1].total == 2000.0
    assert done.states[HOST_1].total is None
    assert done.reports[GUEST_1].lines[-1] == "success to calculate secure_sum, it is 2000.0"


def test_fractions_and_negative_numbers_add_up() -> None:
    assert run(x=-2.25, y=0.125, n=10).states[GUEST_1].total == pytest.approx(-21.25, abs=1e-6)


def test_each_side_receives_what_the_file_declares() -> None:
    transcript = run().transcript
    assert transcript.kinds(to=HOST) == {GuestShare}
    assert transcript.kinds(to=GUEST) == {HostShare, HostSum}
    assert len(transcript.sent) == 3


def test_shares_look_uniform() -> None:
    """Kolmogorov-Smirnov against the uniform distribution over the ring, at a level that a sound run never misses."""
    (share,) = run(n=4000).transcript.messages(GuestShare)
    assert isinstance(share, GuestShare)
    ranks = np.sort(share.x2.astype(np.float64) / 2.0**64)
    distance = np.abs(ranks - (np.arange(4000) + 0.5) / 4000).max()
    assert distance < 1.95 / 4000**0.5
    assert len(np.unique(share.x2)) == 4000


def test_a_share_does_not_depend_on_the_numbers_alone() -> None:
    first, second = run(seed=b"a").transcript, run(seed=b"b").transcript
    (a,), (b,) = first.messages(HostShare), second.messages(HostShare)
    assert isinstance(a, HostShare)
    assert isinstance(b, HostShare)
    assert not np.any(a.y1 == b.y1)
    assert not np.any(a.y1 == RING.encode(np.ones(1)))
