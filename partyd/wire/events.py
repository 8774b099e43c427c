"""What a ``Channel`` tells its owner."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias

from partyd.wire.hello import Hello


class Reason(enum.StrEnum):
    """Why a frame was dropped: a constant for the counters, the same for every sender."""

    MALFORMED = "malformed"
    UNKNOWN_INDEX = "unknown_index"
    RATE = "rate"
    HANDSHAKE = "handshake"
    DUPLICATE_INIT = "duplicate_init"
    STALE_EPOCH = "stale_epoch"
    NO_COMMON_VERSION = "no_common_version"
    FORGED = "forged"
    REPLAYED = "replayed"
    EXPIRED = "expired"
    CONTENT = "content"


@dataclass(frozen=True)
class Established:
    """New keys are in use. A rekey says this too, with ``new_boot`` and ``new_store`` false.

    ``hello`` is the peer's. ``new_boot`` and ``new_store`` say that the peer's boot or store id is not the one last
    known; at first contact, when none is known, both are true.
    """

    hello: Hello
    new_boot: bool
    new_store: bool
    initiated_by_us: bool


@dataclass(frozen=True)
class Opened:
    """A record arrived: authentic, fresh and whole."""

    record: bytes


@dataclass(frozen=True)
class EpochSeen:
    """The peer began a handshake with this epoch: persist it before sending what ``frames_to_send`` gives."""

    epoch: int


@dataclass(frozen=True)
class EpochStale:
    """The peer refuses our epoch, as it has seen ``last_seen``: ``next_epoch`` must give more; the channel retries."""

    last_seen: int


@dataclass(frozen=True)
class Rejected:
    """A frame was dropped without any other effect."""

    reason: Reason


ChannelEvent: TypeAlias = Established | Opened | EpochSeen | EpochStale | Rejected
