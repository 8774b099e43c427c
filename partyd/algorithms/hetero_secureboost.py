"""Vertical gradient boosting: hosts' columns stay under the hosts' own keys, gradients never leave the guest.

What is grown is SecureBoost's (Cheng et al., "SecureBoost: a lossless federated learning framework", IEEE Intelligent
Systems 2021, arXiv:1901.08755): the same trees as on the pooled columns, each split kept by the party whose column it
asks for. How the hosts' splits are weighed is turned round. There the guest encrypts each row's gradient for every
tree, and a host adds up the ciphertexts of each bin; to do so it must know which rows are in which node. Here a host
encrypts, once, on which side of each of its candidate splits every row lies (`partyd.algorithms.secureboost_sums`);
the guest, who knows gradients and nodes, raises these ciphertexts to its gradients, and the host opens sums behind
masks. So hosts learn nothing of rows, nodes or gradients, nothing is encrypted per tree, and sums come packed, those of
dozens of candidates to a ciphertext. When a host's split is chosen, the guest gets the sides of the node's rows by
oblivious selection (`partyd.crypto.selection`), so that not even then the host learns which rows are in the node; with
``hide_rows`` off the host is told, as in SecureBoost, of its own nodes only.

With v_is = 1 where row i goes left of candidate s, [[.]] under the host's key, and r fresh masks uniform modulo n:

    host:   [[v_is]], once       guest: prod_(i in node) [[v_is]]^(2 g_i) [[r]] = [[2 G_s + r]], the same for h
    host:   2 G_s + r modulo n   guest: G_s, and so the gain of each s (`partyd.algorithms.secureboost_trees`)

Of two siblings the smaller one's sums are opened, the other's are the parent's less these. One round a level; all trees
of a round (one for each class) grow together.

==============  ===========  =====================================================================================
message         from, to     what the receiver learns
==============  ===========  =====================================================================================
HostKey         host, guest  the public key, and how many columns and splits the host offers
Plan            guest, host  how many rows are trained on and held out; whether rows are counted
EncryptedSides  host, guest  nothing: sides under the host's key, in a secret order of the candidates
MaskedSums      guest, host  how many nodes are weighed; sums behind masks uniform modulo n: nothing
OpenedSums      host, guest  of each weighed node and each candidate, the sums of g and h (and rows) of its left side
ChosenSplits    guest, host  by which candidates the host splits nodes; nothing of rows (without ``hide_rows``: which)
Sides           host, guest  which of these nodes' rows go left, and the position of the column
==============  ===========  =====================================================================================

Split values stay at the host: what the guest keeps of such a node is the column's position and a number under which the
host finds the rule. Leaves, gains and the shape of the trees stay at the guest. Held-out rows (for early stopping) walk
down with the others, in the same way.

What a host can infer of labels: with ``hide_rows`` nothing that tells rows apart, for nothing that it receives depends
on single rows but what masks and transfers hide; it learns which of its columns and values divide the labels well.
Without it, a host sees sets of rows that the other parties' splits on the way to its node have in common, and these may
follow the label as closely as the guest's best column does.

Masks are uniform modulo n, so that what a host decrypts is uniform, whatever it encrypted: numbers that are no sides,
in which each label would be a digit of the sum, tell it nothing.

A ciphertext that the guest made must not show its exponents to the key's owner, who made the factors. Its randomness is
h^(sum 2 g_i a_i + b) with the owner's a_i of 448 bits; so b is drawn with half the key's length (``djn_half``;
uniformly where the owner's are as long), hundreds of bits longer than the sum, whatever discrete logarithms to the base
h the owner can take. Randomness that is no power of h is another matter: powers of h have Jacobi symbol 1, and a host
that multiplies w^n into a row, w being 1 modulo p and -1 modulo q, would read from the symbol of what comes back
whether the row's exponents add up to an even number. Exponents are even for that reason, which closes the subgroup of
order 2, and with it everything that lies outside <h> when p - 1 and q - 1 share no other factor and h is random.

Semi-honest hosts are what is promised. A host that made p - 1 and q - 1 with a common factor d above 2 has elements of
order d outside <h>, and with them reads sums of exponents modulo d; smooth p - 1 and q - 1 help it too. Against that
stands ``he_param`` with ``obfuscation`` ``djn_half`` or ``full``: the guest then answers with uniform residues, at some
milliseconds for each. A host may also send sides that make the guest refuse a sum for some labels and not for others:
that the job ends tells it so much, once.

Everything is exact on integers and fixed in its order: the same seed gives the same trees. The guest keeps the
ciphertexts of its hosts while it trains (rows x candidates / 70 x 512 bytes), on disk under the task's folder.
"""

