"""What a daemon says of itself and its peers, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partyd.client.fields import Fields


@dataclass(frozen=True)
class Sibling:
    """Another daemon of the same standalone federation, on this machine."""

    address: str
    url: str


@dataclass(frozen=True)
class SiteInfo:
    """Who answers."""

    party_id: str
    roles: tuple[str, ...]
    org: str
    siblings: tuple[Sibling, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the daemon serves."""
        return tuple(f"{self.party_id}/{role}" for role in self.roles)

    @classmethod
    def read(cls, fields: Fields) -> SiteInfo:
        """Return the site in a reply."""
        siblings = tuple(Sibling(s.text("address"), s.text("url")) for s in fields.parts("siblings"))
        return cls(fields.text("party_id"), fields.texts("roles"), fields.text("org"), siblings)


@dataclass(frozen=True)
class Peer:
    """A pinned peer, and how it goes with it."""

    me: str
    peer: str
    fingerprint: str
    established: bool
    silent: bool
    outbox_messages: int
    outbox_bytes: int

    @classmethod
    def read(cls, fields: Fields) -> Peer:
        """Return the peer in a reply."""
        return cls(
            fields.text("me"),
            fields.text("peer"),
            fields.text("fingerprint"),
            fields.flag("established"),
            fields.flag("silent"),
            fields.whole("outbox_messages"),
            fields.whole("outbox_bytes"),
        )


@dataclass(frozen=True)
class ServerInfo:
    """What answers."""

    host: str
    port: int
    version: str

    @classmethod
    def read(cls, fields: Fields) -> ServerInfo:
        """Return the server in a reply: FATE tells it under its instance's id."""
        instances = [name for name, value in fields.values.items() if isinstance(value, Mapping)]
        found = fields.part(instances[0]) if instances else fields
        return cls(found.text("host"), found.whole("http_port") or found.whole("port"), found.text("version"))
