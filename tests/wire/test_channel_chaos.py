"""Any mixture of loss, duplication, reordering, delay, restarts and simultaneous starts; then quiet, and it works."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from partyd.wire.events import Established
from tests.wire.channel_pair import Pair, Side

INDEX = st.integers(0, 1)


class Chaos(RuleBasedStateMachine):
    """The wire keeps every frame; the adversary picks which to deliver, when, how often and to whom."""

    def __init__(self) -> None:
        super().__init__()
        self.pair = Pair()
        self.wire: list[tuple[Side, bytes]] = []
        self.sent: set[bytes] = set()
        self.number = 0

    def _collect(self) -> None:
        self.wire += self.pair.take()
        del self.wire[:-60]

    @initialize(first=INDEX)
    def start(self, first: int) -> None:
        self.pair.sides[first].channel.initiate(self.pair.now)
        self._collect()

    @rule(side=INDEX)
    def initiate(self, side: int) -> None:
        self.pair.sides[side].channel.initiate(self.pair.now)
        self._collect()

    @rule(at=st.integers(0, 59), twice=st.booleans(), keep=st.booleans())
    def deliver(self, at: int, twice: bool, keep: bool) -> None:
        if self.wire:
            at %= len(self.wire)
            receiver, frame = self.wire[at] if keep else self.wire.pop(at)
            for _ in range(1 + twice):
                receiver.receive(frame, self.pair.now)
            self._collect()

    @rule()
    def deliver_all_in_order(self) -> None:
        frames, self.wire = self.wire, []
        for receiver, frame in frames:
            receiver.receive(frame, self.pair.now)
        self._collect()

    @rule(at=st.integers(0, 59))
    def lose(self, at: int) -> None:
        if self.wire:
            self.wire.pop(at % len(self.wire))

    @rule(at=st.integers(0, 59))
    def reflect(self, at: int) -> None:
        if self.wire:
            receiver, frame = self.wire[at % len(self.wire)]
            before = len(self.pair.other(receiver).inbox)
            self.pair.other(receiver).receive(frame, self.pair.now)
            assert len(self.pair.other(receiver).inbox) == before

    @rule(side=INDEX)
    def send(self, side: int) -> None:
        sender = self.pair.sides[side]
        if sender.channel.established:
            self.number += 1
            record = b"%d from %d" % (self.number, side)
            self.sent.add(record)
            self.wire.append((self.pair.other(sender), sender.channel.seal(record)))

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.6, 1.5, 5.2, 16.0, 61.0, 601.0]))
    def wait(self, seconds: float) -> None:
        self.pair.now += seconds
        for side in self.pair.sides:
            side.channel.tick(self.pair.now)
            deadline = side.channel.next_deadline()
            assert deadline is None or deadline > self.pair.now, "the owner would spin"
        self._collect()

    @rule(side=INDEX)
    def restart(self, side: int) -> None:
        self.pair.sides[side].boot()

    @rule(side=INDEX)
    def restore_an_old_epoch(self, side: int) -> None:
        self.pair.sides[side].epoch = 50
        self.pair.sides[side].boot().initiate(self.pair.now)
        self._collect()

    @invariant()
    def every_record_is_sent_and_arrives_at_most_once(self) -> None:
        for number, side in enumerate(self.pair.sides):
            assert len(set(side.inbox)) == len(side.inbox)
            assert set(side.inbox) <= {record for record in self.sent if record.endswith(b"%d" % (1 - number))}

    def teardown(self) -> None:
        """After the storm: whoever has something to say begins, and both can talk, now and later."""
        self.wire.clear()
        for side in self.pair.sides:
            side.channel.initiate(self.pair.now)
        for side in self.pair.sides:
            if side.channel.established:
                self.pair.send(side, b"are you there? " + str(side.identity.address).encode())
        self.pair.pass_time(60)
        for wait in (0, 70, 700):
            self.pair.pass_time(wait)
            for side in self.pair.sides:
                record = b"after %d" % wait
                self.pair.send(side, record)
                assert self.pair.other(side).inbox[-1] == record
        assert any(isinstance(event, Established) for event in self.pair.left.events)


TestChaos = Chaos.TestCase
TestChaos.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
