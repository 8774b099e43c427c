"""Where the inputs of a task come from, as a job's document says it, and for which parties."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from partyd.components.base import Kind
from partyd.dag.job_conf import MAX_NAME, Part, StoredName, number_as_text
from partyd.types import PARTY_ID_PATTERN, Address, Role

MAX_PARTIES = 64
MAX_SOURCES = 128
MAX_INPUTS = 32
RoleName = Literal["guest", "host", "arbiter"]


def several(value: object) -> object:
    """Return one value as a list of it, a list as it is."""
    return value if isinstance(value, list | tuple) else () if value is None else [value]


class Parties(Part):
    """The parties of one role."""

    role: RoleName
    party_id: Annotated[tuple[str, ...], BeforeValidator(several)] = Field(min_length=1, max_length=MAX_PARTIES)

    @field_validator("party_id", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        return tuple(number_as_text(v) for v in value) if isinstance(value, list | tuple) else number_as_text(value)

    @field_validator("party_id")
    @classmethod
    def _well_formed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for party_id in value:
            if not PARTY_ID_PATTERN.match(party_id):
                raise ValueError(f"party id {party_id[:80]!r} may hold only 1 to 64 of 0-9 A-Z a-z _ -")
        return value

    def addresses(self) -> list[Address]:
        """Return the address of each party named here."""
        role = Role.from_label(self.role)
        return [Address(party_id, role) for party_id in self.party_id]

    @cached_property
    def members(self) -> frozenset[Address]:
        """The addresses, to look one up."""
        return frozenset(self.addresses())


def among(groups: Iterable[Parties], address: Address) -> bool:
    """Return whether one of ``groups`` names ``address``."""
    return any(address in group.members for group in groups)


PartyGroups = Annotated[tuple[Parties, ...], BeforeValidator(several), Field(max_length=MAX_PARTIES)]


class Origin(Part):
    """Base of what an input may be connected to, for the parties that it names (none named: for all)."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    parties: PartyGroups = ()
    roles: Annotated[tuple[RoleName, ...], BeforeValidator(several), Field(max_length=8)] = ()

    def names(self, address: Address) -> bool:
        """Return whether this origin is meant for ``address``."""
        named = not self.parties or among(self.parties, address)
        return named and (not self.roles or address.role.label in self.roles)


class Source(Origin):
    """An output of another task of the job."""

    producer_task: str
    output_artifact_key: str
    output_artifact_type_alias: str | None = Field(default=None, max_length=MAX_NAME)


class TableSource(Origin):
    """A table that was uploaded to each party. An earlier job's output (``job_id``) is read, and refused by the checks.

    For it would be data that no policy has been asked about; a job inherits tasks instead.
    """

    namespace: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    name: str | None = Field(default=None, min_length=1, max_length=MAX_NAME)
    dataset_id: str | None = Field(default=None, max_length=MAX_NAME)
    job_id: StoredName | None = None
    producer_task: StoredName | None = None
    output_artifact_key: StoredName | None = None


class ModelSource(Origin):
    """A model in each party's registry; the job's ``conf.model_warehouse`` says which, where this does not."""

    model_id: StoredName | None = None
    model_version: StoredName | None = None
    producer_task: StoredName
    output_artifact_key: StoredName


class Artifact(Part):
    """One input of a task: where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    task_output_artifact: Annotated[tuple[Source, ...], BeforeValidator(several), Field(max_length=MAX_SOURCES)] = ()
    data_warehouse: Annotated[tuple[TableSource, ...], BeforeValidator(several), Field(max_length=MAX_SOURCES)] = ()
    model_warehouse: Annotated[tuple[ModelSource, ...], BeforeValidator(several), Field(max_length=MAX_SOURCES)] = ()

    def sources(self) -> tuple[Source, ...]:
        """Return the connected outputs of other tasks."""
        return self.task_output_artifact

    def origins(self) -> tuple[Origin, ...]:
        """Return everything that is connected here, as written."""
        return (*self.task_output_artifact, *self.data_warehouse, *self.model_warehouse)


Ports = Annotated[dict[str, Artifact], Field(max_length=MAX_INPUTS)]


class Inputs(Part):
    """The inputs of a task by what they carry."""

    data: Ports = Field(default_factory=dict)
    model: Ports = Field(default_factory=dict)

    def groups(self) -> Iterator[tuple[Kind, str, Artifact]]:
        """Yield the kind under which each input is written, its port, and where it comes from."""
        for kind, ports in ((Kind.DATA, self.data), (Kind.MODEL, self.model)):
            for port, artifact in ports.items():
                yield kind, port, artifact

    def artifacts(self) -> dict[str, Artifact]:
        """Return the inputs by port."""
        return self.data | self.model


class OutputAlias(Part):
    """FATE's other name for an output."""

    output_artifact_key_alias: str = Field(max_length=MAX_NAME)
    output_artifact_type_alias: str = Field(max_length=MAX_NAME)
    parties: PartyGroups = ()


Aliases = dict[str, Annotated[tuple[OutputAlias, ...], BeforeValidator(several), Field(max_length=MAX_SOURCES)]]


class Outputs(Part):
    """The outputs of a task as FATE's client may list them; they follow from the component."""

    data: Annotated[Aliases, Field(max_length=MAX_INPUTS)] = Field(default_factory=dict)
    model: Annotated[Aliases, Field(max_length=MAX_INPUTS)] = Field(default_factory=dict)
    metric: Annotated[Aliases, Field(max_length=MAX_INPUTS)] = Field(default_factory=dict)
