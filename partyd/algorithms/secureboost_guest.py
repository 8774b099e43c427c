"""The guest's part in vertical boosting that no message needs: gradients, levels of trees, leaves, when to stop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms import metrics
from partyd.algorithms.secureboost_columns import Candidates, Columns, goes_left
from partyd.algorithms.secureboost_gradients import LEFT_OUT, goss, levels
from partyd.algorithms.secureboost_host import chosen_columns
from partyd.algorithms.secureboost_messages import GuestRows, GuestState
from partyd.algorithms.secureboost_parameters import BoostMetric, SecureBoostParams
from partyd.algorithms.secureboost_trees import OPEN, Best, Node, Rules, Sums, Tree, best_splits, grown
from partyd.crypto.prg import Prg
from partyd.types import Address

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Gradients:
    """g and h of every row, rows x trees, weights and sampling counted in; and which rows this round looks at."""

    g: Matrix
    h: Matrix
    rows: Mask


@dataclass(frozen=True)
class Frontier:
    """The open nodes of one growing tree: their numbers, each row's position among them (-1 for none), their sums."""

    tree: int
    nids: Integers
    at: Integers
    total: Sums

    def __len__(self) -> int:
        return len(self.nids)


def rules_of(params: SecureBoostParams) -> Rules:
    """Return what splits must keep."""
    limits = (params.min_impurity_split, params.min_sample_split, params.min_leaf_node, params.min_child_weight)
    return Rules(params.l1, params.l2, *limits)


def gradients(params: SecureBoostParams, data: GuestRows, state: GuestState) -> Gradients:
    """Return the gradients of the round under way; they follow from the scores, so that every level gets the same."""
    g, h = params.aim.derivatives(data.y, state.scores)
    weight = data.weights[:, None]
    g, h, rows = g * weight, h * weight, np.ones(len(g), dtype=np.bool_)
    if params.goss and state.round >= params.goss_start_iter:
        rows, factor = goss(g, params.top_rate, params.other_rate, Prg(state.seed, "goss", str(state.round)))
        g, h = g * factor[:, None], h * factor[:, None]
    return Gradients(g, h, rows)


def begun(params: SecureBoostParams, data: GuestRows, state: GuestState, own: Candidates) -> GuestState:
    """Return the state with the roots of a new round's trees."""
    now, trees, rows = gradients(params, data, state), params.aim.trees, len(data.y)
    found = [
        levels(now.g[:, c], now.h[:, c], params.gradient_levels, params.gradient_bits, now.rows) for c in range(trees)
    ]
    widest = max(len(one.g) for one in found)
    allowed = np.ones(len(own), dtype=np.uint8)
    if params.subsample_feature_rate < 1 and len(own):
        columns = chosen_columns(own, params.subsample_feature_rate, Prg(state.seed, "columns", str(state.round)))
        allowed = np.isin(own.column, columns).astype(np.uint8)
    return state.evolve(
        growing=[Tree(nodes=[Node(nid=0, depth=0)]) for _ in range(trees)],
        depth=0,
        fresh=True,
        place=np.zeros((trees, rows), dtype=np.int64),
        held_place=np.zeros((trees, data.held_rows), dtype=np.int64),
        codes=np.stack([one.codes for one in found]),
        g_levels=np.stack([np.pad(one.g, (0, widest - len(one.g))) for one in found]),
        h_levels=np.stack([np.pad(one.h, (0, widest - len(one.h))) for one in found]),
        units=np.array([(one.g_unit, one.h_unit) for one in found]),
        own_allowed=allowed,
        allowed={},
        sums={},
    )


def exponents(state: GuestState, tree: int, *, counts: bool) -> Integers:
    """Return what each level counts with in a tree: g, h, and 1 where rows are counted."""
    fields = [state.g_levels[tree], state.h_levels[tree]]
    if counts:
        fields.append(np.ones_like(state.g_levels[tree]))
    return np.column_stack(fields)


def row_values(state: GuestState, tree: int) -> Integers:
    """Return what each row counts with, rows x 3: g, h and 1; zeros for rows that are left out."""
    table = np.vstack([exponents(state, tree, counts=True), np.zeros((1, 3), dtype=np.int64)])
    codes = state.codes[tree].astype(np.int64)
    values: Integers = table[np.where(codes == LEFT_OUT, len(table) - 1, codes)]
    return values


def scaled(state: GuestState, tree: int, sums: Integers) -> Sums:
    """Return whole sums (fields first) as numbers; rows are zero where they were not counted."""
    g_unit, h_unit = state.units[tree].tolist()
    rows = sums[2].astype(np.float64) if len(sums) > 2 else np.zeros(sums.shape[1:])
    return Sums(sums[0] * g_unit, sums[1] * h_unit, rows)