from __future__ import annotations

import numpy as np

from partyd.algorithms import secureboost_guest as grow
from partyd.algorithms.secureboost_columns import insist_on_known
from partyd.algorithms.secureboost_host import (
    CHUNK_BYTES,
    host,
    key_context,
    start_host,
)
from partyd.algorithms.secureboost_level import choices_of, divided, file_of, host_key, opened
from partyd.algorithms.secureboost_messages import (
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
)
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_sums import Packing, kept
from partyd.algorithms.secureboost_trees import OPEN
from partyd.crypto import keycheck, selection
from partyd.crypto.paillier import KEY_BITS
from partyd.crypto.prg import SEED_BYTES
from partyd.errors import BadValue, DataError
from partyd.federation.algorithm import Algorithm, Disclosure, Program
from partyd.federation.party import Party
from partyd.types import GUEST, HOST, Address
from partyd.wire.codec import Secret

MOST_COLUMNS = 1 << 16
MOST_CANDIDATES = 1 << 20
MOST_BYTES = 16 << 30
"""A host's ciphertexts on the guest's disk."""
MOST_WEIGHT = 1024.0


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
    return await _advanced(party, params, data, state, packings)


async def _meet(party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Take every host's key, and say what the training is about."""
    n, columns, candidates, first = dict[str, int](), dict[str, int](), dict[str, int](), dict[str, int]()
    offers = dict[Address, bytes]()
    for peer, message in (await party.gather(HostKey)).items():
        insecure = params.key_bits < KEY_BITS
        public = keycheck.public_from_bytes(message.key, params.key_bits, insecure_for_tests=insecure)
        keycheck.verify(public, message.proof, key_context(party, peer))
        _insist_on_offer(params, message, peer)
        n[str(peer)], columns[str(peer)] = int(public.n), message.columns
        candidates[str(peer)], first[str(peer)], offers[peer] = message.candidates, message.first, message.offer
    met = state.evolve(n=n, columns=columns, candidates=candidates, first=first)
    for peer in offers:
        _insist_on_disk(params, data, met, peer)
    told = {"bits": params.gradient_bits, "fields": params.fields, "chunk_rows": _chunk_rows(params, data, met)}
    transfers = dict[str, Secret]()
    for peer, offer in offers.items():
        point = b""
        if params.hide_rows:
            chooser, point = selection.answer(selection.Request(offer), party.rng(f"answer {peer}"))
            transfers[str(peer)] = Secret(chooser.to_bytes())
        await party.send(Plan(rows=len(data.y), held_out=data.held_rows, point=point, **told), to=peer)
    return met.evolve(transfers=transfers)


def _insist_on_offer(params: SecureBoostParams, message: HostKey, peer: Address) -> None:
    """Raise BadValue for a host that offers more than its columns can: a split a bin, two where values are missing."""
    most = min(message.columns * params.max_bin * 2, MOST_CANDIDATES)
    if not (0 <= message.columns <= MOST_COLUMNS and 0 <= message.candidates <= most and message.first >= 0):
        raise BadValue(
            f"{peer} offers {message.candidates} splits of {message.columns} columns, at most {MOST_CANDIDATES} of "
            f"{MOST_COLUMNS} are taken; lower max_bin, select columns, or check its version"
        )


def _insist_on_disk(params: SecureBoostParams, data: GuestRows, state: GuestState, peer: Address) -> None:
    """Raise DataError where a host's ciphertexts would take more disk than they may."""
    key, name = host_key(params, state.n[str(peer)]), str(peer)
    size = len(data.y) * _packing(params, data, state, name).per_row * key.ciphertext_bytes
    if size > MOST_BYTES:
        raise DataError(
            f"{state.candidates[name]} splits of {peer} for {len(data.y)} rows take {size >> 30} GiB encrypted, at "
            f"most {MOST_BYTES >> 30}; lower max_bin, select columns, or sample rows"
        )


async def _collected(
    party: Party, params: SecureBoostParams, data: GuestRows, state: GuestState, packings: dict[str, Packing]
) -> GuestState:
    """Keep a chunk of every host's sides."""
    stop = min(state.stored + _chunk_rows(params, data, state), len(data.y))
    for peer, message in (await party.gather(EncryptedSides)).items():
        key, packing = host_key(params, state.n[str(peer)]), packings[str(peer)]
        count = (stop - state.stored) * packing.per_row
        vector = message.sides.under(key, count=count, exponent=0, bound_bits=packing.plain_bits)
        data.spool.put(file_of(peer), kept(vector, packing, state.stored, len(data.y)))
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
            state = await opened(party, params, data, state, packings, fronts, builders)
        choices = choices_of(party, params, state, columns, own, fronts, builders)
        state = await divided(party, params, data, state, columns, own, fronts, choices, ask=with_hosts)
        state = _next_level(party, params, data, state)
        if with_hosts:
            return state.evolve(levels=state.levels + 1)


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


def _packing(params: SecureBoostParams, data: GuestRows, state: GuestState, name: str) -> Packing:
    return Packing.of(host_key(params, state.n[name]), len(data.y), params.gradient_bits, state.candidates[name])


def _chunk_rows(params: SecureBoostParams, data: GuestRows, state: GuestState) -> int:
    """Return how many rows' sides every host sends at a time."""
    packings = [_packing(params, data, state, name) for name in state.n]
    keys = [host_key(params, state.n[name]) for name in state.n]
    return min(packing.chunk_rows(key, CHUNK_BYTES) for packing, key in zip(packings, keys, strict=True))


hetero_secureboost = Algorithm(
    name="hetero_secureboost",
    version="2",
    params=SecureBoostParams,
    programs={GUEST: Program(GuestState, start_guest, guest), HOST: Program(HostState, start_host, host)},
    messages=(HostKey, Plan, EncryptedSides, MaskedSums, OpenedSums, ChosenSplits, Sides),
    disclosures=(
        Disclosure(
            GUEST,
            "each host's public key, how many columns it has, how many splits these offer together, and how many "
            "splits an earlier model kept there; requests for base transfers tell nothing",
            HostKey,
        ),
        Disclosure(
            HOST,
            "how many rows are trained on and held out, and whether leaves have a least size; the base transfers' "
            "other half tells nothing",
            Plan,
        ),
        Disclosure(
            GUEST,
            "nothing: for every row and split on which side the row lies, encrypted under the host's own key; the "
            "guest keeps this until the task ends, and whoever breaks that key reads it",
            EncryptedSides,
        ),
        Disclosure(
            HOST,
            "how many nodes of the trees are weighed at each level; their sums only behind masks uniform modulo n",
            MaskedSums,
        ),
        Disclosure(
            GUEST,
            "for every node and every split that a host offers, the sums of its own gradients and curvatures over the "
            "node's rows on the split's left side: how the label is spread over the host's bins, without knowing which "
            "column and which values they are; of nodes of few rows also on which side each of them lies; over many "
            "trees a growing part of the host's row-by-split table. A guest that asks for sums over few rows on "
            "purpose learns these rows' bins at once",
            OpenedSums,
        ),
        Disclosure(
            HOST,
            "which of its own splits are chosen, at which level of which of the trees that grow together; nothing of "
            "rows, gradients, leaves or other parties' splits. But splits are chosen because they divide the labels: "
            "on the breast data, scoring rows by its own chosen splits reaches an AUC of 0.99. With columns that have "
            "nothing to do with the label it stays within 0.55 on 1,000 rows; where some hundred rows meet hundreds of "
            "splits, the best fit by chance, and 0.64 was seen. Where the job sets hide_rows to false: also which rows "
            "are in the nodes that its splits divide, which may follow the label as closely as the splits above do",
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
