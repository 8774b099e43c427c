"""Which keys open and seal at the moment: the pair in use, the pair that waits for its confirmation, earlier ones.

The pair that waits was made by answering a handshake: it only opens until a frame under it shows that the initiator
has it. Using a pair makes the one before receive-only for 60 s, and forgets a pair that waits if it is another one:
that is what makes both sides settle on the same session.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from partyd.errors import BadFrame
from partyd.wire.events import Reason
from partyd.wire.keypair import KeyPair

RECEIVE_ONLY_S: Final = 60.0
_MOST: Final = 4
"""With every handshake one more; the earliest to end goes first."""


class KeyTable:
    """The key pairs of one channel by local index, each with the time until which it opens frames."""

    def __init__(self) -> None:
        self.current: KeyPair | None = None
        self.awaiting: KeyPair | None = None
        self._pairs: dict[int, tuple[KeyPair, float]] = {}

    @property
    def indexes(self) -> Collection[int]:
        """The local indexes in use."""
        return self._pairs.keys()

    @property
    def ends(self) -> list[float]:
        """When each pair stops opening frames."""
        return [until for _, until in self._pairs.values()]

    def find(self, index: int, now: float) -> KeyPair:
        """Return the pair of ``index``; raises BadFrame."""
        found = self._pairs.get(index)
        if found is None:
            raise BadFrame(Reason.UNKNOWN_INDEX)
        if now >= found[1]:
            raise BadFrame(Reason.EXPIRED)
        return found[0]

    def wait_for(self, keypair: KeyPair, now: float) -> None:
        """Keep the newest pair that we answered, instead of an earlier one."""
        if self.awaiting is not None:
            del self._pairs[self.awaiting.local_index]
        self.awaiting = keypair
        self._keep(keypair, now + RECEIVE_ONLY_S)

    def use(self, keypair: KeyPair, now: float) -> None:
        """Seal with ``keypair`` from now on."""
        if self.current is not None:
            self._keep(self.current, min(now + RECEIVE_ONLY_S, self.current.expires_at))
        if self.awaiting is not None and self.awaiting is not keypair:
            del self._pairs[self.awaiting.local_index]
        self.current, self.awaiting = keypair, None
        self._keep(keypair, keypair.expires_at)

    def drop_expired(self, now: float) -> bool:
        """Forget the pairs whose time is over; say whether the one in use was among them."""
        had_current = self.current is not None
        for index in [index for index, (_, until) in self._pairs.items() if now >= until]:
            keypair, _ = self._pairs.pop(index)
            if keypair is self.current:
                self.current = None
            if keypair is self.awaiting:
                self.awaiting = None
        return had_current and self.current is None

    def _keep(self, keypair: KeyPair, until: float) -> None:
        self._pairs[keypair.local_index] = (keypair, until)
        spare = [index for index, (kept, _) in self._pairs.items() if kept not in (self.current, self.awaiting)]
        if len(self._pairs) > _MOST and spare:
            del self._pairs[min(spare, key=lambda index: self._pairs[index][1])]
