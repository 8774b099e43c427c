"""How much a peer may offer: a pinned peer whom no rule lets in shall fill neither this party's memory nor its disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from partyd.types import Address

MAX_OPEN = 1000
"""Jobs of one peer that have not ended."""
DAY_BYTES = 32 << 20
"""Offers of one peer in a day, the refused ones too: each is kept for the owner to see."""
LEAST_BYTES = 1024
"""What the smallest offer counts, for its record and its events."""
DAY_S = 86_400.0


@dataclass
class OfferBudget:
    """Counts the bytes that each peer has offered; what a day allows comes back little by little."""

    clock: Callable[[], float]
    _spent: dict[Address, tuple[float, float]] = field(default_factory=dict)
    """By peer: when it was last counted, and what counted then."""

    def refuse(self, peer: Address, size: int, open_jobs: int) -> str:
        """Return why one more offer of a peer is too much, nothing when it is not; it is then counted."""
        if open_jobs >= MAX_OPEN:
            return f"{open_jobs} jobs of {peer} are open here; wait for them to end, or stop some"
        now = self.clock()
        at, spent = self._spent.get(peer, (now, 0.0))
        spent = max(0.0, spent - max(0.0, now - at) * DAY_BYTES / DAY_S)
        size = max(size, LEAST_BYTES)
        if spent + size > DAY_BYTES:
            return f"{peer} has offered more than {DAY_BYTES} bytes of jobs within a day; try again later"
        self._spent[peer] = (now, spent + size)
        return ""
