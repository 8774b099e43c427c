"""Whether the parties of a task agree on the parameters on which they must: `Component.agreed`.

A party that sets such a parameter otherwise than its peers would wait for messages that nobody sends, or find numbers
that do not fit, when the job has long begun.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence

from pydantic import BaseModel, TypeAdapter, ValidationError

from partyd.components.base import Component
from partyd.dag.dag import Dag
from partyd.dag.places import SHOWN, Step
from partyd.errors import Mistake
from partyd.federation.algorithm import Params
from partyd.types import Address

At = Callable[..., str]
NAMED = 3
"""So many parties of each value are named in a mistake."""


def disagreements(dag: Dag, name: str, component: Component, present: Sequence[Address], at: At) -> Iterator[Mistake]:
    """Yield a mistake for each agreed parameter that parties of the task ``name`` set differently.

    ``at`` writes a path as the document has it. Nothing is said where a party's parameters cannot be read: the check of
    the parameters says that.
    """
    own = [label for label, group in dag.party_tasks.items() if name in group.tasks and group.tasks[name].parameters]
    if not own or not component.agreed:
        return
    try:
        set_by = {address: component.params.model_validate(dag.parameters(name, address)) for address in present}
    except ValidationError:
        return
    for setting in component.agreed:
        for where, values in _differing(setting, {address: _value(p, setting) for address, p in set_by.items()}):
            follows = getattr(component.params, where, None)
            told = f"{where} ({inspect.getdoc(follows)})" if isinstance(follows, property) else where
            what = "what it follows from" if isinstance(follows, property) else "it"
            named = [label for label in own if where.split(".")[0] in dag.party_tasks[label].tasks[name].parameters]
            place: tuple[Step, ...] = ("party_tasks", named[0]) if named else ()
            said = ", ".join(f"{_cut(value)} at {_listed(parties)}" for value, parties in values.items())
            yield Mistake(
                at(*place, "tasks", name, "parameters", *(where.split(".") if named else ())),
                f"{told} must be the same at all parties of {component.name}: {said}",
                f"write {what} once, under dag.tasks.{name}.parameters, and take it out of party_tasks",
            )


def _value(params: Params, setting: str) -> object:
    """Return the value of a parameter, one inside another as ``outer.inner``, or of a property of the parameters."""
    found: object = params
    for step in setting.split("."):
        found = getattr(found, step)
    return found


def _differing(setting: str, values: dict[Address, object]) -> Iterator[tuple[str, dict[str, list[Address]]]]:
    """Yield which parameter differs, of a structured one which part of it, and who has which value."""
    if all(isinstance(value, BaseModel) for value in values.values()):
        inside = {
            part for value in values.values() if isinstance(value, BaseModel) for part in type(value).model_fields
        }
        for part in sorted(inside):
            yield from _differing(f"{setting}.{part}", {a: getattr(v, part, None) for a, v in values.items()})
        return
    found: dict[str, list[Address]] = {}
    for address, value in values.items():
        found.setdefault(_said(value), []).append(address)
    if len(found) > 1:
        yield setting, found


def _said(value: object) -> str:
    return json.dumps(TypeAdapter(object).dump_python(value, mode="json"), sort_keys=True)


def _cut(value: str) -> str:
    return value if len(value) <= SHOWN else value[:SHOWN] + "…"


def _listed(parties: Sequence[Address]) -> str:
    more = f" and {len(parties) - NAMED} more" if len(parties) > NAMED else ""
    return ", ".join(map(str, parties[:NAMED])) + more
