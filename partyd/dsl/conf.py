"""A job of FATE 1.x as its user writes it: a DSL (``dsl_version`` 2) and a runtime conf, as pydantic models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from partyd.components.base import JsonObject
from partyd.dag.job_conf import Part, number_as_text

MAX_COMPONENTS = 500
ROLES = ("guest", "host", "arbiter")


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _as_texts(value: object) -> object:
    return [number_as_text(item) for item in value] if isinstance(value, list | tuple) else [number_as_text(value)]


Names = Annotated[tuple[str, ...], BeforeValidator(_several), Field(max_length=MAX_COMPONENTS)]


class Loose(Part):
    """A part of a 1.x document: fields that nobody knows are kept, so that a note can name them."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    def unknown(self) -> Iterator[str]:
        """Yield the names of the fields that nobody knows."""
        yield from self.model_extra or {}


class NodeInput(Loose):
    """Where a component's inputs come from: ``task.output``, several in a list."""

    data: dict[str, Names] = Field(default_factory=dict, max_length=16)
    model: Names = ()
    isometric_model: Names = ()
    cache: Names = ()


class NodeOutput(Loose):
    """What a component calls its outputs."""

    data: Names = ()
    model: Names = ()
    cache: Names = ()


class Node(Loose):
    """One component of the DSL."""

    module: str = Field(min_length=1, max_length=128)
    input: NodeInput = NodeInput()
    output: NodeOutput = NodeOutput()


class Dsl(Loose):
    """The graph of a 1.x job."""

    components: dict[str, Node] = Field(min_length=1, max_length=MAX_COMPONENTS)


class Initiator(Loose):
    """Who submits a 1.x job."""

    role: str = Field(max_length=64)
    party_id: str = Field(max_length=64)

    @field_validator("party_id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return number_as_text(value)


ByRole = dict[str, dict[str, JsonObject]]


class JobParameters(Loose):
    """How a 1.x job is run."""

    common: JsonObject = Field(default_factory=dict)
    role: ByRole = Field(default_factory=dict)


class ComponentParameters(Loose):
    """The parameters of a 1.x job's components: for all, and by role and place in the role's list (``0``, ``0|1``)."""

    common: dict[str, JsonObject] = Field(default_factory=dict)
    role: dict[str, dict[str, dict[str, JsonObject]]] = Field(default_factory=dict)


class RuntimeConf(Loose):
    """The runtime conf of a 1.x job."""

    dsl_version: Literal["2"]
    initiator: Initiator | None = None
    role: dict[str, Annotated[tuple[str, ...], BeforeValidator(_as_texts)]] = Field(min_length=1)
    job_parameters: JobParameters = JobParameters()
    component_parameters: ComponentParameters = ComponentParameters()
    provider: dict[str, Any] = Field(default_factory=dict)

    @field_validator("dsl_version", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return number_as_text(value)

    @property
    def predicts(self) -> bool:
        """Whether the job applies a stored model."""
        return self.job_parameters.common.get("job_type") == "predict"

    def parties(self) -> Iterator[tuple[str, int, str]]:
        """Yield role, place in the role's list, and party id of each party that takes part."""
        for role, ids in self.role.items():
            if role in ROLES:
                yield from ((role, i, party_id) for i, party_id in enumerate(ids))

    def own_parameters(self, role: str, place: int) -> Iterator[tuple[str, dict[str, JsonObject]]]:
        """Yield what is set for the party at ``place`` of ``role``: the path, and parameters by component."""
        for key, settings in self.component_parameters.role.get(role, {}).items():
            if key == "all" or str(place) in key.split("|"):
                yield f"conf.component_parameters.role.{role}.{key}", settings


def is_first_version(conf: object) -> bool:
    """Return whether a conf is written for the DSL of FATE before 1.5."""
    if not isinstance(conf, dict):
        return False
    return "dsl_version" not in conf or "role_parameters" in conf or str(conf["dsl_version"]) == "1"
