"""``flow job``: its commands stand in `flow_job_run` (start and end jobs) and `flow_job_tell` (what they say)."""

from __future__ import annotations

import click

from partyd.cli import flow_job_run as run
from partyd.cli import flow_job_tell as tell
from partyd.cli.flow_context import example


@click.group(epilog=example("flow job submit -c job.yaml --watch"))
def job() -> None:
    """Submit, follow, stop, approve and explain jobs."""


for part in (
    *(run.submit, run.watch, run.stop, run.rerun, run.clean, run.clean_queue, run.approve, run.reject),
    *(tell.query, tell.list_jobs, tell.why, tell.contract, tell.dependency, tell.add_notes, tell.download_log),
):
    job.add_command(part)
