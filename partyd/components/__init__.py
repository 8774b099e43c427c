"""What a task can be, by name. A component is imported when it is first looked up: a command line stays quick."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from partyd.components.base import Component

NAMES = (
    "column_expand",
    "coordinated_linr",
    "coordinated_lr",
    "coordinated_poisson",
    "data_split",
    "dataframe_transformer",
    "evaluation",
    "feature_correlation",
    "feature_imputation",
    "feature_scale",
    "hetero_feature_binning",
    "hetero_feature_selection",
    "hetero_secureboost",
    "homo_lr",
    "label_transform",
    "millionaires",
    "model_merge",
    "one_hot_encoder",
    "psi",
    "reader",
    "sample",
    "sample_weight",
    "scorecard",
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
