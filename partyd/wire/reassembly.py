"""The receiving half of delivery: chunks in order, digests checked, and what is to be acknowledged.

Of each message only the next chunk is taken; later ones are dropped and the sender is told at once, once per turn, how
far the message is (go back n). Everything is bounded: open messages, their bytes, messages that wait for the owner to
store them, tries of a body whose digest does not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from partyd.errors import StoreError
from partyd.wire.bodies import Body, Spool, SpoolFactory
from partyd.wire.delivery_events import Arrived, DeliveryEvent, RecordRejected, SpoolFailed
from partyd.wire.ranges import Range, RangeSet
from partyd.wire.records import MAX_PROGRESS, MAX_RANGES, First, More, Probe, Progress, Refuse

if TYPE_CHECKING:
    from hashlib import _Hash

V = TypeVar("V")

ACK_CHUNKS = 8
ACK_DELAY_S = 0.020
MAX_TRIES = 20
MAX_WAITING = 4096
MAX_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class ReceiverLimits:
    """What one peer may occupy at once."""

    open_messages: int = 64
    open_bytes: int = 256 << 30
    waiting_bytes: int = 64 << 20


@dataclass(slots=True, eq=False)
class _Partial:
    """A message of several chunks of which the first ``expected`` are here."""

    first: First
    chunk: int
    spool: Spool
    digest: _Hash
    expected: int = 0
    gap_turn: int | None = None

    def same(self, other: First) -> bool:
        """Whether ``other`` opens the very same message in the same chunks."""
        mine = self.first
        return (mine.total, mine.count, mine.sha256, mine.header, self.chunk) == (
            other.total,
            other.count,
            other.sha256,
            other.header,
            len(other.data),
        )

    def length_of(self, index: int) -> int:
        """Return how long chunk ``index`` must be."""
        return min(self.chunk, self.first.total - index * self.chunk)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message the owner was given and has not stored yet."""

    chunks: int
    memory: int


@dataclass(slots=True)
class _Telling:
    """What the next acknowledgement says."""

    stored: dict[int, None] = field(default_factory=dict)
    progress: dict[int, Progress] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    chunks: int = 0
    due: float | None = None


def _remember(memory: dict[int, V], key: int, value: V) -> None:
    """Set ``key``, forgetting the oldest beyond the bound; what is forgotten costs a repetition, never a message."""
    memory.pop(key, None)
    memory[key] = value
    if len(memory) > MAX_REMEMBERED:
        del memory[next(iter(memory))]


