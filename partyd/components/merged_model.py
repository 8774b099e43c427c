"""A whole model of linear regressions or trees, put together from the halves of its parties.

Columns are named as the merged model calls them: the guest's own by their names, a host's as that host told it, with
the host's name before it where another party has such a column too (``host_9999.x0``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partyd.algorithms.model_merge import Linear, Merged, Request, Splits
from partyd.algorithms.secureboost_trees import Node
from partyd.components import coordinated_model, secureboost_model
from partyd.components.base import JsonObject
from partyd.errors import DataError, TaskFailed
from partyd.types import Address

Matrix = NDArray[np.float64]
LINKS = {"coordinated_lr": "logit", "coordinated_linr": "identity", "coordinated_poisson": "exp"}
"""How each kind of linear model makes its prediction of a score."""
TREES = "hetero_secureboost"
MERGED = "merged"


@dataclass(frozen=True)
class Column:
    """A column of the merged model: its name there, whose it is, and what that party called it."""

    name: str
    party: str
    feature: str


@dataclass(frozen=True)
class LinearModel:
    """Scores s_k = ``weights[k]`` x + ``intercepts[k]``; one for each label where there are more than two."""

    kind: str
    columns: tuple[Column, ...]
    weights: Matrix
    intercepts: tuple[float, ...]
    labels: tuple[float, ...] = ()
    threshold: float = 0.5
    exposure: str | None = None

    @property
    def link(self) -> str:
        """``logit``, ``identity`` or ``exp``."""
        return LINKS[self.kind]


@dataclass(frozen=True)
class Place:
    """A node of a merged tree: a split of ``column`` (by position), or where ``column`` is -1 a leaf with a value."""

    left: int = -1
    right: int = -1
    column: int = -1
    threshold: float = 0.0
    missing_left: bool = False
    value: float = 0.0
    gain: float = 0.0
    hess: float = 0.0


@dataclass(frozen=True)
class TreeModel:
    """Scores s_k = the sum of the trees k, k + ``width``, ... and ``begin[k]``; ``objective`` says what they mean."""

    objective: str
    columns: tuple[Column, ...]
    trees: tuple[tuple[Place, ...], ...]
    begin: tuple[float, ...]
    zero_as_missing: bool = False
    shape: float | None = None
    threshold: float = 0.5

    @property
    def width(self) -> int:
        """How many scores a row has."""
        return len(self.begin)


def kind_of(document: JsonObject) -> str:
    """Return what kind of model a document holds; raises TaskFailed for one that cannot be merged."""
    kind = str(document.get("meta", {}).get("model_type"))
    if kind not in (*LINKS, TREES):
        raise TaskFailed(f"a model of {kind[:64]} cannot be merged; those of {', '.join((*LINKS, TREES))} can")
    return kind


def request(document: JsonObject, hosts: Sequence[str], training: str) -> Request:
    """Return what the guest asks of the hosts for its half; raises DataError when one of them is not in the job."""
    kind = kind_of(document)
    if kind in LINKS:
        models = len(coordinated_model.Model.read(document, kind).estimators)
        if not models:
            raise TaskFailed("the model has no weights; connect the output_model of a training at this party")
        return Request(models, {}, training)
    splits = _numbers(secureboost_model.Model.read(document))
    strange = [owner for owner in splits if owner not in hosts]
    if strange:
        raise DataError(f"the model has splits of {strange[0]}, who is not in this task; name that host in the job")
    return Request(0, splits, training)


def half(document: JsonObject, me: Address, *, is_named: bool, training: str) -> Linear | Splits:
    """Return a host's half, its columns by name or by the names that peers know them by."""
    kind = kind_of(document)
    if kind in LINKS:
        estimators = coordinated_model.Model.read(document, kind).estimators
        headers = {estimator.header for estimator in estimators}
        if len(headers) != 1:
            raise TaskFailed("the model has no weights here, or not of the same columns; train it again")
        header = headers.pop()
        return Linear(_told(header, me, is_named), np.array([estimator.w for estimator in estimators]), training)
    model = secureboost_model.Model.read(document)
    told, records = _told(model.header, me, is_named), model.records
    return Splits(
        tuple(told[record.column] for record in records),
        np.array([record.threshold for record in records], dtype=np.float64),
        np.array([record.missing_left for record in records], dtype=np.bool_),
        training,
    )


def merged(document: JsonObject, me: Address, state: Merged) -> LinearModel | TreeModel:
    """Return the whole model from the guest's half and what the hosts sent."""
    kind = kind_of(document)
    return _linear(document, kind, me, state) if kind in LINKS else _trees(document, me, state)


