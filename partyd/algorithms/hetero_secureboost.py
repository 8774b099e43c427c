"""Vertical gradient boosting: hosts' columns stay under the hosts' own keys, gradients never leave the guest.

What is grown is SecureBoost's (Cheng et al., "SecureBoost: a lossless federated learning framework", IEEE Intelligent
Systems 2021, arXiv:1901.08755): the same trees as on the pooled columns, each split kept by the party whose column it
asks for. How the hosts' splits are weighed is turned round. There the guest encrypts each row's gradient for every
tree, and a host adds up the ciphertexts of each bin; to do so it must know which rows are in which node. Here a host
encrypts, once, on which side of each of its candidate splits every row lies (`partyd.algorithms.secureboost_sums`);
the guest, who knows gradients and nodes, raises these ciphertexts to its gradients, and the host opens sums behind
masks. So a host learns nothing of rows, nodes or gradients until a split of its own is chosen, and then only that
node's rows; nothing is encrypted per tree; and sums come packed, those of dozens of candidates to a ciphertext.

With v_is = 1 where row i goes left of candidate s, [[.]] under the host's key, and r fresh masks:

    host:   [[v_is]], once       guest: prod_(i in node) [[v_is]]^(g_i) [[r]] = [[G_s + r]], the same for h
    host:   G_s + r              guest: G_s, and so the gain of each s (`partyd.algorithms.secureboost_trees`)

Of two siblings the smaller one's sums are opened, the other's are the parent's less these. One round a level; all trees
of a round (one for each class) grow together.

==============  ===========  =====================================================================================
message         from, to     what the receiver learns
==============  ===========  =====================================================================================
HostKey         host, guest  the public key, and how many splits the host offers
Plan            guest, host  how many rows are trained on and held out; whether rows are counted
EncryptedSides  host, guest  nothing: sides under the host's key, in a secret order of the candidates
MaskedSums      guest, host  how many nodes are weighed; sums behind masks 40 bits wider: nothing
OpenedSums      host, guest  of each weighed node and each candidate, the sums of g and h (and rows) of its left side
ChosenSplits    guest, host  for each node that the host splits: by which candidate, and which rows are in it
Sides           host, guest  which of these rows go left, and the position of the column
==============  ===========  =====================================================================================

Split values stay at the host: what the guest keeps of such a node is the column's position and a number under which the
host finds the rule. Leaves, gains and the shape of the trees stay at the guest. Held-out rows (for early stopping) walk
down with the others, and their node is told as theirs is.

A ciphertext that the guest made must not show its exponents to the key's owner, who made the factors. Its randomness is
h^(sum g_i a_i + b) with the owner's a_i of 448 bits; so b is drawn with half the key's length (``djn_half``; uniformly
where the owner's are as long), hundreds of bits longer than the sum, whatever discrete logarithms the owner can take.

Everything is exact on integers and fixed in its order: the same seed gives the same trees. The guest keeps the
ciphertexts of its hosts while it trains (rows x candidates / 70 x 512 bytes), on disk under the task's folder.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import secureboost_guest as grow
from partyd.algorithms.arbiter_key import public_key
from partyd.algorithms.secureboost_columns import Candidates, Columns, insist_on_known
from partyd.algorithms.secureboost_gradients import LEFT_OUT
from partyd.algorithms.secureboost_host import CHUNK_BYTES, MOST_FIELDS, MOST_NODES, host, key_context, start_host
from partyd.algorithms.secureboost_messages import (
    Chosen,
    ChosenSplits,
    EncryptedSides,
    GuestRows,
    GuestState,
    HostKey,
    HostState,
    MaskedSums,
    OpenedSums,
    Plan,
    Sides,
    bits_of,
    flags_of,
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Packing, Summands, kept, node_sums
from partyd.algorithms.secureboost_trees import OPEN, Best, Node
from partyd.crypto import keycheck
from partyd.crypto.packing import masked
from partyd.crypto.paillier import KEY_BITS, Ciphertexts, Obfuscation, PublicKey
from partyd.crypto.prg import SEED_BYTES
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address

Integers = NDArray[np.int64]
Sided = NDArray[np.bool_]
MOST_CANDIDATES = 1 << 24
MOST_WEIGHT = 1024.0
HIDING: dict[Obfuscation, Obfuscation] = {
    "djn256": "djn_half",
    "djn448": "djn_half",
    "djn_half": "full",
    "full": "full",
}
"""How the guest hides what it computes, by how the hosts encrypt."""
Choice = tuple[str, Best]
"""Whose split of a node is best (an address; empty for none), and which."""


async def start_guest(party: Party, params: SecureBoostParams, data: GuestRows) -> GuestState:
    """Check labels, weights and columns, and give every row its first score."""
    aim = params.aim
    aim.insist_on_labels(np.asarray(data.y))
    if not bool(np.all((data.weights >= 0) & (data.weights <= MOST_WEIGHT))) or not data.weights.any():
        raise DataError(f"a row's weight is missing, negative or above {MOST_WEIGHT:.0f}; mend the weight column")
    data.columns(params)
    if data.held_out is not None:
        insist_on_known(np.asarray(data.held_out), use_missing=params.use_missing)
    begin, held = aim.begin(np.asarray(data.y), data.weights), np.zeros((data.held_rows, 1))
    no_scores = np.zeros((0, aim.trees))
    none = np.zeros((aim.trees, 0), dtype=np.int64)
    return GuestState(
        seed=party.rng("choices").take(SEED_BYTES),
        scores=np.tile(begin, (len(data.y), 1)) if data.scores is None else np.array(data.scores),
        held_scores=held + begin if data.held_scores is None else np.array(data.held_scores),
        begin=begin,
        place=none,
        held_place=none,
        codes=none.astype(np.uint8),
        g_levels=none,
        h_levels=none,
        units=np.zeros((aim.trees, 0)),
        own_allowed=np.zeros(0, dtype=np.uint8),
        best_scores=no_scores,
        best_held_scores=no_scores,
    )


async def guest(party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Meet the hosts, take a chunk of sides from each, or grow to the end of the next level with hosts."""
    if not state.n:
        return await _meet(party, params, data, state)
    packings = {name: _packing(params, data, state, name) for name in state.n}
    if state.stored < len(data.y):
        return await _collected(party, params, data, state, packings)
    for name in state.n:
        party.obfuscators(_key(params, state.n[name]), packings[name].per_row * _fields(params))
    return await _advanced(party, params, data, state, packings)


