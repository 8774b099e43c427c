"""The door of an algorithm: who may send what to whom, and randomness that repeats with its round."""

from __future__ import annotations

import asyncio

import pytest

from partyd.crypto.paillier import generate_keypair
from partyd.crypto.prg import Prg
from partyd.errors import LocalProtocolError
from partyd.federation.cipher_engine import CipherEngine
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, MemoryNetwork, MemoryPost, MemoryReporter
from partyd.types import ARBITER, GUEST, HOST, Address, MessageId

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


# -- what a party does while it waits -------------------------------------------------------------


class Slow(MemoryPost):
    """A mailbox whose next message comes when a test lets it."""

    def __init__(self) -> None:
        super().__init__(MemoryNetwork(Faults()))
        self.here = asyncio.Event()
        self.cancelled = False

    async def receive(self, _message: MessageId) -> bytes:
        try:
            await self.here.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Reply(n=7).to_bytes()


def waiting(wanted: int) -> tuple[Party, Slow, CipherEngine]:
    post = Slow()
    made = Party(G, [G, H1], post, MemoryReporter(), job="j", task="t", attempt=0, seed=b"0" * 32)
    made.enter("r/0")
    public, _ = generate_keypair(512, Prg(bytes(32), "insecure"), insecure_for_tests=True)
    if wanted:
        made.obfuscators(public, wanted)
    return made, post, made.ciphers


def stock(ciphers: CipherEngine) -> int:
    return sum(len(pool) for pool in ciphers._pools.values())


def test_waiting_prepares_what_is_wanted_and_no_more() -> None:
    async def talk() -> None:
        guest, post, ciphers = waiting(300)
        receiving = asyncio.create_task(guest.recv(Reply))
        while ciphers.lacks:
            await asyncio.sleep(0)
        assert not receiving.done()
        post.here.set()
        assert (await receiving).n == 7
        assert stock(ciphers) == 300

    asyncio.run(talk())


def test_a_message_that_is_there_waits_for_nothing() -> None:
    async def talk() -> None:
        guest, post, ciphers = waiting(10**6)
        post.here.set()
        assert (await guest.recv(Reply)).n == 7
        assert stock(ciphers) == 0

    asyncio.run(talk())


def test_preparing_stops_as_soon_as_the_message_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk() -> None:
        guest, post, ciphers = waiting(10**6)
        pieces = []

        def fill() -> bool:
            pieces.append(1)
            if len(pieces) == 3:
                post.here.set()
            return True

        monkeypatch.setattr(ciphers, "fill", fill)
        assert (await guest.recv(Reply)).n == 7
        assert len(pieces) == 3

    asyncio.run(talk())


@pytest.mark.parametrize("wanted", [0, 10**6])
def test_a_receive_that_is_cancelled_is_cancelled_below_too(wanted: int) -> None:
    async def talk() -> None:
        guest, post, _ = waiting(wanted)
        receiving = asyncio.create_task(guest.recv(Reply))
        for _ in range(20):
            await asyncio.sleep(0)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        assert post.cancelled
        assert guest.consumed == []

    asyncio.run(talk())


def test_what_fails_while_waiting_is_told() -> None:
    async def talk() -> None:
        guest, post, _ = waiting(10**6)
        post.receive = broken  # type: ignore[method-assign]
        with pytest.raises(LocalProtocolError, match="no such message"):
            await guest.recv(Reply)

    async def broken(_message: MessageId) -> bytes:
        raise LocalProtocolError("no such message")

    asyncio.run(talk())