def frontier(state: GuestState, tree: int) -> Frontier:
    """Return the open nodes of a growing tree, with the sums of their rows."""
    nids = np.array([node.nid for node in state.growing[tree].nodes if node.owner == OPEN], dtype=np.int64)
    where = np.full(len(state.growing[tree].nodes), -1, dtype=np.int64)
    where[nids] = np.arange(len(nids))
    at = where[state.place[tree]]
    values, inside = row_values(state, tree), at >= 0
    sums = [np.bincount(at[inside], weights=values[inside, k], minlength=len(nids)) for k in range(3)]
    return Frontier(tree, nids, at, scaled(state, tree, np.rint(np.stack(sums)).astype(np.int64)))


def own_best(
    params: SecureBoostParams, state: GuestState, columns: Columns, own: Candidates, front: Frontier
) -> list[Best]:
    """Return the guest's best split of every open node."""
    values, rules = row_values(state, front.tree), rules_of(params)
    fields = 3 if rules.counts else 2
    left = np.stack([columns.left_sums(own, front.at, len(front), values[:, k]) for k in range(fields)])
    allowed = np.broadcast_to(state.own_allowed.astype(np.bool_), (len(front), len(own)))
    return best_splits(
        scaled(state, front.tree, left), front.total, _splittable(front, rules)[:, None] & allowed, rules
    )


def _splittable(front: Frontier, rules: Rules) -> Mask:
    rows, hess = front.total.rows.tolist(), front.total.h.tolist()
    return np.array([rules.could_split(int(n), h) for n, h in zip(rows, hess, strict=True)], dtype=np.bool_)


def host_best(params: SecureBoostParams, state: GuestState, host: str, front: Frontier) -> list[Best]:
    """Return the best of a host's splits of every open node, from the sums that are known."""
    rules, count = rules_of(params), state.candidates[host]
    known = [state.sums.get(sums_key(host, front.tree, nid)) for nid in front.nids.tolist()]
    fields = 3 if rules.counts else 2
    left = np.stack([np.zeros((fields, count), np.int64) if one is None else one for one in known], axis=1)
    allowed = np.ones(count, dtype=np.bool_)
    if host in state.allowed:
        allowed = state.allowed[host].astype(np.bool_)
    there = np.array([one is not None for one in known], dtype=np.bool_) & _splittable(front, rules)
    return best_splits(scaled(state, front.tree, left), front.total, there[:, None] & allowed, rules)


def sums_key(host: str, tree: int, nid: int) -> str:
    """Return under which name the sums left of a host's candidates are kept."""
    return f"{host} {tree} {nid}"


def wanted(params: SecureBoostParams, state: GuestState, host: str, front: Frontier) -> list[int]:
    """Return the open nodes whose sums a host must open: of two siblings whose parent's sums are known, the smaller."""
    rules, nodes = rules_of(params), state.growing[front.tree].nodes
    could = dict(zip(front.nids.tolist(), _splittable(front, rules).tolist(), strict=True))
    size = dict(zip(front.nids.tolist(), front.total.rows.tolist(), strict=True))
    found: list[int] = []
    for nid in could:
        parent = nodes[nodes[nid].parent] if nodes[nid].parent >= 0 else None
        if parent is None or not params.hist_sub or sums_key(host, front.tree, parent.nid) not in state.sums:
            found += [nid] * could[nid]
        elif nid == parent.left and (could[nid] or could[parent.right]):
            found.append(min((parent.left, parent.right), key=lambda child: size[child]))
    return found


def completed(state: GuestState, host: str, front: Frontier, opened: dict[int, Integers]) -> dict[str, Integers]:
    """Return the sums that are known of a host now, siblings by subtraction; those of parents are needed no more."""
    nodes, found = state.growing[front.tree].nodes, dict[int, Integers](opened)
    for nid, sums in opened.items():
        parent = nodes[nid].parent
        above = state.sums.get(sums_key(host, front.tree, parent)) if parent >= 0 else None
        if above is not None:
            other = nodes[parent].right if nid == nodes[parent].left else nodes[parent].left
            found.setdefault(other, above - sums)
    return {sums_key(host, front.tree, nid): sums for nid, sums in found.items()}


def own_split(columns: Columns, own: Candidates, best: Best, rows: Integers, me: Address) -> tuple[Node, Mask]:
    """Return the node's rule, its numbers still to be set, and which of its rows go left."""
    column, missing_left = int(own.column[best.candidate]), bool(own.missing_left[best.candidate])
    last = int(own.bin[best.candidate])
    threshold = float(columns.edges[column][last])
    rule = Node(nid=0, depth=0, owner=str(me), column=column, threshold=threshold, missing_left=missing_left)
    bins = columns.bins[rows, column]
    return rule, np.where(bins < 0, missing_left, bins <= last)


