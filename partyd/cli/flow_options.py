"""The options that many ``flow`` commands share, under FATE's names, and what a shell completes for them."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from partyd.cli import flow_target
from partyd.client import ClientError, Job, Party
from partyd.client.calls import jobs

Command = Callable[..., object]
ROLES = ("guest", "host", "arbiter", "local")
STATES = ("success", "failed", "running", "waiting", "timeout", "canceled", "pass", "partial", "deleted")
COMPLETION_TIMEOUT_S = 0.5
COMPLETED_JOBS = 50

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
CONF = click.option("-c", "--conf-path", "conf", required=True, type=FILE, help="A JSON file.")
NAMESPACE = click.option("-ns", "--namespace", required=True, metavar="NS", help="The table's namespace.")
NAME = click.option("-n", "--name", required=True, metavar="NAME", help="The table's name.")
OUT = click.option(
    "-o", "--path", "--output-path", "folder", required=True, type=click.Path(path_type=Path), help="Where to put it."
)
STATUS = click.option("-s", "--status", type=click.Choice(STATES), metavar="STATE", help="Only those in this state.")
LOG_TYPE = click.option("--log-type", default="", metavar="TYPE", help="FATE's name: task_info, schedule_error ...")


def complete_job(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the ids of the newest jobs, as far as a daemon says so quickly."""
    return [
        CompletionItem(job.job_id, help=job.status) for job in _newest(context) if job.job_id.startswith(incomplete)
    ]


def complete_task(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of the tasks of the job on the command line, or of the newest one."""
    wanted = context.params.get("job_id") or context.params.get("job")
    found = [job for job in _newest(context) if wanted in (None, job.job_id)][:1]
    return [task.name for job in found for task in job.tasks if task.name.startswith(incomplete)]


def _newest(context: click.Context) -> list[Job]:
    given: dict[str, object] = {}
    for each in (context.find_root(), context):
        given |= {name: each.params[name] for name in ("url", "ip", "port") if each.params.get(name)}
    port = given.get("port")
    try:
        target = flow_target.load(os.environ)
        url = flow_target.url_of(
            str(given.get("url", "")), str(given.get("ip", "")), port if isinstance(port, int) else None, target.url
        )
        with target.at(url).client(COMPLETION_TIMEOUT_S) as client:
            return client.do(jobs(COMPLETED_JOBS))
    except ClientError:
        return []  # whoever presses Tab has asked for no error


def at_party(command: Command) -> Command:
    """Give a command ``--role`` and ``--party-id`` as one `Party`, for a daemon that serves several addresses."""

    @functools.wraps(command)
    def wrapper(*arguments: object, role: str | None, party_id: str | None, **others: object) -> object:
        return command(*arguments, party=Party(role or "", party_id or ""), **others)

    party_option = click.option("-p", "--party-id", metavar="ID", help="Which party of the daemon's.")
    role_option = click.option("-r", "--role", type=click.Choice(ROLES), metavar="ROLE", help="Which role.")
    wrapped: Command = role_option(party_option(wrapper))
    return wrapped


def about_job(command: Command) -> Command:
    """Give a command a job: ``JOB``, or ``-j JOB`` as FATE writes it."""
    return _about_job(command, is_required=True)


def perhaps_job(command: Command) -> Command:
    """Give a command ``job_id``, empty when the command line names none."""
    return _about_job(command, is_required=False)


def _about_job(command: Command, *, is_required: bool) -> Command:
    @functools.wraps(command)
    def wrapper(*arguments: object, job: str | None, job_id: str | None, **others: object) -> object:
        named = {each for each in (job, job_id) if each}
        if len(named) > 1:
            raise click.UsageError(f"one job at a time: {' or '.join(sorted(named))}?")
        if is_required and not named:
            raise click.UsageError("say which job: JOB or -j JOB; flow job list shows them")
        return command(*arguments, job_id=next(iter(named), ""), **others)

    option = click.option("-j", "--job-id", metavar="JOB", shell_complete=complete_job, help="The job, as in FATE.")
    argument = click.argument("job", required=False, metavar="[JOB]", shell_complete=complete_job)
    wrapped: Command = argument(option(wrapper))
    return wrapped


def about_task(command: Command) -> Command:
    """Give a command a job and ``-tn``."""
    return about_job(_task_option(required=True)(command))


def perhaps_task(command: Command) -> Command:
    """Give a command ``task``, empty when the command line names none."""
    return _task_option(required=False)(command)


def _task_option(*, required: bool) -> Callable[[Command], Command]:
    return click.option(
        "-tn",
        "--task-name",
        "task",
        required=required,
        default=None if required else "",
        metavar="NAME",
        shell_complete=complete_task,
        help="The task in the DAG.",
    )


def read_object(path: Path) -> dict[str, object]:
    """Read a JSON object from a file; raises ClientError."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ClientError(f"is not JSON: {error}", where=str(path), how="mend the file") from error
    if not isinstance(document, dict):
        raise ClientError("holds no JSON object", where=str(path), how="write it as in FATE's documentation")
    return document
