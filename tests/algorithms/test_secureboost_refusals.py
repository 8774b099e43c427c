"""What hosts and guests of vertical boosting refuse of each other: more than the job, or their own memory, has."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any, cast

import numpy as np
import pytest

from partyd.algorithms import secureboost_host as host_side
from partyd.algorithms.secureboost_messages import (
    Chosen,
    ChosenSplits,
    GuestRows,
    HostKey,
    HostRecord,
    HostRows,
    HostState,
    MaskedSums,
    Plan,
)
from partyd.algorithms.secureboost_score import Kept, Level, Question
from partyd.algorithms.secureboost_sums import Packing
from partyd.crypto.paillier import PrivateKey, generate_keypair
from partyd.crypto.prg import Prg
from partyd.errors import BadValue, DataError
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import HOST, Address
from partyd.wire.codec import Secret
from tests.algorithms.test_hetero_secureboost import InsecureParams, params

training = import_module("partyd.algorithms.hetero_secureboost")  # the package gives the names to the algorithms
scoring = import_module("partyd.algorithms.secureboost_score")
H = Address("9999", HOST)
X = np.random.default_rng(0).normal(size=(40, 3))
NOTHING = np.zeros(0, dtype=np.uint8)


class Told:
    """A party that receives what a test says, and lets its own messages go."""

    me = H
    context = b"test"

    def __init__(self, *messages: Message) -> None:
        self.messages = list(messages)

    async def recv(self, _kind: type[Message], _sender: Address | None = None) -> Message:
        return self.messages.pop(0)

    async def send(self, _message: Message, **_to: Address) -> None:
        pass

    @property
    def report(self) -> Told:
        return self

    def progress(self, *_numbers: object) -> None:
        pass

    def rng(self, label: str) -> Prg:
        return Prg(bytes(32), label)


def told(*messages: Message) -> Party:
    return cast("Party", Told(*messages))


@pytest.fixture(scope="module", name="private")
def _private() -> PrivateKey:
    return generate_keypair(512, Prg(bytes(32), "refusals"), insecure_for_tests=True)[1]


def asked(nodes: int = 0, *, begins: bool = True) -> MaskedSums:
    return MaskedSums(sums=None, nodes=nodes, begins=begins, finished=False)


def chosen(*of_tree: int, candidate: int = 0) -> ChosenSplits:
    some = [Chosen(tree=tree, candidate=candidate, rows=NOTHING, held_out=NOTHING) for tree in of_tree]
    return ChosenSplits(splits=some, columns=NOTHING)


def level(p: InsecureParams, private: PrivateKey, *messages: Message, **state: Any) -> HostState:
    data, seed = HostRows(X), bytes(32)
    offered = data.offered(p, seed)
    packing = Packing.of(private.public, len(X), p.gradient_bits, len(offered))
    begun = HostState(key=Secret(b""), seed=seed, met=True, rows=len(X)).model_copy(update=state)
    return asyncio.run(host_side._level(told(*messages), p, data, begun, private, offered, packing))


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (asked(begins=False), {}),
        (asked(begins=True), {"begun": 3}),
        (asked(begins=False), {"begun": 3, "depth": 3}),
        (asked(nodes=2), {}),
        (asked(nodes=-1), {}),
        (asked(nodes=5, begins=False), {"begun": 1, "depth": 2}),
    ],
)
def test_a_host_opens_no_more_levels_and_nodes_than_the_job_has(
    private: PrivateKey, message: MaskedSums, state: dict[str, Any]
) -> None:
    with pytest.raises(BadValue, match="the guest asks for"):
        level(params(), private, message, **state)


@pytest.mark.parametrize("splits", [chosen(0, 0), chosen(1), chosen(-1), chosen(0, candidate=99), chosen(*[0] * 9000)])
def test_a_host_splits_no_more_nodes_than_the_level_has(private: PrivateKey, splits: ChosenSplits) -> None:
    with pytest.raises(BadValue, match="check its version"):
        level(params(), private, asked(), splits)


def test_a_host_counts_levels_from_the_beginning_of_each_round(private: PrivateKey) -> None:
    state = level(params(), private, asked(), chosen(), begun=1, depth=3)
    assert (state.begun, state.depth, state.levels) == (2, 1, 1)


def test_selections_that_would_fill_the_memory_are_refused_by_name() -> None:
    host_side.insist_on_table(1_000_000, 256)
    with pytest.raises(DataError, match="lower max_depth"):
        host_side.insist_on_table(1_000_000, 512)


@pytest.mark.parametrize("changes", [{"bits": 11}, {"fields": 3}])
def test_a_host_refuses_a_plan_that_is_not_the_jobs(private: PrivateKey, changes: dict[str, int]) -> None:
    p, data = params(hide_rows=False), HostRows(X)
    plan = {"rows": len(X), "held_out": 0, "bits": 12, "fields": 2, "chunk_rows": 10} | changes
    state, offered = HostState(key=Secret(b""), seed=bytes(32)), data.offered(p, bytes(32))
    with pytest.raises(BadValue, match="against the job"):
        asyncio.run(host_side._meet(told(Plan(**plan, point=b"")), p, data, state, private, offered))


def key_with(columns: int, candidates: int) -> HostKey:
    return HostKey(key=b"", proof=b"", columns=columns, candidates=candidates, first=0, offer=b"")


def test_a_guest_takes_no_more_splits_than_the_hosts_columns_can_offer() -> None:
    p = params(max_bin=32)
    training._insist_on_offer(p, key_with(3, 3 * 64), H)
    for columns, candidates in ((3, 3 * 64 + 1), (-1, 0), (3, -1), (1 << 17, 5), (1 << 16, (1 << 20) + 1)):
        with pytest.raises(BadValue, match="lower max_bin"):
            training._insist_on_offer(p, key_with(columns, candidates), H)


def test_a_guest_takes_no_more_ciphertexts_than_its_disk_should_hold(
    private: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, rows = params(), GuestRows(X, y=np.zeros(len(X)))
    state = asyncio.run(training.start_guest(told(), p, GuestRows(X, y=np.arange(40, dtype=np.float64) % 2)))
    state = state.evolve(n={str(H): int(private.public.n)}, candidates={str(H): 40})
    training._insist_on_disk(p, rows, state, H)
    monkeypatch.setattr(training, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match="lower max_bin"):
        training._insist_on_disk(p, rows, state, H)


RECORDS = [HostRecord(column=0, threshold=0.0, missing_left=False)] * 4


@pytest.mark.parametrize(
    ("groups", "chunk"),
    [
        ([[[0, 1]], [[1]]], 1),
        ([[[0], [0]]], 1),
        ([[[0, 0]]], 1),
        ([[[4]]], 1),
        ([[[-1]]], 1),
        ([[[]]], 1),
        ([[[0, 1, 2]]], 10),
        ([[[0]]], 0),
    ],
)
def test_a_host_scores_each_of_its_splits_once_and_in_chunks_that_fit(
    groups: list[list[list[int]]], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "MOST_SIDES", 29)
    levels = [Level(groups=[np.array(group, dtype=np.int64) for group in level]) for level in groups]
    question = Question(rows=len(X), chunk_rows=chunk, levels=levels)
    with pytest.raises(BadValue):
        asyncio.run(scoring._planned(told(question), Kept(X, RECORDS)))