class Receiver:
    """Puts the messages of one peer together."""

    def __init__(self, spool: SpoolFactory, limits: ReceiverLimits) -> None:
        self._spool = spool
        self._limits = limits
        self._partials: dict[int, _Partial] = {}
        self._open_bytes = 0
        self._waiting: dict[int, _Waiting] = {}
        self._waiting_bytes = 0
        self._settled = RangeSet()
        self._refused: dict[int, str] = {}
        self._lost: dict[int, int] = {}
        self._tries: dict[int, int] = {}
        self._tell = _Telling()
        self.bytes_received = 0
        self.duplicates = 0

    # what the owner says

    def stored(self, seq: int, now: float) -> None:
        """The owner has the message on its disk; numbers that are not waiting are ignored."""
        if self._settle(seq):
            self._settled.add(seq)
            self._tell_known(seq, now)

    def refuse(self, seq: int, code: str, now: float) -> None:
        """The owner will never take the message."""
        if self._settle(seq):
            _remember(self._refused, seq, code)
            self._tell_known(seq, now)

    def _settle(self, seq: int) -> bool:
        waiting = self._waiting.pop(seq, None)
        if waiting is None:
            return False
        self._waiting_bytes -= waiting.memory
        self._tries.pop(seq, None)
        self._tell.progress.pop(seq, None)
        return True

    def reconnected(self, new_boot: bool, new_store: bool) -> None:
        """Prepare for a new session; a peer with a new store numbers its messages anew, so forget the old numbers."""
        self._lost.clear()
        for partial in self._partials.values():
            partial.gap_turn = None
        if new_boot:
            self._tell = _Telling()
        if new_store:
            for seq in list(self._partials):
                self._abort(seq)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._settled.clear()
            self._refused.clear()
            self._tries.clear()
            self._tell = _Telling()

    def close(self) -> None:
        """Abort every open spool."""
        for seq in list(self._partials):
            self._abort(seq)

    # what the peer says

    def first(self, first: First, now: float) -> list[DeliveryEvent]:
        """Take the first chunk of a message."""
        partial = self._partials.get(first.seq)
        if self._tell_known(first.seq, now) or (partial is not None and partial.same(first)):
            if partial is not None:
                self._tell_progress(Progress(first.seq, partial.expected, first.turn, False), now)
            self.duplicates += 1
            return []
        if partial is not None:
            self._abort(first.seq)
        return self._single(first, now) if first.count == 1 else self._open(first, now)

    def more(self, more: More, now: float) -> list[DeliveryEvent]:
        """Take the next chunk of an open message."""
        partial = self._partials.get(more.seq)
        if partial is None:
            if self._tell_known(more.seq, now):
                self.duplicates += 1
            elif self._lost.get(more.seq) != more.turn:
                _remember(self._lost, more.seq, more.turn)
                self._tell_progress(Progress(more.seq, 0, more.turn, True), now, at_once=True)
            return []
        if more.index != partial.expected:
            self._out_of_order(partial, more, now)
            return []
        if len(more.data) != partial.length_of(more.index):
            return [RecordRejected(f"message {more.seq}: chunk {more.index} of {len(more.data)} bytes")]
        return self._write(partial, more.data, more.turn, now)

    def probe(self, probe: Probe, now: float) -> None:
        """Say how far a message is whose chunks the sender believes to have sent."""
        if not self._tell_known(probe.seq, now):
            partial = self._partials.get(probe.seq)
            chunks = partial.expected if partial is not None else 0
            self._tell_progress(Progress(probe.seq, chunks, probe.turn, True), now, at_once=True)

    def _tell_known(self, seq: int, now: float) -> bool:
        """Acknowledge again what is stored, refused or waiting for the owner; say whether it is one of these."""
        if seq in self._settled:
            if len(self._tell.stored) < MAX_WAITING:
                self._tell.stored[seq] = None
        elif seq in self._refused:
            self._tell.refused[seq] = self._refused[seq]
        elif seq in self._waiting:
            self._tell_progress(Progress(seq, self._waiting[seq].chunks, 0, False), now)
            return True
        else:
            return False
        self._tell.due = now
        return True

    def _out_of_order(self, partial: _Partial, more: More, now: float) -> None:
        if more.index < partial.expected:
            self.duplicates += 1
            self._tell_progress(Progress(more.seq, partial.expected, more.turn, False), now)
        elif partial.gap_turn != more.turn:
            partial.gap_turn = more.turn
            self._tell_progress(Progress(more.seq, partial.expected, more.turn, True), now, at_once=True)

    # putting together

    def _single(self, first: First, now: float) -> list[DeliveryEvent]:
        body = bytes(first.data)
        self.bytes_received += len(body)
        if hashlib.sha256(body).digest() != first.sha256:
            return self._bad_body(first, now)
        memory = len(body) + len(first.header)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes + memory > self._limits.waiting_bytes:
            return [RecordRejected(f"message {first.seq}: {self._waiting_bytes} bytes wait to be stored already")]
        return [self._arrived(first, body, memory)]

    def _open(self, first: First, now: float) -> list[DeliveryEvent]:
        if self._open_bytes + first.total > self._limits.open_bytes or len(self._waiting) >= MAX_WAITING:
            return self._unwritten(first.seq, first.turn, f"no room for {first.total} bytes more")
        if len(self._partials) >= self._limits.open_messages:
            self._abort(next(iter(self._partials)))
        try:
            spool = self._spool(first.total)
        except (OSError, StoreError) as error:
            return self._unwritten(first.seq, first.turn, str(error))
        data = first.data
        partial = _Partial(replace(first, data=b""), len(data), spool, hashlib.sha256())
        self._partials[first.seq] = partial
        self._open_bytes += first.total
        return self._write(partial, data, first.turn, now)

    def _write(self, partial: _Partial, data: bytes | memoryview, turn: int, now: float) -> list[DeliveryEvent]:
        first = partial.first
        try:
            partial.spool.write(data)
        except (OSError, StoreError) as error:
            self._abort(first.seq)
            return self._unwritten(first.seq, turn, str(error))
        partial.digest.update(data)
        partial.expected += 1
        self.bytes_received += len(data)
        self._tell_progress(Progress(first.seq, partial.expected, turn, False), now)
        return self._complete(partial, now) if partial.expected == first.count else []

    def _complete(self, partial: _Partial, now: float) -> list[DeliveryEvent]:
        first = partial.first
        if partial.digest.digest() != first.sha256:
            self._abort(first.seq)
            return self._bad_body(first, now)
        try:
            body = partial.spool.finish(first.sha256)
        except (OSError, StoreError) as error:
            self._abort(first.seq)
            return self._unwritten(first.seq, first.turn, str(error))
        self._forget(first.seq)
        return [self._arrived(first, body, 0)]

    def _arrived(self, first: First, body: bytes | Body, memory: int) -> Arrived:
        self._waiting[first.seq] = _Waiting(first.count, memory)
        self._waiting_bytes += memory
        return Arrived(first.seq, first.header, body, first.sha256)

    def _unwritten(self, seq: int, turn: int, reason: str) -> list[DeliveryEvent]:
        """Leave the message to its sender's timer: telling of a gap at once would make both sides spin."""
        self._tell.progress.pop(seq, None)
        _remember(self._lost, seq, turn)
        return [SpoolFailed(seq, reason)]

    def _bad_body(self, first: First, now: float) -> list[DeliveryEvent]:
        """Ask for the body again, at most ``MAX_TRIES`` times; then refuse it for good."""
        tries = self._tries.get(first.seq, 0) + 1
        _remember(self._tries, first.seq, tries)
        if tries >= MAX_TRIES:
            _remember(self._refused, first.seq, "bad_body")
            self._tell_known(first.seq, now)
        else:
            self._tell_progress(Progress(first.seq, 0, first.turn, True), now, at_once=True)
        return [RecordRejected(f"message {first.seq}: body does not have its SHA-256 (try {tries} of {MAX_TRIES})")]

    def _abort(self, seq: int) -> None:
        self._partials[seq].spool.abort()
        self._forget(seq)

    def _forget(self, seq: int) -> None:
        self._open_bytes -= self._partials.pop(seq).first.total
        _remember(self._lost, seq, -1)

    # what is to be said

    def _tell_progress(self, told: Progress, now: float, at_once: bool = False) -> None:
        """Note progress for the next acknowledgement; a gap stays noted until it is told."""
        tell = self._tell
        if len(tell.progress) >= MAX_WAITING:
            return
        pending = tell.progress.get(told.seq)
        if pending is None or told.gap or not pending.gap:
            tell.progress[told.seq] = told
        tell.chunks += 1
        due = now if at_once or tell.chunks >= ACK_CHUNKS else now + ACK_DELAY_S
        tell.due = due if tell.due is None else min(tell.due, due)

    def tell_now(self, now: float) -> None:
        """Make an acknowledgement due at once, even if it says nothing but the credit."""
        self._tell.due = now

    @property
    def ack_due(self) -> float | None:
        """When the next acknowledgement must go out."""
        return self._tell.due

    def take_acks(self) -> Iterator[tuple[tuple[Range, ...], tuple[Progress, ...]]]:
        """Yield the contents of the acknowledgements due, at least one, and begin a new round."""
        tell, self._tell = self._tell, _Telling()
        ranges = sorted({around for seq in tell.stored if (around := self._settled.around(seq))})
        progress = list(tell.progress.values())
        while True:
            yield tuple(ranges[:MAX_RANGES]), tuple(progress[:MAX_PROGRESS])
            del ranges[:MAX_RANGES], progress[:MAX_PROGRESS]
            if not ranges and not progress:
                return

    def take_refusals(self) -> list[Refuse]:
        """Return the refusals to tell."""
        told, self._tell.refused = self._tell.refused, {}
        return [Refuse(seq, code) for seq, code in told.items()]
