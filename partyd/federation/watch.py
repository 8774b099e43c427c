"""What the owner of a post office wants to know of its mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from partyd.types import Address, MessageId


@dataclass
class Watch:
    """What the owner of an office wants to know; every member is called on the event loop."""

    admit: Callable[[MessageId], bool]
    """Whether a message from a pinned peer may be stored; one that may not is acknowledged and dropped."""
    control: Callable[[MessageId, bytes], None]
    """A control message is in the inbox and not yet consumed."""
    store_changed: Callable[[Address], None]
    """The peer's store is another one than before: it was lost or restored from a backup."""
    equivocated: Callable[[MessageId], None]
    """The peer sent two contents under one identity."""
    epoch_stale: Callable[[int], Awaitable[object]]
    """A peer has seen a later epoch of ours: this party was restored from a backup. The next handshake waits for it."""
