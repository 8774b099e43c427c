"""How a job and an upload look while they are under way: a live table and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from partyd.client import ANY_PARTY, MAX_WAIT_S, Client, Job, Party, Task, Unreachable

if TYPE_CHECKING:
    from rich.table import Table

Show = Callable[[Job], None]
LIVE_WAIT_S = 1
"""Steps within a task are no change of the job's state: a live view asks for them once a second."""
PATIENCE_S = 60.0
"""How long a daemon may be away, for a restart, before a watcher gives up."""
_STYLES = {"success": "green", "running": "bold cyan", "failed": "bold red", "waiting": "dim", "pass": "dim"}
_MARKS = {"success": "done", "pass": "-"}


def is_terminal() -> bool:
    """Return whether a person sees standard output as it comes."""
    return sys.stdout.isatty()


def follow(
    client: Client, job_id: str, show: Show, party: Party = ANY_PARTY, *, wait_s: int = MAX_WAIT_S, until: float = 0.0
) -> Job:
    """Show a job each time it changes until it ends, or until the monotonic time ``until``; return it as it is then.

    A daemon that is away for less than a minute (a restart) is waited for; raises Unreachable after that.
    """
    job = client.job(job_id, party)
    while True:
        show(job)
        left = until - time.monotonic() if until else float(wait_s)
        if job.is_ended or left <= 0:
            return job
        job = _next(client, job, party, max(1, min(wait_s, int(left + 0.999))))


def _next(client: Client, job: Job, party: Party, wait_s: int) -> Job:
    give_up_at = 0.0
    while True:
        try:
            return client.job(job.job_id, party, seen=job.seen, wait_s=wait_s)
        except Unreachable:
            now = time.monotonic()
            give_up_at = give_up_at or now + PATIENCE_S
            if now > give_up_at:
                raise
            time.sleep(0.5)


def watch(client: Client, job_id: str, party: Party = ANY_PARTY, *, until: float = 0.0) -> Job:
    """Show a job until it ends (or until the monotonic time ``until``), as suits standard output, and return it."""
    if not is_terminal():
        return follow(client, job_id, PlainLines(click.echo), party, until=until)
    from rich.live import Live

    with Live(refresh_per_second=8) as live:
        return follow(client, job_id, lambda job: live.update(table(job)), party, wait_s=LIVE_WAIT_S, until=until)


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
            self._say(task.name, job.me, task.status, f"{task.name} at {job.me} is {task.status}")
        for party, tasks in job.remote.items():
            for name, status in tasks.items():
                self._say(name, party, status, f"{name} at {party} is {status}")
        if job.is_ended:
            self._say("", "", job.status, f"job {job.job_id} is {job.status}")

    def _say(self, task: str, party: str, status: str, line: str) -> None:
        is_dull = bool(task) and status in ("pass", "canceled")
        if not is_dull and self._shown.get((task, party), "waiting" if task else "") != status:
            self._shown[task, party] = status
            self._echo(f"{time.strftime('%H:%M:%S')} {line}")


def table(job: Job) -> Table:
    """Return a job as a table: a row for each task, a column for each party."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=f"job {job.job_id} is {job.status}", title_justify="left", title_style="bold")
    shown.add_column("task")
    for party in job.parties:
        shown.add_column(f"{party}?" if party in job.stalled_by else party)
    shown.add_column("steps here", min_width=16)
    for task in job.tasks:
        cells = [Text(_MARKS.get(s, s), style=_STYLES.get(s, "")) for s in (status(job, task, p) for p in job.parties)]
        is_under_way = task.total > 0 and task.status == "running"
        shown.add_row(task.name, *cells, ProgressBar(task.total, task.done, width=16) if is_under_way else Text(""))
    return shown


def status(job: Job, task: Task, party: str) -> str:
    """Return the state of a task at a party, empty when that party has not said."""
    return task.status if party == job.me else job.remote.get(party, {}).get(task.name, "")


@contextmanager
def bytes_sent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that hears how many bytes went; on a terminal a bar shows them."""
    if not is_terminal():
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
