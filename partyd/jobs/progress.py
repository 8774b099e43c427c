"""Tells the other parties how far a running task is: at most once a second, ever more seldom the longer it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from partyd.federation.office import PostOffice
from partyd.federation.rows import Posted
from partyd.jobs.control import TaskProgress
from partyd.jobs.diary import Progress
from partyd.jobs.ports import JobStore, Transaction
from partyd.jobs.record import JobRecord
from partyd.types import MessageId

INTERVAL_S = 1.0
PATIENCE = 1000
"""An interval is at least this part of the time that the task has run: a day makes thousands of messages, not 86400."""


@dataclass
class _Told:
    first_at: float
    last_at: float
    number: int = 0
    is_under_way: bool = False


@dataclass
class ProgressTeller:
    """Keeps when what was told; one for each address."""

    office: PostOffice
    store: JobStore
    clock: Callable[[], float] = time.monotonic
    _told: dict[tuple[str, str, int], _Told] = field(default_factory=dict)

    def is_due(self, record: JobRecord, task: str) -> bool:
        """Return whether the others should hear of a task's progress now; the caller then awaits `tell`."""
        now = self.clock()
        key = (record.job, task, record.tasks[task].version)
        told = self._told.setdefault(key, _Told(now, now))
        wait_s = max(INTERVAL_S, (now - told.first_at) / PATIENCE)
        if told.is_under_way or now - told.last_at < wait_s or not record.others:
            return False
        told.is_under_way, told.last_at, told.number = True, now, told.number + 1
        return True

    async def tell(self, record: JobRecord, task: str, progress: Progress) -> None:
        """Send the progress to every other party; raises StoreError."""
        version = record.tasks[task].version
        told = self._told[record.job, task, version]
        note = TaskProgress(
            run=record.run,
            task=task,
            version=version,
            done=_bounded(progress.done),
            total=_bounded(progress.total),
            note=progress.note,
        )
        body, scope = note.to_bytes(), f"progress/{record.run}/{task}/{version}/{told.number}"
        messages = [
            MessageId(record.job, "", 0, scope, TaskProgress.__name__, record.me, peer) for peer in record.others
        ]

        def post(store: Transaction) -> list[tuple[MessageId, Posted]]:
            return [(message, self.office.post(store, message, body)) for message in messages]

        try:
            for message, posted in await self.store.write(post):
                self.office.dispatch(message, posted, body)
        finally:
            told.is_under_way = False

    def forget(self, job: str) -> None:
        """Drop what is kept of a job that has ended."""
        for key in [key for key in self._told if key[0] == job]:
            del self._told[key]


def _bounded(count: int) -> int:
    return max(-(1 << 62), min(count, 1 << 62))
