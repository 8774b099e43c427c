"""Run all roles of an algorithm in this process: no broker, no sockets, no sleeps; faults are arguments.

The parties exchange encoded bytes through a network that may repeat and reorder them, and any party can be made to
die at its n-th send or receive and to start again from its journal. What comes back is each party's final state and
the transcript.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from partyd.federation.algorithm import Algorithm, P, State
from partyd.federation.driver import Driver
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.types import Address, MessageId, Role


@dataclass(frozen=True)
class Faults:
    """What goes wrong: messages repeated by chance, all of them reordered, a death at one send or receive."""

    duplicate: float = 0.0
    reorder: bool = False
    crash: tuple[Address, int] | None = None
    seed: int = 0


class Crash(Exception):
    """A simulated death of a party's process."""


@dataclass(frozen=True)
class Sent:
    """One message as it crossed the wire."""

    id: MessageId
    body: bytes


@dataclass(frozen=True)
class Transcript:
    """Everything that crossed the wire, in order of sending, repetitions left out."""

    sent: Sequence[Sent]
    classes: Mapping[str, type[Message]]

    def select(self, *, to: Role | Address | None = None, by: Role | Address | None = None) -> list[Sent]:
        """Return what was received by ``to`` and sent by ``by``."""
        return [s for s in self.sent if _is_end(s.id.destination, to) and _is_end(s.id.source, by)]

    def kinds(self, *, to: Role | Address | None = None, by: Role | Address | None = None) -> set[type[Message]]:
        """Return the classes of messages that ``to`` received."""
        return {self.classes[s.id.kind] for s in self.select(to=to, by=by)}

    def messages(self, kind: type[Message], *, to: Role | Address | None = None) -> list[Message]:
        """Return every message of ``kind``, decoded."""
        return [kind.from_bytes(s.body) for s in self.select(to=to) if s.id.kind == kind.__name__]


@dataclass(frozen=True)
class Run:
    """What a simulation gave: final states, transcript, and what the parties reported."""

    states: Mapping[Address, Any]
    transcript: Transcript
    reports: Mapping[Address, MemoryReporter]


def _is_end(address: Address, wanted: Role | Address | None) -> bool:
    if wanted is None:
        return True
    return bool(address.role & wanted) if isinstance(wanted, Role) else address == wanted


class MemoryNetwork:
    """Delivers encoded messages between the mailboxes of one process; keeps the transcript."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.random = random.Random(faults.seed)  # noqa: S311 - it orders a simulation, it keeps no secret
        self.sent: dict[MessageId, bytes] = {}
        self._inbox: dict[MessageId, asyncio.Future[bytes]] = {}
        self._waiting: list[MessageId] = []

    def publish(self, message: MessageId, body: bytes) -> None:
        """Take a message; the first body under an id is the one that is ever delivered."""
        body = self.sent.setdefault(message, body)
        self._waiting += [message] * (1 + (self.random.random() < self.faults.duplicate))
        asyncio.get_running_loop().call_soon(self._deliver_one)

    def _deliver_one(self) -> None:
        while self._waiting:
            chosen = self.random.randrange(len(self._waiting)) if self.faults.reorder else 0
            message = self._waiting.pop(chosen)
            arrival = self.arrival(message)
            if not arrival.done():
                arrival.set_result(self.sent[message])
                return

    def arrival(self, message: MessageId) -> asyncio.Future[bytes]:
        """Return the future that holds the message's body once it has arrived."""
        return self._inbox.setdefault(message, asyncio.get_running_loop().create_future())


@dataclass
class MemoryPost:
    """One life of a party's mailbox; dies at the chosen send or receive."""

    network: MemoryNetwork
    steps_to_live: int | None = None

    def _live(self) -> None:
        if self.steps_to_live is not None:
            self.steps_to_live -= 1
            if self.steps_to_live < 0:
                raise Crash

    async def send(self, message: MessageId, body: bytes) -> None:
        self._live()
        self.network.publish(message, body)
        await asyncio.sleep(0)

    async def receive(self, message: MessageId) -> bytes:
        self._live()
        return await asyncio.shield(self.network.arrival(message))


@dataclass
class MemoryJournal:
    """Checkpoints that outlive a simulated death."""

    checkpoint: bytes | None = None
    scopes: list[str] = field(default_factory=list)

    async def load(self) -> bytes | None:
        return self.checkpoint

    async def save(self, _round: int, scope: str, checkpoint: bytes, _consumed: list[MessageId]) -> None:
        self.checkpoint = checkpoint
        self.scopes.append(scope)


@dataclass
class MemoryReporter:
    """Keeps what an algorithm reports."""

    lines: list[str] = field(default_factory=list)
    metrics: dict[tuple[str, int], float] = field(default_factory=dict)
    done: tuple[int, int] = (0, 0)

    def progress(self, done: int, total: int, _note: str = "") -> None:
        self.done = (done, total)

    def metric(self, name: str, step: int, value: float) -> None:
        self.metrics[name, step] = value

    def info(self, line: str) -> None:
        self.lines.append(line)


async def simulate(
    algorithm: Algorithm[P],
    params: P,
    data: Mapping[Address, object],
    *,
    faults: Faults | None = None,
    seed: bytes = b"s",
) -> Run:
    """Run every party of ``data`` to its end; raises what an algorithm raises."""
    network = MemoryNetwork(faults or Faults())
    reports = {address: MemoryReporter() for address in data}
    states: dict[Address, State] = {}

    async def live(address: Address) -> None:
        journal = MemoryJournal()
        for life in range(2):
            crash = network.faults.crash
            post = MemoryPost(network, crash[1] if crash and crash[0] == address and life == 0 else None)
            own_seed = hashlib.sha256(seed + str(address).encode()).digest()
            party = Party(address, list(data), post, reports[address], job="job", task="task", attempt=0, seed=own_seed)
            try:
                driver = await Driver.open(party, journal)
                kind = algorithm.programs[address.role].state
                states[address] = await driver.run("stage", algorithm, params, data[address], kind)
            except Crash:
                continue
            return

    async with asyncio.TaskGroup() as group:
        for address in data:
            group.create_task(live(address))
    classes = {kind.__name__: kind for kind in algorithm.messages}
    return Run(states, Transcript([Sent(i, b) for i, b in network.sent.items()], classes), reports)
