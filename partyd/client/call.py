"""One request of the REST API as a value: the synchronous and the asynchronous client carry out the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from partyd.client.fields import Fields

T = TypeVar("T")
Query = Mapping[str, str] | Sequence[tuple[str, str]]
"""The fields in an address; a sequence where one name is given more than once."""


@dataclass(frozen=True)
class Party:
    """Which of the addresses that a daemon serves is meant; empty: whichever fits."""

    role: str = ""
    party_id: str = ""

    def query(self) -> dict[str, str]:
        """Return the fields of a request."""
        return {key: value for key, value in (("role", self.role), ("party_id", self.party_id)) if value}


ANY_PARTY = Party()


@dataclass(frozen=True)
class Call(Generic[T]):
    """What to send, and how to read the answer."""

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Fields], T]
    query: Query = field(default_factory=dict)
    body: bytes = b""
    content_type: str = "application/json"
    wait_s: int = 0
    """How long the daemon may hold the answer back."""
    signs_body: bool = True
    """Whether an app's signature covers the body; what a daemon reads as a form cannot be checked against one."""


@dataclass(frozen=True)
class Download:
    """A request that a file answers."""

    method: Literal["GET", "POST"]
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def data_of(fields: Fields) -> object:
    """Return a reply's data as it came."""
    return fields.values.get("data")


def object_of(fields: Fields) -> Mapping[str, object]:
    """Return a reply's data, which is an object."""
    return fields.part("data").values


def nothing(_: Fields) -> None:
    """Read nothing: that the daemon agreed is the answer."""
