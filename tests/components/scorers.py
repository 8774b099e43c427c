"""Score rows with a model's file alone, as its format's own document says: PMML 4.4, and XGBoost's JSON.

Written from the formats, not from the code that writes them: nothing of partyd is imported here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

Row = Mapping[str, float]
Values = dict[str, float]
PMML = "{http://www.dmg.org/PMML-4_4}"
MODELS = ("RegressionModel", "TreeModel", "MiningModel")


def pmml_scores(content: bytes, row: Row) -> dict[str, float]:
    """Return a row's prediction: the probability of each class, or ``{"": number}``; NaN stands for missing."""
    root = ET.fromstring(content)
    assert (root.tag, root.get("version")) == (f"{PMML}PMML", "4.4")
    fields = {field.get("name") for field in root.iter(f"{PMML}DataField")}
    assert len(fields) == int(str(_one(root, "DataDictionary").get("numberOfFields")))
    values = {name: value for name, value in row.items() if name in fields}
    for derived in root.iter(f"{PMML}DerivedField"):
        values[str(derived.get("name"))] = _expression(derived[0], values)
    (model,) = (child for child in root if child.tag.removeprefix(PMML) in MODELS)
    for used in model.findall(f"{PMML}MiningSchema/{PMML}MiningField"):
        assert used.get("usageType") == "target" or used.get("name") in values
    return _model(model, values)


def _one(parent: ET.Element, tag: str) -> ET.Element:
    found = parent.find(f"{PMML}{tag}")
    assert found is not None, tag
    return found


def _expression(element: ET.Element, values: Row) -> float:
    if element.tag == f"{PMML}FieldRef":
        return values[str(element.get("field"))]
    if element.tag == f"{PMML}Constant":
        return float(str(element.text))
    arguments = [_expression(child, values) for child in element]
    if any(math.isnan(argument) for argument in arguments):
        return math.nan
    match element.get("function"):
        case "ln":
            return math.log(arguments[0])
        case "notEqual":
            return float(arguments[0] != arguments[1])
        case "if":
            return arguments[1] if arguments[0] else math.nan
    raise AssertionError(element.get("function"))


def _model(model: ET.Element, values: Values) -> dict[str, float]:
    kind = model.tag.removeprefix(PMML)
    if kind == "RegressionModel":
        return _regression(model, values)
    if kind == "TreeModel":
        return {"": _tree(model, values)}
    segments = _one(model, "Segmentation")
    parts = [next(child for child in segment if child.tag.removeprefix(PMML) in MODELS) for segment in segments]
    if segments.get("multipleModelMethod") == "sum":
        return {"": sum(_model(part, values)[""] for part in parts)}
    assert segments.get("multipleModelMethod") == "modelChain"
    known, found = dict(values), dict[str, float]()
    for part in parts:
        found = _model(part, known)
        for output in part.findall(f"{PMML}Output/{PMML}OutputField"):
            wanted = "" if output.get("feature") == "predictedValue" else str(output.get("value"))
            known[str(output.get("name"))] = found[wanted]
    return found


def _regression(model: ET.Element, values: Row) -> dict[str, float]:
    scores: dict[str, float] = {}
    for table in model.findall(f"{PMML}RegressionTable"):
        terms = [float(str(t.get("coefficient"))) * values[str(t.get("name"))] for t in table]
        scores[table.get("targetCategory", "")] = float(str(table.get("intercept"))) + sum(terms)
    link = model.get("normalizationMethod")
    if model.get("functionName") == "regression":
        (score,) = scores.values()
        return {"": {"none": score, "exp": math.exp(score), "logit": 1 / (1 + math.exp(-score))}[str(link)]}
    if link == "logit":
        first, second = scores
        p = 1 / (1 + math.exp(-scores[first]))
        return {first: p, second: 1 - p}
    shares = {name: math.exp(score) if link == "softmax" else score for name, score in scores.items()}
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def _tree(model: ET.Element, values: Row) -> float:
    assert model.get("missingValueStrategy") == "defaultChild"
    node = _one(model, "Node")
    while node.get("score") is None:
        node = _below(node, values)
    return float(str(node.get("score")))


def _below(node: ET.Element, values: Row) -> ET.Element:
    children = node.findall(f"{PMML}Node")
    for child in children:
        test = _one(child, "SimplePredicate")
        value, limit = values[str(test.get("field"))], float(str(test.get("value")))
        if math.isnan(value):
            return next(one for one in children if one.get("id") == node.get("defaultChild"))
        if value <= limit if test.get("operator") == "lessOrEqual" else value > limit:
            return child
    raise AssertionError("no child's predicate holds")


def xgboost_margins(content: bytes, row: Row) -> list[float]:
    """Return a row's scores before the objective's transformation, as XGBoost computes them: in float32."""
    learner: dict[str, Any] = json.loads(content)["learner"]
    model = learner["gradient_booster"]["model"]
    width = max(1, int(learner["learner_model_param"]["num_class"]))
    assert len(model["trees"]) == int(model["gbtree_model_param"]["num_trees"]) == model["iteration_indptr"][-1]
    x = [np.float32(row[name]) for name in learner["feature_names"]]
    total = np.zeros(width, dtype=np.float32)
    for group, tree in zip(model["tree_info"], model["trees"], strict=True):
        node = 0
        while tree["left_children"][node] >= 0:
            value = x[tree["split_indices"][node]]
            left = tree["default_left"][node] if np.isnan(value) else value < np.float32(tree["split_conditions"][node])
            node = tree["left_children" if left else "right_children"][node]
        total[group] += np.float32(tree["split_conditions"][node])
    return [float(score) for score in total]
