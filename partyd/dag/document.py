"""A document as it comes from a user: text to plain JSON values, everything about it bounded."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import yaml

from partyd.errors import JobRejected, Mistake

MAX_DAG_BYTES = 1 << 20
MAX_VALUES = 200_000
MAX_DEPTH = 100
MAX_WHOLE = 1 << 128
MAX_MISTAKES = 100
_SCALARS = (bool, str, type(None))


def parse_dag_text(text: str, where: str) -> object:
    """Return the document in a YAML or JSON text; raises JobRejected saying where it is broken."""
    if len(text) > MAX_DAG_BYTES:
        raise JobRejected(f"{where} holds {len(text)} characters; at most {MAX_DAG_BYTES} are read")
    try:
        return json.loads(text, object_pairs_hook=_once) if text.lstrip().startswith("{") else _yaml(text)
    except json.JSONDecodeError:
        pass  # YAML's own way of writing a mapping
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobRejected(f"{where} is neither YAML nor JSON: {error}") from error
    try:
        return _yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise JobRejected(f"{where} is neither YAML nor JSON: {error}") from error


def plain(document: object) -> object:
    """Return a copy of a parsed document that holds plain JSON values only; raises JobRejected naming what does not."""
    reader = _Reader()
    copy = reader.read(document, "", 0)
    if reader.mistakes:
        raise JobRejected.of(reader.mistakes)
    return copy


class _Reader:
    """Copies a document while it counts what it holds."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self._values = 0
        self._characters = 0

    def read(self, value: object, path: str, depth: int) -> object:
        self._values += 1
        if self._values > MAX_VALUES or self._characters > MAX_DAG_BYTES:
            message = f"it holds more than {MAX_VALUES} values or {MAX_DAG_BYTES} characters"
            raise JobRejected.of([Mistake("the document", message, "make it smaller")])
        if depth > MAX_DEPTH:
            return self._wrong(path, f"it is nested more than {MAX_DEPTH} levels deep", "write it flatter")
        if isinstance(value, Mapping):
            return dict(self._entries(value, path, depth))
        if isinstance(value, list | tuple):
            return [self.read(item, f"{path}.{i}", depth + 1) for i, item in enumerate(value)]
        return self._scalar(value, path)

    def _entries(self, value: Mapping[object, object], path: str, depth: int) -> Iterator[tuple[str, object]]:
        for key, item in value.items():
            name = str(key) if type(key) is int and abs(key) < MAX_WHOLE else key
            if isinstance(name, str) and isinstance(self._scalar(name, path), str):
                yield name, self.read(item, f"{path}.{name[:80]}" if path else name[:80], depth + 1)
            else:
                self._wrong(path or "the document", f"a key is {type(key).__name__}, not text", "put it in quotes")

    def _scalar(self, value: object, path: str) -> object:
        if isinstance(value, str):
            self._characters += len(value)
            if any("\ud800" <= c <= "\udfff" for c in value):
                return self._wrong(path, "the text holds half a character (a lone surrogate)", "write it in UTF-8")
        if isinstance(value, _SCALARS):
            return value
        if isinstance(value, int):
            ok = abs(value) < MAX_WHOLE
            return value if ok else self._wrong(path, "the number is too large", "at most 128 bits are read")
        if isinstance(value, float):
            return value if math.isfinite(value) else self._wrong(path, f"{value} is no number", "write a finite one")
        return self._wrong(path, f"a value of the type {type(value).__name__} is not read", "put it in quotes")

    def _wrong(self, path: str, message: str, hint: str) -> object:
        if len(self.mistakes) < MAX_MISTAKES:
            self.mistakes.append(Mistake(path or "the document", message, hint))
        return None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object, refusing a key written twice: one of the two would be lost in silence."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:80]!r} is written twice")
    return found


def _yaml(text: str) -> object:
    """Return a plain YAML document: no aliases (a few lines of them name a million nodes), no depth without bound."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write out what they stand for")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise yaml.YAMLError(f"it is nested more than {MAX_DEPTH} levels deep")
    return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader, in C where that is there


_SAFE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SAFE):  # type: ignore[misc]
    """A SafeLoader that refuses a key written twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value[:80]!r} is written twice", key.start_mark
                    )
                seen.add(key.value)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return found
