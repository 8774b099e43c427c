"""A party's half of a model of boosted trees, as a document in FATE's shape.

``data.trees`` holds at the guest every tree with its nodes, named as FATE names their fields: ``sitename`` is the
party that splits (``guest_10000``), ``fid`` the column and ``bid`` the value that it splits at. Of a host's node the
guest has the column's anonymous name and ``split_id``, the number under which that host finds the rest; a host has only
these rules, in ``data.splits``. ``missing_dir`` is 1 where missing values go left. Feature importance counts a column's
splits and adds up their gains; a host knows no gains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from partyd.algorithms.secureboost_messages import HostRecord
from partyd.algorithms.secureboost_parameters import SecureBoostParams
from partyd.algorithms.secureboost_trees import Node, Tree
from partyd.components.base import JsonObject
from partyd.data.table import Table
from partyd.errors import DataError, TaskFailed
from partyd.types import GUEST, Address

Matrix = NDArray[np.float64]
MODEL_TYPE = "hetero_secureboost"
KEPT = ("objective", "objective_shape", "num_class", "learning_rate", "zero_as_missing", "use_missing", "threshold")
"""Which parameters belong to a model: prediction and a warm start take them from it."""


@dataclass(frozen=True)
class Model:
    """One party's half: the guest's trees, or a host's rules, over the columns ``header``."""

    header: tuple[str, ...]
    hyper: Mapping[str, object]
    begin: tuple[float, ...] = ()
    trees: tuple[Tree, ...] = ()
    records: tuple[HostRecord, ...] = ()
    losses: tuple[float, ...] = ()
    judged: tuple[float, ...] = ()

    def columns(self, table: Table) -> Matrix:
        """Return the table's columns in the model's order; raises DataError for one that is missing."""
        names = table.schema.features
        missing = [name for name in self.header if name not in names]
        if missing:
            raise DataError(f"the table lacks the model's feature {missing[0]!r}; use the columns of the training")
        if tuple(names) == self.header:
            return np.asarray(table.features)
        return np.asarray(table.features)[:, [names.index(name) for name in self.header]]

    def with_hyper(self, params: SecureBoostParams) -> SecureBoostParams:
        """Return ``params`` with those that belong to this model."""
        return type(params).model_validate(params.model_dump(mode="json") | dict(self.hyper))

    def document(self, me: Address, params: SecureBoostParams) -> JsonObject:
        """Return the half as it is written."""
        data: JsonObject = {
            "hyper_param": {name: params.model_dump(mode="json")[name] for name in HYPER},
            "fid_name_mapping": {str(i): name for i, name in enumerate(self.header)},
            "feature_importance": self.importance(me),
        }
        if me.role == GUEST:
            data |= {
                "trees": [self._tree(tree, me) for tree in self.trees],
                "init_score": list(self.begin),
                "losses": list(self.losses),
                "validation": list(self.judged),
                "tree_dim": len(self.begin),
            }
        else:
            data["splits"] = [self._rule(record) for record in self.records]
        meta: JsonObject = {"model_type": MODEL_TYPE, "role": me.role.label, **self._kept(params)}
        return {"data": data, "meta": meta}

    @classmethod
    def read(cls, document: JsonObject) -> Model:
        """Return the half; raises TaskFailed for a document of something else."""
        data, meta = document.get("data", {}), document.get("meta", {})
        if meta.get("model_type") != MODEL_TYPE:
            raise TaskFailed(f"the input model is not one of {MODEL_TYPE}; connect a training's output_model")
        try:
            header = tuple(data["fid_name_mapping"][str(i)] for i in range(len(data["fid_name_mapping"])))
            return cls(
                header=header,
                hyper={name: meta[name] for name in KEPT},
                begin=tuple(float(score) for score in data.get("init_score", ())),
                trees=tuple(_read_tree(tree, header) for tree in data.get("trees", ())),
                records=tuple(_read_rule(rule, header) for rule in data.get("splits", ())),
                losses=tuple(float(loss) for loss in data.get("losses", ())),
                judged=tuple(float(value) for value in data.get("validation", ())),
            )
        except (KeyError, TypeError, ValueError, IndexError, ValidationError) as error:
            raise TaskFailed(f"the model lacks what {MODEL_TYPE} needs ({error!r}); train it again") from error

    def importance(self, me: Address) -> JsonObject:
        """Return each used column's number of splits and, at the guest, what they gained; hosts' by anonymous name."""
        found: dict[str, JsonObject] = {}
        for node in (node for tree in self.trees for node in tree.nodes if not node.is_leaf):
            name = self.header[node.column] if node.record < 0 else _anonymous(node)
            entry = found.setdefault(name, {"split": 0, "gain": 0.0})
            entry["split"], entry["gain"] = entry["split"] + 1, entry["gain"] + node.gain
        for record in self.records if me.role != GUEST else ():
            entry = found.setdefault(self.header[record.column], {"split": 0})
            entry["split"] += 1
        return dict(found)

    def _kept(self, params: SecureBoostParams) -> JsonObject:
        plain = params.model_dump(mode="json")
        return {name: plain[name] for name in KEPT}

    def _tree(self, tree: Tree, me: Address) -> JsonObject:
        nodes = [self._node(node, tree.nodes, me) for node in tree.nodes]
        return {"nodes": nodes}

    def _node(self, node: Node, nodes: Sequence[Node], me: Address) -> JsonObject:
        parent = nodes[node.parent] if node.parent >= 0 else None
        own = not node.is_leaf and node.record < 0
        sibling = None if parent is None else parent.right if node.nid == parent.left else parent.left
        return {
            "nid": node.nid,
            "depth": node.depth,
            "sitename": _site(str(me) if node.is_leaf else node.owner),
            "fid": None if node.is_leaf else self.header[node.column] if own else _anonymous(node),
            "bid": node.threshold if own else None,
            "split_id": None if node.record < 0 else node.record,
            "missing_dir": 1 if node.missing_left else -1,
            "weight": node.weight,
            "is_leaf": node.is_leaf,
            "grad": node.grad,
            "hess": node.hess,
            "gain": node.gain,
            "l": node.left,
            "r": node.right,
            "sample_num": node.rows,
            "is_left_node": parent is not None and node.nid == parent.left,
            "sibling_nodeid": sibling,
            "parent_nodeid": None if parent is None else parent.nid,
        }

    def _rule(self, record: HostRecord) -> JsonObject:
        direction = 1 if record.missing_left else -1
        return {"fid": self.header[record.column], "bid": record.threshold, "missing_dir": direction}


