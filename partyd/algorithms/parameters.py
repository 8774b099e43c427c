"""What the parameters of FATE's components have in common.

FATE's client writes every parameter that its user left alone as null. So null is the default here, for every name.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from partyd.federation.algorithm import Params


def without_nulls(given: object) -> object:
    """Return a mapping without the names whose value is null, anything else as it is."""
    return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Settings(BaseModel):
    """Base of what stands inside parameters: frozen, unknown names refused, null for the default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        return without_nulls(given)


class FateParams(Params):
    """Base of the parameters of a component that FATE has: null for the default."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        return without_nulls(given)


def lower(value: object) -> object:
    """Return a word in lower case, as FATE reads them; anything else as it is."""
    return value.lower() if isinstance(value, str) else value
