"""Merged trees as a model of XGBoost, in the JSON that its ``Booster.load_model`` reads (its document "Model IO").

XGBoost computes in float32 and sends values below a threshold left, where here those at it go left, too. So a threshold
t becomes the first float32 above t's own: a value that is t still goes left, one that differs from it by less than
float32 can tell goes with it. First scores are trees of one leaf, for ``base_score`` differs between versions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from partyd.components.base import JsonObject
from partyd.components.merged_model import Place, TreeModel
from partyd.errors import DataError

NO_PARENT = 2147483647
VERSION = (2, 1, 0)
"""Of the form; newer releases of XGBoost read it."""


def xgboost_json(model: TreeModel) -> bytes:
    """Return the model as XGBoost's JSON; raises DataError for one that XGBoost cannot have."""
    if model.zero_as_missing:
        raise DataError("XGBoost cannot take zeros for missing values; set output_format to pmml")
    begin = [(Place(value=score),) for score in model.begin] if any(model.begin) else []
    trees = [*begin, *model.trees]
    rounds = len(trees) // model.width
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [column.name for column in model.columns],
            "feature_types": ["float"] * len(model.columns),
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                    "iteration_indptr": [model.width * i for i in range(rounds + 1)],
                    "tree_info": [i % model.width for i in range(len(trees))],
                    "trees": [_tree(tree, i, len(model.columns)) for i, tree in enumerate(trees)],
                },
                "name": "gbtree",
            },
            "learner_model_param": _learner(model),
            "objective": _objective(model),
        },
        "version": list(VERSION),
    }
    return json.dumps(document, sort_keys=True, allow_nan=False).encode()


def _learner(model: TreeModel) -> JsonObject:
    neutral = {"binary:bce": "5E-1", "multi:ce": "5E-1", "regression:tweedie": "1E0"}.get(model.objective, "0E0")
    return {
        "base_score": neutral,
        "boost_from_average": "1",
        "num_class": str(model.width if model.objective == "multi:ce" else 0),
        "num_feature": str(len(model.columns)),
        "num_target": "1",
    }


def _objective(model: TreeModel) -> JsonObject:
    weight = {"reg_loss_param": {"scale_pos_weight": "1"}}
    if model.objective == "binary:bce":
        return {"name": "binary:logistic", **weight}
    if model.objective == "multi:ce":
        return {"name": "multi:softprob", "softmax_multiclass_param": {"num_class": str(model.width)}}
    if model.objective == "regression:tweedie":
        power = 1.5 if model.shape is None else model.shape
        return {"name": "reg:tweedie", "tweedie_regression_param": {"tweedie_variance_power": repr(power)}}
    return {"name": "reg:squarederror", **weight}  # whatever was minimised, the score is the prediction


def _tree(tree: Sequence[Place], number: int, columns: int) -> JsonObject:
    parents = [NO_PARENT] * len(tree)
    for i, node in enumerate(tree):
        for child in (node.left, node.right) if node.column >= 0 else ():
            parents[child] = i
    return {
        "base_weights": [node.value for node in tree],
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "default_left": [int(node.missing_left) for node in tree],
        "id": number,
        "left_children": [node.left for node in tree],
        "loss_changes": [node.gain for node in tree],
        "parents": parents,
        "right_children": [node.right for node in tree],
        "split_conditions": [node.value if node.column < 0 else above(node.threshold) for node in tree],
        "split_indices": [max(node.column, 0) for node in tree],
        "split_type": [0] * len(tree),
        "sum_hessian": [node.hess for node in tree],
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(columns),
            "num_nodes": str(len(tree)),
            "size_leaf_vector": "1",
        },
    }


def above(threshold: float) -> float:
    """Return the first float32 above a threshold's own."""
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))
