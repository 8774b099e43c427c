"""Parties that fall silent, in a simulated federation whose clock jumps ahead whenever nobody has anything to do.

So a deadline passes only when everybody who is not silent waits: no test sleeps, and none depends on the machine.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from partyd.federation.algorithm import Algorithm, Params
from partyd.federation.driver import Driver
from partyd.federation.party import Party
from partyd.federation.simulate import (
    Crash,
    Faults,
    MemoryJournal,
    MemoryNetwork,
    MemoryPost,
    MemoryReporter,
    Run,
    Sent,
    Transcript,
)
from partyd.types import Address, MessageId


class Stuck(Exception):
    """Everybody waits, for ever."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        poll = selector.select

        def select(timeout: float | None) -> list[Any]:
            events: list[Any] = poll(0)
            if timeout is None and not events:
                raise Stuck
            self._now += 0.0 if events or timeout is None else timeout
            return events

        selector.select = select

    def time(self) -> float:
        return self._now


@dataclass(frozen=True)
class Silence:
    """From its ``after``-th send or receive on a party does nothing, for ``lasts_s`` seconds or for ever."""

    after: int
    lasts_s: float | None = None


@dataclass
class SilentPost(MemoryPost):
    """A mailbox of a party that falls silent."""

    silence: Silence | None = None
    steps: int = 0

    async def _perhaps_silent(self) -> None:
        self.steps += 1
        if self.silence is not None and self.steps == self.silence.after + 1:
            if self.silence.lasts_s is None:
                await asyncio.get_running_loop().create_future()
            else:
                await asyncio.sleep(self.silence.lasts_s)

    async def send(self, message: MessageId, body: bytes) -> None:
        await self._perhaps_silent()
        await super().send(message, body)

    async def receive(self, message: MessageId) -> bytes:
        await self._perhaps_silent()
        return await super().receive(message)


@dataclass
class Federation:
    """All parties of one run; ``live`` is one party's life, which a crash begins again."""

    algorithm: Algorithm[Any]
    params: Params
    data: Mapping[Address, object]
    silences: Mapping[Address, Silence]
    faults: Faults
    states: dict[Address, Any] = field(default_factory=dict)
    steps: dict[Address, int] = field(default_factory=dict)

    async def run(self) -> Run:
        """Run until all that are not silent for ever have ended; raises Stuck when they never will."""
        network = MemoryNetwork(self.faults)
        reports = {address: MemoryReporter() for address in self.data}
        lives = {a: asyncio.ensure_future(self._live(a, network, reports[a])) for a in self.data}
        gone = {a for a, silence in self.silences.items() if silence.lasts_s is None}
        try:
            await asyncio.gather(*(life for a, life in lives.items() if a not in gone))
        finally:
            for life in lives.values():
                life.cancel()
            await asyncio.gather(*lives.values(), return_exceptions=True)
        classes = {kind.__name__: kind for kind in self.algorithm.messages}
        return Run(self.states, Transcript([Sent(i, b) for i, b in network.sent.items()], classes), reports)

    async def _live(self, me: Address, network: MemoryNetwork, reports: MemoryReporter) -> None:
        journal, seed = MemoryJournal(), hashlib.sha256(b"s" + str(me).encode()).digest()
        for life in range(2):
            crash = self.faults.crash
            dies = crash[1] if crash and crash[0] == me and life == 0 else None
            post = SilentPost(network, dies, self.silences.get(me))
            party = Party(me, list(self.data), post, reports, job="job", task="task", attempt=0, seed=seed)
            try:
                driver = await Driver.open(party, journal)
                kind = self.algorithm.programs[me.role].state
                self.states[me] = await driver.run("stage", self.algorithm, self.params, self.data[me], kind)
            except Crash:
                continue
            finally:
                self.steps[me] = post.steps
            return


def run_with_silence(
    algorithm: Algorithm[Any],
    params: Params,
    data: Mapping[Address, object],
    silences: Mapping[Address, Silence] | None = None,
    faults: Faults | None = None,
) -> tuple[Run, dict[Address, int]]:
    """Run every party; return what `simulate` returns, and how many sends and receives each made."""
    federation = Federation(algorithm, params, data, silences or {}, faults or Faults())
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(federation.run()), federation.steps
