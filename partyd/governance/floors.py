"""Floors: several put together, and what a job's parameters set below them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pydantic import BaseModel

from partyd.components.base import Component
from partyd.components.limits import Limits
from partyd.dag.dag import Dag
from partyd.types import Address

APART = "models_apart"
"""The property of parameters that give halves of models away: how much of them stays hidden."""


def merged(limits: Collection[Limits]) -> Limits:
    """Return the highest of several floors."""
    return Limits(**{name: max((getattr(one, name) for one in limits), default=0) for name in Limits.model_fields})


def below(dag: Dag, me: Address, components: Mapping[str, Component], limits: Limits) -> Iterator[str]:
    """Yield what is below a floor in the tasks that ``me`` shares with others, whichever party's parameter it is."""
    for name, task in dag.tasks.items():
        component = components[task.component_ref]
        present = [address for address in dag.addresses() if dag.takes_part(name, address, component)]
        if me not in present or not component.algorithms:
            continue
        found: dict[str, None] = {}
        for address in present:
            params = component.params.model_validate(dag.parameters(name, address))
            found |= dict.fromkeys(_too_small(params, f"dag.tasks.{name}.parameters", me, limits))
            found |= dict.fromkeys(_too_open(params, f"dag.tasks.{name}", me, limits))
        yield from found


def merges(dag: Dag, me: Address, components: Mapping[str, Component]) -> bool:
    """Return whether a task of ``me`` puts the halves of a model together."""
    found = ((name, components[task.component_ref]) for name, task in dag.tasks.items())
    return any(hasattr(one.params, APART) and dag.takes_part(name, me, one) for name, one in found)


def _too_open(params: BaseModel, where: str, me: Address, limits: Limits) -> Iterator[str]:
    apart = getattr(params, APART, None)
    if isinstance(apart, int) and apart < limits.models_apart:
        asked = (
            "set parameters.host_names to anonymous" if limits.models_apart == 1 else "ask its owner for merge_models"
        )
        yield f"{where}: {me} does not let its half of a model be merged so; {asked}"


def _too_small(params: BaseModel, where: str, me: Address, limits: Limits) -> Iterator[str]:
    for path, value in _numbers(params, where):
        if path.endswith(".batch_size") and value < limits.min_batch:
            yield f"{path}: {value} is below the floor of {me}; set it to {limits.min_batch} or more"
        if path.endswith(".key_length"):
            lifted = getattr(params, "key_bits", value)  # an algorithm lifts what is too short for it
            bits = lifted if isinstance(lifted, int) else value
            if bits < limits.key_bits:
                yield f"{path}: {bits} bits are below the floor of {me}; set it to {limits.key_bits} or more"


def _numbers(params: BaseModel, where: str) -> Iterator[tuple[str, int]]:
    """Yield the path and value of each whole number in typed parameters, however deep."""
    for name in type(params).model_fields:
        value = getattr(params, name)
        if isinstance(value, BaseModel):
            yield from _numbers(value, f"{where}.{name}")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{where}.{name}", value
