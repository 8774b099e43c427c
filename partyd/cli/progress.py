"""How a job and an upload look while they are under way: a live table and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from partyd.client import ANY_PARTY, MAX_WAIT_S, Client, Job, Party, Task
from partyd.client.job import LIVE_WAIT_S, JobHandle
from partyd.client.watch import PlainLines

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

Show = Callable[[Job], None]
MAX_NOTE = 60
_STYLES = {
    "success": "green", "running": "bold cyan", "failed": "bold red", "timeout": "bold red", "waiting": "dim",
    "pass": "dim", "canceled": "yellow",
}  # fmt: skip


def is_terminal() -> bool:
    """Return whether a person sees standard output as it comes."""
    return sys.stdout.isatty()


def follow(
    client: Client, job_id: str, show: Show, party: Party = ANY_PARTY, *, wait_s: int = MAX_WAIT_S, timeout_s: float = 0
) -> Job:
    """Show a job each time it changes until it ends, or until ``timeout_s`` has passed; return it as it is then."""
    handle = JobHandle(client, job_id, party)
    changes = handle.changes(wait_s=wait_s, timeout_s=timeout_s)
    job = next(changes)
    show(job)
    for job in changes:
        show(job)
    return job


def watch(client: Client, job_id: str, party: Party = ANY_PARTY, *, until: float = 0.0) -> Job:
    """Show a job until it ends (or until the monotonic time ``until``), as suits standard output, and return it."""
    timeout_s = max(0.001, until - time.monotonic()) if until else 0.0
    if not is_terminal():
        return follow(client, job_id, PlainLines(click.echo), party, timeout_s=timeout_s)
    from rich.live import Live

    view = LiveJob()
    with Live(view, refresh_per_second=4) as live:

        def show(job: Job) -> None:
            view.job = job
            live.refresh()

        return follow(client, job_id, show, party, wait_s=LIVE_WAIT_S, timeout_s=timeout_s)


@dataclass
class LiveJob:
    """The newest state of a job as it stands on a terminal; each drawing counts the seconds anew."""

    job: Job | None = None

    def __rich__(self) -> RenderableType:
        return "" if self.job is None else table(self.job)


@dataclass(frozen=True)
class Line:
    """One line of the live table: a task at the parties where it stands the same."""

    task: str
    parties: tuple[str, ...]
    status: str
    share: float
    elapsed_s: float | None
    note: str


def lines_of(job: Job, now_s: float) -> list[Line]:
    """Return every task at every party that has a part in it; parties where it stands the same share a line."""
    return [line for task in job.tasks for line in _lines(job, task, now_s)]


def _lines(job: Job, task: Task, now_s: float) -> Iterator[Line]:
    by_status: dict[str, list[str]] = {}
    for party in job.parties:
        by_status.setdefault(job.status_of(task, party) or "?", []).append(party)
    if len(by_status) > 1:
        by_status.pop("pass", None)
    for status, parties in by_status.items():
        if job.me in parties and status == "running":
            parties.remove(job.me)
            yield Line(task.name, (job.me,), status, task.share, _elapsed(task, now_s), _note(task))
        if parties:
            is_mine = job.me in parties
            share = 1.0 if status in ("success", "pass") else 0.0
            seconds = _elapsed(task, now_s) if is_mine else None
            yield Line(task.name, tuple(parties), status, share, seconds, _note(task) if is_mine else "")


def _elapsed(task: Task, now_s: float) -> float | None:
    if not task.begun_ms:
        return None
    return max(0.0, (task.ended_ms or now_s * 1000) - task.begun_ms) / 1000


def _note(task: Task) -> str:
    steps = f"{task.done}/{task.total} {task.note}".strip() if task.total and task.status == "running" else ""
    attempt = f"attempt {task.version + 1}" if task.version else ""
    said = [part for part in (task.cause or steps, attempt) if part]
    return ", ".join(said)[:MAX_NOTE]


def table(job: Job, now_s: float | None = None) -> Table:
    """Return a job as a table: every task at every party with state, bar, seconds and note."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    waits = f": {job.waiting.cause}" if job.waiting is not None and not job.is_ended else ""
    shown = Table(title=f"job {job.job_id} is {job.status}{waits}", title_justify="left", title_style="bold")
    for title in ("task", "party", "state"):
        shown.add_column(title)
    shown.add_column("progress", min_width=16)
    shown.add_column("elapsed", justify="right")
    shown.add_column("note")
    before = ""
    for line in lines_of(job, time.time() if now_s is None else now_s):
        where = " ".join(f"{party}?" if party in job.stalled_by else party for party in line.parties)
        is_begun = line.status == "running" and line.share > 0
        bar = ProgressBar(100, int(100 * line.share), width=16) if is_begun else Text("")
        seconds = "" if line.elapsed_s is None else clock(line.elapsed_s)
        name = "" if line.task == before else line.task
        shown.add_row(name, where, Text(line.status, style=_STYLES.get(line.status, "")), bar, seconds, Text(line.note))
        before = line.task
    return shown


def clock(seconds: float) -> str:
    """Return a duration as people read it: 4.2 s, 3:07, 1:02:45."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    hours = f"{whole // 3600}:{whole // 60 % 60:02d}" if whole >= 3600 else str(whole // 60)
    return f"{hours}:{whole % 60:02d}"


@contextmanager
def bytes_sent(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Give a function that hears how many bytes went; on a terminal a bar shows them."""
    if not is_terminal():
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    bar = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with bar:
        task = bar.add_task(title, total=total if total >= 0 else None)
        yield lambda count: bar.advance(task, count)


@contextmanager
def rows_read(title: str, *, is_shown: bool) -> Iterator[Show]:
    """Give a function that hears how an upload stands; on a terminal a bar shows share and rows."""
    if not is_shown or not is_terminal():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    rows = TextColumn("{task.fields[rows]:,} rows")
    bar = Progress(TextColumn("{task.description}"), BarColumn(), rows, TimeElapsedColumn())
    with bar:
        task = bar.add_task(title, total=100, rows=0)
        yield lambda job: bar.update(task, completed=100 if job.is_success else job.progress, rows=job.rows)
