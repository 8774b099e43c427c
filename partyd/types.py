"""The names every layer shares: roles, addresses, and what identifies a message."""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

PARTY_ID_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,64}\Z")
"""What a party id may be: it stands in broker topics and certificate names, so nothing else is allowed."""


class Role(enum.Flag):
    """What a party does in a job; a flag, so that a message may name several as its ends."""

    GUEST = enum.auto()
    HOST = enum.auto()
    ARBITER = enum.auto()

    @property
    def label(self) -> str:
        """The lower-case name used in addresses, configuration and APIs (single roles only)."""
        if self.name is None or "|" in self.name:
            raise ValueError(f"{self!r} is not a single role")
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> Role:
        """Return the role named ``label``; raises ValueError for any other word."""
        for role in (cls.GUEST, cls.HOST, cls.ARBITER):
            if role.label == label:
                return role
        raise ValueError(f"{label!r} is not a role; roles are guest, host, arbiter")


GUEST, HOST, ARBITER = Role.GUEST, Role.HOST, Role.ARBITER


class Address(NamedTuple):
    """A daemon's address: party id and role, written ``10000/guest``. Each address has keys of its own."""

    party_id: str
    role: Role

    def __str__(self) -> str:
        return f"{self.party_id}/{self.role.label}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``10000/guest``; raises ValueError naming what is wrong."""
        party_id, separator, role = text.partition("/")
        if not separator:
            raise ValueError(f"{text!r} is not an address; write party id and role as 10000/guest")
        if not PARTY_ID_PATTERN.match(party_id):
            raise ValueError(f"party id {party_id[:80]!r} may hold only 1 to 64 of 0-9 A-Z a-z _ -")
        return cls(party_id, Role.from_label(role))


class MessageId(NamedTuple):
    """What makes a message that message (architecture §4 rule 1): the same id never carries two contents.

    ``task`` is empty and ``attempt`` 0 for messages about the job itself. ``scope`` is the round's path, such as
    ``iteration/7``; ``kind`` the message class's name.
    """

    job: str
    task: str
    attempt: int
    scope: str
    kind: str
    source: Address
    destination: Address
