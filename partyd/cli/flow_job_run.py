"""The commands of ``flow job`` that start, follow, repeat, allow and end jobs."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import click

from partyd.cli import progress, reasons
from partyd.cli.flow_context import Flow, columns, example, knows_daemon, plain
from partyd.cli.flow_options import FILE, about_job, at_party, complete_task, read_object
from partyd.client import Client, ClientError, Job, Party, calls

INTERRUPTED = 130


@click.command(
    epilog=example(
        "flow job submit -c conf/examples/breast_lr.yaml --watch",
        "flow job submit --dsl dsl.json --conf conf.json     (FATE 1.x's two files)",
    )
)
@click.option("-c", "--conf-path", "--conf", "file", required=True, type=FILE, help="The DAG, YAML or JSON.")
@click.option("-d", "--dsl-path", "--dsl", "dsl", type=FILE, help="FATE 1.x's DSL; -c is then its configuration.")
@click.option("--watch/--no-watch", default=False, help="Show the job until it ends; exit 1 when it fails.")
@click.option("--request-id", default="", metavar="ID", help="For scripts: the same id again is the same job.")
@knows_daemon
def submit(flow: Flow, file: Path, dsl: Path | None, watch: bool, request_id: str) -> int:
    """Start the job that a DAG file describes, in FATE 2's form, or FATE 1.x's."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ClientError("is not UTF-8", where=str(file), how="save it as UTF-8") from error
    document = text if dsl is None else json.dumps({"dsl": read_object(dsl), "conf": read_object(file)})
    with flow.client() as client:
        sent = client.do(calls.submit_noted(document, request_id or secrets.token_hex(16)))
        for note in sent.notes:
            click.echo(f"flow: {file}: {note}", err=True)
        if watch:
            flow.say(f"job {sent.job_id}")
            return _watched(flow, client, sent.job_id, Party())
    flow.answer({"job_id": sent.job_id}, [sent.job_id, f"follow it with: flow job watch {sent.job_id}"])
    return 0


@click.command(epilog=example("flow job watch 20260102030405678901234"))
@about_job
@at_party
@knows_daemon
def watch(flow: Flow, job_id: str, party: Party) -> int:
    """Show the progress of every task at every party until the job ends; exit 1 when it did not succeed."""
    with flow.client() as client:
        return _watched(flow, client, job_id, party)


@click.command(epilog=example("flow job stop 20260102030405678901234", "flow job stop -j 20260102030405678901234"))
@about_job
@knows_daemon
def stop(flow: Flow, job_id: str) -> None:
    """End a job at every party."""
    with flow.client() as client:
        client.stop(job_id)
    flow.answer({"job_id": job_id}, [f"job {job_id} is being stopped at every party"])


@click.command(epilog=example("flow job rerun 2026... --watch", "flow job rerun -j 2026... --task coordinated_lr_0"))
@about_job
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_task,
    help="Begin with this task and all that follows from it; may be repeated  [what failed].",
)
@click.option("--watch/--no-watch", default=False, help="Show the job until it ends; exit 1 when it fails.")
@knows_daemon
def rerun(flow: Flow, job_id: str, tasks: tuple[str, ...], watch: bool) -> int:
    """Run an ended job again, from what failed or from the named tasks on; what had succeeded is kept."""
    with flow.client() as client:
        client.do(calls.rerun(job_id, tasks))
        if watch:
            return _watched(flow, client, job_id, Party())
    flow.answer({"job_id": job_id}, [f"job {job_id} runs again; follow it with: flow job watch {job_id}"])
    return 0


@click.command(epilog=example("flow job clean 20260102030405678901234"))
@about_job
@knows_daemon
def clean(flow: Flow, job_id: str) -> None:
    """Erase what an ended job left: its tables, models and metrics."""
    with flow.client() as client:
        client.do(calls.clean(job_id))
    flow.answer({"job_id": job_id}, [f"what job {job_id} left is erased"])


@click.command("clean-queue", epilog=example("flow job clean-queue"))
@knows_daemon
def clean_queue(flow: Flow) -> None:
    """Cancel every job that has not begun."""
    with flow.client() as client:
        found = client.do(calls.clean_queue())
    flow.show(found, "no job was waiting")


@click.command(epilog=example("flow job contract 2026...     (what it would allow)", "flow job approve 2026..."))
@about_job
@at_party
@knows_daemon
def approve(flow: Flow, job_id: str, party: Party) -> None:
    """Say yes, as this party's owner, to a job that its policy parks."""
    with flow.client() as client:
        client.do(calls.approve(job_id, party))
    flow.answer({"job_id": job_id}, [f"job {job_id} is approved; follow it with: flow job watch {job_id}"])


@click.command(epilog=example('flow job reject 20260102030405678901234 --cause "not agreed with our data office"'))
@about_job
@click.option("--cause", default="the owner said no", show_default=True, help="What the other parties are told.")
@at_party
@knows_daemon
def reject(flow: Flow, job_id: str, cause: str, party: Party) -> None:
    """Say no, as this party's owner, to a job that its policy parks; it ends at every party."""
    with flow.client() as client:
        client.do(calls.reject(job_id, cause, party))
    flow.answer({"job_id": job_id}, [f"job {job_id} is rejected: {cause}"])


def _watched(flow: Flow, client: Client, job_id: str, party: Party) -> int:
    try:
        if flow.is_json:
            ended = progress.follow(client, job_id, lambda now: click.echo(json.dumps(plain(now))), party)
        else:
            ended = progress.watch(client, job_id, party)
    except KeyboardInterrupt:
        back = f"come back with: flow job watch {job_id}; end it with: flow job stop {job_id}"
        click.echo(f"flow: job {job_id} goes on; {back}", err=True)
        return INTERRUPTED
    if not ended.is_success and not flow.is_json:
        click.echo("\n".join(reasons.explain(ended, client.why(job_id, party))), err=True)
    elif not flow.is_json:
        for line in _results(client, ended, party):
            click.echo(line)
    return 0 if ended.is_success else 1


def _results(client: Client, ended: Job, party: Party) -> Iterator[str]:
    """Return the last value of each metric of each task at the party that was asked."""
    rows = []
    for task in ended.tasks:
        if task.status == "success":
            found = client.metrics(ended.job_id, task.name, party)
            rows += [(task.name, name, f"{metric.last:.6g}") for name, metric in found.items()]
    if rows:
        yield from columns([("task", "metric", "value"), *rows])
