"""``make demo``: two organisations train a model together on this machine, and the result is checked.

Run as ``python -m partyd.cli.demo --dir DIR [--once]``. Exit status 1, with the cause, when anything fails or when the
model is worse or better than scikit-learn's on the pooled table by more than 0.01 of AUC.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from partyd.cli import demo_report as report
from partyd.cli import demo_tables as tables
from partyd.cli import example_tables, flow, progress, reasons, sample_jobs
from partyd.cli.demo_federation import DemoError, Federation, federation
from partyd.cli.demo_tables import Cut, Users
from partyd.cli.example_tables import ExampleTable
from partyd.client import Client, CsvColumns, Job, Party
from partyd.errors import PartydError

GUEST, HOST, ARBITER = "10000", "9999", "9998"
NAMESPACE = "demo"
MAX_DIFFERENCE = 0.01
AT_GUEST = Party("guest", GUEST)
PAGE_ROWS = 100
JOB_TIMEOUT_S = 300.0


@click.command()
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=Path("demo"), show_default=True
)
@click.option("--port", type=click.IntRange(1, 65000), default=9380, show_default=True, help="The guest's API.")
@click.option("--once", is_flag=True, help="End the federation afterwards instead of leaving it running.")
def command(folder: Path, port: int, once: bool) -> int:
    """Start a federation, train between two organisations, and check the model against scikit-learn's."""
    begun = time.monotonic()
    report.insist_on_scikit_learn()
    report.title(f"Starting a federation: guest {GUEST}, hosts {HOST} and {GUEST}, arbiter {ARBITER}, a broker")
    with federation(folder.absolute(), port) as starting:
        report.line(f"its log: {starting.log}")
        users = tables.load_users()
        running = starting.ready()
        report.line(f"ready after {time.monotonic() - begun:.1f} s")
        difference = _train_and_compare(running, users, folder)
        _ask_the_small_questions(running)
        if difference > MAX_DIFFERENCE:
            raise DemoError(f"the AUC differs from scikit-learn's by {difference:.4f}, more than {MAX_DIFFERENCE}")
        url = running.urls[f"{GUEST}/guest"]
        report.title(f"Done in {time.monotonic() - begun:.1f} s. The guest's API: {url}/v2/site/info/query")
        examples = example_tables.write_tables(folder)
        if not once:
            _share_examples(running, examples)
            report.line(f"The federation keeps running: try  flow --url {url} job list   Ctrl-C ends it.")
            return _stay(running)
    return 0


def _stay(running: Federation) -> int:
    """Wait until the federation ends or its owner says Ctrl-C, which is a good end."""
    try:
        return running.wait()
    except KeyboardInterrupt:
        report.line("stopping")
        return 0


def _train_and_compare(running: Federation, users: Users, folder: Path) -> float:
    files = _share_out(running, users, folder)
    with running.client(f"{GUEST}/guest") as client:
        job = _train(client)
        train_ids, held_out_ids = (_ids(client, job, f"{part}_output_data") for part in ("train", "test"))
        found = int(client.metrics(job.job_id, "psi_0", AT_GUEST)["intersect_count"].last)
        report.title("Result")
        report.line(f"intersection: {found} users in common (the two files have {len(files.common)} in common)")
        if found != len(files.common):
            raise DemoError(f"psi found {found} of the {len(files.common)} common ids")
        report.losses(client.metrics(job.job_id, "coordinated_lr_0", AT_GUEST))
        ours = [
            report.score_of(client.metrics(job.job_id, task, AT_GUEST), rows)
            for task, rows in (("evaluation_0", "train_set"), ("evaluation_1", "validate_set"))
        ]
    return report.compare(ours, tables.pooled(users, train_ids, held_out_ids))


def _share_out(running: Federation, users: Users, folder: Path) -> Cut:
    report.title("Two organisations, each with its own table, uploaded to its own daemon only")
    files = tables.cut(users, folder)
    for role, party, file, label in (("guest", GUEST, files.guest, "y"), ("host", HOST, files.host, "")):
        with running.client(f"{party}/{role}") as client:
            columns = CsvColumns(label=label, sample_id="id")
            stored = client.upload(file, NAMESPACE, f"breast_{role}", columns, Party(role, party))
        label_note = ", label y" if label else ""
        report.line(f"{role} {party}: {file}, {stored.count} users, {len(stored.features)} features{label_note}")
    return files


def _share_examples(running: Federation, examples: Sequence[ExampleTable]) -> None:
    parties = {"guest": GUEST, "host": HOST}
    for table in examples:
        party = parties[table.role]
        with running.client(f"{party}/{table.role}") as client:
            columns = CsvColumns(label=table.label, sample_id="id")
            client.upload(table.file, NAMESPACE, table.name, columns, Party(table.role, party))
    report.line(f"The jobs of conf/examples can run: {len(examples)} more tables are uploaded for them.")


def _train(client: Client) -> Job:
    report.title("reader -> psi -> data_split -> feature_scale -> coordinated_lr -> evaluation")
    begun = time.monotonic()
    job_id = client.submit(sample_jobs.breast_lr(GUEST, HOST, ARBITER, namespace=NAMESPACE))
    job = progress.watch(client, job_id, AT_GUEST, until=begun + JOB_TIMEOUT_S)
    if not job.is_ended:
        client.stop(job_id)
        raise DemoError("; ".join([f"still under way after {JOB_TIMEOUT_S:g} s", *reasons.explain(job)]))
    if job.status != "success":
        raise DemoError(reasons.sentence(job))
    report.line(f"job {job_id} took {time.monotonic() - begun:.1f} s")
    return job


def _ids(client: Client, job: Job, port: str) -> list[str]:
    """Return the ids of the guest's own part of the split, page by page."""
    ids: list[str] = []
    while True:
        page = client.rows(job.job_id, "data_split_0", AT_GUEST, port=port, begin=len(ids), limit=PAGE_ROWS)
        ids += [str(row[0]) for row in page.rows]
        if len(ids) >= page.count or not page.rows:
            return ids


def _ask_the_small_questions(running: Federation) -> None:
    url = running.urls[f"{GUEST}/guest"]
    for words in (["toy", "-gid", GUEST, "-hid", GUEST], ["millionaires", "--demo", "-gid", GUEST, "-hid", HOST]):
        report.title(f"$ flow test {' '.join(words)}")
        if flow.run(["--url", url, "test", *words]) != 0:
            raise DemoError(f"flow test {words[0]} failed; its reason is in the line above")


def run(arguments: Sequence[str]) -> int:
    """Run the demo and return its exit status."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        result = command.main(args=list(arguments), prog_name="demo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("demo: stopped before its end", err=True)
        return 130
    except PartydError as error:
        click.echo(f"demo: {error}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