HYPER = ("num_trees", "learning_rate", "max_depth", "objective", "max_bin", "l1", "l2", "num_class")


def _site(address: str) -> str:
    party_id, _, role = address.partition("/")
    return f"{role}_{party_id}"


def _address(site: str) -> str:
    role, _, party_id = site.partition("_")
    return f"{party_id}/{role}"


def _anonymous(node: Node) -> str:
    return f"{_site(node.owner)}_x{node.column}"


def _read_tree(tree: JsonObject, header: Sequence[str]) -> Tree:
    return Tree(nodes=[_read_node(node, header) for node in tree["nodes"]])


def _read_node(node: JsonObject, header: Sequence[str]) -> Node:
    own = not node["is_leaf"] and node["split_id"] is None
    column = -1 if node["is_leaf"] else header.index(node["fid"]) if own else int(node["fid"].rpartition("_x")[2])
    return Node(
        nid=node["nid"],
        depth=node["depth"],
        parent=-1 if node["parent_nodeid"] is None else node["parent_nodeid"],
        left=node["l"],
        right=node["r"],
        owner="" if node["is_leaf"] else _address(node["sitename"]),
        column=column,
        threshold=float(node["bid"]) if own else 0.0,
        missing_left=node["missing_dir"] == 1,
        record=-1 if node["split_id"] is None else node["split_id"],
        rows=node["sample_num"],
        grad=float(node["grad"]),
        hess=float(node["hess"]),
        weight=float(node["weight"]),
        gain=float(node["gain"]),
    )


def _read_rule(rule: JsonObject, header: Sequence[str]) -> HostRecord:
    return HostRecord(
        column=header.index(rule["fid"]), threshold=float(rule["bid"]), missing_left=rule["missing_dir"] == 1
    )
