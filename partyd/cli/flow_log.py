"""``flow log``: what tasks and the scheduler said at this party."""

from __future__ import annotations

import time

import click

from partyd.cli.flow_context import Flow, example, knows_daemon
from partyd.cli.flow_options import LOG_TYPE, about_job, at_party, perhaps_task
from partyd.client import LogLine, Party, calls

_INSTANCE = click.option("--instance-id", default="", metavar="ID", help="As in FATE; there is one instance here.")


@click.group(epilog=example("flow log query 20260102030405678901234 -tn psi_0"))
def log() -> None:
    """Read what tasks and the scheduler said at this party."""


@log.command(
    epilog=example("flow log query 2026... -tn psi_0 -b 100", "flow log query -j 2026... --log-type task_error")
)
@about_job
@at_party
@perhaps_task
@LOG_TYPE
@click.option("-b", "--begin", type=click.IntRange(0), default=0, help="Skip so many lines.")
@click.option("-e", "--end", type=click.IntRange(0), default=0, help="Up to this line  [all].")
@_INSTANCE
@knows_daemon
def query(
    flow: Flow, job_id: str, party: Party, task: str, log_type: str, begin: int, end: int, instance_id: str
) -> None:
    """Show log lines of a task, or of the job as a whole."""
    del instance_id
    kind = log_type or ("" if task and not end else "task_info")
    first = begin + 1 if kind and begin else begin  # a log that has a type counts its lines from 1
    call = calls.log(job_id, task, party, begin=first, end=end, log_type=kind)
    with flow.client() as client:
        found = client.do(call)
    flow.answer(found, [log_line(line, line.task or task or "job") for line in found] or ["nothing was said"])


@log.command(epilog=example("flow log count 2026... -tn psi_0 --log-type task_warning"))
@about_job
@at_party
@perhaps_task
@LOG_TYPE
@_INSTANCE
@knows_daemon
def count(flow: Flow, job_id: str, party: Party, task: str, log_type: str, instance_id: str) -> None:
    """Show how many lines a log has."""
    del instance_id
    with flow.client() as client:
        found = client.do(calls.log_count(job_id, task, party, log_type=log_type))
    flow.answer({"count": found}, [str(found)])


@log.command(epilog=example("flow log follow 20260102030405678901234 -tn coordinated_lr_0"))
@about_job
@at_party
@perhaps_task
@LOG_TYPE
@knows_daemon
def follow(flow: Flow, job_id: str, party: Party, task: str, log_type: str) -> None:
    """Show log lines as they are written, until the job ends."""
    with flow.client() as client:
        for line in client.follow_log(job_id, task, party, log_type=log_type):
            flow.answer(line, [log_line(line, line.task or task or "job")])


def log_line(line: LogLine, source: str) -> str:
    """Return a log line as FATE writes it: time, where it comes from, level, text."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.ts))
    return f"{moment},{int(line.ts * 1000) % 1000:03d} - {source} - {line.level}: {line.message}"
