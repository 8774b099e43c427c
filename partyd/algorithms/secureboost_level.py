"""One level of the guest's trees: have sums opened, choose splits, part the rows of every open node."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import secureboost_guest as grow
from partyd.algorithms.arbiter_key import public_key
from partyd.algorithms.secureboost_columns import Candidates, Columns
from partyd.algorithms.secureboost_gradients import LEFT_OUT
from partyd.algorithms.secureboost_host import MOST_NODES, NOTHING, insist_on_table
from partyd.algorithms.secureboost_messages import (
    Chosen,
    ChosenSplits,
    GuestRows,
    GuestState,
    MaskedSums,
    OpenedSums,
    Sides,
    bits_of,
    flags_of,
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Packing, Summands, node_sums
from partyd.algorithms.secureboost_trees import Best, Node
from partyd.crypto import selection
from partyd.crypto.packing import blinded
from partyd.crypto.paillier import Ciphertexts, PublicKey
from partyd.errors import BadValue, DataError
from partyd.federation.party import Party
from partyd.types import HOST, Address

Integers = NDArray[np.int64]
Sided = NDArray[np.bool_]
Choice = tuple[str, Best]
"""Whose split of a node is best (an address; empty for none), and which."""


def host_key(params: SecureBoostParams, n: int) -> PublicKey:
    return public_key(n, params.he_param.hiding)


def file_of(peer: Address) -> str:
    return f"sides-{peer.party_id}"


async def opened(
    party: Party,
    params: SecureBoostParams,
    data: GuestRows,
    state: GuestState,
    packings: dict[str, Packing],
    fronts: list[grow.Frontier],
    builders: set[Address],
) -> GuestState:
    """Have the hosts open the sums of the nodes that are to be weighed, and complete them by subtraction."""
    asked: dict[Address, tuple[list[tuple[grow.Frontier, int]], list[int]]] = {}
    for peer in party.peers(HOST):
        name, masks, sums = str(peer), list[int](), None
        takes_part = peer in builders and state.candidates[name] > 0
        nodes = [(f, nid) for f in fronts for nid in grow.wanted(params, state, name, f)] if takes_part else []
        if len(nodes) > MOST_NODES:
            raise DataError(f"a level has {len(nodes)} nodes to weigh, at most {MOST_NODES}; lower max_depth")
        if nodes:
            hidden, masks = await _hidden_sums(party, params, data, state, packings[name], peer, nodes)
            sums = hidden
        message = MaskedSums(sums=sums, nodes=len(nodes), begins=state.fresh, finished=False)
        await party.send(message, to=peer)
        asked[peer] = nodes, masks
    for peer in asked:  # what the next level may need is made ready while hosts decrypt
        nodes_below = sum(len(front) for front in fronts)
        wanted = nodes_below * packings[str(peer)].per_row * params.fields
        party.obfuscators(host_key(params, state.n[str(peer)]), wanted)
    allowed, known = dict(state.allowed), dict[str, Integers]()
    for peer, (nodes, masks) in asked.items():
        name, reply = str(peer), await party.recv(OpenedSums, peer)
        if len(reply.values) != len(masks):
            raise BadValue(f"{peer} opened {len(reply.values)} sums of {len(masks)}; check its version")
        if state.fresh and len(reply.allowed):
            if reply.allowed.shape != (-(-state.candidates[name] // 8),):
                raise BadValue(f"{peer} allows candidates that it did not offer; check its version")
            allowed[name] = flags_of(reply.allowed, state.candidates[name]).astype(np.uint8)
        opened = (
            packings[name].opened(host_key(params, state.n[name]), reply.values, masks, params.fields) if masks else []
        )
        for front in fronts:
            mine = {nid: sums for (f, nid), sums in zip(nodes, opened, strict=True) if f.tree == front.tree}
            known |= grow.completed(state, name, front, mine)
    return state.evolve(allowed=allowed, sums=known, fresh=False)


async def _hidden_sums(
    party: Party,
    params: SecureBoostParams,
    data: GuestRows,
    state: GuestState,
    packing: Packing,
    peer: Address,
    nodes: list[tuple[grow.Frontier, int]],
) -> tuple[Ciphertexts, list[int]]:
    """Return the masked sums of ``nodes`` for a host, and the masks."""
    key = host_key(params, state.n[str(peer)])
    stored = data.spool.stored(file_of(peer), len(data.y), packing.per_row, key.ciphertext_bytes)
    summands = []
    for front, nid in nodes:
        codes = state.codes[front.tree]
        rows = np.flatnonzero((state.place[front.tree] == nid) & (codes != LEFT_OUT))
        table = grow.exponents(state, front.tree, counts=params.fields == 3)
        summands.append(Summands(rows, codes[rows], table))
    sums = await node_sums(party.engine, key, packing, stored, summands)
    hidden, masks = blinded(sums, party.rng(f"masks {peer}"))
    return await party.ciphers.rerandomised(hidden), masks


def choices_of(
    party: Party,
    params: SecureBoostParams,
    state: GuestState,
    columns: Columns,
    own: Candidates,
    fronts: list[grow.Frontier],
    builders: set[Address],
) -> list[list[Choice]]:
    """Return for every tree and open node whose split is best, and which."""
    found = []
    for front in fronts:
        best: list[Choice] = [("", Best())] * len(front)
        offers = [(str(party.me), grow.own_best(params, state, columns, own, front))] if party.me in builders else []
        offers += [
            (str(peer), grow.host_best(params, state, str(peer), front))
            for peer in party.peers(HOST)
            if peer in builders
        ]
        for name, splits in offers:
            best = [(name, new) if new.gain > old[1].gain else old for old, new in zip(best, splits, strict=True)]
        found.append(best)
    return found


async def divided(
    party: Party,
    params: SecureBoostParams,
    data: GuestRows,
    state: GuestState,
    columns: Columns,
    own: Candidates,
    fronts: list[grow.Frontier],
    choices: list[list[Choice]],
    *,
    ask: bool,
) -> GuestState:
    """Split every open node by its best split, here or at its host; those without one become leaves."""
    todo = [
        (front.tree, nid, choice)
        for front, best in zip(fronts, choices, strict=True)
        for nid, choice in zip(front.nids.tolist(), best, strict=True)
    ]
    rules: dict[tuple[int, int], tuple[Node, Sided, Sided]] = {}
    for tree, nid, (name, best) in todo:
        if name == str(party.me):
            rows, held = np.flatnonzero(state.place[tree] == nid), np.flatnonzero(state.held_place[tree] == nid)
            rule, left = grow.own_split(columns, own, best, rows, party.me)
            rules[tree, nid] = rule, left, grow.held_sides(params, data, rule, held)
    waiting = {}
    for peer in party.peers(HOST) if ask else []:
        mine = [(tree, nid, best) for tree, nid, (name, best) in todo if name == str(peer)]
        waiting[peer] = mine, await _chosen(party, params, state, peer, mine)
    for peer, (mine, choice) in waiting.items():
        reply = await party.recv(Sides, peer)
        if len(reply.splits) != len(mine):
            raise BadValue(f"{peer} split {len(reply.splits)} nodes of {len(mine)}; check its version")
        lefts = _lefts(state, data, reply, [(tree, nid) for tree, nid, _ in mine], choice)
        for (tree, nid, _), split, (left, held_left) in zip(mine, reply.splits, lefts, strict=True):
            if not 0 <= split.column < state.columns[str(peer)] or split.record < 0:
                raise BadValue(f"{peer} splits by a column that it does not have; check its version")
            rule = Node(nid=0, depth=0, owner=str(peer), column=split.column, record=split.record)
            rules[tree, nid] = rule, left, held_left
    for tree, nid, (name, best) in todo:
        if not name:
            state = grow.closed(state, tree, [nid])
            continue
        rule, left, held_left = rules[tree, nid]
        state = grow.divided(state, tree, nid, rule.evolve(gain=best.gain), left, held_left)
    return state


async def _chosen(
    party: Party,
    params: SecureBoostParams,
    state: GuestState,
    peer: Address,
    mine: list[tuple[int, int, Best]],
) -> selection.Choice | None:
    """Tell a host which of its splits are chosen; return what opens its answer where rows are hidden."""
    if not params.hide_rows:
        named = [
            Chosen(
                tree=tree,
                candidate=best.candidate,
                rows=bits_of(state.place[tree] == nid),
                held_out=bits_of(state.held_place[tree] == nid),
            )
            for tree, nid, best in mine
        ]
        await party.send(ChosenSplits(splits=named, columns=NOTHING), to=peer)
        return None
    chosen = [Chosen(tree=tree, candidate=best.candidate, rows=NOTHING, held_out=NOTHING) for tree, _, best in mine]
    if not mine:
        await party.send(ChosenSplits(splits=[], columns=NOTHING), to=peer)
        return None
    insist_on_table(len(state.place[0]) + len(state.held_place[0]), len(mine))
    questions = []
    for tree, nids in _by_tree([(tree, nid) for tree, nid, _ in mine]):
        place = np.concatenate([state.place[tree], state.held_place[tree]])
        index = np.full(len(state.growing[tree].nodes), len(nids), dtype=np.int64)
        index[nids] = np.arange(len(nids))
        questions.append(selection.Question(len(nids), index[place]))
    chooser = selection.Chooser.from_bytes(state.transfers[str(peer)].to_bytes())
    choice, sent = selection.choose(chooser, questions, str(state.levels))
    await party.send(ChosenSplits(splits=chosen, columns=sent), to=peer)
    return choice


def _by_tree(mine: list[tuple[int, int]]) -> list[tuple[int, list[int]]]:
    """Return the nodes of each tree."""
    return [(tree, [nid for t, nid in mine if t == tree]) for tree in dict.fromkeys(tree for tree, _ in mine)]


def _lefts(
    state: GuestState,
    data: GuestRows,
    reply: Sides,
    mine: list[tuple[int, int]],
    choice: selection.Choice | None,
) -> list[tuple[Sided, Sided]]:
    """Return for each node that a host split which rows and which held-out rows in it go left."""
    found, rows = [], len(data.y)
    if choice is not None:
        sides = dict(zip((tree for tree, _ in _by_tree(mine)), selection.reveal(choice, reply.hidden), strict=True))
        for tree, nid in mine:
            left = sides[tree].astype(np.bool_)
            found.append((left[:rows][state.place[tree] == nid], left[rows:][state.held_place[tree] == nid]))
        return found
    for (tree, nid), split in zip(mine, reply.splits, strict=True):
        count, held_count = (int((where[tree] == nid).sum()) for where in (state.place, state.held_place))
        if split.left.shape != (-(-(count + held_count) // 8),):
            raise BadValue("a host split another number of rows than the node has; check its version")
        left = flags_of(split.left, count + held_count)
        found.append((left[:count], left[count:]))
    return found