async def _meet(party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Take every host's key, and say what the training is about."""
    n, candidates, first = dict[str, int](), dict[str, int](), dict[str, int]()
    for peer, message in (await party.gather(HostKey)).items():
        insecure = params.key_bits < KEY_BITS
        public = keycheck.public_from_bytes(message.key, params.key_bits, insecure_for_tests=insecure)
        keycheck.verify(public, message.proof, key_context(party, peer))
        if not (0 <= message.candidates <= MOST_CANDIDATES and message.first >= 0):
            raise BadValue(f"{peer} offers {message.candidates} splits, not 0 to {MOST_CANDIDATES}; check its version")
        n[str(peer)], candidates[str(peer)], first[str(peer)] = int(public.n), message.candidates, message.first
    met = state.evolve(n=n, candidates=candidates, first=first)
    chunk = _chunk_rows(params, data, met)
    told = {"bits": params.gradient_bits, "fields": _fields(params), "chunk_rows": chunk}
    await party.send(Plan(rows=len(data.y), held_out=data.held_rows, **told))
    return met


async def _collected(
    party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState, packings: dict[str, Packing]
) -> GuestState:
    """Keep a chunk of every host's sides."""
    stop = min(state.stored + _chunk_rows(params, data, state), len(data.y))
    for peer, message in (await party.gather(EncryptedSides)).items():
        key, packing = _key(params, state.n[str(peer)]), packings[str(peer)]
        count = (stop - state.stored) * packing.per_row
        vector = message.sides.under(key, count=count, exponent=0, bound_bits=packing.plain_bits)
        data.spool.put(_file(peer), state.stored * packing.per_row * key.ciphertext_bytes, kept(vector))
    party.report.progress(0, params.num_trees * params.depth, "receiving the hosts' encrypted columns")
    return state.evolve(stored=stop)


async def _advanced(
    party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState, packings: dict[str, Packing]
) -> GuestState:
    """Grow trees until a level is done in which hosts took part, or until there is nothing left to grow."""
    columns = data.columns(params)
    own = columns.candidates()
    while True:
        if not state.growing:
            if state.round >= params.num_trees or _is_over(params, state):
                await party.send(MaskedSums(sums=None, nodes=0, begins=False, finished=True))
                return _shortened(params, state).evolve(finished=True)
            state = grow.begun(params, data, state, own)
        builders = builders_of(params, state.round, state.depth, party.me, party.peers(HOST))
        fronts = [front for c in range(len(state.growing)) if len(front := grow.frontier(state, c))]
        with_hosts = any(peer in builders for peer in party.peers(HOST))
        if with_hosts:
            state = await _opened(party, params, data, state, packings, fronts, builders)
        choices = _choices(party, params, state, columns, own, fronts, builders)
        state = await _divided(party, params, data, state, columns, own, fronts, choices, ask=with_hosts)
        state = _next_level(party, params, data, state)
        if with_hosts:
            return state


async def _opened(
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
    allowed, known = dict(state.allowed), dict[str, Integers]()
    for peer, (nodes, masks) in asked.items():
        name, reply = str(peer), await party.recv(OpenedSums, peer)
        if len(reply.values) != len(masks):
            raise BadValue(f"{peer} opened {len(reply.values)} sums of {len(masks)}; check its version")
        if state.fresh and len(reply.allowed):
            if reply.allowed.shape != (-(-state.candidates[name] // 8),):
                raise BadValue(f"{peer} allows candidates that it did not offer; check its version")
            allowed[name] = flags_of(reply.allowed, state.candidates[name]).astype(np.uint8)
        opened = packings[name].opened(reply.values, masks, _fields(params)) if masks else []
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
    key = _key(params, state.n[str(peer)])
    stored = data.spool.rows(_file(peer), (len(data.y), packing.per_row, key.ciphertext_bytes))
    summands = []
    for front, nid in nodes:
        codes = state.codes[front.tree]
        rows = np.flatnonzero((state.place[front.tree] == nid) & (codes != LEFT_OUT))
        table = grow.exponents(state, front.tree, counts=_fields(params) == MOST_FIELDS)
        summands.append(Summands(rows, codes[rows], table))
    sums = await node_sums(party.engine, key, packing, stored, summands)
    hidden, masks = masked(sums, party.rng(f"masks {peer}"))
    return await party.ciphers.rerandomised(hidden), masks


def _choices(
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


async def _divided(
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
    for peer in party.peers(HOST) if ask else []:
        mine = [(tree, nid, best) for tree, nid, (name, best) in todo if name == str(peer)]
        chosen = [
            Chosen(
                candidate=best.candidate,
                rows=bits_of(state.place[tree] == nid),
                held_out=bits_of(state.held_place[tree] == nid),
            )
            for tree, nid, best in mine
        ]
        await party.send(ChosenSplits(splits=chosen), to=peer)
    for peer in party.peers(HOST) if ask else []:
        mine = [(tree, nid, best) for tree, nid, (name, best) in todo if name == str(peer)]
        splits = (await party.recv(Sides, peer)).splits
        if len(splits) != len(mine):
            raise BadValue(f"{peer} split {len(splits)} nodes of {len(mine)}; check its version")
        for (tree, nid, _), split in zip(mine, splits, strict=True):
            count, held_count = (int((where[tree] == nid).sum()) for where in (state.place, state.held_place))
            if split.left.shape != (-(-(count + held_count) // 8),) or split.column < 0 or split.record < 0:
                raise BadValue(f"{peer} split another number of rows than the node has; check its version")
            sides = flags_of(split.left, count + held_count)
            rule = Node(nid=0, depth=0, owner=str(peer), column=split.column, record=split.record)
            rules[tree, nid] = rule, sides[:count], sides[count:]
    for tree, nid, (name, best) in todo:
        if not name:
            state = grow.closed(state, tree, [nid])
            continue
        rule, left, held_left = rules[tree, nid]
        state = grow.divided(state, tree, nid, rule.evolve(gain=best.gain), left, held_left)
    return state


def _next_level(party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Go on to the next level, or end the round when nothing is open or the trees are as deep as they may be."""
    depth = state.depth + 1
    party.report.progress(state.round * params.depth + depth, params.num_trees * params.depth, "training")
    still_open = [[n.nid for n in tree.nodes if n.owner == OPEN] for tree in state.growing]
    if depth < params.depth and any(still_open):
        return state.evolve(depth=depth)
    for tree, nids in enumerate(still_open):
        state = grow.closed(state, tree, nids)
    state = grow.weighed(params, data, state)
    return _reported(party, params, data, state)


def _reported(party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Report the loss and, where rows are held out, their metric; note the best round."""
    step, now = state.round - 1, grow.loss(params, data, state)
    party.report.metric("loss", step, now)
    state = state.evolve(losses=[*state.losses, now])
    party.report.info(f"tree {state.round} of {params.num_trees}: loss {now:.6f}")
    if data.held_y is None or not data.held_rows:
        return state.evolve(best=step)
    judged = [*state.judged, grow.judgement(params, params.early_metric, np.asarray(data.held_y), state.held_scores)]
    party.report.metric(f"validate_{params.early_metric}", step, abs(judged[-1]))
    best = judged.index(max(judged))
    state = state.evolve(judged=judged, best=best)
    if params.early_stopping_rounds is None or best < step:
        return state
    return state.evolve(best_scores=state.scores, best_held_scores=state.held_scores)


def _is_over(params: SecureBoostParams, state: GuestState) -> bool:
    """Return whether training stops early."""
    patience = params.early_stopping_rounds
    if patience is not None and state.judged and len(state.judged) - 1 - state.best >= patience:
        return True
    settled = len(state.losses) > 1 and abs(state.losses[-1] - state.losses[-2]) < params.tol
    return params.n_iter_no_change and settled


def _shortened(params: SecureBoostParams, state: GuestState) -> GuestState:
    """Return the state without the trees after the best round, when early stopping asked for that."""
    if params.early_stopping_rounds is None or not state.judged:
        return state
    trees = state.trees[: (state.best + 1) * params.aim.trees]
    return state.evolve(trees=trees, scores=state.best_scores, held_scores=state.best_held_scores)


def builders_of(params: SecureBoostParams, round_: int, depth: int, me: Address, hosts: list[Address]) -> set[Address]:
    """Return whose splits are weighed at a level of a round's trees."""
    if round_ < params.complete_secure:
        return {me}
    if params.boosting_strategy == "mix":
        turn = round_ // params.tree_num_per_party % (1 + len(hosts))
        return {[me, *hosts][turn]}
    if params.boosting_strategy == "layered":
        return set(hosts) if depth < params.host_depth else {me}
    return {me, *hosts}


def _fields(params: SecureBoostParams) -> int:
    return MOST_FIELDS if grow.rules_of(params).counts else MOST_FIELDS - 1


def _key(params: SecureBoostParams, n: int) -> PublicKey:
    return public_key(n, HIDING[params.he_param.obfuscation])


def _packing(params: SecureBoostParams, data: GuestRows, state: GuestState, name: str) -> Packing:
    return Packing.of(_key(params, state.n[name]), len(data.y), params.gradient_bits, state.candidates[name])


def _chunk_rows(params: SecureBoostParams, data: GuestRows, state: GuestState) -> int:
    """Return how many rows' sides every host sends at a time."""
    packings = [_packing(params, data, state, name) for name in state.n]
    keys = [_key(params, state.n[name]) for name in state.n]
    return min(packing.chunk_rows(key, CHUNK_BYTES) for packing, key in zip(packings, keys, strict=True))


def _file(peer: Address) -> str:
    return f"sides-{peer.party_id}"


hetero_secureboost = Algorithm(
    name="hetero_secureboost",
    version="1",
    params=SecureBoostParams,
    programs={GUEST: Program(GuestState, start_guest, guest), HOST: Program(HostState, start_host, host)},
    messages=(HostKey, Plan, EncryptedSides, MaskedSums, OpenedSums, ChosenSplits, Sides),
    disclosures=(
        Disclosure(GUEST, "each host's public key, and how many splits its columns offer together", HostKey),
        Disclosure(HOST, "how many rows are trained on and held out, and whether leaves have a least size", Plan),
        Disclosure(
            GUEST,
            "nothing: for every row and split on which side the row lies, encrypted under the host's own key; the "
            "guest keeps this until the task ends, and whoever breaks that key reads it",
            EncryptedSides,
        ),
        Disclosure(
            HOST, "how many nodes of the trees are weighed at each level; their sums only behind masks", MaskedSums
        ),
        Disclosure(
            GUEST,
            "for every node and every split that a host offers, the sums of its own gradients and curvatures over the "
            "node's rows on the split's left side: how the label is spread over the host's bins, without knowing which "
            "column and which values they are. A guest that asks for sums over few rows learns these rows' bins",
            OpenedSums,
        ),
        Disclosure(
            HOST,
            "for each node that is split by a column of its own, which rows (held-out ones, too) are in the node, and "
            "that this split was the best; nothing of other parties' nodes, of gradients or of leaves",
            ChosenSplits,
        ),
        Disclosure(
            GUEST,
            "for each node that a host splits, which of the node's rows go left, and the position of the column in the "
            "host's table; never its name or the value that splits",
            Sides,
        ),
    ),
    coalitions=(
        "The guest together with a host learns nothing of another host that the guest does not learn alone: its sums "
        "by split, and the sides of the rows in the nodes that it splits."
    ),
)
