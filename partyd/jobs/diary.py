"""A task's diary: log lines and metrics appended to files beside its outputs, and its live progress in memory.

A line that the disk does not take is lost: no task fails for its diary. Appending is enough: a metric is known by its
name and step, so a line that a repeated round writes again says the same. A job has a diary of its own, the schedule
log, of what happened to it as a whole. FATE's log types are views of these diaries: every level with those above it.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import structlog

from partyd.layout import Layout
from partyd.types import Address

log = structlog.get_logger()

MAX_LINE = 4000
MAX_FILE_BYTES = 64 << 20
"""Of one file of a diary: what a task says beyond that is dropped."""
LOG_FILE, METRICS_FILE = "log.jsonl", "metrics.jsonl"
SCHEDULE = "~schedule"
"""The folder of a job's own diary, where no task's can be: ``~`` does not stand in an encoded name."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
TASK_LOGS = {"task_debug": "DEBUG", "task_info": "INFO", "task_warning": "WARNING", "task_error": "ERROR"}
JOB_LOGS = {
    "schedule_info": "INFO",
    "schedule_error": "ERROR",
    "fate_flow_schedule": "INFO",
    "fate_flow_schedule_error": "ERROR",
}
LOG_TYPES = {**TASK_LOGS, **JOB_LOGS}


@dataclass
class Progress:
    """How far a task is: ``done`` of ``total`` steps, and a word on what it does."""

    done: int = 0
    total: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a log; ``number`` counts from 1 among the lines that were asked for."""

    number: int
    ts: float
    level: str
    message: str
    task: str = ""
    module: str = ""
    """What wrote the line, in FATE's manner: component and role."""

    @property
    def content(self) -> str:
        """The line as it stands in a log file."""
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.ts)) + f",{int(self.ts % 1 * 1000):03d}"
        names = "".join(f"[{name}]" for name in (self.task, self.module) if name)
        return f"[{self.level}][{moment}]{names}: {self.message}"


class Bell:
    """Tells those who follow a diary that something was written, from whichever thread that was."""

    def __init__(self) -> None:
        self._followers: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._followers)

    def ring(self) -> None:
        """Set every follower's event."""
        for event, loop in list(self._followers.items()):
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    @contextlib.contextmanager
    def follow(self, event: asyncio.Event) -> Iterator[None]:
        """Have ``event`` set at each line that is written meanwhile."""
        self._followers[event] = asyncio.get_running_loop()
        try:
            yield
        finally:
            del self._followers[event]


_BELLS: WeakValueDictionary[Path, Bell] = WeakValueDictionary()
"""By folder, for the writer of a diary and those who follow it share nothing but that; kept while anybody needs it."""


@dataclass
class Diary:
    """Writes and reads one task's log and metrics."""

    folder: Path
    progress: Progress = field(default_factory=Progress)
    bell: Bell = field(init=False)

    def __post_init__(self) -> None:
        self.bell = _BELLS.setdefault(self.folder, Bell())

    def log(self, level: str, line: str) -> None:
        """Append a log line."""
        self._append(LOG_FILE, {"ts": time.time(), "level": level, "message": line[:MAX_LINE]})

    def metric(self, name: str, step: int, value: float) -> None:
        """Append a metric's value at a step."""
        self._append(METRICS_FILE, {"ts": time.time(), "name": name[:128], "step": step, "value": value})

    def _append(self, file: str, entry: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / file).open("a") as stream:
                if stream.tell() < MAX_FILE_BYTES:
                    stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            log.warning("diary_not_written", folder=str(self.folder), error=error.strerror)
        self.bell.ring()

    def lines(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the log from line ``after``."""
        return list(islice(self._read(LOG_FILE), after, None))

    def counts(self) -> dict[str, int]:
        """Return how many lines each level has."""
        counts: dict[str, int] = {}
        for entry in self._read(LOG_FILE):
            level = str(entry.get("level", ""))
            counts[level] = counts.get(level, 0) + 1
        return counts

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Return each metric's values by step; of a step written twice, the newest."""
        return {name: [(step, value) for step, value, _ in points] for name, points in self.series().items()}

    def series(self) -> dict[str, list[tuple[int, float, float]]]:
        """Return each metric's step, value and time (0 where an older version wrote none)."""
        series: dict[str, dict[int, tuple[float, float]]] = {}
        for entry in self._read(METRICS_FILE):
            if {"name", "step", "value"} <= entry.keys():
                series.setdefault(entry["name"], {})[entry["step"]] = (entry["value"], entry.get("ts", 0.0))
        return {name: [(step, *steps[step]) for step in sorted(steps)] for name, steps in series.items()}

    def forget_metrics(self) -> bool:
        """Delete the metrics; return whether there were any."""
        path = self.folder / METRICS_FILE
        existed = path.exists()
        path.unlink(missing_ok=True)
        return existed

    def _read(self, file: str) -> Iterator[dict[str, Any]]:
        path = self.folder / file
        if not path.exists():
            return
        with path.open(errors="replace") as stream:
            for line in stream:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # a line cut off by a crash; what it said is said again
                if isinstance(entry, dict):
                    yield entry


def schedule_log(layout: Layout, job: str, me: Address) -> Diary:
    """Return the diary of a job as a whole at one address: what was decided, when, and why."""
    return Diary(layout.job_dir(job) / SCHEDULE / me.role.label)


def read_lines(
    diaries: Mapping[str, Diary], least: str = "DEBUG", modules: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Line]:
    """Yield the lines of some tasks' diaries in the order of time, from level ``least`` upwards."""
    wanted = frozenset(LEVELS[LEVELS.index(least) :])
    merged = heapq.merge(*(_entries(task, diary) for task, diary in diaries.items()), key=lambda entry: entry[0])
    chosen = (entry for entry in merged if entry[1] in wanted or (least == "DEBUG" and entry[1] not in LEVELS))
    for number, (ts, level, message, task) in enumerate(chosen, 1):
        yield Line(number, ts, level, message, task, modules.get(task, ""))


def count_lines(lines: Iterable[Line]) -> dict[str, int]:
    """Return how many of some lines each level has."""
    counts = dict.fromkeys(LEVELS, 0)
    for line in lines:
        counts[line.level] = counts.get(line.level, 0) + 1
    return counts


def _entries(task: str, diary: Diary) -> Iterator[tuple[float, str, str, str]]:
    latest = 0.0  # a clock that was set back must not put lines of one task out of order
    for entry in diary._read(LOG_FILE):
        ts = entry.get("ts", 0.0)
        latest = max(latest, float(ts) if isinstance(ts, int | float) else 0.0)
        yield latest, _level(str(entry.get("level", "INFO"))), str(entry.get("message", "")), task


def _level(word: str) -> str:
    """Return one of FATE's four levels for a level as a worker wrote it."""
    upper = word.upper()
    return {"CRITICAL": "ERROR", "FATAL": "ERROR", "WARN": "WARNING"}.get(upper, upper)
