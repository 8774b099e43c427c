"""``flow task``: the tasks of jobs, at this party."""

from __future__ import annotations

import click

from partyd.cli.flow_context import Flow, columns, example, knows_daemon
from partyd.cli.flow_options import STATUS, at_party, perhaps_job, perhaps_task
from partyd.client import Party, Task, calls


@click.group(epilog=example("flow task query -j 20260102030405678901234 -tn psi_0"))
def task() -> None:
    """Look at the tasks of jobs."""


@task.command(epilog=example("flow task query 2026... -r guest -p 10000", "flow task query -j 2026... -s failed"))
@perhaps_job
@at_party
@perhaps_task
@STATUS
@click.option("-tid", "--task-id", default="", metavar="ID", help="The task's id: JOB_NAME.")
@click.option("-tv", "--task-version", default="", metavar="N", help="The attempt.")
@knows_daemon
def query(
    flow: Flow, job_id: str, party: Party, task: str, status: str | None, task_id: str, task_version: str
) -> None:
    """Show tasks: state, attempt, steps, and why one failed."""
    wanted = {"job_id": job_id, "task_name": task, "status": status or "", "task_id": task_id}
    with flow.client() as client:
        found = client.do(calls.tasks(party, **wanted, task_version=task_version))
    flow.answer(found, _page(found))


@task.command("list", epilog=example("flow task list -l 10", "flow task list 2026... -tn psi_0"))
@perhaps_job
@at_party
@perhaps_task
@click.option("-l", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many.")
@knows_daemon
def list_tasks(flow: Flow, job_id: str, party: Party, task: str, limit: int) -> None:
    """List the newest tasks."""
    with flow.client() as client:
        found = client.do(calls.task_list(limit, party, job_id=job_id, task_name=task))
    flow.answer(found, _page(found))


def _page(found: list[Task]) -> list[str]:
    rows = [("job", "task", "component", "state", "attempt", "steps", "cause")]
    rows += [
        (
            task.job_id,
            task.name,
            task.component,
            task.status,
            str(task.version),
            f"{task.done}/{task.total} {task.note}".strip() if task.total else "",
            task.cause,
        )
        for task in found
    ]
    return columns(rows) if found else ["no such task; flow job query JOB shows a job's tasks"]
