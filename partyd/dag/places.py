"""Where in a document a mistake stands, what it is in words, and which known name it is near to."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from partyd.errors import Mistake

SHOWN = 80
LISTED = 20
Step = int | str


class Places:
    """Writes paths as the document has them: one value where a list may stand has no index."""

    def __init__(self, document: object) -> None:
        self._document = document

    def path(self, *steps: Step) -> str:
        """Return the dotted path of ``steps``; an index is left out where the document has no list."""
        here, said = self._document, list[str]()
        for step in steps:
            if isinstance(step, int) and not isinstance(here, list):
                continue
            said.append(str(step)[:SHOWN])
            here = _inside(here, step)
        return ".".join(said)


def _inside(value: object, step: Step) -> object:
    if isinstance(value, dict):
        return value.get(step)
    return value[step] if isinstance(value, list) and isinstance(step, int) and step < len(value) else None


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or the list of them."""
    names = sorted(known)
    close = near(name, names)
    if close:
        return f"did you mean {close!r}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"known: {', '.join(n[:SHOWN] for n in names[:LISTED]) or 'none'}{more}"


def near(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known name nearest to ``name``, empty where none is near."""
    close = difflib.get_close_matches(name[:SHOWN], list(known), n=1, cutoff=cutoff)
    return close[0] if close else ""


def shown(text: str) -> str:
    """Return a name in quotes, cut where it is long."""
    return repr(text if len(text) <= SHOWN else text[:SHOWN] + "…")


def describe(error: ValidationError, model: type[BaseModel], document: object) -> Iterator[Mistake]:
    """Yield what pydantic found in ``document``, each with its path, and the nearest name for an unknown one."""
    for detail in error.errors(include_url=False):
        yield Mistake(_path(detail, document), *_words(detail, model))


def _path(detail: Any, document: object) -> str:
    """Return where a mistake stands, without the names that pydantic gives to the branches of a union."""
    here, said = document, list[str]()
    last = len(detail["loc"]) - 1
    for i, step in enumerate(detail["loc"]):
        is_there = step in here if isinstance(here, dict) else isinstance(here, list) and isinstance(step, int)
        if is_there or (i == last and detail["type"] == "missing"):
            said.append(str(step)[:SHOWN])
            here = _inside(here, step)
    return ".".join(said) or "the document"


def _words(detail: Any, model: type[BaseModel]) -> tuple[str, str]:
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        return "no such field", nearest(str(detail["loc"][-1]), _fields_at(model, detail["loc"][:-1]))
    if kind == "missing":
        return "is missing", "write it"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if kind == "value_error":
        return message, ""
    if kind == "literal_error" and isinstance(given, str):
        expected = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        return f"{shown(given)} is not one of {', '.join(expected)}", nearest(given, expected)
    what = shown(given) if isinstance(given, str) else str(given)[:SHOWN] if isinstance(given, int | float) else ""
    return message, f"it is {what}" if what else ""


def _fields_at(model: type[BaseModel], steps: Sequence[Step]) -> list[str]:
    """Return the names of the fields that the model has at ``steps``."""
    here: object = model
    for step in steps:
        here = _step_into(_model_in(here), step)
    found = _model_in(here)
    return sorted(found.model_fields) if isinstance(found, type) and issubclass(found, BaseModel) else []


def _step_into(here: object, step: Step) -> object:
    if isinstance(here, type) and issubclass(here, BaseModel):
        field = here.model_fields.get(str(step))
        return field.annotation if field else here
    arguments = get_args(here)
    return arguments[1] if get_origin(here) is dict else arguments[0] if arguments else None


def _model_in(annotation: object) -> object:
    """Return the part of an annotation that has an inside: without Annotated, and a union's first such member."""
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [_model_in(argument) for argument in get_args(annotation)]
        return next((i for i in inner if get_args(i) or (isinstance(i, type) and issubclass(i, BaseModel))), None)
    return annotation
