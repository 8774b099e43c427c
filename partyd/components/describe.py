"""A component in a form that programs read: parameters, ports, roles, and who learns what.

It comes from the declarations alone, for ``/v2/provider`` and the documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from partyd import __version__
from partyd.components.base import Component, JsonObject, Port
from partyd.types import ARBITER, GUEST, HOST, Role

STAGES = ("train", "predict", "cross_validation", "default")
BOUNDS = {
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_items",
    "maxItems": "max_items",
    "enum": "choices",
    "const": "only",
}
"""What a JSON schema says of a value, and how it is said here."""


def describe(component: Component) -> JsonObject:
    """Return the description of ``component``; equal for equal declarations."""
    module = inspect.getmodule(component.run)
    return {
        "name": component.name,
        "version": __version__,
        "description": first_sentence(module.__doc__ if module else None),
        "roles": labels(component.roles),
        "parameters": parameters(component),
        "inputs": [port(each) for each in component.inputs],
        "outputs": [port(each) for each in component.outputs],
        "metric": component.metric,
        "alone_if": dict(component.alone_if),
        "agreed": list(component.agreed),
        "algorithms": {algorithm.name: algorithm.version for algorithm in component.algorithms},
        "disclosures": disclosures(component),
    }


def labels(role: Role) -> list[str]:
    """Return the names of the roles in ``role``."""
    return [one.label for one in (GUEST, HOST, ARBITER) if one & role]


def port(each: Port) -> JsonObject:
    """Return the description of an input or output."""
    return {
        "name": each.name,
        "kind": each.kind.value,
        "roles": labels(each.roles),
        "stages": list(each.stages or STAGES),
        "needed": [stage for stage in each.stages or STAGES if each.needed_in(stage)],
        "several": each.several,
    }


def disclosures(component: Component) -> list[JsonObject]:
    """Return what each role learns, in the order of the algorithms and their messages."""
    return [
        {
            "algorithm": algorithm.name,
            "roles": labels(disclosure.role),
            "message": disclosure.source.__name__ if disclosure.source else None,
            "learns": disclosure.learns,
        }
        for algorithm in component.algorithms
        for disclosure in algorithm.disclosures
    ]


def parameters(component: Component) -> dict[str, JsonObject]:
    """Return each parameter's type, default and bounds; a structured one has ``parameters`` of its own."""
    schema = component.params.model_json_schema()
    return _properties(schema, schema.get("$defs", {}))


def _properties(schema: JsonObject, known: JsonObject) -> dict[str, JsonObject]:
    required = schema.get("required", ())
    return {
        name: _value(given, known) | {"required": name in required}
        for name, given in schema.get("properties", {}).items()
    }


def _value(given: JsonObject, known: JsonObject) -> JsonObject:
    """Return what may stand for one value: references resolved, null left out, for it means the default."""
    given = _resolved(given, known)
    found: JsonObject = {"default": given["default"]} if "default" in given else {}
    ways = [_resolved(way, known) for way in given.get("anyOf", (given,))]
    ways = [way for way in ways if way.get("type") != "null"]
    if len(ways) != 1:
        return found | {"type": _type(given, known), "choices_of": [_value(way, known) for way in ways]}
    (way,) = ways
    found |= {"type": _type(way, known)} | {ours: way[theirs] for theirs, ours in BOUNDS.items() if theirs in way}
    if isinstance(way.get("items"), dict):
        found["items"] = _value(way["items"], known)
    if "properties" in way:
        found["parameters"] = _properties(way, known)
    return found


def _resolved(given: JsonObject, known: JsonObject) -> JsonObject:
    if "$ref" not in given:
        return given
    name = str(given["$ref"]).rsplit("/", 1)[-1]
    found: JsonObject = known[name]
    return found | {key: value for key, value in given.items() if key != "$ref"}


def _type(given: JsonObject, known: JsonObject) -> str:
    """Return the type in one word, or in several with ``or`` between."""
    ways: Iterable[Any] = given.get("anyOf", (given,))
    words = [str(_resolved(way, known).get("type", "any")) for way in ways]
    return " or ".join(dict.fromkeys(word for word in words if word != "null"))


def first_sentence(text: str | None) -> str:
    """Return the first sentence of a docstring."""
    line = " ".join((text or "").strip().split("\n\n")[0].split())
    return line if ". " not in line else line[: line.index(". ") + 1]
