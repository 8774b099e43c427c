"""A task's diary: log lines and metrics appended to files beside its outputs, and its live progress in memory.

A line that the disk does not take is lost: no task fails for its diary. Appending is enough: a metric is known by its
name and step, so a line that a repeated round writes again says the same.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()

MAX_LINE = 4000


@dataclass
class Progress:
    """How far a task is: ``done`` of ``total`` steps, and a word on what it does."""

    done: int = 0
    total: int = 0
    note: str = ""


@dataclass
class Diary:
    """Writes and reads one task's log and metrics."""

    folder: Path
    progress: Progress = field(default_factory=Progress)

    def log(self, level: str, line: str) -> None:
        """Append a log line."""
        self._append("log.jsonl", {"ts": time.time(), "level": level, "message": line[:MAX_LINE]})

    def metric(self, name: str, step: int, value: float) -> None:
        """Append a metric's value at a step."""
        self._append("metrics.jsonl", {"name": name[:128], "step": step, "value": value})

    def _append(self, file: str, entry: dict[str, Any]) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / file).open("a") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            log.warning("diary_not_written", folder=str(self.folder), error=error.strerror)

    def lines(self, after: int = 0) -> list[dict[str, Any]]:
        """Return the log from line ``after``."""
        return self._read("log.jsonl")[after:]

    def metrics(self) -> dict[str, list[tuple[int, float]]]:
        """Return each metric's values by step; of a step written twice, the newest."""
        series: dict[str, dict[int, float]] = {}
        for entry in self._read("metrics.jsonl"):
            if {"name", "step", "value"} <= entry.keys():
                series.setdefault(entry["name"], {})[entry["step"]] = entry["value"]
        return {name: sorted(steps.items()) for name, steps in series.items()}

    def _read(self, file: str) -> list[dict[str, Any]]:
        path = self.folder / file
        if not path.exists():
            return []
        entries = []
        for line in path.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # a line cut off by a crash; what it said is said again
            if isinstance(entry, dict):
                entries.append(entry)
        return entries
