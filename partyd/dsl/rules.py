"""What becomes of a parameter of FATE 1.x: a rule for each, so that a module is a table of them.

`To` says where the value goes and what it is called there, `Inside` goes into a mapping, `Left` has no counterpart and
says what that means for the result, `By` is for the few that need a function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from partyd.components.base import JsonObject

Remark = tuple[str, str]
"""A parameter's path below the one that is translated, and what is said about it."""
UNKNOWN = "is no parameter that has a counterpart here; it is left out"


@dataclass(frozen=True)
class To:
    """The value goes to ``path``; ``values`` gives the names that differ, all others stay as they are."""

    path: tuple[str, ...]
    values: Mapping[object, object] = field(default_factory=dict)

    def apply(self, value: object, out: JsonObject) -> Iterator[Remark]:
        """Put the value where it belongs."""
        key = value.lower() if isinstance(value, str) else value
        known = isinstance(key, str | int | float | bool | type(None)) and key in self.values
        put(out, self.path, self.values[key] if known else value)
        yield from ()


@dataclass(frozen=True)
class Left:
    """There is no counterpart: ``means`` says what that does to the result, ``quiet`` which values ask for nothing."""

    means: str
    quiet: tuple[object, ...] = (None, False)

    def apply(self, value: object, out: JsonObject) -> Iterator[Remark]:  # noqa: ARG002 - as the other rules have it
        """Say what is lost, unless the value asks for nothing."""
        if not any(type(value) is type(q) and value == q for q in self.quiet):
            yield "", self.means


@dataclass(frozen=True)
class Inside:
    """A mapping, each of whose fields has a rule of its own."""

    rules: Mapping[str, Rule]

    def apply(self, value: object, out: JsonObject) -> Iterator[Remark]:
        """Apply the rules of the mapping's fields."""
        if isinstance(value, dict):
            yield from apply_all(self.rules, value, out)
        elif value is not None:
            yield "", "a mapping is expected; it is left out"


@dataclass(frozen=True)
class By:
    """A function puts the value where it belongs and returns what is to be said about it, or an empty text."""

    put: Callable[[object, JsonObject], str]

    def apply(self, value: object, out: JsonObject) -> Iterator[Remark]:
        """Apply the function."""
        said = self.put(value, out)
        if said:
            yield "", said


Rule: TypeAlias = To | Left | Inside | By


def apply_all(rules: Mapping[str, Rule], given: Mapping[str, object], out: JsonObject) -> Iterator[Remark]:
    """Translate every given parameter into ``out``, and yield what is to be said about it."""
    for name, value in given.items():
        rule = rules.get(name)
        if rule is None:
            yield name, UNKNOWN
            continue
        for path, said in rule.apply(value, out):
            yield f"{name}.{path}" if path else name, said


def put(out: JsonObject, path: tuple[str, ...], value: object) -> None:
    """Put ``value`` at ``path``, making the mappings on the way."""
    for name in path[:-1]:
        out = out.setdefault(name, {})
    out[path[-1]] = value
