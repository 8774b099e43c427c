"""Score rows with boosted trees whose splits lie at several parties; hosts learn nothing of the rows' paths.

The guest walks every row down all trees, level by level. At a node of its own it looks at its columns. At a host's node
it needs one bit: on which side the row lies. It asks for it by oblivious selection (`partyd.crypto.selection`): for
each row and tree the host holds a bit for each of its splits of that tree at that level, the guest gets the one of the
node where the row is, or none where the row is elsewhere, and the host cannot tell which. So the guest learns the
branches of the host's splits on a row's path, as its leaf and score tell, and no others; the host learns nothing.

==============  ===========  =====================================================================================
message         from, to     what the receiver learns
==============  ===========  =====================================================================================
Question        guest, host  how many rows are scored; which of the host's splits are of one tree and level
Offer           host, guest  base transfers: nothing
Answer          guest, host  the same: nothing
Choices         guest, host  the extension of oblivious transfers: nothing
HiddenSides     host, guest  for each row, the side it takes at the host's splits on its paths
==============  ===========  =====================================================================================

Rows go in chunks; a round is one level of one chunk, with every host that has splits there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from partyd.algorithms.secureboost_columns import goes_left
from partyd.algorithms.secureboost_messages import HostRecord
from partyd.algorithms.secureboost_trees import Node, Tree
from partyd.crypto import selection
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.arrays import Floats, Ints, Octets
from partyd.wire.codec import Record, Secret

Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
CHUNK_TRANSFERS = 1 << 20
"""Transfers in a message: 16 MiB."""
MOST_SIDES = 1 << 26
"""Rows times splits in a message: 8 MiB of sides."""
MOST_LEVELS = 64


class ScoreParams(Params):
    """``chunk_transfers`` oblivious transfers are done at a time."""

    chunk_transfers: int = CHUNK_TRANSFERS


@dataclass(frozen=True)
class Forest:
    """The guest's rows and trees, tree i moving score i mod ``width``; ``begin`` is every row's first score."""

    x: Matrix
    trees: Sequence[Tree]
    learning_rate: float
    begin: NDArray[np.float64]
    zero_as_missing: bool = False

    @property
    def width(self) -> int:
        """How many scores a row has."""
        return len(self.begin)


@dataclass(frozen=True)
class Kept:
    """A host's rows, and the rules of its splits by number."""

    x: Matrix
    records: Sequence[HostRecord]
    zero_as_missing: bool = False


class Level(Record):
    """The receiver's splits at one level, tree by tree."""

    groups: list[Ints]


class Question(Message, sender=GUEST, receiver=HOST):
    """How many rows there are, how many are scored at a time, and the receiver's splits level by level."""

    rows: int
    chunk_rows: int
    levels: list[Level]


class Offer(Message, sender=HOST, receiver=GUEST):
    """What begins the session of selections."""

    points: bytes


class Answer(Message, sender=GUEST, receiver=HOST):
    """What concludes the base transfers."""

    point: bytes


class Choices(Message, sender=GUEST, receiver=HOST):
    """What is asked for in a chunk at a level, hidden."""

    columns: Octets


class HiddenSides(Message, sender=HOST, receiver=GUEST):
    """Sides behind keys."""

    sides: Octets


class GuestScores(State):
    """Where the rows under way are, and the scores of those that have arrived."""

    rows_done: int = 0
    level: int = 0
    transfers: dict[str, Secret] = Field(default_factory=dict)
    place: Ints
    scores: Floats


class HostPlan(State):
    """What the guest asked for."""

    rows: int = -1
    chunk_rows: int = 1
    rows_done: int = 0
    level: int = 0
    transfers: Secret = Secret(b"")
    levels: list[Level] = Field(default_factory=list)


async def start_guest(_party: Party, _params: ScoreParams, data: Forest) -> GuestScores:
    """Stand at the roots."""
    if bool(np.any(np.isinf(data.x))):
        raise DataError("a feature has an infinite value; mend the column before the upload")
    none = np.zeros((len(data.trees), 0), dtype=np.int64)
    return GuestScores(place=none, scores=np.tile(data.begin, (len(data.x), 1)), level=-1)


