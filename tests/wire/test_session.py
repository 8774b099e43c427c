"""Sessions over the real channel: every mixture of faults, found by hypothesis and by seeds, on a virtual clock."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from partyd.errors import LocalProtocolError
from partyd.wire.bodies import BytesBody
from partyd.wire.delivery_events import RecordRejected, Suspect
from partyd.wire.events import Established, Rejected
from tests.wire.channel_pair import card_of


def campaign() -> Any:
    """Load the campaign, which owns the simulated world."""
    path = Path(__file__).parents[1] / "campaigns" / "delivery_chaos.py"
    spec = importlib.util.spec_from_file_location("delivery_chaos", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


chaos = campaign()
SIDES = st.sampled_from([chaos.GUEST, chaos.HOST])
CHANCE = st.sampled_from([0.0, 0.05, 0.3])


class Hostile(RuleBasedStateMachine):
    """Two parties; whatever the rules do, everything is delivered once the network is calm."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.world = chaos.World(seed)

    @rule(side=SIDES, count=st.integers(1, 12), size=st.sampled_from([0, 1, 49, 3000, 12_000, 12_001, 200_000]))
    def submit(self, side: object, count: int, size: int) -> None:
        for _ in range(count):
            self.world.parties[side].submit(self.world.rng.randbytes(size))

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.02, 0.5, 3.0, 20.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.world.run(seconds)

    @rule(loss=CHANCE, repeat=CHANCE, truncate=CHANCE, corrupt=CHANCE, delay_s=st.sampled_from([0.001, 0.05, 1.0]))
    def disturb(self, loss: float, repeat: float, truncate: float, corrupt: float, delay_s: float) -> None:
        self.world.faults = chaos.Faults(loss, repeat, truncate, corrupt, delay_s)

    @rule()
    def cut(self) -> None:
        self.world.faults = chaos.Faults(loss=1.0)

    @rule()
    def mend(self) -> None:
        self.world.faults = chaos.Faults()

    @rule(side=SIDES)
    def crash(self, side: object) -> None:
        self.world.parties[side].boot()

    @rule(side=SIDES)
    def restore_transport(self, side: object) -> None:
        self.world.parties[side].session.transport_restored(self.world.now)

    @precondition(lambda self: hasattr(self, "world"))
    @rule(side=SIDES, credit=st.sampled_from([0, 1, 12_000, 1 << 30]))
    def grant(self, side: object, credit: int) -> None:
        self.world.parties[side].session.set_credit(credit, self.world.now)

    @invariant()
    def nothing_is_overdue(self) -> None:
        if hasattr(self, "world"):
            for party in self.world.parties.values():
                assert party.session.stats.delivery.unacknowledged <= len(party.disk.outbox)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for party in self.world.parties.values():
                party.session.set_credit(1 << 30, self.world.now)
            self.world.finish()


TestHostile = Hostile.TestCase
TestHostile.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("seed", range(4))
def test_a_seed_of_the_campaign_keeps_every_promise(seed: int) -> None:
    world = chaos.chaos(seed, steps=30)
    assert world.quiet()
    assert world.submitted


def settled(seed: int = 0) -> tuple[Any, Any, Any]:
    world = chaos.World(seed)
    world.run(1.0)
    return world, world.parties[chaos.GUEST], world.parties[chaos.HOST]


def test_connect_brings_a_session_without_anything_to_send() -> None:
    _, guest, host = settled()
    assert guest.session.established
    assert host.session.established


def test_a_message_is_delivered_over_an_ordered_network_without_repetition() -> None:
    world, guest, _ = settled()
    world.faults = chaos.Faults(delay_s=0.0)
    guest.submit(b"body" * 50_000)
    world.run(0.3)
    assert world.quiet()
    assert guest.session.stats.delivery.resent == 0


def test_an_idle_pair_only_exchanges_heartbeats() -> None:
    world, guest, _ = settled()
    before = guest.session.stats.frames_sent
    world.run(100.0)
    assert 5 <= guest.session.stats.frames_sent - before <= 40


def test_a_restarted_peer_is_found_within_ten_seconds() -> None:
    world, guest, host = settled()
    host.boot()
    guest.submit(b"after the restart")
    world.run(10.0)
    assert world.quiet()


def test_a_nudge_shortens_the_wait_for_a_peer_that_was_away() -> None:
    world = chaos.World(3)
    guest = world.parties[chaos.GUEST]
    world.faults = chaos.Faults(loss=1.0)
    guest.submit(b"waits")
    world.run(300.0)
    world.faults = chaos.Faults()
    guest.session.nudge(world.now)
    world.run(1.0)
    assert world.quiet()


def test_nudges_from_the_broker_are_spaced() -> None:
    world = chaos.World(4)
    guest = world.parties[chaos.GUEST]
    world.faults = chaos.Faults(loss=1.0)
    before = guest.session.stats.frames_sent
    for _ in range(1000):
        guest.session.nudge(world.now)
        world.run(0.02)
    assert guest.session.stats.frames_sent - before < 30


def test_a_nudge_does_not_disturb_an_established_session() -> None:
    world, guest, _ = settled()
    guest.session.nudge(world.now)
    world.run(1.0)
    assert guest.session.established
    assert guest.session.stats.handshakes == 1


def test_silence_is_suspected_and_the_events_of_the_channel_pass_through() -> None:
    world = chaos.World(5)
    guest = world.parties[chaos.GUEST]
    seen: list[object] = []

    def take(events: list[Any]) -> None:
        seen.extend(events)
        chaos.Party.take(guest, events)

    guest.take = take
    world.run(1.0)
    assert any(isinstance(event, Established) and event.new_boot for event in seen)
    world.faults = chaos.Faults(loss=1.0)
    world.run(35.0)
    assert sum(isinstance(event, Suspect) for event in seen) == 1


def test_garbage_is_rejected_and_changes_nothing() -> None:
    world, guest, _ = settled()
    rng = random.Random(1)
    for _ in range(500):
        events = guest.session.receive_frame(rng.randbytes(rng.randrange(200)), world.now)
        assert all(isinstance(event, Rejected) for event in events)
    assert guest.session.established


def test_a_hostile_record_inside_a_good_frame_is_rejected() -> None:
    world, guest, host = settled()
    frame = host.session._channel.seal(b"\xff" * 40)
    events = guest.session.receive_frame(frame, world.now)
    assert [type(event) for event in events] == [RecordRejected]


def test_closing_drops_the_keys() -> None:
    _, guest, _ = settled()
    guest.session.close()
    assert not guest.session.established
    with pytest.raises(LocalProtocolError):
        guest.session.submit(9, b"h" * 5000, BytesBody(b""))


def test_new_cards_leave_the_session_alone_and_serve_the_next_one() -> None:
    world, guest, host = settled()
    old = chaos.CARDS[chaos.GUEST]
    identity = chaos.insecure_identity(chaos.GUEST).rotate_kx(0)
    card = card_of(identity, 2, old)
    guest.session.replace_cards(identity, card, chaos.CARDS[chaos.HOST], previous_card=old)
    host.session.replace_cards(chaos.insecure_identity(chaos.HOST), chaos.CARDS[chaos.HOST], card, previous_peer=old)
    assert (guest.session.stats.handshakes, guest.session.established) == (1, True)
    guest.submit(b"body" * 50_000)
    guest.session.drop_keys()
    host.session.drop_keys()
    assert not guest.session.established
    world.run(3.0)
    assert world.quiet()
    assert guest.session.stats.handshakes >= 2
