"""What an algorithm declares: its parameters, one program a role, its messages, and who learns what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from partyd.errors import LocalProtocolError
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import Role
from partyd.wire.codec import Record, coders


class Params(BaseModel):
    """Base of an algorithm's parameters: frozen, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class State(Record):
    """Base of what a role carries from round to round; small, frozen, serialisable. ``finished`` ends the rounds."""

    finished: bool = False


P = TypeVar("P", bound=Params)
D = TypeVar("D")
S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Program(Generic[P, D, S]):
    """What one role does: ``start`` makes the first state, ``step`` performs one round."""

    state: type[S]
    start: Callable[[Party, P, D], Awaitable[S]]
    step: Callable[[Party, P, D, S], Awaitable[S]] | None = None


@dataclass(frozen=True)
class Disclosure:
    """One thing that a role learns beyond its own input, in plain words for the person who approves a job."""

    role: Role
    learns: str
    source: type[Message] | None = None


@dataclass(frozen=True)
class Algorithm(Generic[P]):
    """A registered algorithm; ``programs`` has one entry for each role that takes part."""

    name: str
    version: str
    params: type[P]
    programs: Mapping[Role, Program[P, Any, Any]]
    messages: tuple[type[Message], ...]
    disclosures: tuple[Disclosure, ...]
    coalitions: str = field(default="")
    """Which parties, sharing what they received, learn more than the disclosures say."""

    def __post_init__(self) -> None:
        roles = Role(0)
        for role in self.programs:
            roles |= role
        for message in self.messages:
            if not (message.sender & roles and message.receiver & roles):
                raise LocalProtocolError(f"{self.name}: {message.__name__} has an end outside the algorithm's roles")
            coders(message)
            if not any(d.source is message for d in self.disclosures):
                raise LocalProtocolError(
                    f"{self.name}: no disclosure says what the receiver of {message.__name__} learns"
                )
        for program in self.programs.values():
            state: type[Record] = program.state
            coders(state)