async def start_host(_party: Party, _params: ScoreParams, data: Kept) -> HostPlan:
    """Check the columns."""
    if bool(np.any(np.isinf(data.x))):
        raise DataError("a feature has an infinite value; mend the column before the upload")
    return HostPlan()


async def guest(party: Party, params: ScoreParams, data: Forest, state: GuestScores) -> GuestScores:
    """Tell the hosts what will be asked, or walk the rows of a chunk down one level."""
    plans = {peer: plan_of(data.trees, str(peer)) for peer in party.peers(HOST)}
    depth = max((len(levels) for levels in plans.values()), default=0)
    chunk = _chunk_rows(params, plans, len(data.x))
    if state.level < 0:
        for peer, levels in plans.items():
            padded = [*levels, *[Level(groups=[])] * (depth - len(levels))]  # all hosts take part in as many rounds
            await party.send(Question(rows=len(data.x), chunk_rows=chunk, levels=padded), to=peer)
        state = _begun(data, await _agreed(party, plans, state, data), chunk if depth else len(data.x))
        return state if depth and len(data.x) else _arrived(party, data, state, _walk(data, state), chunk, 0)
    walk = _walk(data, state)
    walk.own(str(party.me), state.level)
    kept: dict[Address, selection.Choice] = {}
    for peer, levels in plans.items():
        if state.level < len(levels) and levels[state.level].groups:
            questions = walk.questions(str(peer), state.level)
            chooser = selection.Chooser.from_bytes(state.transfers[str(peer)].to_bytes())
            kept[peer], columns = selection.choose(chooser, questions, _label(state))
            await party.send(Choices(columns=columns), to=peer)
    for peer, choice in kept.items():
        answers = selection.reveal(choice, (await party.recv(HiddenSides, peer)).sides)
        walk.sides(str(peer), state.level, answers)
    party.report.progress(state.rows_done * depth + (state.level + 1) * len(walk.x), len(data.x) * depth, "scoring")
    if state.level + 1 < depth:
        return state.model_copy(update={"level": state.level + 1, "place": walk.place})
    return _arrived(party, data, state, walk, chunk, depth)


async def _agreed(
    party: Party, plans: Mapping[Address, Sequence[Level]], state: GuestScores, data: Forest
) -> GuestScores:
    """Conclude the base transfers with every host that has splits."""
    transfers = dict[str, Secret]()
    for peer, levels in plans.items():
        if levels and len(data.x):
            request = selection.Request((await party.recv(Offer, peer)).points)
            chooser, point = selection.answer(request, party.rng(f"answer {peer}"))
            transfers[str(peer)] = Secret(chooser.to_bytes())
            await party.send(Answer(point=point), to=peer)
    return state.model_copy(update={"transfers": transfers})


def _walk(data: Forest, state: GuestScores) -> _Walk:
    rows = slice(state.rows_done, state.rows_done + state.place.shape[1])
    return _Walk(data, np.asarray(data.x[rows]), state.place.copy())


async def host(party: Party, _params: ScoreParams, data: Kept, state: HostPlan) -> HostPlan:
    """Take the guest's plan, or let it select the sides of one chunk at one level."""
    if state.rows < 0:
        return await _planned(party, data)
    rows = slice(state.rows_done, min(state.rows_done + state.chunk_rows, state.rows))
    groups = state.levels[state.level].groups
    if groups:
        owner, choices = selection.Owner.from_bytes(state.transfers.to_bytes()), await party.recv(Choices)
        hidden = selection.hide(owner, choices.columns, [_table(data, rows, group) for group in groups], _label(state))
        await party.send(HiddenSides(sides=hidden))
    if state.level + 1 < len(state.levels):
        return state.model_copy(update={"level": state.level + 1})
    done = {"level": 0, "rows_done": rows.stop, "finished": rows.stop == state.rows}
    party.report.progress(rows.stop, state.rows, "scoring")
    return state.model_copy(update=done)