def _linear(document: JsonObject, kind: str, me: Address, state: Merged) -> LinearModel:
    model = coordinated_model.Model.read(document, kind)
    headers, weights = {str(me): list(model.estimators[0].header)}, [np.array([e.w for e in model.estimators])]
    for party, found in sorted(state.halves.items()):
        headers[party] = list(found.linear().columns)
        weights.append(found.linear().weights)
    return LinearModel(
        kind,
        _columns(me, headers, taken=() if model.exposure is None else (model.exposure,)),
        np.column_stack(weights),
        tuple(0.0 if estimator.intercept is None else estimator.intercept for estimator in model.estimators),
        model.labels,
        model.threshold,
        model.exposure,
    )


def _trees(document: JsonObject, me: Address, state: Merged) -> TreeModel:
    model = secureboost_model.Model.read(document)
    rules = _rules(model, me, state)
    used = {party: {rule.name for rule in rules.values() if rule.party == party} for party in (str(me), *state.halves)}
    headers = {str(me): [name for name in model.header if name in used[str(me)]]}
    headers |= {party: sorted(used[party]) for party in sorted(state.halves)}
    columns = _columns(me, headers)
    at = {(column.party, column.feature): place for place, column in enumerate(columns)}
    rate, shape = float(str(model.hyper["learning_rate"])), model.hyper["objective_shape"]

    def place(tree: int, node: Node) -> Place:
        if node.is_leaf:
            return Place(value=rate * node.weight, hess=node.hess)
        rule = rules[tree, node.nid]
        column = at[rule.party, rule.name]
        return Place(node.left, node.right, column, rule.threshold, rule.missing_left, gain=node.gain, hess=node.hess)

    return TreeModel(
        str(model.hyper["objective"]),
        columns,
        tuple(tuple(place(i, node) for node in tree.nodes) for i, tree in enumerate(model.trees)),
        model.begin,
        bool(model.hyper["zero_as_missing"]),
        None if shape is None else float(str(shape)),
        float(str(model.hyper["threshold"])),
    )


@dataclass(frozen=True)
class _Rule:
    """Where a node splits."""

    party: str
    name: str
    threshold: float
    missing_left: bool


def _rules(model: secureboost_model.Model, me: Address, state: Merged) -> dict[tuple[int, int], _Rule]:
    """Return the rule of every split by tree and node, the hosts' as they sent them."""
    sent: dict[tuple[str, int], _Rule] = {}
    for party, numbers in _numbers(model).items():
        found = state.halves[party].splits()
        rows = zip(numbers, found.columns, found.thresholds.tolist(), found.missing_left.tolist(), strict=True)
        sent |= {(party, number): _Rule(party, name, at, left) for number, name, at, left in rows}
    rules = {}
    for i, tree in enumerate(model.trees):
        for node in (one for one in tree.nodes if not one.is_leaf):
            own = node.record < 0
            rule = _Rule(str(me), model.header[node.column], node.threshold, node.missing_left) if own else None
            rules[i, node.nid] = rule or sent[node.owner, node.record]
    return rules


def _numbers(model: secureboost_model.Model) -> dict[str, tuple[int, ...]]:
    """Return the numbers of each host's splits that the trees use, in order."""
    nodes = [node for tree in model.trees for node in tree.nodes if node.record >= 0]
    owners = sorted({node.owner for node in nodes})
    return {owner: tuple(sorted({node.record for node in nodes if node.owner == owner})) for owner in owners}


def _told(header: Sequence[str], me: Address, is_named: bool) -> tuple[str, ...]:
    """Return what the guest is told that a host's columns are called."""
    return tuple(header) if is_named else tuple(f"{me.role.label}_{me.party_id}_x{i}" for i in range(len(header)))


def _columns(me: Address, headers: Mapping[str, Sequence[str]], taken: Sequence[str] = ()) -> tuple[Column, ...]:
    """Return the columns of all parties, each under a name of its own; raises DataError when that cannot be."""
    often = Counter([*taken, *(name for names in headers.values() for name in names)])
    found = []
    for party, names in headers.items():
        site = "_".join(reversed(party.split("/")))
        keeps = party == str(me)
        found += [Column(name if keeps or often[name] == 1 else f"{site}.{name}", party, name) for name in names]
    twice = [name for name, count in Counter([*taken, *(column.name for column in found)]).items() if count > 1]
    odd = [column.name for column in found if not column.name.isprintable()]
    if twice or odd:
        raise DataError(f"two columns are called {(twice or odd)[0]!r}, or it cannot be written; rename one of them")
    return tuple(found)
