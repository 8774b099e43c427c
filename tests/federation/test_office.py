from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from partyd.errors import LocalProtocolError, StoreFull
from partyd.federation import office as office_module
from partyd.federation.header import encode_header
from partyd.federation.rows import BlobRef
from partyd.store import Store
from partyd.types import Address, MessageId
from tests.federation.offices import GUEST, HOST, Site, Wire, open_site, run_fast, two_sites, until


def quiet() -> Wire:
    return Wire(random.Random(1))


def lossy(number: int) -> Wire:
    return Wire(random.Random(number), loss=0.15, repeat=0.2, reorder=0.3, cut=0.1)


def body_of(number: int, size: int = 200) -> bytes:
    return random.Random(number).randbytes(size)


async def exchange(sender: Site, receiver: Site, sizes: list[int], first: int = 0) -> list[bytes]:
    """Send bodies of these sizes and return them as they were received, each asked for by its identity."""
    bodies = [body_of(number, size) for number, size in enumerate(sizes, first)]
    messages = [sender.message(number, receiver.me) for number, _ in enumerate(sizes, first)]
    async with asyncio.TaskGroup() as group:
        for message, body in zip(messages, bodies, strict=True):
            group.create_task(sender.office.send(message, body))
        received = [group.create_task(receiver.office.receive(message)) for message in messages]
    assert [task.result() for task in received] == bodies
    return bodies


@pytest.mark.parametrize("number", range(6))
def test_every_message_arrives_once_through_a_wire_that_loses_repeats_reorders_and_cuts(
    tmp_path: Path, number: int
) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, lossy(number)) as (guest, host):
            chance = random.Random(number)
            sizes = [chance.randrange(1, 5000) for _ in range(30)] + [1 << 20, 3 << 20, (64 << 10) + 1]
            await asyncio.gather(exchange(guest, host, sizes), exchange(host, guest, sizes[::-1], 1000))
            for site in (guest, host):
                (link,) = site.office.links.values()
                await until(lambda link=link: not link.waiting)  # type: ignore[misc]
                assert link.waiting_bytes == 0
            stored = await host.store.read(lambda store: store.inbox_bytes(GUEST))
            assert stored == sum(sizes)

    run_fast(scenario)


