"""Whole nodes of several parties in one process: real stores, keys and sessions; no broker, no worker processes.

The clock that cards are judged by is the test's; a task's worker never ends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from partyd.config import Settings, StoreSettings
from partyd.jobs.order import WorkOrder
from partyd.jobs.workers import Exit, Handler, Workers
from partyd.layout import Layout, write_private
from partyd.node import Node
from partyd.trust import create_own, has_own, open_own, pin
from partyd.types import GUEST, HOST, Address

BANK, SHOP = Address("10000", GUEST), Address("9999", HOST)
NOW = 1_800_000_000
DAY = 86_400
TOY = {
    "dag": {
        "parties": [{"role": "guest", "party_id": ["10000"]}, {"role": "host", "party_id": ["9999"]}],
        "tasks": {"toy_0": {"component_ref": "toy_example"}},
    }
}
OPEN_TO_ALL = """
[[allow]]
peers = ["*"]
components = ["*"]
datasets = ["*"]
independent_arbiter = false
"""


class Idle(Workers):
    """Workers that take every task and never finish one."""

    async def run(self, order: WorkOrder, handler: Handler) -> Exit:
        """Work for ever."""
        await asyncio.get_running_loop().create_future()
        raise AssertionError


@dataclass
class Town:
    """The parties, what carries their frames, and the calendar."""

    folder: Path
    workers: Workers
    now: int = NOW
    nodes: dict[Address, Node] = field(default_factory=dict)
    running: dict[Address, asyncio.Task[None]] = field(default_factory=dict)
    carried: int = 0

    def layout(self, address: Address) -> Layout:
        """Return where a party's files are."""
        return Layout(self.folder / str(address).replace("/", "-"))

    def introduce(self, *addresses: Address) -> None:
        """Give everybody keys and pin everybody at everybody."""
        owned = {}
        for address in addresses:
            layout = self.layout(address)
            make = open_own if has_own(layout, address.role) else create_own
            owned[address] = make(layout, address, "", self.now)
            write_private(layout.policy_file, OPEN_TO_ALL.encode())
        for address in addresses:
            for other in set(addresses) - {address}:
                pin(self.layout(address), owned[other].card, owned[other].identity.fingerprint, self.now)

    async def publish(self, source: Address, destination: Address, frame: bytes) -> None:
        """Carry a frame to whoever is there."""
        self.carried += 1
        node = self.nodes.get(destination)
        if node is not None:
            asyncio.get_running_loop().call_soon(node.office.frame_arrived, source, frame)

    async def open(self, address: Address) -> Node:
        """Open a party's node without running it."""
        state = self.layout(address).state_dir
        limits = StoreSettings(reserve_bytes=0, low_watermark_bytes=0)
        settings = Settings(party_id=address.party_id, roles=(address.role,), state_dir=state, store=limits)
        node = await Node.open(address, settings, self, self.workers, clock=lambda: self.now)
        self.nodes[address] = node
        return node

    async def start(self, address: Address) -> Node:
        """Run a party's node, opened before or not."""
        node = self.nodes.get(address) or await self.open(address)
        self.running[address] = asyncio.create_task(node.run())
        await asyncio.sleep(0)
        node.office.transport_changed(True)
        return node

    async def stop(self, address: Address) -> None:
        """Stop a party's node."""
        node, running = self.nodes.pop(address), self.running.pop(address, None)
        if running is not None:
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled(), repr(running.exception())
        await node.close()

    def established(self, *pair: Address) -> bool:
        """Say whether both have a session with the other."""
        one, other = pair or (BANK, SHOP)
        links = self.nodes[one].office.links.get(other), self.nodes[other].office.links.get(one)
        return all(link is not None and link.session.established for link in links)


@contextlib.asynccontextmanager
async def town(folder: Path, *, are_running: bool = True, workers: Workers | None = None) -> AsyncIterator[Town]:
    """Give a town of the bank and the shop, who know each other; their tasks never end unless there are workers."""
    place = Town(folder, workers or Idle())
    place.introduce(BANK, SHOP)
    try:
        if are_running:
            for address in (SHOP, BANK):  # the lower address last: the other answers it at once
                await place.start(address)
            await until(place.established)
        yield place
    finally:
        for address in list(place.nodes):
            await place.stop(address)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)
