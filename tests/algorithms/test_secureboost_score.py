"""Scoring boosted trees: the trained scores come out again, and hosts see nothing but oblivious transfers."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from partyd.algorithms.secureboost_score import (
    Answer,
    Choices,
    Forest,
    GuestScores,
    HiddenSides,
    HostRecord,
    Kept,
    Offer,
    Question,
    ScoreParams,
    secureboost_score,
)
from partyd.algorithms.secureboost_trees import Node, Tree
from partyd.errors import BadValue
from partyd.federation.simulate import Run, simulate
from partyd.types import GUEST, HOST, Address
from tests.algorithms.test_hetero_secureboost import params, rows, train

G, H1, H2 = Address("10000", GUEST), Address("9998", HOST), Address("9999", HOST)


def score(data: dict[Address, object], **changes: Any) -> Run:
    return asyncio.run(simulate(secureboost_score, ScoreParams(**changes), data))


def forest(run: Run, x: Any) -> Forest:
    state = run.states[G]
    return Forest(x, [Tree.from_bytes(data) for data in state.trees], 0.3, state.begin)


@pytest.mark.parametrize(("hosts", "missing"), [(1, False), (2, True)])
@pytest.mark.parametrize("chunk", [1 << 20, 700])
def test_scores_are_those_of_the_training(hosts: int, chunk: int, *, missing: bool) -> None:
    x, y = rows(missing=missing)
    run = train(params(max_depth=4), x, y, hosts=hosts)
    data: dict[Address, object] = {G: forest(run, x[:, :2]), H1: Kept(x[:, 2:], run.states[H1].records)}
    if hosts == 2:
        halves = {H1: x[:, 2:4], H2: x[:, 4:]}
        data |= {host: Kept(half, run.states[host].records) for host, half in halves.items()}
    scored = score(data, chunk_transfers=chunk)
    np.testing.assert_allclose(scored.states[G].scores, run.states[G].scores, atol=1e-12)
    assert scored.transcript.kinds(to=HOST) == {Question, Answer, Choices}
    assert scored.transcript.kinds(to=GUEST) == {Offer, HiddenSides}
    assert all(not isinstance(state, GuestScores) for address, state in scored.states.items() if address != G)


def test_trees_of_the_guest_alone_ask_hosts_for_nothing() -> None:
    nodes = [
        Node(nid=0, depth=0, left=1, right=2, owner=str(G), column=0, threshold=0.5),
        Node(nid=1, depth=1, parent=0, owner="", weight=1.0),
        Node(nid=2, depth=1, parent=0, owner="", weight=-1.0),
    ]
    x = np.array([[0.0], [1.0], [np.nan]])
    run = score({G: Forest(x, [Tree(nodes=nodes)], 0.5, np.array([0.25])), H1: Kept(x, [])})
    assert run.states[G].scores[:, 0].tolist() == [0.75, -0.25, -0.25]
    assert run.transcript.kinds(to=HOST) == {Question}
    assert not run.transcript.kinds(to=GUEST)


def test_a_split_that_the_host_does_not_have_is_refused() -> None:
    nodes = [
        Node(nid=0, depth=0, left=1, right=2, owner=str(H1), column=0, record=3),
        Node(nid=1, depth=1, parent=0, owner=""),
        Node(nid=2, depth=1, parent=0, owner=""),
    ]
    x, record = np.zeros((2, 1)), HostRecord(column=0, threshold=0.0, missing_left=False)
    with pytest.raises(ExceptionGroup) as caught:
        score({G: Forest(x, [Tree(nodes=nodes)], 0.5, np.zeros(1)), H1: Kept(x, [record])})
    assert caught.value.subgroup(BadValue) is not None


def test_paths_do_not_show_in_what_hosts_receive() -> None:
    """The same rows in another order of scores give messages of the same sizes, and columns that look random."""
    x, y = rows()
    run = train(params(), x, y)
    sizes = []
    for data in (x, x[::-1].copy()):
        scored = score({G: forest(run, data[:, :2]), H1: Kept(data[:, 2:], run.states[H1].records)})
        sizes.append([len(sent.body) for sent in scored.transcript.select(to=HOST)])
        columns = [message.columns for message in scored.transcript.messages(Choices, to=HOST)]
        ones = np.unpackbits(np.concatenate([part.ravel() for part in columns])).mean()
        assert abs(ones - 0.5) < 0.05
    assert sizes[0] == sizes[1]
