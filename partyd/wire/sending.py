"""The sending half of delivery: which chunk goes next, what is unacknowledged, when to go back.

Order of service: probes, control messages, then single-chunk messages and bulk chunks in equal shares of bytes (so a
small message never waits behind a large one, and a flood of small ones never starves it). At most four bulk messages
are open, served round robin. Bulk leaves an eighth of the window to the others.

Each message has a *turn*, raised whenever its sender goes back; the receiver names the turn in which it saw a gap, so a
gap is answered by exactly one going back however many chunks were already on their way.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from dataclasses import dataclass

from partyd.errors import LocalProtocolError, StoreError
from partyd.wire.bodies import Body
from partyd.wire.delivery_events import BodyLost, Delivered, DeliveryEvent, RecordRejected, Refused
from partyd.wire.records import MAX_BODY, MAX_CONTROL, MAX_HEADER, First, More, Probe, Progress
from partyd.wire.timing import ResendTimer

MAX_OPEN_BULK = 4
MAX_CONTROL_FLYING = 64
MAX_SINGLES_FLYING = 256
MAX_TURN = 0xFFFF_FFFF


@dataclass(slots=True, eq=False)
class Outgoing:
    """One submitted message; chunks below ``acked`` are held by the receiver, below ``next`` are sent."""

    seq: int
    header: bytes
    body: Body
    control: bool
    chunk: int
    acked: int = 0
    next: int = 0
    turn: int = 0
    sent_at: float = 0.0
    done: bool = False

    @property
    def count(self) -> int:
        """Number of chunks; an empty body is one empty chunk."""
        return max(1, -(-self.body.size // self.chunk))

    @property
    def flying(self) -> int:
        """Bytes that count against the window."""
        if self.count == 1:
            return self.body.size + len(self.header) if self.next else 0
        return min(self.next * self.chunk, self.body.size) - min(self.acked * self.chunk, self.body.size)


@dataclass(frozen=True, slots=True)
class _Timed:
    """The one chunk whose round trip is being measured."""

    seq: int
    turn: int
    chunks: int
    at: float


class Sender:
    """Holds the messages until the peer has stored them."""

    def __init__(self, timer: ResendTimer, chunk: int) -> None:
        self.chunk = chunk
        self.credit = 0
        self._timer = timer
        self._messages: dict[int, Outgoing] = {}
        self._order: list[int] = []
        self._control: deque[Outgoing] = deque()
        self._singles: deque[Outgoing] = deque()
        self._bulk: deque[Outgoing] = deque()
        self._open: deque[Outgoing] = deque()
        self._probes: deque[Outgoing] = deque()
        self._flying: OrderedDict[int, Outgoing] = OrderedDict()
        self._flying_bytes = 0
        self._flying_control = 0
        self._owed_to_bulk = 0
        self._cautious = False
        self._timed: _Timed | None = None
        self.bytes_sent = 0
        self.resent = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def waiting(self) -> bool:
        """Something was sent that is not acknowledged."""
        return bool(self._flying)

    def submit(self, seq: int, header: bytes, body: Body, control: bool) -> None:
        """Take a message to deliver; a number that is held already is ignored. Raises LocalProtocolError if too big."""
        if seq in self._messages:
            return
        limit = MAX_CONTROL if control else MAX_BODY
        if len(header) > MAX_HEADER or body.size > limit or not 0 <= seq < 1 << 64:
            raise LocalProtocolError(
                f"message {seq} cannot be sent: header of {len(header)} bytes (at most {MAX_HEADER}), "
                f"body of {body.size} (at most {limit}); split it"
            )
        out = Outgoing(seq, header, body, control, self.chunk)
        self._messages[seq] = out
        insort(self._order, seq)
        self._queue_of(out).append(out)

    def _queue_of(self, out: Outgoing) -> deque[Outgoing]:
        if out.count > 1:
            return self._bulk
        return self._control if out.control else self._singles

    def restart(self, chunk: int, from_start: bool) -> None:
        """Send everything unacknowledged again; from each message's first chunk if the receiver forgot its progress."""
        from_start = from_start or chunk != self.chunk
        self.chunk = chunk
        opened = {out.seq for out in self._open}
        for queue in (self._control, self._singles, self._bulk, self._open, self._probes):
            queue.clear()
        self._flying.clear()
        self._flying_bytes = self._flying_control = 0
        self._timed, self._cautious = None, False
        for seq in sorted(self._order, key=lambda seq: seq not in opened):
            out = self._messages[seq]
            self.resent += out.next > out.acked
            out.chunk = chunk
            out.turn = (out.turn + 1) & MAX_TURN
            out.acked = 0 if from_start or out.count == 1 else out.acked
            out.next = out.acked
            self._queue_of(out).append(out)

    def heard(self) -> None:
        """The peer lives: send at full rate again."""
        self._cautious = False
        self._timer.heard()

    # what the peer says

    def stored(self, first: int, last: int, now: float) -> list[DeliveryEvent]:
        """Drop every message in the range; the peer has them on its disk."""
        low, high = bisect_left(self._order, first), bisect_right(self._order, last)
        done = self._order[low:high]
        del self._order[low:high]
        for seq in done:
            self._measure(seq, None, MAX_TURN, now)
            self._drop(self._messages.pop(seq))
        return [Delivered(seq) for seq in done]

    def refused(self, seq: int, code: str) -> list[DeliveryEvent]:
        """Drop a message that the peer will never take."""
        if seq not in self._messages:
            return []
        self._remove(seq)
        return [Refused(seq, code)]

    def progress(self, told: Progress, now: float) -> list[DeliveryEvent]:
        """Note how far a message got, and go back if the receiver saw a gap in the present turn."""
        out = self._messages.get(told.seq)
        if out is None:
            return []
        if told.chunks > out.count:
            return [RecordRejected(f"message {told.seq}: {told.chunks} chunks acknowledged of {out.count}")]
        if told.gap:
            if told.turn == out.turn and told.chunks < out.next:
                self._go_back(out, told.chunks)
            return []
        self._measure(out.seq, told.turn, told.chunks, now)
        if told.chunks > out.acked:
            self._move(out, told.chunks, max(out.next, told.chunks))
            self._fly(out, now)
        return []

    def _measure(self, seq: int, turn: int | None, chunks: int, now: float) -> None:
        timed = self._timed
        if timed is not None and timed.seq == seq and chunks >= timed.chunks:
            if turn is None or turn == timed.turn:
                self._timer.measured(now - timed.at)
            self._timed = None

    def _remove(self, seq: int) -> None:
        del self._order[bisect_left(self._order, seq)]
        self._drop(self._messages.pop(seq))

    def _drop(self, out: Outgoing) -> None:
        self._land(out)
        out.done = True
        if out in self._open:
            self._open.remove(out)

    # what is in flight

    def _move(self, out: Outgoing, acked: int, upto: int) -> None:
        """Set a message's cursors and keep the sums true."""
        before = out.flying
        out.acked, out.next = acked, upto
        if not out.control:
            self._flying_bytes += out.flying - before

    def _fly(self, out: Outgoing, now: float) -> None:
        """(Re)start the message's timer; ``_flying`` stays ordered by it."""
        if out.control and out.seq not in self._flying:
            self._flying_control += 1
        out.sent_at = now
        self._flying[out.seq] = out
        self._flying.move_to_end(out.seq)

    def _land(self, out: Outgoing) -> None:
        """Take the message out of flight."""
        if self._flying.pop(out.seq, None) is not None and out.control:
            self._flying_control -= 1
        self._move(out, out.acked, 0 if out.count == 1 else out.acked)
        if self._timed is not None and self._timed.seq == out.seq:
            self._timed = None

    def _go_back(self, out: Outgoing, chunks: int) -> None:
        self._move(out, chunks, out.next)
        self._land(out)
        out.turn = (out.turn + 1) & MAX_TURN
        self.resent += 1
        if out.acked == out.count:
            self._probes.append(out)
        elif out.count == 1:
            self._queue_of(out).appendleft(out)

    def next_timer(self) -> float | None:
        """When the oldest unacknowledged message is due to be sent again."""
        for out in self._flying.values():
            return out.sent_at + self._timer.timeout_s
        return None

    def expire(self, now: float) -> bool:
        """Go back with every message whose timer ran out; say whether there was one."""
        timeout_s = self._timer.timeout_s
        expired: list[Outgoing] = []
        for out in self._flying.values():
            if out.sent_at + timeout_s > now:
                break
            expired.append(out)
        if not expired:
            return False
        self._timer.expired()
        self._cautious = True
        for out in reversed(expired):
            self._go_back(out, out.acked)
        return True

    # what goes next

    def next_record(self, now: float) -> First | More | Probe | BodyLost | None:
        """Return the next record to send, a body that could not be read, or None if nothing may be sent now."""
        self._open_bulk()
        while self._probes:
            out = self._probes.popleft()
            if not out.done and out.acked == out.count:
                self._move(out, out.acked, out.count)
                self._fly(out, now)
                return Probe(out.seq, out.turn)
        out_next = self._choose()
        return None if out_next is None else self._chunk_of(out_next, now)

    def _choose(self) -> Outgoing | None:
        if self._flying_control < MAX_CONTROL_FLYING and self._head(self._control):
            return self._control.popleft()
        single, bulk = self._head(self._singles), self._head_bulk()
        if bulk is not None and (single is None or self._owed_to_bulk >= bulk.chunk):
            if not self._fits(bulk.chunk, self._window() * 7 // 8):
                return None
            self._owed_to_bulk = 0
            return bulk
        if single is None or len(self._flying) - self._flying_control >= MAX_SINGLES_FLYING:
            return None
        cost = single.body.size + len(single.header)
        if not self._fits(cost, self._window()):
            return None
        if bulk is not None:
            self._owed_to_bulk += cost
        return self._singles.popleft()

    def _window(self) -> int:
        """Bytes that may be unacknowledged; after a timeout only one chunk's worth, until the peer is heard."""
        return min(self.credit, self.chunk) if self._cautious else self.credit

    def _fits(self, cost: int, window: int) -> bool:
        return window > 0 and (self._flying_bytes == 0 or self._flying_bytes + cost <= window)

    @staticmethod
    def _head(queue: deque[Outgoing]) -> Outgoing | None:
        """Return the first message that still waits in this queue; one chunk sent or held meanwhile needs no more."""
        while queue and (queue[0].done or (queue[0].count == 1 and queue[0].next)):
            queue.popleft()
        return queue[0] if queue else None

    def _open_bulk(self) -> None:
        while len(self._open) < MAX_OPEN_BULK and self._head(self._bulk):
            out = self._bulk.popleft()
            self._open.append(out)
            if out.acked == out.count:
                self._probes.append(out)

    def _head_bulk(self) -> Outgoing | None:
        """Return the open message whose turn it is to send a chunk."""
        for _ in range(len(self._open)):
            self._open.rotate(-1)
            if self._open[-1].next < self._open[-1].count:
                return self._open[-1]
        return None

    def _chunk_of(self, out: Outgoing, now: float) -> First | More | BodyLost:
        index = out.next
        offset = index * out.chunk
        length = min(out.chunk, out.body.size - offset)
        try:
            data = out.body.read(offset, length)
        except (OSError, StoreError) as error:
            return self._lose(out, str(error))
        if len(data) != length:
            return self._lose(out, f"{len(data)} bytes at {offset} where {length} were promised")
        self._move(out, out.acked, index + 1)
        self._fly(out, now)
        self.bytes_sent += length
        if self._timed is None and out.turn == 0:
            self._timed = _Timed(out.seq, out.turn, index + 1, now)
        if index:
            return More(out.seq, out.turn, index, data)
        return First(out.seq, out.turn, out.body.size, out.count, out.body.sha256, out.header, data)

    def _lose(self, out: Outgoing, reason: str) -> BodyLost:
        self._remove(out.seq)
        return BodyLost(out.seq, reason)
