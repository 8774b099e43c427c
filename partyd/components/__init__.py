"""What a task can be, by name. A component is imported when it is first looked up: a command line stays quick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from partyd.components.base import Component

NAMES = (
    "coordinated_lr",
    "data_split",
    "dataframe_transformer",
    "evaluation",
    "feature_scale",
    "millionaires",
    "psi",
    "reader",
    "sample",
    "statistics",
    "toy_example",
    "union",
)
"""Every component; the module ``partyd.components.<name>`` holds it under the same name."""


class _Components(Mapping[str, Component]):
    """The registry: imports a component's module at the first lookup."""

    def __getitem__(self, name: str) -> Component:
        if name not in NAMES:
            raise KeyError(name)
        component = getattr(import_module(f"partyd.components.{name}"), name)
        assert isinstance(component, Component)
        return component

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


COMPONENTS: Mapping[str, Component] = _Components()
