"""``flow job``: submit a DAG, follow it, stop it, and ask why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import click

from partyd.cli import progress, reasons
from partyd.cli.flow_context import Flow, about_job, at_party, columns, example, knows_daemon, plain
from partyd.client import Client, Job, Party

LAST_LINES = 5


@click.group(epilog=example("flow job submit -c job.yaml --watch"))
def job() -> None:
    """Submit, follow, stop and explain jobs."""


@job.command(epilog=example("flow job submit -c conf/examples/breast_lr.yaml --watch"))
@click.option(
    "-c",
    "--conf-path",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The DAG, YAML or JSON.",
)
@click.option("--watch/--no-watch", default=False, help="Show the job until it ends; exit 1 when it fails.")
@knows_daemon
def submit(flow: Flow, file: Path, watch: bool) -> int:
    """Start the job that a DAG file describes, in FATE 2's form."""
    with flow.client() as client:
        job_id = client.submit(file.read_text(encoding="utf-8"))
        if watch:
            flow.say(f"job {job_id}")
            return _watched(flow, client, job_id, Party())
    flow.answer({"job_id": job_id}, [job_id, f"follow it with: flow job watch -j {job_id}"])
    return 0


@job.command(epilog=example("flow job query -j 20260102030405678901234", "flow job query -j 2026... -r host -p 9999"))
@about_job
@at_party
@knows_daemon
def query(flow: Flow, job_id: str, party: Party) -> None:
    """Show a job: its state, and every task at every party."""
    with flow.client() as client:
        found = client.job(job_id, party)
    flow.answer(found, _page(found))


@job.command("list", epilog=example("flow job list -l 5"))
@click.option("-l", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@at_party
@knows_daemon
def list_jobs(flow: Flow, limit: int, party: Party) -> None:
    """List the newest jobs."""
    with flow.client() as client:
        found = client.jobs(limit, party)
    rows = [("job", "state", "begun", "took", "parties")]
    rows += [(j.job_id, j.status, _time(j.create_time), _took(j), " ".join(j.parties)) for j in found]
    flow.answer(found, columns(rows) if found else ["no jobs yet; begin with: flow test toy -gid ID -hid ID"])


@job.command(epilog=example("flow job stop -j 20260102030405678901234"))
@about_job
@knows_daemon
def stop(flow: Flow, job_id: str) -> None:
    """End a job at every party."""
    with flow.client() as client:
        client.stop(job_id)
    flow.answer({"job_id": job_id}, [f"job {job_id} is being stopped at every party"])


@job.command(epilog=example("flow job why -j 20260102030405678901234"))
@about_job
@at_party
@knows_daemon
def why(flow: Flow, job_id: str, party: Party) -> None:
    """Say what a job waits for, or why it failed: party, task, cause, and what to do."""
    with flow.client() as client:
        found = client.job(job_id, party)
        log = _last_lines(client, found)
    explanation = reasons.explain(found)
    flow.answer(
        {
            "job_id": job_id,
            "status": found.status,
            "stalled_by": found.stalled_by,
            "reason": found.reason,
            "to_do": reasons.mend(found, found.reason) if found.reason else "",
            "log": log,
        },
        [*explanation, *(f"  log    {line}" for line in log)],
    )


@job.command(epilog=example("flow job watch -j 20260102030405678901234"))
@about_job
@at_party
@knows_daemon
def watch(flow: Flow, job_id: str, party: Party) -> int:
    """Show the progress of every task at every party until the job ends; exit 1 when it did not succeed."""
    with flow.client() as client:
        return _watched(flow, client, job_id, party)


def _watched(flow: Flow, client: Client, job_id: str, party: Party) -> int:
    if flow.is_json:
        ended = progress.follow(client, job_id, lambda now: click.echo(json.dumps(plain(now))), party)
    else:
        ended = progress.watch(client, job_id, party)
        if ended.status != "success":
            click.echo("\n".join(reasons.explain(ended)), err=True)
    return 0 if ended.status == "success" else 1


def _last_lines(client: Client, found: Job) -> list[str]:
    """Return the end of the failed task's log, when it failed here."""
    reason = found.reason
    if reason is None or not reason.task or reason.party != found.me:
        return []
    lines = client.log(found.job_id, reason.task, Party(found.role, found.party_id))
    return [f"{line.level}: {line.message}" for line in lines[-LAST_LINES:]]


def _page(found: Job) -> Iterable[str]:
    yield f"job {found.job_id} is {found.status} ({found.progress} % of the tasks here), submitted by {found.initiator}"
    yield f"begun {_time(found.create_time)}, took {_took(found)}"
    rows = [("task", "component", *found.parties, "steps here")]
    for task in found.tasks:
        states = (progress.status(found, task, party) for party in found.parties)
        steps = f"{task.done}/{task.total} {task.note}".strip() if task.total and task.status == "running" else ""
        rows.append((task.name, task.component, *states, steps))
    yield from columns(rows)
    if found.reason is not None or found.stalled_by:
        yield from reasons.explain(found)[1:]


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _took(found: Job) -> str:
    return f"{found.elapsed_ms / 1000:.1f} s" if found.is_ended else "-"
