"""The face of the store: opening, group commit, what callers get, closing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from partyd.errors import ConfigError, StoreError
from partyd.store import GroupCommit, Store, Transaction
from tests.store.samples import THERE, body_of, open_store, opened, outgoing

ROOT = Path(__file__).resolve().parents[2]


def test_boot_epoch_is_above_the_last_and_at_least_the_clock(tmp_path: Path) -> None:
    epochs, ids = [], []
    for clock in (1000.9, 1000.9, 5.0, 2000.0):
        with opened(tmp_path, clock=lambda now=clock: now) as store:
            epochs.append(store.boot_epoch)
            ids.append(store.store_id)
    assert epochs == [1000, 1001, 1002, 2000]
    assert len(set(ids)) == 1
    assert len(ids[0]) == 16


def test_boot_epoch_can_be_raised(tmp_path: Path) -> None:
    with opened(tmp_path, clock=lambda: 10.0) as store:
        assert asyncio.run(store.raise_boot_epoch(5)) == 10
        assert asyncio.run(store.raise_boot_epoch(500)) == 500
        assert store.boot_epoch == 500
    with opened(tmp_path, clock=lambda: 10.0) as store:
        assert store.boot_epoch == 501


def test_a_second_daemon_is_kept_out_and_told_the_pid(tmp_path: Path) -> None:
    with opened(tmp_path), pytest.raises(ConfigError, match=rf"pid {os.getpid()}\) uses the state directory"):
        open_store(tmp_path)
    with opened(tmp_path) as store:
        assert store.is_alive


def test_a_directory_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="opening"):
        open_store(tmp_path / "file" / "state")


def test_the_database_has_its_settings(tmp_path: Path) -> None:
    names = ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "cell_size_check", "secure_delete")
    with opened(tmp_path) as store:
        found = store.write_now(lambda t: [t._connection.pragma(name) for name in names])
        tables = store.read_now(
            lambda r: r._execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'")
        )
    assert found == ["wal", 2, 1, 0, 1, 1]
    assert {name for name, strict in tables if not strict} == {"sqlite_schema"}


def test_readers_cannot_write(tmp_path: Path) -> None:
    with opened(tmp_path) as store, pytest.raises(StoreError, match="readonly"):
        store.read_now(lambda r: r._execute("DELETE FROM jobs"))


def _hold(store: Store) -> tuple[threading.Event, Callable[[Transaction], None]]:
    release = threading.Event()

    def wait(_transaction: Transaction) -> None:
        assert release.wait(10)

    return release, wait


def _post(number: int) -> Callable[[Transaction], int]:
    return lambda transaction: transaction.post(outgoing(number), b"", b"x").seq


def test_items_that_wait_share_a_commit_and_fail_alone(tmp_path: Path) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.post(outgoing(99), b"", b"x")
        raise KeyError("mine")

    async def run(store: Store) -> list[object]:
        release, wait = _hold(store)
        waiting = [asyncio.ensure_future(store.write(work)) for work in (wait, _post(1), fail, _post(2))]
        await asyncio.sleep(0)
        release.set()
        return await asyncio.gather(*waiting, return_exceptions=True)

    with opened(tmp_path, group=GroupCommit(seconds=60.0)) as store:
        before = store.read_now(lambda r: r.counter("commits"))
        results = asyncio.run(run(store))
        assert store.read_now(lambda r: r.counter("commits")) - before <= 2
        assert [row.message for row in store.read_now(lambda r: r.unacknowledged(THERE))] == [outgoing(1), outgoing(2)]
    assert results[:2] == [None, 1]
    assert isinstance(results[2], KeyError)
    assert results[3] == 2


def test_a_group_is_bounded(tmp_path: Path) -> None:
    async def run(store: Store) -> None:
        release, wait = _hold(store)
        waiting = [asyncio.ensure_future(store.write(work)) for work in (wait, *map(_post, range(9)))]
        await asyncio.sleep(0)
        release.set()
        await asyncio.gather(*waiting)

    with opened(tmp_path, group=GroupCommit(items=5, seconds=60.0)) as store:
        before = store.read_now(lambda r: r.counter("commits"))
        asyncio.run(run(store))
        assert store.read_now(lambda r: r.counter("commits")) - before >= 2


def test_a_cancelled_caller_harms_no_other(tmp_path: Path) -> None:
    async def run(store: Store) -> int:
        release, wait = _hold(store)
        first = asyncio.ensure_future(store.write(wait))
        second = asyncio.ensure_future(store.write(_post(1)))
        await asyncio.sleep(0)
        first.cancel()
        release.set()
        return await second

    with opened(tmp_path) as store:
        assert asyncio.run(run(store)) == 1


def test_a_caller_whose_loop_is_gone_harms_no_other(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        release, wait = _hold(store)
        loop = asyncio.new_event_loop()
        task = loop.create_task(store.write(wait))
        loop.run_until_complete(asyncio.sleep(0))
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
        release.set()
        assert store.write_now(_post(1)) == 1


def test_a_read_sees_what_was_committed(tmp_path: Path) -> None:
    async def run(store: Store) -> int:
        await store.write(_post(1))
        return len(await store.read(lambda reader: reader.unacknowledged(THERE)))

    with opened(tmp_path) as store:
        assert asyncio.run(run(store)) == 1


def test_a_failing_read_is_told_and_the_next_works(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        with pytest.raises(ZeroDivisionError):
            store.read_now(lambda _: 1 // 0)
        assert store.read_now(lambda r: r.jobs()) == []


def test_probes(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert asyncio.run(store.ping()) >= 0
        assert store.last_commit_age >= 0
        assert store.size_bytes() > 0
        assert store.free_bytes() > 0
        assert store.is_alive
    assert not store.is_alive


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    asyncio.run(store.close())
    asyncio.run(store.close())
    with pytest.raises(StoreError, match="is closed"):
        asyncio.run(store.write(_post(1)))
    with pytest.raises(StoreError, match="is closed"):
        asyncio.run(store.read(lambda r: r.jobs()))


def test_closing_finishes_what_was_submitted(tmp_path: Path) -> None:
    async def run(store: Store) -> list[int]:
        waiting = [asyncio.ensure_future(store.write(_post(number))) for number in range(200)]
        await asyncio.sleep(0)
        await store.close()
        return await asyncio.gather(*waiting)

    assert asyncio.run(run(open_store(tmp_path))) == list(range(1, 201))
    with opened(tmp_path) as store:
        assert len(store.read_now(lambda r: r.unacknowledged(THERE))) == 200


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.store.samples import body_of, open_store, outgoing, QUICK_CHECKPOINTS

async def writer(store, first):
    number = first
    while True:
        await store.write(lambda t, n=number: t.post(outgoing(n), b"", body_of(n)))
        print(number, flush=True)
        number += 4

async def main():
    store = open_store(Path({state!r}), group=QUICK_CHECKPOINTS)
    await asyncio.gather(*(writer(store, first) for first in range(4)))

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 40, 150])
def test_kill_9_loses_nothing_acknowledged(tmp_path: Path, lines: int) -> None:
    code = CHILD.format(root=str(ROOT), state=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(lines)]
        child.kill()
        told += [int(line) for line in child.stdout if line.endswith("\n")]
    with opened(tmp_path) as store:
        kept = store.read_now(
            lambda r: {row.message: r.read_body(row.body) for row in r.unacknowledged(THERE, limit=10_000)}
        )
    assert {number: kept.get(outgoing(number)) for number in told} == {number: body_of(number) for number in told}