def groups_of(trees: Sequence[Tree], owner: str, level: int) -> list[tuple[int, list[Node]]]:
    """Return a party's splits at one level by tree; trees without one are left out."""
    found = [[n for n in tree.nodes if n.owner == owner and n.depth == level] for tree in trees]
    return [(tree, nodes) for tree, nodes in enumerate(found) if nodes]


def plan_of(trees: Sequence[Tree], owner: str) -> list[Level]:
    """Return the numbers of a party's splits, level by level and tree by tree."""
    depth = 1 + max((n.depth for tree in trees for n in tree.nodes if n.owner == owner), default=-1)
    levels = [groups_of(trees, owner, level) for level in range(depth)]
    return [Level(groups=[np.array([n.record for n in nodes]) for _, nodes in groups]) for groups in levels]


class _Walk:
    """Rows on their way down: ``place`` is the node of each row in each tree."""

    def __init__(self, data: Forest, x: Matrix, place: Integers) -> None:
        self.data, self.x, self.place = data, x, place

    def own(self, me: str, level: int) -> None:
        """Walk on where the guest splits itself."""
        for tree, nodes in groups_of(self.data.trees, me, level):
            place = self.place[tree]
            for node in nodes:
                rows = np.flatnonzero(place == node.nid)
                ways = {"missing_left": node.missing_left, "zero_as_missing": self.data.zero_as_missing}
                left = goes_left(self.x[rows, node.column], node.threshold, **ways)
                place[rows] = np.where(left, node.left, node.right)

    def questions(self, host_address: str, level: int) -> list[selection.Question]:
        """Return what to ask of a host: for each of its trees at this level, at which of its splits each row is."""
        groups = groups_of(self.data.trees, host_address, level)
        return [selection.Question(len(nodes), self._at(tree, nodes)) for tree, nodes in groups]

    def sides(self, host_address: str, level: int, answers: Sequence[NDArray[np.uint8]]) -> None:
        """Walk on where the host answered."""
        groups = groups_of(self.data.trees, host_address, level)
        for (tree, nodes), left in zip(groups, answers, strict=True):
            at, children = self._at(tree, nodes), np.array([(n.right, n.left) for n in nodes])
            there = np.flatnonzero(at < len(nodes))
            self.place[tree, there] = children[at[there], left[there]]

    def scores(self) -> Matrix:
        """Return what the leaves add to the rows' first scores."""
        found = np.tile(self.data.begin, (len(self.x), 1))
        for i, (tree, place) in enumerate(zip(self.data.trees, self.place, strict=True)):
            weights = np.array([node.weight for node in tree.nodes])
            found[:, i % self.data.width] += self.data.learning_rate * weights[place]
        return found

    def _at(self, tree: int, nodes: Sequence[Node]) -> Integers:
        index = np.full(len(self.data.trees[tree].nodes), len(nodes), dtype=np.int64)
        index[[node.nid for node in nodes]] = np.arange(len(nodes))
        at: Integers = index[self.place[tree]]
        return at


def _begun(data: Forest, state: GuestScores, chunk: int) -> GuestScores:
    """Put the next rows at the roots."""
    rows = min(chunk, len(data.x) - state.rows_done)
    place = np.zeros((len(data.trees), rows), dtype=np.int64)
    return state.model_copy(update={"level": 0, "place": place})


def _arrived(party: Party, data: Forest, state: GuestScores, walk: _Walk, chunk: int, level: int) -> GuestScores:
    """Walk on to the leaves where no host is asked any more, and add them up."""
    deepest = max((n.depth for tree in data.trees for n in tree.nodes), default=0)
    for below in range(level, deepest + 1):
        walk.own(str(party.me), below)
    scores = state.scores.copy()
    done = state.rows_done + len(walk.x)
    scores[state.rows_done : done] = walk.scores()
    moved = state.model_copy(update={"scores": scores, "rows_done": done})
    return moved.model_copy(update={"finished": True}) if done == len(data.x) else _begun(data, moved, chunk)


