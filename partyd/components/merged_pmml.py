"""A merged model as PMML 4.4 (Data Mining Group), as scoring engines read it.

A linear model is a ``RegressionModel``. With more than two classes it is a chain: each class's own probability, then
their shares (``simplemax``), of which the largest is the class that partyd predicts. Trees are a chain of one sum of
``TreeModel``s for each score and a ``RegressionModel`` that makes the prediction of the scores. A first score is a tree
of one leaf. Values go left that are ``lessOrEqual``; where missing ones go is each node's ``defaultChild``.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from partyd import __version__
from partyd.components.merged_model import LinearModel, Place, TreeModel
from partyd.data.render import number
from partyd.errors import DataError

NAMESPACE = "http://www.dmg.org/PMML-4_4"
CONTINUOUS = {"optype": "continuous", "dataType": "double"}


def pmml(model: LinearModel | TreeModel, target: str) -> bytes:
    """Return the model as an XML document."""
    root = Element("PMML", {"xmlns": NAMESPACE, "version": "4.4"})
    header = SubElement(root, "Header", {"description": f"merged from the halves of {_parties(model)}"})
    SubElement(header, "Application", {"name": "partyd", "version": __version__})
    used = [column.name for column in model.columns]
    if isinstance(model, LinearModel) and model.exposure is not None:
        used.append(model.exposure)
    _insist_on_free(model, used, target)
    _dictionary(root, used, target, _classes(model))
    if isinstance(model, LinearModel):
        _linear(root, model, target, used)
    else:
        _boosted(root, model, target, used)
    indent(root, " ")
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _insist_on_free(model: LinearModel | TreeModel, used: Sequence[str], target: str) -> None:
    """Raise DataError for a column that is called as the label or as what the model itself computes."""
    made = {_score(name) for name in _classes(model)} | {_score(str(k)) for k in range(100)}
    clash = [name for name in used if name == target or name in made or name in map(_nonzero, used)]
    if clash:
        raise DataError(f"the model has a column {clash[0]!r}; set target_name to another, or rename the column")


def _parties(model: LinearModel | TreeModel) -> str:
    return ", ".join(dict.fromkeys(column.party for column in model.columns))


def _classes(model: LinearModel | TreeModel) -> list[str]:
    """Return the classes that are told apart; a regression has none."""
    if isinstance(model, LinearModel):
        return [str(number(label)) for label in model.labels] if model.link == "logit" else []
    task = model.objective.partition(":")[0]
    return {"binary": ["0", "1"], "multi": [str(i) for i in range(model.width)]}.get(task, [])


def _dictionary(root: Element, used: Sequence[str], target: str, classes: Sequence[str]) -> None:
    fields = SubElement(root, "DataDictionary", {"numberOfFields": str(len(used) + 1)})
    kind = {"optype": "categorical", "dataType": "string"} if classes else CONTINUOUS
    label = SubElement(fields, "DataField", {"name": target, **kind})
    for value in classes:
        SubElement(label, "Value", {"value": value})
    for name in used:
        SubElement(fields, "DataField", {"name": name, **CONTINUOUS})


# -- linear models


def _linear(root: Element, model: LinearModel, target: str, used: Sequence[str]) -> None:
    classes = _classes(model)
    if model.exposure is not None:
        logarithm = _derived(SubElement(root, "TransformationDictionary"), _log(model.exposure), "ln")
        SubElement(logarithm, "FieldRef", {"field": model.exposure})
    if len(model.intercepts) > 1:
        chain = _chain(root, classes, target, used)
        for k in range(len(classes)):
            part = _regression(_segment(chain, k), [], "logit", target="", used=used)
            _output(part, _score(classes[k]))
            _table(part, model, k)
        _shares(_segment(chain, len(classes)), classes, target, "simplemax")
        return
    links = {"logit": "logit", "identity": "none", "exp": "exp"}
    found = _regression(root, classes, links[model.link], target=target, used=used)
    _probabilities(found, classes)
    _table(found, model, 0, category=classes[-1] if classes else "")
    if classes:
        SubElement(found, "RegressionTable", {"intercept": "0", "targetCategory": classes[0]})


def _regression(parent: Element, classes: Sequence[str], link: str, *, target: str, used: Sequence[str]) -> Element:
    kind = "classification" if classes else "regression"
    found = SubElement(parent, "RegressionModel", {"functionName": kind, "normalizationMethod": link})
    _schema(found, target, used)
    return found


def _table(parent: Element, model: LinearModel, which: int, category: str = "") -> None:
    given = {"intercept": repr(model.intercepts[which])} | ({"targetCategory": category} if category else {})
    table = SubElement(parent, "RegressionTable", given)
    for column, weight in zip(model.columns, model.weights[which].tolist(), strict=True):
        SubElement(table, "NumericPredictor", {"name": column.name, "coefficient": repr(weight)})
    if model.exposure is not None:
        SubElement(table, "NumericPredictor", {"name": _log(model.exposure), "coefficient": "1"})


# -- trees


def _boosted(root: Element, model: TreeModel, target: str, used: Sequence[str]) -> None:
    fields = list(used)
    if model.zero_as_missing:
        _without_zeros(root, used)
        fields = [_nonzero(name) for name in used]
    classes = _classes(model)
    chain = _chain(root, classes, target, used)
    for k in range(model.width):
        total = SubElement(_segment(chain, k), "MiningModel", {"functionName": "regression"})
        _schema(total, "", used)
        _output(total, _score(str(k)))
        trees = SubElement(total, "Segmentation", {"multipleModelMethod": "sum"})
        for i, tree in enumerate([(Place(value=model.begin[k]),), *model.trees[k :: model.width]]):
            _tree(_segment(trees, i), tree, fields, used)
    last = _segment(chain, model.width)
    if len(classes) > 2:
        _shares(last, classes, target, "softmax")
        return
    link = "logit" if classes else "exp" if model.objective == "regression:tweedie" else "none"
    found = _regression(last, classes, link, target=target, used=[_score("0")])
    _probabilities(found, classes)
    table = SubElement(found, "RegressionTable", {"intercept": "0"} | ({"targetCategory": "1"} if classes else {}))
    SubElement(table, "NumericPredictor", {"name": _score("0"), "coefficient": "1"})
    if classes:
        SubElement(found, "RegressionTable", {"intercept": "0", "targetCategory": "0"})


def _without_zeros(root: Element, used: Sequence[str]) -> None:
    """Derive each column anew, missing where it is 0."""
    dictionary = SubElement(root, "TransformationDictionary")
    for name in used:
        chosen = _derived(dictionary, _nonzero(name), "if")
        differs = SubElement(chosen, "Apply", {"function": "notEqual"})
        SubElement(differs, "FieldRef", {"field": name})
        SubElement(differs, "Constant", {"dataType": "double"}).text = "0"
        SubElement(chosen, "FieldRef", {"field": name})


def _tree(parent: Element, tree: Sequence[Place], fields: Sequence[str], used: Sequence[str]) -> None:
    kept = [used[column] for column in sorted({node.column for node in tree if node.column >= 0})]
    found = SubElement(
        parent,
        "TreeModel",
        {"functionName": "regression", "missingValueStrategy": "defaultChild", "splitCharacteristic": "binarySplit"},
    )
    _schema(found, "", kept)
    top = SubElement(found, "Node", {"id": "0"})
    SubElement(top, "True")
    waiting = [(0, top)]
    while waiting:
        number_, element = waiting.pop()
        node = tree[number_]
        if node.column < 0:
            element.set("score", repr(node.value))
            continue
        element.set("defaultChild", str(node.left if node.missing_left else node.right))
        for child, operator in ((node.left, "lessOrEqual"), (node.right, "greaterThan")):
            below = SubElement(element, "Node", {"id": str(child)})
            test = {"field": fields[node.column], "operator": operator, "value": repr(node.threshold)}
            SubElement(below, "SimplePredicate", test)
            waiting.append((child, below))


# -- parts of both


def _chain(root: Element, classes: Sequence[str], target: str, used: Sequence[str]) -> Element:
    """Begin a model whose last segment predicts from what those before it put out."""
    kind = "classification" if classes else "regression"
    outer = SubElement(root, "MiningModel", {"functionName": kind})
    _schema(outer, target, used)
    return SubElement(outer, "Segmentation", {"multipleModelMethod": "modelChain"})


def _segment(parent: Element, place: int) -> Element:
    found = SubElement(parent, "Segment", {"id": str(place + 1)})
    SubElement(found, "True")
    return found


def _shares(parent: Element, classes: Sequence[str], target: str, link: str) -> None:
    """Write the model that makes probabilities of one score for each class."""
    scores = [_score(name) for name in classes]
    found = _regression(parent, classes, link, target=target, used=scores)
    _probabilities(found, classes)
    for name, field in zip(classes, scores, strict=True):
        table = SubElement(found, "RegressionTable", {"intercept": "0", "targetCategory": name})
        SubElement(table, "NumericPredictor", {"name": field, "coefficient": "1"})


def _schema(parent: Element, target: str, used: Sequence[str]) -> None:
    fields = SubElement(parent, "MiningSchema")
    if target:
        SubElement(fields, "MiningField", {"name": target, "usageType": "target"})
    for name in used:
        SubElement(fields, "MiningField", {"name": name})


def _output(parent: Element, name: str) -> None:
    """Name what a segment puts out for those after it."""
    SubElement(SubElement(parent, "Output"), "OutputField", {"name": name, "feature": "predictedValue", **CONTINUOUS})


def _probabilities(parent: Element, classes: Sequence[str]) -> None:
    output = SubElement(parent, "Output") if classes else None
    for value in classes if output is not None else ():
        field = {"name": f"probability({value})", "feature": "probability", "value": value, **CONTINUOUS}
        SubElement(output, "OutputField", field)  # type: ignore[arg-type]


def _derived(parent: Element, name: str, function: str) -> Element:
    """Begin a field that a function gives, and return where its arguments go."""
    field = SubElement(parent, "DerivedField", {"name": name, **CONTINUOUS})
    return SubElement(field, "Apply", {"function": function})


def _score(of: str) -> str:
    return f"score({of})"


def _log(name: str) -> str:
    return f"ln({name})"


def _nonzero(name: str) -> str:
    return f"nonzero({name})"
