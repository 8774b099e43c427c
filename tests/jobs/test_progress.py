from __future__ import annotations

import asyncio
from pathlib import Path

from partyd.jobs.diary import Progress
from partyd.jobs.progress import ProgressTeller
from tests.jobs.desks import Desk, begin, on_desk


def test_progress_is_told_at_most_once_a_second_and_ever_more_seldom(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        record, now = await desk_.supervisor.record("job1"), 0.0
        teller = ProgressTeller(desk_.office, desk_.store, lambda: now)
        told = 0
        for _ in range(864_000):  # a day, ten times a second
            now += 0.1
            if teller.is_due(record, "toy_0"):
                told += 1
                next(iter(teller._told.values())).is_under_way = False
            if now > 100 and told < 90:
                raise AssertionError(f"{told} times in {now} s")
        assert 1000 < told < 10_000
        teller.forget("job1")
        assert teller._told == {}

    on_desk(tmp_path, work)


def test_what_is_told_is_sent_to_everybody_once_at_a_time(tmp_path: Path) -> None:
    async def work(desk_: Desk) -> None:
        await begin(desk_)
        record, now = await desk_.supervisor.record("job1"), 0.0
        teller = ProgressTeller(desk_.office, desk_.store, lambda: now)
        assert not teller.is_due(record, "toy_0")
        now = 1.5
        assert teller.is_due(record, "toy_0")
        now = 9.0
        assert not teller.is_due(record, "toy_0"), "the one before is not sent yet"
        await asyncio.gather(teller.tell(record, "toy_0", Progress(1 << 80, 2, "far")))
        assert teller.is_due(record, "toy_0")
        for peer in record.others:
            assert (await desk_.sent(peer)).count("TaskProgress") == 1

    on_desk(tmp_path, work)