def held_sides(params: SecureBoostParams, data: GuestRows, rule: Node, rows: Integers) -> Mask:
    """Return which held-out rows go left of the guest's own rule."""
    if data.held_out is None:
        return np.zeros(0, dtype=np.bool_)
    values = np.asarray(data.held_out)[rows, rule.column]
    ways = {"missing_left": rule.missing_left, "zero_as_missing": params.zero_as_missing}
    return goes_left(values, rule.threshold, **ways)


def divided(state: GuestState, tree: int, nid: int, rule: Node, left: Mask, held_left: Mask) -> GuestState:
    """Return the state with a node of a growing tree split, and its rows in its children."""
    old = state.growing[tree].nodes
    node = old[nid].evolve(**{name: getattr(rule, name) for name in RULE_FIELDS})
    nodes = grown(old, nid, node)
    place, held_place = state.place.copy(), state.held_place.copy()
    for where, sides in ((place, left), (held_place, held_left)):
        rows = np.flatnonzero(where[tree] == nid)
        where[tree, rows] = np.where(sides, nodes[nid].left, nodes[nid].right)
    growing = [Tree(nodes=nodes) if i == tree else one for i, one in enumerate(state.growing)]
    return state.evolve(growing=growing, place=place, held_place=held_place)


RULE_FIELDS = ("owner", "column", "threshold", "missing_left", "record", "gain")


def closed(state: GuestState, tree: int, nids: list[int]) -> GuestState:
    """Return the state with open nodes made leaves."""
    nodes = [node.evolve(owner="") if node.nid in nids else node for node in state.growing[tree].nodes]
    growing = [Tree(nodes=nodes) if i == tree else one for i, one in enumerate(state.growing)]
    return state.evolve(growing=growing)


def weighed(params: SecureBoostParams, data: GuestRows, state: GuestState) -> GuestState:
    """Return the state after a round: leaves weighed, scores moved on, the trees written down."""
    now, rules, written = gradients(params, data, state), rules_of(params), list(state.trees)
    scores, held = state.scores.copy(), state.held_scores.copy()
    for c, tree in enumerate(state.growing):
        nodes = _with_sums(tree.nodes, state.place[c], now.g[now.rows, c], now.h[now.rows, c], now.rows)
        nodes = [node.evolve(weight=rules.weight(node.grad, node.hess)) for node in nodes]
        weights = np.array([node.weight for node in nodes])
        scores[:, c] += params.learning_rate * weights[state.place[c]]
        held[:, c] += params.learning_rate * weights[state.held_place[c]]
        written.append(Tree(nodes=nodes).to_bytes())
    moved = state.evolve(trees=written, scores=scores, held_scores=held, round=state.round + 1)
    return moved.evolve(growing=[], sums={}, allowed={})


def _with_sums(nodes: list[Node], place: Integers, g: Vector, h: Vector, rows: Mask) -> list[Node]:
    """Return the nodes with the rows, gradients and curvatures in them, the leaves' summed up to the root."""
    count = len(nodes)
    sums = np.zeros((count, 3))
    sums[:, 0] = np.bincount(place, minlength=count)
    sums[:, 1] = np.bincount(place[rows], weights=g, minlength=count)
    sums[:, 2] = np.bincount(place[rows], weights=h, minlength=count)
    for node in reversed(nodes[1:]):  # children stand behind their parents
        sums[node.parent] += sums[node.nid]
    return [n.evolve(rows=int(s[0]), grad=float(s[1]), hess=float(s[2])) for n, s in zip(nodes, sums, strict=True)]


def loss(params: SecureBoostParams, data: GuestRows, state: GuestState) -> float:
    """Return the mean loss of the training rows."""
    return float(np.average(params.aim.losses(data.y, state.scores), weights=data.weights))


def judgement(params: SecureBoostParams, name: BoostMetric, y: Vector, scores: Matrix) -> float:
    """Return a metric of the held-out rows; greater is better, so errors are negative."""
    if name == "loss":
        return -float(np.mean(params.aim.losses(y, scores)))
    predicted = params.aim.predict(scores)
    if name in ("auc", "ks"):
        return float(metrics.auc(y, predicted[:, 0]) if name == "auc" else metrics.ks(y, predicted[:, 0])[0])
    if name == "accuracy":
        two = predicted.shape[1] == 1
        chosen = predicted[:, 0] > params.threshold if two else np.argmax(predicted, axis=1)
        return float(np.mean(chosen == y))
    errors = metrics.regression(y, predicted[:, 0])
    return float(errors["r2"] if name == "r2_score" else -errors[name])
