"""Nodes meet, remember epochs durably, and notice a peer that lost its store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from partyd import trust
from partyd.jobs.record import JobStatus
from partyd.node import EPOCH_SHIFT
from partyd.store import restore as restore_store
from partyd.types import Address
from tests.nodes import BANK, SHOP, TOY, town, until


def test_a_restored_party_goes_past_the_epoch_that_its_peer_remembers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path, are_running=False) as place:
            shop, bank = await place.open(SHOP), await place.open(BANK)
            remembered = (bank.store.boot_epoch + 50) << EPOCH_SHIFT
            await shop.store.write(lambda store: store.see_epoch(BANK, remembered))
            await place.stop(SHOP)
            for address in (BANK, SHOP):
                await place.start(address)
            await until(place.established)
            await until(lambda: bank.store.boot_epoch > remembered >> EPOCH_SHIFT)
            kept = await bank.store.read(lambda store: store.counter("boot_epoch"))
            assert kept == bank.store.boot_epoch

    asyncio.run(scenario())


def test_a_raised_epoch_is_on_disk_before_it_is_used(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path, are_running=False) as place:
            bank = await place.open(BANK)
            before = bank.store.boot_epoch
            await bank.raise_epoch((before + 7) << EPOCH_SHIFT)
            assert bank.store.boot_epoch == before + 8
            await place.stop(BANK)
            again = await place.open(BANK)
            assert again.store.boot_epoch > before + 8

    asyncio.run(scenario())


def test_dropped_keys_are_followed_by_a_new_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank = place.nodes[BANK]
            session = bank.office.links[SHOP].session
            before = session.stats.handshakes
            bank.office.drop_keys()
            assert not session.established
            await until(lambda: session.established and session.stats.handshakes > before)
            assert bank.office.silent_s(SHOP) == 0

    asyncio.run(scenario())


def test_a_peer_that_comes_back_from_a_backup_ends_the_running_jobs(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path / "town") as place:
            bank, shop = place.nodes[BANK], place.nodes[SHOP]
            job = await bank.supervisor.submit(TOY)
            await until(lambda: shop.supervisor.counts()["running"] == 1)
            await shop.store.backup_to(tmp_path / "backup")
            await place.stop(SHOP)
            folder = place.layout(SHOP).store_dir(SHOP.role)
            folder.rename(tmp_path / "lost")
            restore_store(tmp_path / "backup", folder)
            shop = await place.start(SHOP)
            await until(lambda: bank.supervisor.counts()["ended"] + shop.supervisor.counts()["ended"] == 2)
            for node in (bank, shop):
                record = await node.supervisor.record(job)
                assert record.status is JobStatus.FAILED
                assert record.reason is not None
                assert record.reason.code == "peer_store_lost"
            assert [one.job for one in await shop.supervisor.records()] == [job]

    asyncio.run(scenario())


def test_an_ended_job_stays_ended_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank = place.nodes[BANK]
            job = await bank.supervisor.submit(TOY)
            await bank.supervisor.stop(job)
            await until(lambda: bank.supervisor.counts()["ended"] == 1)
            await place.stop(BANK)
            assert (await (await place.start(BANK)).supervisor.record(job)).status is JobStatus.CANCELED

    asyncio.run(scenario())


def test_a_task_that_runs_too_long_fails(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank = place.nodes[BANK]
            bank.runner.task_timeout_s = 0.01
            job = await bank.supervisor.submit(TOY)
            await until(lambda: bank.supervisor.counts()["ended"] == 1)
            reason = (await bank.supervisor.record(job)).reason
            assert reason is not None
            assert (reason.task, reason.code) == ("toy_0", "timeout")
            assert "jobs.task_timeout_s" in reason.cause

    asyncio.run(scenario())


def test_a_job_whose_peer_is_silent_for_too_long_is_ended_by_who_began_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank, shop = place.nodes[BANK], place.nodes[SHOP]
            job = await bank.supervisor.submit(TOY)
            await until(lambda: shop.supervisor.counts()["running"] == 1)
            bank.supervisor.end_stalled(0.001)
            assert bank.supervisor.counts()["running"] == 1
            bank.office.drop_peer(SHOP)
            await until(lambda: bank.office.silent_s(SHOP) > 0.001)
            shop.supervisor.end_stalled(0.0)
            bank.supervisor.end_stalled(0.001)
            await until(lambda: bank.supervisor.counts()["ended"] == 1)
            reason = (await bank.supervisor.record(job)).reason
            assert reason is not None
            assert reason.code == "peer_timeout"
            assert str(SHOP) in reason.cause
            assert shop.supervisor.counts()["running"] == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(("who", "whom"), [(BANK, SHOP), (SHOP, BANK)])
def test_a_revoked_peer_is_dropped_at_once_and_its_jobs_end(tmp_path: Path, who: Address, whom: Address) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank, shop = place.nodes[BANK], place.nodes[SHOP]
            job = await bank.supervisor.submit(TOY)
            await until(lambda: shop.supervisor.counts()["running"] == 1)
            node = place.nodes[who]
            trust.revoke(place.layout(who), whom)
            await node.cards.refresh()
            assert (whom in node.peers, whom in node.office.links) == (False, False)
            await until(lambda: node.supervisor.counts()["ended"] == 1)
            reason = (await node.supervisor.record(job)).reason
            assert reason is not None
            assert reason.code == "peer_revoked"

    asyncio.run(scenario())


def test_a_peer_revoked_while_no_daemon_ran_leaves_no_job_behind(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank, shop = place.nodes[BANK], place.nodes[SHOP]
            await bank.supervisor.submit(TOY)
            await until(lambda: shop.supervisor.counts()["running"] == 1)
            shop.end_orphans()
            await place.stop(SHOP)
            trust.revoke(place.layout(SHOP), BANK)
            shop = await place.start(SHOP)
            assert shop.supervisor.counts()["running"] == 1

            def is_ended() -> bool:
                shop.end_orphans()
                return shop.supervisor.counts()["ended"] == 1

            await until(is_ended)

    asyncio.run(scenario())
