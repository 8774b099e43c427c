"""``flow output``: what a task gave at this party."""

from __future__ import annotations

import json
from pathlib import Path

import click

from partyd.cli.flow_context import Flow, cell, columns, example, knows_daemon
from partyd.cli.flow_options import OUT, about_task, at_party
from partyd.client import Metric, Party, calls
from partyd.client.call import Download
from partyd.client.fields import Fields


@click.group(epilog=example("flow output query-metric 20260102030405678901234 -tn evaluation_0"))
def output() -> None:
    """Look at a task's metrics, model and table."""


@output.command("query-metric-key", epilog=example("flow output query-metric-key 2026... -tn evaluation_0"))
@about_task
@at_party
@knows_daemon
def query_metric_key(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show the names of a task's metrics."""
    with flow.client() as client:
        found = client.do(calls.metric_keys(job_id, task, party))
    flow.show(found, f"{task} reported no metrics here")


@output.command("query-metric", epilog=example("flow output query-metric 2026... -r guest -p 10000 -tn evaluation_0"))
@about_task
@at_party
@knows_daemon
def query_metric(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show a task's metrics: the last value of each, and how many there are; --json has them all."""
    with flow.client() as client:
        found = client.do(calls.metrics_as_told(job_id, task, party))
    parts = [Fields.of(part, "the reply") for part in found] if isinstance(found, list) else []
    series = [Metric.read(part) for part in parts if Metric.is_series(part)]
    rows = [("metric", "last", "values"), *((m.name, f"{m.last:.6g}", str(len(m.points))) for m in series)]
    documents = [f"{p.text('name')}: a document, see --json" for p in parts if not Metric.is_series(p)]
    lines = [*(columns(rows) if series else ()), *documents]
    flow.answer(found, lines or [f"{task} reported no metrics here"])


@output.command("delete-metric", epilog=example("flow output delete-metric 2026... -tn evaluation_0"))
@about_task
@at_party
@knows_daemon
def delete_metric(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Erase a task's metrics here."""
    with flow.client() as client:
        client.do(calls.delete_metrics(job_id, task, party))
    flow.answer({"job_id": job_id, "task_name": task}, [f"the metrics of {task} are erased here"])


@output.command("query-model", epilog=example("flow output query-model 2026... -tn coordinated_lr_0"))
@about_task
@at_party
@knows_daemon
def query_model(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show this party's share of a model, and the task's other documents."""
    with flow.client() as client:
        found = client.documents(job_id, task, party)
    flow.answer(found, [json.dumps(found, indent=1, sort_keys=True)])


@output.command("download-model", epilog=example("flow output download-model 2026... -tn coordinated_lr_0 -o models"))
@about_task
@OUT
@at_party
@knows_daemon
def download_model(flow: Flow, job_id: str, task: str, folder: Path, party: Party) -> None:
    """Put this party's share of a model into a folder of its own below -o."""
    _fetch(flow, calls.model_file(job_id, task, party), folder, f"output_model_{_place(job_id, party, task)}")


@output.command("delete-model", epilog=example("flow output delete-model 2026... -tn coordinated_lr_0"))
@about_task
@at_party
@knows_daemon
def delete_model(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Erase this party's share of a task's model."""
    with flow.client() as client:
        client.do(calls.delete_model(job_id, task, party))
    flow.answer({"job_id": job_id, "task_name": task}, [f"the model of {task} is erased here"])


@output.command("download-data", epilog=example("flow output download-data 2026... -tn psi_0 -o tables"))
@about_task
@OUT
@click.option("--output-key", "key", default="", metavar="NAME", help="Which output  [all tables].")
@at_party
@knows_daemon
def download_data(flow: Flow, job_id: str, task: str, folder: Path, key: str, party: Party) -> None:
    """Put a task's tables at this party into a folder of their own below -o."""
    call = calls.data_file(job_id, task, party, port=key)
    _fetch(flow, call, folder, f"output_data_{_place(job_id, party, task)}")


@output.command("query-data-table", epilog=example("flow output query-data-table 2026... -tn psi_0"))
@about_task
@at_party
@knows_daemon
def query_data_table(flow: Flow, job_id: str, task: str, party: Party) -> None:
    """Show which tables a task gave, by namespace and name."""
    with flow.client() as client:
        found = client.do(calls.data_tables(job_id, task, party))
    flow.show(found, f"{task} gave no table here")


@output.command("display-data", epilog=example("flow output display-data 2026... -tn psi_0 --limit 5"))
@about_task
@click.option("--output-key", "key", default="", metavar="NAME", help="Which output  [the first table].")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many rows.")
@at_party
@knows_daemon
def display_data(flow: Flow, job_id: str, task: str, key: str, limit: int, party: Party) -> None:
    """Show the first rows of a task's output table, which lies at this party."""
    with flow.client() as client:
        found = client.rows(job_id, task, party, port=key, limit=limit)
    lines = columns([found.header, *([cell(value) for value in row] for row in found.rows)])
    flow.answer(found, [*lines, f"{len(found.rows)} of {found.count} rows"])


def _place(job_id: str, party: Party, task: str) -> str:
    return "_".join(part for part in (job_id, party.role, party.party_id, task) if part)


def _fetch(flow: Flow, call: Download, folder: Path, name: str) -> None:
    target = folder / name
    with flow.client() as client:
        files = client.fetch(call, target, name)
    shown = [str(file) for file in files]
    flow.answer({"directory": str(target), "files": shown}, shown or [f"there was nothing to put into {target}"])
