"""Frames within one process: ``memory://name``, for tests and for several parties in one daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from weakref import WeakValueDictionary

from partyd.transport.base import MAX_FRAME, Endpoint, OnFrame, OnPresence, OnState, TransportDown
from partyd.types import Address


class MemoryHub:
    """The place where memory transports of the same name meet; ``stop`` and ``start`` it as one would a broker."""

    def __init__(self) -> None:
        self._members: dict[Address, MemoryTransport] = {}
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._up.set()

    def stop(self) -> None:
        """Throw everybody off."""
        self._up.clear()
        self._down.set()
        self._members.clear()

    def start(self) -> None:
        """Let them come back."""
        self._down.clear()
        self._up.set()

    async def up(self) -> None:
        """Wait until the hub runs."""
        await self._up.wait()

    async def down(self) -> None:
        """Wait until the hub is stopped."""
        await self._down.wait()

    def join(self, transport: MemoryTransport, local: Sequence[Address]) -> None:
        """Let ``transport`` receive what is for ``local``."""
        self._members.update(dict.fromkeys(local, transport))

    def leave(self, transport: MemoryTransport) -> None:
        """Forget ``transport``."""
        self._members = {address: member for address, member in self._members.items() if member is not transport}

    def member(self, address: Address) -> MemoryTransport | None:
        """Return who listens for ``address``."""
        return self._members.get(address)


_HUBS: WeakValueDictionary[str, MemoryHub] = WeakValueDictionary()
"""What the names in memory URLs mean in this process; a hub lives as long as one of its transports."""


def hub_named(name: str) -> MemoryHub:
    """Return the hub of that name, made if need be."""
    hub = _HUBS.get(name)
    if hub is None:
        hub = _HUBS[name] = MemoryHub()
    return hub


class MemoryTransport:
    """One party's way to a hub."""

    def __init__(self, hub: MemoryHub, local: Sequence[Address]) -> None:
        self._hub = hub
        self._local = tuple(local)
        self._peers: tuple[Address, ...] = ()
        self._callbacks: tuple[OnFrame, OnPresence] | None = None

    @property
    def max_frame(self) -> int:
        return MAX_FRAME

    async def run(self, on_frame: OnFrame, on_state: OnState, on_presence: OnPresence) -> None:
        """Join the hub whenever it runs."""
        while True:
            await self._hub.up()
            self._callbacks = (on_frame, on_presence)
            self._hub.join(self, self._local)
            on_state(True)
            self._tell(self._peers, True)
            try:
                await self._hub.down()
            finally:
                self._tell(self._peers, False)
                self._hub.leave(self)
                self._callbacks = None
                on_state(False)

    def set_peers(self, peers: Sequence[Address]) -> None:
        added = [peer for peer in peers if peer not in self._peers]
        self._peers = tuple(peers)
        if self._callbacks is not None:
            self._tell(added, True)

    def _tell(self, peers: Sequence[Address], here: bool) -> None:
        loop = asyncio.get_running_loop()
        for peer in peers:
            member = self._hub.member(peer)
            if member is not None:
                for source in self._local:
                    loop.call_soon(member.hear, source, here)

    async def publish(self, source: Address, destination: Address, frame: bytes) -> None:
        """Hand the frame to whoever listens for ``destination``, in the loop's next turn."""
        if self._callbacks is None:
            raise TransportDown("the memory hub is stopped; the frame was not sent")
        member = self._hub.member(destination)
        if member is None:
            self._callbacks[1](destination, False)
        else:
            asyncio.get_running_loop().call_soon(member.take, source, destination, frame)
        await asyncio.sleep(0)

    def take(self, source: Address, destination: Address, frame: bytes) -> None:
        """Receive a frame, unless we have left meanwhile."""
        if self._callbacks is not None:
            self._callbacks[0](source, destination, frame)

    def hear(self, peer: Address, here: bool) -> None:
        """Receive a hint, unless we have left meanwhile."""
        if self._callbacks is not None:
            self._callbacks[1](peer, here)


def open_memory(endpoint: Endpoint) -> MemoryTransport:
    """Open ``memory://name``."""
    return MemoryTransport(hub_named(endpoint.url.hostname or ""), endpoint.local)