def test_both_ends_can_be_started_again_at_any_moment(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = lossy(3)
        guest, host = await open_site(tmp_path, GUEST, wire, HOST), await open_site(tmp_path, HOST, wire, GUEST)
        bodies = [body_of(number, 100_000 if number % 3 else 700_000) for number in range(12)]
        for number, body in enumerate(bodies):
            await guest.office.send(guest.message(number, HOST), body)
            if number % 4 == 1:
                await host.stop()
                host = await open_site(tmp_path, HOST, wire, GUEST)
            if number % 4 == 3:
                await guest.stop()
                guest = await open_site(tmp_path, GUEST, wire, HOST)
        for number, body in enumerate(bodies):
            assert await host.office.receive(guest.message(number, HOST)) == body
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_what_was_sent_while_the_peer_was_away_arrives_from_the_outbox_of_a_later_life(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = quiet()
        guest = await open_site(tmp_path, GUEST, wire, HOST)
        big = body_of(2, 2 << 20)
        await guest.office.send(guest.message(1, HOST), b"small")
        await guest.office.send(guest.message(2, HOST), big)
        await guest.stop()
        guest, host = await open_site(tmp_path, GUEST, wire, HOST), await open_site(tmp_path, HOST, wire, GUEST)
        assert await host.office.receive(guest.message(1, HOST)) == b"small"
        assert await host.office.receive(guest.message(2, HOST)) == big
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_the_first_write_under_an_identity_is_the_one_that_arrives(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            message = guest.message(1, HOST)
            await guest.office.send(message, b"first")
            await guest.office.send(message, b"second")
            assert await host.office.receive(message) == b"first"
            (link,) = guest.office.links.values()
            await until(lambda: not link.waiting)
            assert not host.seen.equivocated

    run_fast(scenario)


def test_a_send_cancelled_after_its_commit_is_delivered_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between the commit and the delivery; its successor sends the same message again."""

    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            message = guest.message(1, HOST)
            with monkeypatch.context() as patch:
                patch.setattr(guest.office, "dispatch", _cancelled)
                with pytest.raises(asyncio.CancelledError):
                    await guest.office.send(message, b"first")
            await guest.office.send(message, b"second")
            assert await host.office.receive(message) == b"first"

    run_fast(scenario)


def _cancelled(*_: object) -> None:
    raise asyncio.CancelledError


def test_two_contents_under_one_identity_are_an_alarm_and_the_first_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            message = guest.message(1, HOST)
            await guest.office.send(message, b"first")
            assert await host.office.receive(message) == b"first"
            (link,) = guest.office.links.values()
            await until(lambda: not link.waiting)
            other = guest.message(2, HOST)
            posted = await guest.store.write(lambda store: store.post(other, encode_header(message), b"second"))
            row = (await guest.store.read(lambda store: store.unacknowledged(HOST, posted.seq - 1, 1)))[0]
            guest.office._submit(link, row)
            link.wake.set()
            await until(lambda: bool(host.seen.equivocated))
            assert host.seen.equivocated == [message]
            assert await host.office.receive(message) == b"first"
            await until(lambda: not link.waiting)
            (hosts_link,) = host.office.links.values()
            assert hosts_link.rejected == {"equivocation": 1}

    run_fast(scenario)


def test_what_nobody_wants_is_acknowledged_and_not_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            host.seen.is_open = False
            await guest.office.send(guest.message(1, HOST), b"x" * 1000)
            await guest.office.send(guest.message(2, HOST), body_of(2, 1 << 20))
            (link,) = guest.office.links.values()
            await until(lambda: not link.waiting)
            assert await host.store.read(lambda store: store.inbox_bytes(GUEST)) == 0
            assert list(host.store.blobs.spool_path().parent.iterdir()) == []

    run_fast(scenario)


def test_control_messages_reach_the_owner_whole_whatever_their_size(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            bodies = {number: body_of(number, size) for number, size in enumerate((10, 70_000, 700_000, 1_900_000))}
            for number, body in bodies.items():
                await guest.office.send(guest.message(number, HOST, task=""), body)
            await until(lambda: len(host.seen.control) == len(bodies))
            assert dict(host.seen.control) == {
                guest.message(number, HOST, task=""): body for number, body in bodies.items()
            }

    run_fast(scenario)


def test_a_control_message_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            await guest.office.send(guest.message(1, HOST, task=""), bytes(office_module.MAX_CONTROL_BODY + 1))
            (link,), (hosts_link,) = guest.office.links.values(), host.office.links.values()
            await until(lambda: not link.waiting)
            assert (host.seen.control, hosts_link.rejected) == ([], {"too_large": 1})

    run_fast(scenario)


def test_a_full_outbox_holds_the_sender_until_the_peer_has_taken_something(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = quiet()
        guest = await open_site(tmp_path, GUEST, wire, HOST, outbox=10_000)
        for number in range(3):
            await guest.office.send(guest.message(number, HOST), body_of(number, 5000))
        blocked = asyncio.create_task(guest.office.send(guest.message(3, HOST), b"waits"))
        await asyncio.sleep(5)
        assert not blocked.done()
        host = await open_site(tmp_path, HOST, wire, GUEST)
        await blocked
        assert await host.office.receive(guest.message(3, HOST)) == b"waits"
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_a_sender_held_by_a_full_outbox_goes_on_when_the_peer_is_dropped(tmp_path: Path) -> None:
    async def scenario() -> None:
        guest = await open_site(tmp_path, GUEST, quiet(), HOST, outbox=100)
        await guest.office.send(guest.message(0, HOST), bytes(200))
        blocked = asyncio.create_task(guest.office.send(guest.message(1, HOST), b"waits"))
        await asyncio.sleep(1)
        assert not blocked.done()
        guest.office.drop_peer(HOST)
        await blocked
        await guest.stop()

    run_fast(scenario)


@pytest.mark.parametrize("size", [40_000, 300_000])
def test_a_full_inbox_closes_the_window_and_consuming_opens_it(tmp_path: Path, size: int) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet(), inbox=size * 2) as (guest, host):
            (link,) = guest.office.links.values()
            messages = [guest.message(number, HOST) for number in range(12)]
            for number, message in enumerate(messages):
                await guest.office.send(message, body_of(number, size))
            await until(lambda: link.session.stats.delivery.credit == 0)
            await asyncio.sleep(30)
            stored = await host.store.read(lambda store: store.inbox_bytes(GUEST))
            assert 2 * size <= stored < 12 * size
            for number, message in enumerate(messages):
                assert await host.office.receive(message) == body_of(number, size)
                await host.store.write(lambda store, m=message: store.consume([m]))  # type: ignore[misc]
                await host.office.consumed(GUEST)
            await until(lambda: not link.waiting)

    run_fast(scenario)


def test_a_full_inbox_stays_closed_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = quiet()
        guest = await open_site(tmp_path, GUEST, wire, HOST)
        host = await open_site(tmp_path, HOST, wire, GUEST, inbox=1000)
        await guest.office.send(guest.message(0, HOST), bytes(2000))
        await host.office.receive(guest.message(0, HOST))
        await host.stop()
        host = await open_site(tmp_path, HOST, wire, GUEST, inbox=1000)
        (link,) = guest.office.links.values()
        await until(lambda: link.session.stats.delivery.credit == 0)
        await host.store.write(lambda store: store.consume([guest.message(0, HOST)]))
        await host.office.consumed(GUEST)
        await until(lambda: link.session.stats.delivery.credit > 0)
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_a_dropped_peer_gets_nothing_more_and_nothing_of_it_is_taken(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = quiet()
        async with two_sites(tmp_path, wire) as (guest, host):
            await exchange(guest, host, [100])
            guest.office.drop_peer(HOST)
            await asyncio.sleep(1)
            wire.carried.clear()
            await guest.office.send(guest.message(5, HOST), b"secret")
            await host.office.send(host.message(6, GUEST), b"unwanted")
            await asyncio.sleep(60)
            assert (GUEST, HOST) not in wire.carried
            assert (HOST, GUEST) in wire.carried
            assert await guest.store.read(lambda store: store.inbox_bytes(HOST)) == 0
            await guest.know(HOST)
            assert await host.office.receive(guest.message(5, HOST)) == b"secret"

    run_fast(scenario)


def test_frames_of_strangers_and_frames_after_the_end_do_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        wire = quiet()
        site = await open_site(tmp_path, GUEST, wire, HOST)
        site.office.frame_arrived(Address.parse("4711/host"), bytes(100))
        await site.stop()
        before = {peer: dict(link.rejected) for peer, link in site.office.links.items()}
        site.office.frame_arrived(HOST, bytes(100))
        assert {peer: link.rejected for peer, link in site.office.links.items()} == before
        assert list(site.office.links) == [HOST]

    run_fast(scenario)


def test_reasons_of_refused_frames_are_constants_whatever_a_peer_sends(tmp_path: Path) -> None:
    async def scenario() -> None:
        site = await open_site(tmp_path, GUEST, quiet(), HOST)
        chance = random.Random(5)
        for _ in range(2000):
            site.office.frame_arrived(HOST, chance.randbytes(chance.randrange(0, 200)))
        (link,) = site.office.links.values()
        assert sum(link.rejected.values()) == 2000
        assert len(link.rejected) < 12
        await site.stop()

    run_fast(scenario)


def failing(store: Store, monkeypatch: pytest.MonkeyPatch, times: int, *names: str) -> list[str]:
    """Make the next ``times`` writes that call one of ``names`` fail as on a full disk; return what was called."""
    calls: list[str] = []
    write = store.write

    async def fail(work: Callable[[Any], Any], *, is_vital: bool = False) -> Any:
        told = [name for name in work.__code__.co_names if name in names]
        if told and len(calls) < times:
            calls.extend(told)
            raise StoreFull("no space left")
        return await write(work, is_vital=is_vital)

    monkeypatch.setattr(store, "write", fail)
    return calls


@pytest.mark.parametrize("name", ["acknowledge", "see_epoch", "see_store", "accept"])
@pytest.mark.parametrize("size", [100, 600_000])
def test_a_disk_that_is_full_for_a_while_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    async def scenario() -> None:
        wire = quiet()
        guest, host = await open_site(tmp_path, GUEST, wire), await open_site(tmp_path, HOST, wire)
        calls = [failing(site.store, monkeypatch, 3, name) for site in (guest, host)]
        await guest.know(HOST)
        await host.know(GUEST)
        await asyncio.gather(exchange(guest, host, [size] * 3), exchange(host, guest, [size] * 3, 50))
        for site in (guest, host):
            (link,) = site.office.links.values()
            await until(lambda link=link: not link.waiting)  # type: ignore[misc]
            assert not site.running.done()
        assert any(calls)
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_an_epoch_is_on_disk_before_the_handshake_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        wire = quiet()
        host = await open_site(tmp_path, HOST, wire, GUEST)
        (link,) = host.office.links.values()
        failing(host.store, monkeypatch, 1_000_000, "see_epoch")
        guest = await open_site(tmp_path, GUEST, wire, HOST)
        await until(lambda: link.epoch > 0)
        await asyncio.sleep(1)
        wire.carried.clear()
        await asyncio.sleep(5)
        assert (HOST, GUEST) not in wire.carried
        assert not guest.office.links[HOST].session.established
        await guest.stop()
        await host.stop()

    run_fast(scenario)


def test_asking_for_a_consumed_message_is_an_error_and_not_a_wait_for_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            message = guest.message(1, HOST)
            waiting = asyncio.create_task(host.office.receive(message))
            await asyncio.sleep(0)
            read = host.store.read

            async def consumed_first(work: Callable[[Any], Any]) -> Any:
                await host.store.write(lambda store: store.consume([message]) if store.take(message) else None)
                return await read(work)

            host.store.read = consumed_first  # type: ignore[method-assign, assignment]
            await guest.office.send(message, b"x")
            with pytest.raises(LocalProtocolError, match="consumed"):
                await waiting
            host.store.read = read  # type: ignore[method-assign]

    run_fast(scenario)


def test_forgetting_a_job_ends_what_waits_for_its_messages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            waits = asyncio.create_task(host.office.receive(guest.message(1, HOST)))
            other = asyncio.create_task(host.office.receive(guest.message(1, HOST, job="job2")))
            await asyncio.sleep(1)
            host.office.forget("job1")
            await asyncio.wait([waits])
            assert waits.cancelled()
            assert not other.done()
            other.cancel()
            await asyncio.wait([other])

    run_fast(scenario)


def test_a_body_that_cannot_be_read_is_tried_again_later(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with two_sites(tmp_path, quiet()) as (guest, host):
            guest.office.transport_changed(False)
            body = body_of(1, 1 << 20)
            message: MessageId = guest.message(1, HOST)
            await guest.office.send(message, body)
            (row,) = await guest.store.read(lambda store: store.unacknowledged(HOST))
            assert isinstance(row.body, BlobRef)
            path = guest.store.blobs.path(row.body.digest)
            away = path.rename(path.with_suffix(".away"))
            guest.office.transport_changed(True)
            await asyncio.sleep(10)
            away.rename(path)
            assert await host.office.receive(message) == body

    run_fast(scenario)
