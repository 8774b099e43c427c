"""What the delivery tells its owner."""

from __future__ import annotations

from dataclasses import dataclass

from partyd.wire.bodies import Body


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole message whose digest holds; store it durably by its identity, then call ``stored`` (or ``refused``).

    ``body`` is bytes for a message of one chunk, else what the spool's ``finish`` returned. May come more than once.
    """

    seq: int
    header: bytes
    body: bytes | Body
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Delivered:
    """The peer has this message on its disk; comes once per submission."""

    seq: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The peer will never take this message."""

    seq: int
    code: str


@dataclass(frozen=True, slots=True)
class BodyLost:
    """A submitted body could not be read; the message is no longer being sent. Submit it again when it can."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class SpoolFailed:
    """An arriving body could not be written; it is not acknowledged, so the peer sends it again later."""

    seq: int
    reason: str


@dataclass(frozen=True, slots=True)
class RecordRejected:
    """The peer sent a record that breaks the rules; it was dropped."""

    reason: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """Three heartbeats went unanswered."""

    silent_s: float


@dataclass(frozen=True, slots=True)
class Alive:
    """A suspected peer was heard again."""


DeliveryEvent = Arrived | Delivered | Refused | BodyLost | SpoolFailed | RecordRejected | Suspect | Alive
