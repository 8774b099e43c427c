from __future__ import annotations

import asyncio

import numpy as np
import pytest

from partyd.algorithms.linear_score import SCORES, HostScore, LinearScoreParams, PairSeed, Scored, linear_score
from partyd.crypto.sharing import join
from partyd.errors import BadValue
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address

G, H1, H2, H3 = Address("10000", GUEST), *(Address(str(n), HOST) for n in (9999, 9998, 9997))


def run(*parties: Address, rows: int = 50) -> tuple[Run, dict[Address, Scored]]:
    random = np.random.default_rng(5)
    data = {party: Scored(random.normal(size=(rows, 3)), random.normal(size=3)) for party in parties}
    return asyncio.run(simulate(linear_score, LinearScoreParams(), data)), data


@pytest.mark.parametrize("parties", [(G, H1), (G, H1, H2), (G, H1, H2, H3)])
def test_the_guest_has_the_sum_of_all_scores(parties: tuple[Address, ...]) -> None:
    done, data = run(*parties)
    np.testing.assert_allclose(done.states[G].z, sum(part.x @ part.w for part in data.values()), atol=1e-8)
    assert all(done.states[party].z is None for party in parties[1:])


def test_two_hosts_scores_are_noise_alone_and_right_together() -> None:
    done, data = run(G, H1, H2, rows=2000)
    sent = {s.id.source: HostScore.from_bytes(s.body).z for s in done.transcript.select(to=GUEST)}
    for host, ring in sent.items():
        assert not np.any(ring == SCORES.encode(data[host].x @ data[host].w))
        ranks = np.sort(ring.astype(np.float64) / 2.0**64)
        assert np.abs(ranks - (np.arange(2000) + 0.5) / 2000).max() < 1.95 / 2000**0.5
    together = SCORES.decode(join(*sent.values()))
    np.testing.assert_allclose(together, sum(data[h].x @ data[h].w for h in (H1, H2)), atol=1e-8)


def test_the_guest_never_sees_the_seeds() -> None:
    done, _ = run(G, H1, H2, H3)
    assert done.transcript.kinds(to=GUEST) == {HostScore}
    assert len([s for s in done.transcript.sent if s.id.kind == PairSeed.__name__]) == 3


def test_unaligned_rows_are_refused() -> None:
    data: dict[Address, object] = {G: Scored(np.ones((3, 1)), np.ones(1)), H1: Scored(np.ones((2, 1)), np.ones(1))}
    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(simulate(linear_score, LinearScoreParams(), data))
    assert caught.group_contains(BadValue, match="psi")