def _chunk_rows(params: ScoreParams, plans: Mapping[Address, Sequence[Level]], rows: int) -> int:
    """Return how many rows are asked for at a time, so that no message takes more transfers or sides than it may."""
    each = [_taken(level) for levels in plans.values() for level in levels]
    transfers, sides = max([1, *(one for one, _ in each)]), max([1, *(one for _, one in each)])
    return max(1, min(rows, params.chunk_transfers // transfers, MOST_SIDES // sides))


def _taken(level: Level) -> tuple[int, int]:
    """Return how many transfers a row takes at a level, and how many sides of it are hidden."""
    sizes = [len(group) for group in level.groups]
    return selection.transfers(sizes, 1), sum(sizes)


async def _planned(party: Party, data: Kept) -> HostPlan:
    """Take the guest's plan; raises BadValue for splits that this party does not have."""
    plan = await party.recv(Question)
    if plan.rows != len(data.x):
        raise DataError(f"the guest scores {plan.rows} rows, this host has {len(data.x)}; align them with psi first")
    groups = [group for level in plan.levels for group in level.groups]
    if any(group.ndim != 1 or not len(group) for group in groups) or len(plan.levels) > MOST_LEVELS:
        raise BadValue("the guest asks for splits that this host's model does not have; use models of one training")
    asked = np.concatenate([np.zeros(0, dtype=np.int64), *groups])
    if bool(np.any((asked < 0) | (asked >= len(data.records)))) or len(np.unique(asked)) < len(asked):
        raise BadValue("the guest asks for splits that this host does not have, or twice; use models of one training")
    each = [_taken(level) for level in plan.levels]
    transfers, sides = max([1, *(one for one, _ in each)]), max([1, *(one for _, one in each)])
    most = max(1, min(selection.MAX_TRANSFERS // transfers, MOST_SIDES // sides))
    if not 1 <= plan.chunk_rows <= most:
        raise BadValue(f"the guest asks for {plan.chunk_rows} rows at a time, at most {most}; check its version")
    state = HostPlan(rows=plan.rows, chunk_rows=plan.chunk_rows, levels=plan.levels)
    if not groups or not plan.rows:
        return state.model_copy(update={"finished": not plan.levels or not plan.rows})
    sender = selection.begin(party.rng("offer"))
    await party.send(Offer(points=sender.request.points))
    owner = selection.ready(sender, (await party.recv(Answer)).point)
    return state.model_copy(update={"transfers": Secret(owner.to_bytes())})


def _label(state: GuestScores | HostPlan) -> str:
    """Return what tells this round's selection from the others."""
    return f"{state.rows_done} {state.level}"


def _table(data: Kept, rows: slice, group: Integers) -> NDArray[np.uint8]:
    """Return on which side of each split of ``group`` the rows lie: 1 for left."""
    x, records = np.asarray(data.x[rows]), [data.records[number] for number in group.tolist()]
    sides = [
        goes_left(x[:, r.column], r.threshold, missing_left=r.missing_left, zero_as_missing=data.zero_as_missing)
        for r in records
    ]
    return np.column_stack(sides).astype(np.uint8)


secureboost_score = Algorithm(
    name="secureboost_score",
    version="2",
    params=ScoreParams,
    programs={GUEST: Program(GuestScores, start_guest, guest), HOST: Program(HostPlan, start_host, host)},
    messages=(Question, Offer, Answer, Choices, HiddenSides),
    disclosures=(
        Disclosure(
            HOST,
            "how many rows are scored, and which of its own splits the model uses, in the same tree at which level",
            Question,
        ),
        Disclosure(GUEST, "nothing: requests for base transfers", Offer),
        Disclosure(HOST, "nothing: the base transfers' other half", Answer),
        Disclosure(HOST, "nothing of the rows' paths: oblivious transfers hide what is chosen", Choices),
        Disclosure(
            GUEST,
            "for every scored row, on which side of the host's splits on its paths it lies, as the leaves that it "
            "reaches tell; nothing of splits elsewhere, and no values",
            HiddenSides,
        ),
    ),
    coalitions="Two hosts together learn no more than each alone.",
)
