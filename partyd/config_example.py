"""Write the commented example of every setting, from the settings' own types, docstrings and defaults."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from pydantic.fields import FieldInfo

from partyd import config
from partyd.config import GIB, KIB, MIB, Section, Settings
from partyd.types import Role

_HEAD = """\
# Settings of one partyd daemon. A line that starts with '#' shows the default.
# The environment overrides this file (PARTYD_HTTP__PORT=9381), the command line both (--set http.port=9381).
# Relative paths count from this file's directory.
"""
_UNITS = (("GiB", GIB), ("MiB", MIB), ("KiB", KIB))
_INTERNAL = frozenset({"standalone"})
_EXAMPLES: Mapping[str, object] = {
    "party_id": "10000",
    "roles": ["guest"],
    "state_dir": "/var/lib/partyd/guest-10000",
    "broker.ca_file": "broker/ca.crt",
    "broker.cert_file": "broker/10000.crt",
    "broker.key_file": "broker/10000.key",
    "broker.username": "10000",
    "broker.password_file": "broker/password",
    "data.sources_dir": "/var/lib/partyd/guest-10000/conf/sources",
    "http.tls_cert": "http/server.crt",
    "http.tls_key": "http/server.key",
    "http.token_file": "http/token",
}


def render(chosen: Mapping[str, object] | None = None) -> str:
    """Return a TOML file that explains every key; the flat keys of ``chosen`` are set, the others commented out."""
    values = {"party_id": "10000", "roles": ["guest"]} if chosen is None else dict(chosen)
    docs = _docstrings()
    top: list[str] = []
    sections: list[str] = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys = [
                _key(f"{name}.{key}", part, values, docs[section.__name__][key])
                for key, part in section.model_fields.items()
            ]
            sections.append("\n".join([*_comment(section.__doc__ or ""), f"[{name}]", *keys]))
        elif name not in _INTERNAL:
            top.append(_key(name, field, values, docs[Settings.__name__][name]))
    return "\n".join([_HEAD, *top, "", "\n\n".join(sections), ""])


def _docstrings() -> dict[str, dict[str, str]]:
    """Read the text under each key of each section; pydantic could, but that would slow every start by 50 ms."""
    classes = [node for node in ast.parse(inspect.getsource(config)).body if isinstance(node, ast.ClassDef)]
    return {one.name: dict(_documented(one)) for one in classes}


def _documented(section: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for key, text in pairwise(section.body):
        match key, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                yield name, docstring


def _key(path: str, field: FieldInfo, values: Mapping[str, object], docstring: str) -> str:
    lines, name = _comment(docstring), path.rpartition(".")[2]
    if path in values:
        return "\n".join([*lines, f"{name} = {_toml(values[path])}"])
    default = _EXAMPLES.get(path, field.default)
    shown = _size(default) if name.endswith("_bytes") and isinstance(default, int) else _toml(default)
    return "\n".join([*lines, f"# {name} = {shown}"])


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), 110)]


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case Role():
            return json.dumps(value.label)
        case list() | tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case str() | Path():
            return json.dumps(str(value), ensure_ascii=False)
        case _:
            raise TypeError(f"{type(value).__name__} has no place in a settings file")


def _size(value: int) -> str:
    unit, size = next(((unit, size) for unit, size in _UNITS if value % size == 0), ("B", 1))
    return f'"{value // size} {unit}"'
