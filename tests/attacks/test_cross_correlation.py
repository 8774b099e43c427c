"""What correlations give away of single values: as much as is declared, and to a guest that lies nothing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from partyd.algorithms.cross_correlation import (
    Columns,
    CrossCorrelationParams,
    GuestShare,
    HostShare,
    cross_correlation,
)
from partyd.algorithms.cross_correlation import unit as standardised
from partyd.errors import BadValue
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import simulate
from partyd.types import GUEST, HOST, Address
from tests.attacks.inference import Matrix, Vector

G, H = Address("10000", GUEST), Address("9999", HOST)


class InsecureParams(CrossCorrelationParams):
    """Keys that are far too short, for speed."""

    @property
    def key_bits(self) -> int:
        return 512


def correlations(guest: Matrix, host: Matrix) -> Matrix:
    """Return what the guest is told: its columns x the host's."""
    names = [tuple(f"{who}{j}" for j in range(x.shape[1])) for who, x in (("g", guest), ("h", host))]
    rows: dict[Address, object] = {G: Columns(guest, names[0]), H: Columns(host, names[1])}
    values: Matrix = asyncio.run(simulate(cross_correlation, InsecureParams(), rows)).states[G].values[str(H)]
    return values


def explained(guest: Matrix, found: Matrix, host: Vector) -> float:
    """Return how much of the variance of the host's column the guest reconstructs."""
    mine, theirs = standardised(guest), standardised(host[:, None])[:, 0]
    guess = mine @ np.linalg.lstsq(mine.T @ mine, found[:, 0], rcond=None)[0]
    return 1 - float(np.sum((theirs - guess) ** 2))


@pytest.mark.parametrize(("columns", "share"), [(4, 0.1), (12, 0.3), (20, 0.5)])
def test_columns_unrelated_to_the_peers_explain_their_share_of_it_as_declared(columns: int, share: float) -> None:
    random = np.random.default_rng(columns)
    guest, host = random.normal(size=(40, columns)), random.normal(size=(40, 1))
    assert explained(guest, correlations(guest, host), host[:, 0]) == pytest.approx(share, abs=0.15)


def test_a_column_that_is_zero_on_all_but_one_row_reads_that_row_as_declared() -> None:
    random = np.random.default_rng(1)
    host = random.normal(size=(40, 1))
    only = np.zeros((40, 1))
    only[7] = 1.0
    found = correlations(only, host)[0, 0]
    assert found * np.sqrt(39 / 40) == pytest.approx(standardised(host)[7, 0], abs=1e-6)


def test_a_guest_whose_share_cannot_be_gets_no_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, sent = Party.send, list[type[Message]]()

    async def send(self: Party, message: Message, to: Address | None = None) -> None:
        sent.append(type(message))
        if isinstance(message, GuestShare):
            message = GuestShare(share=[value + (1 << 60) for value in message.share])
        await honest(self, message, to)

    monkeypatch.setattr(Party, "send", send)
    x = np.random.default_rng(1).normal(size=(40, 2))
    with pytest.raises(ExceptionGroup) as caught:
        correlations(x, x)
    assert caught.group_contains(BadValue, match="do not go on with this peer")
    assert HostShare not in sent
