from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from partyd.jobs import diary as diary_module
from partyd.jobs.diary import Diary, count_lines, read_lines, schedule_log
from partyd.layout import Layout
from tests.nodes import BANK


def test_lines_and_metrics_are_read_back(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "a")
    assert (diary.lines(), diary.metrics(), diary.counts()) == ([], {}, {})
    diary.log("INFO", "one")
    diary.log("ERROR", "x" * 5000)
    diary.metric("loss", 1, 0.5)
    diary.metric("loss", 0, 0.7)
    diary.metric("loss", 1, 0.4)
    assert [line["message"] for line in diary.lines()] == ["one", "x" * 4000]
    assert len(diary.lines(after=1)) == 1
    assert diary.counts() == {"INFO": 1, "ERROR": 1}
    assert diary.metrics() == {"loss": [(0, 0.7), (1, 0.4)]}
    assert diary.series()["loss"][0][2] > 1e9
    assert diary.forget_metrics()
    assert not diary.forget_metrics()
    assert diary.metrics() == {}


def test_what_a_crash_left_half_written_is_passed_over(tmp_path: Path) -> None:
    diary = Diary(tmp_path)
    diary.log("INFO", "whole")
    with (tmp_path / "log.jsonl").open("ab") as stream:
        stream.write(b'{"ts": 1, "level": "IN\n[]\n\xff\xfe\n{"level": 5}\n')
    diary.log("INFO", "after")
    assert [line.message for line in read_lines({"t": diary})] == ["whole", "", "after"]


def test_levels_hold_those_above_and_times_go_forwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = Diary(tmp_path / "1"), Diary(tmp_path / "2")
    for moment, diary, level in ((1.0, one, "debug"), (2.0, two, "info"), (3.5, one, "warn"), (0.5, one, "critical")):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        diary.log(level, level)
    found = list(read_lines({"a": one, "b": two}))
    assert [(line.number, line.task, line.level) for line in found] == [
        (1, "a", "DEBUG"),
        (2, "b", "INFO"),
        (3, "a", "WARNING"),
        (4, "a", "ERROR"),
    ]
    assert count_lines(found) == {"DEBUG": 1, "INFO": 1, "WARNING": 1, "ERROR": 1}
    assert [line.message for line in read_lines({"a": one, "b": two}, "WARNING")] == ["warn", "critical"]
    assert found[2].content.endswith(",500][a]: warn")


def test_a_diary_that_grows_without_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diary_module, "MAX_FILE_BYTES", 100)
    diary = Diary(tmp_path)
    for _ in range(20):
        diary.log("INFO", "again")
    assert 0 < len(diary.lines()) < 5


def test_a_disk_that_takes_nothing_fails_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    diary = Diary(tmp_path / "file" / "below")
    diary.log("INFO", "lost")
    assert diary.lines() == []


def test_a_follower_hears_whoever_writes_from_any_thread(tmp_path: Path) -> None:
    async def scenario() -> None:
        reader, event = Diary(tmp_path), asyncio.Event()
        with reader.bell.follow(event):
            Diary(tmp_path).log("INFO", "here")
            await asyncio.wait_for(event.wait(), 5)
            event.clear()
            thread = threading.Thread(target=Diary(tmp_path).metric, args=("loss", 0, 1.0))
            thread.start()
            await asyncio.wait_for(event.wait(), 5)
            thread.join()
        assert reader.bell.followers == 0
        Diary(tmp_path).log("INFO", "nobody listens")

    asyncio.run(scenario())


def test_a_jobs_own_log_is_where_no_tasks_can_be(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    folder = schedule_log(layout, "j1", BANK).folder
    assert folder.is_relative_to(layout.job_dir("j1"))
    assert folder.parent != layout.task_dir("j1", "~schedule")
    assert folder.parent != layout.task_dir("j1", "_schedule")
