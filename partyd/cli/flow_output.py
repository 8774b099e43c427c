"""``flow output`` and ``flow log``: what a task gave at this party, and what it said."""

from __future__ import annotations

import json
import time

import click

from partyd.cli.flow_context import Flow, about_task, at_party, columns, example, knows_daemon
from partyd.client import LogLine, Party


@click.group(epilog=example("flow output query-metric -j 20260102030405678901234 -tn evaluation_0"))
def output() -> None:
    """Look at a task's metrics, model and table."""


@output.command(
    "query-metric", epilog=example("flow output query-metric -j 2026... -r guest -p 10000 -tn evaluation_0")
)
@about_task
@at_party
@knows_daemon
def query_metric(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show a task's metrics: the last value of each, and how many there are."""
    with flow.client() as client:
        found = client.metrics(job_id, task, party)
    rows = [("metric", "last", "values")]
    rows += [(metric.name, f"{metric.last:.6g}", str(len(metric.points))) for metric in found.values()]
    flow.answer(list(found.values()), columns(rows) if found else [f"{task} reported no metrics here"])


@output.command("query-model", epilog=example("flow output query-model -j 2026... -tn coordinated_lr_0"))
@about_task
@at_party
@knows_daemon
def query_model(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show this party's share of a model, and the task's other documents."""
    with flow.client() as client:
        found = client.documents(job_id, task, party)
    flow.answer(found, [json.dumps(found, indent=1, sort_keys=True)])


@output.command("display-data", epilog=example("flow output display-data -j 2026... -tn psi_0 --limit 5"))
@about_task
@click.option("--output-key", "key", default="", metavar="NAME", help="Which output  [the first table].")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many rows.")
@at_party
@knows_daemon
def display_data(flow: Flow, job_id: str, task: str, key: str, limit: int, party: Party) -> None:
    """Show the first rows of a task's output table, which lies at this party."""
    with flow.client() as client:
        found = client.rows(job_id, task, party, port=key, limit=limit)
    lines = columns([found.header, *([_cell(value) for value in row] for row in found.rows)])
    flow.answer(found, [*lines, f"{len(found.rows)} of {found.count} rows"])


@click.group(epilog=example("flow log query -j 20260102030405678901234 -tn psi_0"))
def log() -> None:
    """Read what a task said at this party."""


@log.command(epilog=example("flow log query -j 2026... -tn psi_0 -b 100"))
@about_task
@click.option("-b", "--begin", type=click.IntRange(0), default=0, help="Skip so many lines.")
@at_party
@knows_daemon
def query(flow: Flow, job_id: str, task: str, begin: int, party: Party) -> None:
    """Show a task's log lines."""
    with flow.client() as client:
        found = client.log(job_id, task, party, begin=begin)
    flow.answer(found, [log_line(line, task) for line in found])


def log_line(line: LogLine, source: str) -> str:
    """Return a log line as FATE writes it: time, where it comes from, level, text."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(line.ts))
    return f"{moment},{int(line.ts * 1000) % 1000:03d} - {source} - {line.level}: {line.message}"


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
