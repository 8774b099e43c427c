"""Rounds, checkpoints, and going on after a death: the loop that no algorithm writes."""

from __future__ import annotations

import asyncio

import pytest

from partyd.errors import BadValue, LocalProtocolError
from partyd.federation.algorithm import Algorithm, Disclosure, Params, Program, State
from partyd.federation.driver import Checkpoint, Driver
from partyd.federation.message import Message
from partyd.federation.party import Party
from partyd.federation.simulate import Faults, MemoryJournal, MemoryNetwork, MemoryPost, MemoryReporter, simulate
from partyd.types import GUEST, HOST, Address
from partyd.wire.codec import BigInt

G, H = Address("1", GUEST), Address("2", HOST)


class Rounds(Params):
    count: int = 3


class Total(State):
    total: BigInt = 0
    round: int = 0


class Number(Message, sender=GUEST | HOST, receiver=GUEST | HOST):
    n: BigInt


async def start(party: Party, params: Rounds, data: int) -> Total:
    return Total()


async def step(party: Party, params: Rounds, data: int, state: Total) -> Total:
    (drawn,) = party.rng("number").integers(64, 1)
    await party.send(Number(n=drawn + data))
    theirs = (await party.recv(Number)).n
    return Total(total=state.total * 3 + theirs, round=state.round + 1, finished=state.round + 1 == params.count)


def algorithm(name: str = "rounds") -> Algorithm[Rounds]:
    learns = (Disclosure(GUEST, "a number", Number), Disclosure(HOST, "a number", Number))
    program = Program(Total, start, step)
    return Algorithm(name, "1", Rounds, {GUEST: program, HOST: program}, (Number,), learns)


def test_a_round_is_a_scope_and_a_checkpoint() -> None:
    async def talk() -> None:
        network, journals = MemoryNetwork(Faults()), {G: MemoryJournal(), H: MemoryJournal()}

        async def live(me: Address) -> None:
            party = Party(
                me, [G, H], MemoryPost(network), MemoryReporter(), job="j", task="t", attempt=0, seed=b"s" * 32
            )
            driver = await Driver.open(party, journals[me])
            await driver.run("one", algorithm(), Rounds(count=2), 0, Total)
            await driver.run("two", algorithm(), Rounds(count=1), 0, Total)

        await asyncio.gather(live(G), live(H))
        scopes = ["one/start", "one/iteration/0", "one/iteration/1", "two/start", "two/iteration/0"]
        assert journals[G].scopes == journals[H].scopes == scopes
        checkpoint = Checkpoint.from_bytes(journals[G].checkpoint or b"")
        assert [(entry.stage, entry.round) for entry in checkpoint.stages] == [("one", 2), ("two", 1)]

    asyncio.run(talk())


@pytest.mark.parametrize("address", [G, H])
@pytest.mark.parametrize("n", range(6))
def test_a_death_anywhere_changes_nothing(address: Address, n: int) -> None:
    clean = asyncio.run(simulate(algorithm(), Rounds(), {G: 1, H: 2}))
    died = asyncio.run(simulate(algorithm(), Rounds(), {G: 1, H: 2}, faults=Faults(crash=(address, n))))
    assert died.states == clean.states
    assert {s.id: s.body for s in died.transcript.sent} == {s.id: s.body for s in clean.transcript.sent}


def test_a_finished_stage_is_not_run_again() -> None:
    async def talk() -> None:
        journal, network = MemoryJournal(), MemoryNetwork(Faults())
        done = Total(total=7, finished=True)
        party = Party(G, [G, H], MemoryPost(network), MemoryReporter(), job="j", task="t", attempt=0, seed=b"s" * 32)
        first = await Driver.open(party, journal)
        await first._save("one", "one/start", 0, done)
        again = await Driver.open(party, journal)
        assert await again.run("one", algorithm(), Rounds(), 0, Total) == done
        assert network.sent == {}

    asyncio.run(talk())


def test_a_damaged_checkpoint_is_refused() -> None:
    party = Party(
        G, [G, H], MemoryPost(MemoryNetwork(Faults())), MemoryReporter(), job="j", task="t", attempt=0, seed=bytes(32)
    )
    with pytest.raises(BadValue):
        asyncio.run(Driver.open(party, MemoryJournal(b"\x00")))


def test_a_message_without_disclosure_cannot_be_registered() -> None:
    with pytest.raises(LocalProtocolError, match="no disclosure"):
        Algorithm(
            "x", "1", Rounds, {GUEST: Program(Total, start, step), HOST: Program(Total, start, step)}, (Number,), ()
        )


def test_a_message_to_a_role_that_takes_no_part_cannot_be_registered() -> None:
    class ToHost(Message, sender=GUEST, receiver=HOST):
        n: int

    learns = (Disclosure(HOST, "n", ToHost),)
    with pytest.raises(LocalProtocolError, match="outside the algorithm's roles"):
        Algorithm("x", "1", Rounds, {GUEST: Program(Total, start, step)}, (ToHost,), learns)
