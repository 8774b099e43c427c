"""The door of an algorithm: who may send what to whom, and randomness that repeats with its round."""

from __future__ import annotations

import asyncio

import pytest

from partyd.errors import LocalProtocolError
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, MemoryNetwork, MemoryPost, MemoryReporter
from partyd.types import ARBITER, GUEST, HOST, Address

G, H1, H2, A = Address("1", GUEST), Address("2", HOST), Address("3", HOST), Address("4", ARBITER)
ALL = [G, H1, H2, A]


class Ask(Message, sender=GUEST, receiver=HOST):
    n: int


class Reply(Message, sender=HOST, receiver=GUEST):
    n: int


def party(me: Address, network: MemoryNetwork | None = None, seed: bytes = b"0" * 32, attempt: int = 0) -> Party:
    post = MemoryPost(network or MemoryNetwork(Faults()))
    made = Party(me, ALL, post, MemoryReporter(), job="j", task="t", attempt=attempt, seed=seed)
    made.enter("r/0")
    return made


def test_peers_come_in_a_fixed_order_without_oneself() -> None:
    assert party(H2).peers(GUEST | HOST) == [G, H1]
    assert party(G).peers(HOST) == [H1, H2]


def test_what_a_role_may_not_send_fails_at_once() -> None:
    with pytest.raises(LocalProtocolError, match="is sent by"):
        asyncio.run(party(H1).send(Ask(n=1)))
    with pytest.raises(LocalProtocolError, match="is received by"):
        asyncio.run(party(G).send(Ask(n=1), to=A))
    with pytest.raises(LocalProtocolError, match="is received by"):
        asyncio.run(party(G).recv(Ask, H1))
    with pytest.raises(LocalProtocolError, match="2 possible senders"):
        asyncio.run(party(G).recv(Reply))


def test_the_context_is_the_same_at_every_party_and_another_in_another_attempt() -> None:
    assert party(G).context == party(H1, seed=b"1" * 32).context
    assert len({party(G).context, party(G, attempt=1).context}) == 2


def test_gather_returns_every_senders_message_and_notes_what_was_consumed() -> None:
    async def talk() -> None:
        network = MemoryNetwork(Faults())
        guest = party(G, network)
        for host, n in ((H2, 3), (H1, 2)):
            await party(host, network).send(Reply(n=n))
        assert {peer: m.n for peer, m in (await guest.gather(Reply)).items()} == {H1: 2, H2: 3}
        assert [m.source for m in guest.consumed] == [H1, H2]
        guest.enter("r/1")
        assert guest.consumed == []

    asyncio.run(talk())


def test_the_first_write_of_an_identity_wins() -> None:
    async def talk() -> None:
        network = MemoryNetwork(Faults())
        host = party(H1, network)
        await host.send(Reply(n=1))
        await host.send(Reply(n=2))
        assert (await party(G, network).recv(Reply, H1)).n == 1

    asyncio.run(talk())


def test_randomness_repeats_with_its_round_and_nowhere_else() -> None:
    first = party(G).rng("mask").take(16)
    assert party(G).rng("mask").take(16) == first
    other = party(G)
    other.enter("r/1")
    streams = [
        party(G).rng("shares").take(16),
        party(H1).rng("mask").take(16),
        party(G, attempt=1).rng("mask").take(16),
        party(G, seed=b"1" * 32).rng("mask").take(16),
        other.rng("mask").take(16),
    ]
    assert len({first, *streams}) == 6


def test_a_label_is_drawn_once_a_round() -> None:
    drawn = party(G)
    drawn.rng("mask")
    with pytest.raises(LocalProtocolError, match="drawn twice"):
        drawn.rng("mask")
    drawn.enter("r/1")
    assert len(drawn.rng("mask").take(1)) == 1
