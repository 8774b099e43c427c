from __future__ import annotations

import random

import pytest

from partyd.jobs.record import JobStatus
from partyd.jobs.slots import Ask, Granted, Short, SlotDesk, SlotTable, Wanted, own_cores
from partyd.types import Address
from tests.jobs.worlds import H2, MACHINE, G, H, World, spec


def ask(job: str, cores: int = 4, priority: int = 0, at: float = 1.0, address: Address = H, shares: int = 1) -> Ask:
    return Ask(job, address, 1, cores, priority, at, shares)


# -- one daemon's table


def test_what_fits_is_granted_and_what_does_not_waits_with_the_reason() -> None:
    table = SlotTable(8)
    assert table.ask(ask("a", 6, 2)) == [Granted(ask("a", 6, 2))]
    (short,) = table.ask(ask("b"))
    assert isinstance(short, Short)
    assert short.cause == "4 of 8 cores asked, 2 free; jobs that hold the rest: 1; that go first: 0"
    assert table.release("a", H) == [Granted(ask("b"))]
    assert table.free == 4


def test_priority_then_age_then_name_is_the_order() -> None:
    table = SlotTable(4)
    table.ask(ask("busy"))
    table.fix("busy", H)
    for one in (ask("young", at=3), ask("old", at=2), ask("zz", at=2), ask("important", priority=5, at=9)):
        table.ask(one)
    order = []
    job = "busy"
    while granted := table.release(job, H):
        (notice,) = granted
        job = notice.ask.job
        order.append(job)
    assert order == ["important", "old", "zz", "young"]


def test_a_large_job_is_not_starved_by_small_ones() -> None:
    table = SlotTable(8)
    table.ask(ask("a", 4))
    table.fix("a", H)
    table.ask(ask("large", 8, at=2))
    (short,) = table.ask(ask("small", 2, at=3))
    assert isinstance(short, Short)
    assert "that go first: 1" in short.cause
    assert [notice.ask.job for notice in table.release("a", H)] == ["large"]


def test_asking_for_more_than_there_is_means_all_there_is() -> None:
    table = SlotTable(2)
    assert table.ask(ask("a", 64)) == [Granted(ask("a", 2))]


@pytest.mark.parametrize("total", [1, 2, 3, 4, 8])
def test_two_roles_of_one_daemon_share_its_cores(total: int) -> None:
    table = SlotTable(total)
    granted = [*table.ask(ask("a", 4, shares=2)), *table.ask(ask("a", 4, shares=2, address=G))]
    assert [type(notice) for notice in granted] == [Granted, Granted]
    assert granted[0].ask.cores == max(1, min(4, total // 2))


def test_a_reservation_is_wanted_back_for_a_job_that_goes_first_and_cores_at_work_are_not() -> None:
    table = SlotTable(4)
    table.ask(ask("later", at=5))
    assert table.ask(ask("first", at=1))[0] == Wanted(ask("later", at=5))
    assert [type(n) for n in table.ask(ask("first", at=1))] == [Short], "it is wanted back once"
    table.fix("later", H)
    table.ask(ask("another", at=0))
    assert not any(isinstance(n, Wanted) for n in table.ask(ask("another", at=0)))


def test_asking_again_replaces_what_was_asked() -> None:
    table = SlotTable(4)
    table.ask(ask("a", 4))
    table.ask(ask("a", 2))
    assert table.free == 2
    table.release("a", H)
    assert table.free == 4
    assert table.release("a", H) == []


def test_a_desk_tells_each_address_its_own() -> None:
    desk, told = SlotDesk.of(4), []
    desk.listen(G, lambda notice: told.append((G, notice.ask.job)))
    desk.listen(H, lambda notice: told.append((H, notice.ask.job)))
    assert desk.shares([G, H, H2]) == 2
    desk.ask(ask("a"))
    desk.ask(ask("b", address=G))
    desk.release("a", H)
    assert told == [(H, "a"), (G, "b"), (G, "b")]


def test_without_a_setting_there_are_at_least_eight() -> None:
    assert own_cores(0) >= 8
    assert own_cores(3) == 3


# -- several parties


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("crash", [0.0, 0.08])
def test_jobs_that_compete_at_several_parties_all_run_and_never_over_the_top(seed: int, crash: float) -> None:
    world = World(seed, crash, cores=8)
    chance = random.Random(seed)
    jobs = [f"j{i}" for i in range(6)]
    for i, job in enumerate(jobs):
        initiator = chance.choice([G, H])
        parties = [G, H] if initiator == H or chance.random() < 0.5 else [G, H, H2]
        conf = {"cores": chance.choice([2, 4, 6, 8, 20]), "priority": chance.randrange(3)}
        world.submit(spec(*parties, tasks=2, conf=conf), job, initiator, created_at=float(i))
    world.run()
    assert {job: world.states(job) for job in jobs} == {job: {JobStatus.SUCCESS} for job in jobs}
    assert max(world.most_held.values()) <= 8
    assert all(table.free == 8 for table in world.tables.values())


def test_a_job_that_waits_says_at_every_party_who_has_no_cores() -> None:
    world = World(3, cores=8, endless={"first"})
    world.submit(spec(H, G, conf={"cores": 6, "priority": 2}), "first", G)
    world.run()
    world.submit(spec(G, H, conf={"cores": 4}), "second", G, created_at=2.0)
    world.run()
    told = [world.of(me, "second").waiting for me in (G, H)]
    assert told[0] == told[1]
    assert told[0] is not None
    assert (told[0].party in (G, H), told[0].code) == (True, "cores")
    assert told[0].cause == "4 of 8 cores asked, 2 free; jobs that hold the rest: 1; that go first: 0"
    world.take(G, MACHINE.stop(world.of(G, "first"), "canceled", "enough", 5.0))
    world.run()
    assert world.states("second") == {JobStatus.SUCCESS}


@pytest.mark.parametrize("seed", range(30))
def test_cores_are_not_held_for_a_party_that_does_not_answer(seed: int) -> None:
    world = World(seed)
    world.submit(spec(G, H, H2))
    world.run(lambda: any(type(m[3]).__name__ == "SlotRequest" and m[1] == H2 for m in world.mail))
    held = [entry for entry in world.mail if entry[1] == H2]
    world.mail = [entry for entry in world.mail if entry[1] != H2]
    world.run()
    world.take(G, MACHINE.slots_late(world.of(G), 0))
    world.run()
    waiting = world.of(H).waiting
    assert waiting is not None
    assert (waiting.party, waiting.code) == (H2, "peer_silent")
    assert [world.table(me).free for me in (G, H)] == [8, 8]
    world.mail += held
    world.run()
    assert world.states() == {JobStatus.SUCCESS}
