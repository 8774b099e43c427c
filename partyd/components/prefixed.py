"""Metrics of one training among several: a task that runs an algorithm more than once tells its curves apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from partyd.federation.party import Party, Reporter


@dataclass(frozen=True)
class Prefixed:
    """A reporter that puts a word before the name of every metric."""

    inner: Reporter
    prefix: str

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.inner.progress(done, total, note)

    def metric(self, name: str, step: int, value: float) -> None:
        self.inner.metric(f"{self.prefix}{name}", step, value)

    def info(self, line: str) -> None:
        self.inner.info(line)


@contextmanager
def metrics_named(party: Party, prefix: str) -> Iterator[None]:
    """Let what ``party`` reports inside be named with ``prefix``."""
    reporter = party.report
    party.report = Prefixed(reporter, prefix) if prefix else reporter
    try:
        yield
    finally:
        party.report = reporter
