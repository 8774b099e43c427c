"""Failing disk operations (F9): a typed error, nothing half done, and work goes on; the campaign fails every one."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import apsw
import pytest

from partyd.errors import StoreCorrupt, StoreError, StoreFull
from partyd.store import Store, faults
from tests.campaigns import io_errors
from tests.store.disk import Op, watched
from tests.store.samples import THERE, begin, open_store, opened, outgoing, post

SHARE = 24


@pytest.fixture(scope="module")
def total(tmp_path_factory: pytest.TempPathFactory) -> int:
    return io_errors.live(tmp_path_factory.mktemp("plain") / "state", None)[0]


@pytest.mark.parametrize("kind", io_errors.KINDS)
@pytest.mark.parametrize("number", range(SHARE))
def test_one_failing_operation(total: int, number: int, kind: str, tmp_path: Path) -> None:
    told = io_errors.endure((total - 2) * number // (SHARE - 1), kind, tmp_path / "state")
    assert told >= 0


@pytest.mark.parametrize("kind", io_errors.KINDS)
def test_an_outage_of_several_operations(kind: str, tmp_path: Path) -> None:
    assert io_errors.endure(120, kind, tmp_path / "state", length=4) >= 1


class Outage:
    """All operations on the log fail while ``is_on``."""

    def __init__(self, error: type[apsw.Error]) -> None:
        self.is_on = False
        self._error = error

    def __call__(self, op: Op, _index: int) -> None:
        if self.is_on and op.path.endswith("-wal"):
            raise self._error("injected")


@pytest.mark.parametrize(("error", "told"), [(apsw.FullError, StoreFull), (apsw.IOError, StoreError)])
def test_the_writer_survives_a_long_outage(tmp_path: Path, error: type[apsw.Error], told: type[StoreError]) -> None:
    outage = Outage(error)
    with watched(outage) as (_, files, vfs), opened(tmp_path, files=files, vfs=vfs.name) as store:
        store.write_now(begin)
        outage.is_on = True
        for number in range(20):
            with pytest.raises(told):
                store.write_now(post(number))
            assert len(store.read_now(lambda r: r.jobs())) == 1
        outage.is_on = False
        store.write_now(lambda t: t.post(outgoing(1), b"", b"x"))
        assert [row.seq for row in store.read_now(lambda r: r.unacknowledged(THERE))] == [1]
        assert store.is_alive


def test_every_item_of_a_failed_group_is_told(tmp_path: Path) -> None:

    outage = Outage(apsw.FullError)

    async def run(store: Store) -> list[object]:
        return await asyncio.gather(*(store.write(post(number)) for number in range(9)), return_exceptions=True)

    with watched(outage) as (_, files, vfs), opened(tmp_path, files=files, vfs=vfs.name) as store:
        outage.is_on = True
        results = asyncio.run(run(store))
        outage.is_on = False
        assert store.read_now(lambda r: r.unacknowledged(THERE)) == []
    assert [type(result) for result in results] == [StoreFull] * 9


def test_a_full_disk_at_the_start_is_told(tmp_path: Path) -> None:
    outage = Outage(apsw.FullError)
    outage.is_on = True
    with watched(outage) as (_, files, vfs), pytest.raises(StoreFull, match="free some space"):
        open_store(tmp_path, files=files, vfs=vfs.name)
    with opened(tmp_path) as store:
        assert store.is_alive


def test_errors_are_told_apart() -> None:
    assert isinstance(faults.from_sqlite(apsw.IOError("x"), "testing", errno.ENOSPC), StoreFull)
    assert isinstance(faults.from_sqlite(apsw.CorruptError("x"), "testing"), StoreCorrupt)
    assert type(faults.from_sqlite(apsw.BusyError("x"), "testing")) is StoreError
    assert isinstance(faults.from_system(OSError(errno.EDQUOT, "x"), "testing"), StoreFull)
    assert type(faults.from_system(OSError(errno.EACCES, "x"), "testing")) is StoreError
    assert type(faults.translated(KeyError("x"), "testing")) is KeyError
    assert not faults.means_damage(apsw.IOError("x"))
    assert faults.means_damage(apsw.SQLError("malformed"))
