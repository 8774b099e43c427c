"""What a watcher says of a job: a line for each change, and a sentence for its end."""

from __future__ import annotations

import time
from collections.abc import Callable

from partyd.client.errors import JobFailed
from partyd.client.replies import Job

PATIENCE_S = 60.0
"""How long a daemon may be away, for a restart, before a watcher gives up."""
PAUSE_S = 0.3
"""Between two questions to a daemon that is away, or that has nothing new."""


class PlainLines:
    """Says in a line of its own what has changed since it was last shown."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        self._echo = echo
        self._shown: dict[tuple[str, str], str] = {}

    def __call__(self, job: Job) -> None:
        """Show a job."""
        if not job.is_ended:
            self._say("", "", job.status, f"job {job.job_id} is {job.status}")
        for task in job.tasks:
            for party in job.parties:
                status = job.status_of(task, party)
                self._say(task.name, party, status, f"{task.name} at {party} is {status}")
        if job.is_ended:
            self._say("", "", job.status, f"job {job.job_id} is {job.status}")

    def _say(self, task: str, party: str, status: str, line: str) -> None:
        is_dull = bool(task) and status in ("", "pass", "canceled")
        if not is_dull and self._shown.get((task, party), "waiting" if task else "") != status:
            self._shown[task, party] = status
            self._echo(f"{time.strftime('%H:%M:%S')} {line}")


def failure(job: Job) -> JobFailed:
    """Return the error for a job that ended other than well."""
    reason = job.reason
    if reason is None:
        what, where = f"job {job.job_id} is {job.status}", job.me
    else:
        what = f"job {job.job_id} is {job.status}: {reason.cause or reason.code}"
        where = f"task {reason.task} at {reason.party}" if reason.task else f"party {reason.party}"
    return JobFailed(what, where=where, how=f"see what to do with: flow job why {job.job_id}")
