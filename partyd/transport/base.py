"""What a transport is, how one is opened from a URL, and how addresses become topics."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol
from urllib.parse import SplitResult, urlsplit

from partyd.errors import ConfigError, PartydError
from partyd.types import PARTY_ID_PATTERN, Address, Role
from partyd.wire.frame import MAX_FRAME

OnFrame = Callable[[Address, Address, bytes], None]
"""Takes source, destination and frame; must return soon and must not raise."""
OnState = Callable[[bool], None]
"""Takes whether the transport is connected now."""
OnPresence = Callable[[Address, bool], None]
"""Takes a peer and whether it is said to be there: a hint from the network, not a fact."""

ROOT = "partyd/1"
PRESENCE = "presence"


class TransportDown(PartydError):
    """There is no connection, or it was lost before the frame was acknowledged; the frame may or may not arrive."""

    code = "transport_down"


@dataclass(frozen=True)
class TransportSecurity:
    """How to show who we are to a broker and check who it is: client certificate, or user name and password."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"TransportSecurity(ca_file={self.ca_file}, cert_file={self.cert_file}, username={self.username})"


@dataclass(frozen=True)
class Endpoint:
    """Everything a transport is opened with."""

    url: SplitResult
    local: tuple[Address, ...]
    security: TransportSecurity


class Transport(Protocol):
    """A way to peers. ``run`` it in a task; ``publish`` from any other."""

    async def run(self, on_frame: OnFrame, on_state: OnState, on_presence: OnPresence) -> None:
        """Stay connected, again and again, until cancelled; then leave politely."""

    async def publish(self, source: Address, destination: Address, frame: bytes) -> None:
        """Send a frame and wait until the broker has taken it.

        Raises TransportDown at once when there is no connection or it is lost. May be cancelled.
        """

    def set_peers(self, peers: Sequence[Address]) -> None:
        """Say whom to tell that we are here; those that are new are told now."""

    @property
    def max_frame(self) -> int:
        """The longest frame that this connection is known to carry."""


Opener = Callable[[Endpoint], Transport]

SCHEMES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "memory": ("partyd.transport.memory", "open_memory"),
        "mqtt": ("partyd.transport.mqtt", "open_mqtt"),
        "mqtts": ("partyd.transport.mqtt", "open_mqtt"),
    }
)
"""Scheme -> module and function that opens it; the module is loaded when it is first needed."""


def open_transport(url: str, local: Sequence[Address], security: TransportSecurity | None = None) -> Transport:
    """Return the transport that ``url`` names, for the addresses ``local``; raises ConfigError."""
    split = urlsplit(url)
    if split.scheme not in SCHEMES:
        raise ConfigError(f"transport {url!r}: scheme {split.scheme!r} is none of {', '.join(SCHEMES)}")
    if split.username is not None or split.password is not None:
        raise ConfigError(f"transport {split.scheme}://...: put user name and password into the settings, not the URL")
    if not split.hostname:
        raise ConfigError(f"transport {url!r} names no host; write {split.scheme}://HOST[:PORT]")
    if not local:
        raise ConfigError(f"transport {url!r}: there is no local address to listen for")
    module, function = SCHEMES[split.scheme]
    opener: Opener = getattr(importlib.import_module(module), function)
    return opener(Endpoint(split, tuple(local), security or TransportSecurity()))


def topic_of(source: Address, destination: Address) -> str:
    """Return the topic of frames from ``source`` to ``destination``."""
    roles = f"{destination.role.label}/{source.role.label}"
    return f"{ROOT}/{destination.party_id}/{source.party_id}/{roles}"


def presence_topic_of(source: Address, destination: Address) -> str:
    """Return the topic of ``source``'s presence for ``destination``."""
    return f"{topic_of(source, destination)}/{PRESENCE}"


def subscriptions(local: Sequence[Address]) -> list[str]:
    """Return the filters that catch what is for ``local``."""
    mailboxes = [f"{ROOT}/{address.party_id}/+/{address.role.label}/+" for address in local]
    return mailboxes + [f"{mailbox}/{PRESENCE}" for mailbox in mailboxes]


@dataclass(frozen=True, slots=True)
class Mail:
    """What a topic says."""

    source: Address
    destination: Address
    presence: bool


def parse_topic(topic: str) -> Mail | None:
    """Read a topic strictly; None for anything else."""
    parts = topic.split("/")
    presence = len(parts) == 7 and parts[6] == PRESENCE
    if len(parts) != 6 + presence or "/".join(parts[:2]) != ROOT:
        return None
    to_party, from_party, to_role, from_role = parts[2:6]
    if not PARTY_ID_PATTERN.match(to_party) or not PARTY_ID_PATTERN.match(from_party):
        return None
    try:
        source = Address(from_party, Role.from_label(from_role))
        return Mail(source, Address(to_party, Role.from_label(to_role)), presence)
    except ValueError:
        return None


__all__ = [
    "MAX_FRAME",
    "Endpoint",
    "Mail",
    "OnFrame",
    "OnPresence",
    "OnState",
    "Transport",
    "TransportDown",
    "TransportSecurity",
    "open_transport",
    "parse_topic",
    "presence_topic_of",
    "subscriptions",
    "topic_of",
]
