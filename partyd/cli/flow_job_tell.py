"""The commands of ``flow job`` that look at jobs and explain them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from partyd.cli import progress, reasons
from partyd.cli.flow_context import Flow, columns, example, knows_daemon, pages
from partyd.cli.flow_options import OUT, STATUS, about_job, at_party, perhaps_job
from partyd.client import Client, Job, Party, calls

LAST_LINES = 5


@click.command(epilog=example("flow job query 20260102030405678901234", "flow job query -j 2026... -r host -p 9999"))
@perhaps_job
@at_party
@STATUS
@knows_daemon
def query(flow: Flow, job_id: str, party: Party, status: str | None) -> None:
    """Show a job: its state, and every task at every party. Without a job: the newest ones."""
    if not job_id:
        _show_list(flow, 20, 1, "", party, status)
        return
    with flow.client() as client:
        found = client.job(job_id, party)
    if status in (None, found.status):
        flow.answer(found, _page(found))
    else:
        flow.answer(None, [f"job {job_id} is {found.status}, not {status}"])


@click.command("list", epilog=example("flow job list -l 5", "flow job list -s failed -p 10000 -r guest"))
@perhaps_job
@click.option("-l", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Which page of so many.")
@at_party
@STATUS
@knows_daemon
def list_jobs(flow: Flow, job_id: str, limit: int, page: int, party: Party, status: str | None) -> None:
    """List the newest jobs; with a part of an id, those that match."""
    _show_list(flow, limit, page, job_id, party, status)


def _show_list(flow: Flow, limit: int, page: int, job_id: str, party: Party, status: str | None) -> None:
    with flow.client() as client:
        found = client.do(calls.jobs(limit, party, page=page, job_id=job_id, status=status or ""))
    rows = [("job", "state", "begun", "took", "parties", "note")]
    rows += [(j.job_id, j.status, _time(j.create_time), _took(j), " ".join(j.parties), _note(j)) for j in found]
    flow.answer(found, columns(rows) if found else ["no jobs yet; begin with: flow test toy -gid ID -hid ID"])


@click.command(epilog=example("flow job why 20260102030405678901234"))
@about_job
@at_party
@knows_daemon
def why(flow: Flow, job_id: str, party: Party) -> None:
    """Say what a job waits for, or why it failed: party, task, cause, and what to do."""
    with flow.client() as client:
        found = client.job(job_id, party)
        told = client.why(job_id, party)
        log = _last_lines(client, found)
    document = {
        "job_id": job_id,
        "status": found.status,
        "party": told.party,
        "task": told.task,
        "code": told.code,
        "cause": told.cause,
        "stalled_by": found.stalled_by,
        "reason": found.reason,
        "to_do": told.mend,
        "log": log,
    }
    flow.answer(document, [*reasons.explain(found, told), *(f"  log    {line}" for line in log)])


@click.command(epilog=example("flow job contract 20260102030405678901234", "flow job contract -j 2026... --json"))
@about_job
@at_party
@knows_daemon
def contract(flow: Flow, job_id: str, party: Party) -> None:
    """Print in plain words what every party has signed: tables, parameters, limits, and what is disclosed to whom."""
    with flow.client() as client:
        found = client.do(calls.contract(job_id, party))
    words = found.get("plain_words")
    flow.answer(found, [str(line) for line in words] if isinstance(words, list) else pages(found))


@click.command(epilog=example("flow job dependency 20260102030405678901234 -r guest -p 10000"))
@about_job
@at_party
@knows_daemon
def dependency(flow: Flow, job_id: str, party: Party) -> None:
    """Show which task feeds which."""
    with flow.client() as client:
        found = client.do(calls.dependency(job_id, party))
    flow.answer(found, _dependencies(found))


@click.command("add-notes", epilog=example('flow job add-notes 2026... -r guest -p 10000 --notes "spring report"'))
@about_job
@click.option("--notes", required=True, metavar="TEXT", help="What to keep with the job.")
@at_party
@knows_daemon
def add_notes(flow: Flow, job_id: str, notes: str, party: Party) -> None:
    """Keep a note with a job."""
    with flow.client() as client:
        client.do(calls.add_notes(job_id, notes, party))
    flow.answer({"job_id": job_id, "notes": notes}, [f"noted with job {job_id}"])


@click.command("download-log", epilog=example("flow job download-log 20260102030405678901234 -o logs"))
@about_job
@OUT
@knows_daemon
def download_log(flow: Flow, job_id: str, folder: Path) -> None:
    """Put a job's logs at this party into a folder of their own below -o."""
    target = folder / f"{job_id}_logs"
    with flow.client() as client:
        files = client.fetch(calls.job_logs(job_id), target, f"{job_id}.log")
    flow.answer(
        {"directory": str(target), "files": [str(file) for file in files]}, [f"{len(files)} files are in {target}"]
    )


def _dependencies(found: Mapping[str, object]) -> list[str]:
    fed_by = found.get("dependencies")
    if not isinstance(fed_by, Mapping):
        return [json.dumps(found, indent=1, sort_keys=True)]
    ordered = found.get("component_list")
    names = ordered if isinstance(ordered, list) else list(fed_by)
    return columns([("task", "fed by"), *((str(name), ", ".join(_sources(fed_by.get(name)))) for name in names)])


def _sources(told: object) -> list[str]:
    """Return the tasks that feed one, each told by its name or as an object with its name."""
    each = told if isinstance(told, list) else []
    return list(dict.fromkeys(str(s.get("component_name", "") if isinstance(s, Mapping) else s) for s in each))


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
    if found.notes:
        yield f"note: {found.notes}"
    rows = [("task", "component", *found.parties, "steps here")]
    for task in found.tasks:
        states = (found.status_of(task, party) for party in found.parties)
        steps = f"{task.done}/{task.total} {task.note}".strip() if task.total and task.status == "running" else ""
        rows.append((task.name, task.component, *states, steps))
    yield from columns(rows)
    if found.reason is not None or found.stalled_by or found.waiting is not None:
        yield from reasons.explain(found)[1:]


def _note(found: Job) -> str:
    if found.waiting is not None and not found.is_ended:
        return f"waits: {found.waiting.cause}"
    return found.notes


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000)) if milliseconds else "-"


def _took(found: Job) -> str:
    return progress.clock(found.elapsed_ms / 1000) if found.is_ended else "-"
