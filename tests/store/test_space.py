"""Low space is seen before it is none, and the reserve lets terminal states through."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest

from partyd.errors import StoreFull
from partyd.store import SpaceLimits, Usage
from partyd.store.space import MIB, Space, disk_usage
from tests.store.disk import Op, watched
from tests.store.samples import begin, open_store

LIMITS = SpaceLimits(low_share=0.05, low_bytes=512 * MIB, reserve_bytes=MIB)


@pytest.mark.parametrize(
    ("total", "free", "is_low"),
    [
        (1000 * MIB, 511 * MIB, True),
        (1000 * MIB, 512 * MIB, False),
        (20_480 * MIB, 1023 * MIB, True),
        (20_480 * MIB, 1024 * MIB, False),
    ],
)
def test_the_watermark_is_the_larger_of_share_and_bytes(tmp_path: Path, total: int, free: int, is_low: bool) -> None:
    space = Space(tmp_path / "reserve", LIMITS, lambda _: Usage(total, free))
    assert space.is_low() == is_low
    assert space.free_bytes() == free


def test_the_reserve_is_made_given_up_and_made_again(tmp_path: Path) -> None:
    free = [0]
    space = Space(tmp_path / "reserve", LIMITS, lambda _: Usage(1024 * MIB, free[0]))
    assert not space.renew()
    assert not space.release()
    free[0] = 600 * MIB
    assert space.renew()
    assert space.renew()
    assert (tmp_path / "reserve").stat().st_size == MIB
    assert space.release()
    assert not (tmp_path / "reserve").exists()


def test_a_reserve_that_cannot_be_made_is_no_failure(tmp_path: Path) -> None:
    space = Space(tmp_path / "none" / "reserve", LIMITS, lambda _: Usage(1024 * MIB, 1024 * MIB))
    assert not space.renew()


def test_the_disk_is_asked(tmp_path: Path) -> None:
    usage = disk_usage(tmp_path)
    assert 0 < usage.free <= usage.total


class FullUntilReleased:
    """The log cannot grow while the reserve file is there and ``is_on``."""

    def __init__(self, reserve: Path) -> None:
        self.is_on = threading.Event()
        self._reserve = reserve

    def __call__(self, op: Op, _index: int) -> None:
        if self.is_on.is_set() and op.path.endswith("-wal") and self._reserve.exists():
            raise apsw.FullError("injected")


def test_a_vital_write_gives_up_the_reserve(tmp_path: Path) -> None:
    full = FullUntilReleased(tmp_path / "reserve")
    limits = SpaceLimits(low_share=0, low_bytes=0, reserve_bytes=MIB)
    with watched(full) as (_, files, vfs):
        store = open_store(tmp_path, files=files, vfs=vfs.name, limits=limits)
        store.write_now(begin)
        full.is_on.set()
        with pytest.raises(StoreFull):
            asyncio.run(store.write(lambda t: t.save_job("job-1", "failed", b"")))
        asyncio.run(store.write(lambda t: t.save_job("job-1", "failed", b""), is_vital=True))
        assert not (tmp_path / "reserve").exists()
        assert not store.release_reserve()
        assert store.read_now(lambda r: [job.status for job in r.jobs()]) == ["failed"]
        full.is_on.clear()
        assert store.renew_reserve()
        assert not store.is_low()
        store.close_now()
