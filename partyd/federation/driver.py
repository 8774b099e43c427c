"""The round driver: the loop, the checkpoints and the resumption that no algorithm writes.

A task runs one or more *stages*, each an algorithm: a training, then a prediction. A stage runs ``start`` in the
scope ``<stage>/start`` and ``step`` in ``<stage>/iteration/<n>`` until the state is finished. At the end of a round
the state, and the messages that the round consumed, go to the journal in one transaction; after a crash the round
that was under way is repeated from stored messages (architecture §4).
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from partyd.errors import LocalProtocolError
from partyd.federation.algorithm import Algorithm, Params, State
from partyd.federation.party import Party
from partyd.types import MessageId
from partyd.wire.codec import Record

P = TypeVar("P", bound=Params)
S = TypeVar("S", bound=State)


class Journal(Protocol):
    """Where checkpoints of one attempt live."""

    async def load(self) -> bytes | None:
        """Return the newest checkpoint of this attempt."""

    async def save(self, round_: int, scope: str, checkpoint: bytes, consumed: list[MessageId]) -> None:
        """Keep ``checkpoint`` and mark ``consumed`` as read, in one transaction."""


class StageState(Record):
    """One stage's newest state."""

    stage: str
    round: int
    state: bytes


class Checkpoint(Record):
    """The states of the stages that a task has begun, in order; the last may be unfinished."""

    stages: list[StageState]


class Driver:
    """Runs the stages of one task of one party; make it with `Driver.open`."""

    def __init__(self, party: Party, journal: Journal, checkpoint: Checkpoint) -> None:
        self._party = party
        self._journal = journal
        self._done = {entry.stage: entry for entry in checkpoint.stages}
        self._rounds = sum(entry.round + 1 for entry in checkpoint.stages)

    @classmethod
    async def open(cls, party: Party, journal: Journal) -> Driver:
        """Read the newest checkpoint and return a driver that goes on from there."""
        stored = await journal.load()
        return cls(party, journal, Checkpoint.from_bytes(stored) if stored else Checkpoint(stages=[]))

    async def run(self, stage: str, algorithm: Algorithm[P], params: P, data: object, kind: type[S]) -> S:
        """Run ``algorithm`` as this party's role to its end and return the final state, which is a ``kind``."""
        program = algorithm.programs.get(self._party.me.role)
        if program is None or program.state is not kind:
            raise LocalProtocolError(f"{algorithm.name} has no program of {self._party.me.role!r} with {kind.__name__}")
        state, round_ = self._resume(stage, kind)
        if state is None:
            scope = f"{stage}/start"
            self._party.enter(scope)
            state = await program.start(self._party, params, data)
            await self._save(stage, scope, 0, state)
        while not state.finished:
            if program.step is None:
                raise LocalProtocolError(f"{algorithm.name}: {self._party.me.role!r} has no step, yet is not finished")
            scope = f"{stage}/iteration/{round_}"
            self._party.enter(scope)
            state = await program.step(self._party, params, data, state)
            round_ += 1
            await self._save(stage, scope, round_, state)
        assert isinstance(state, kind)
        return state

    def _resume(self, stage: str, kind: type[S]) -> tuple[S | None, int]:
        entry = self._done.get(stage)
        return (None, 0) if entry is None else (kind.from_bytes(entry.state), entry.round)

    async def _save(self, stage: str, scope: str, round_: int, state: State) -> None:
        self._done[stage] = StageState(stage=stage, round=round_, state=state.to_bytes())
        self._rounds += 1
        checkpoint = Checkpoint(stages=list(self._done.values()))
        await self._journal.save(self._rounds, scope, checkpoint.to_bytes(), self._party.consumed)
