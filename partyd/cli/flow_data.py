"""``flow data`` and ``flow table``: give a party its tables, and look at them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from partyd.cli import progress
from partyd.cli.flow_context import Flow, at_party, columns, example, knows_daemon
from partyd.cli.upload_conf import UploadConf, delimiter_of, read_conf
from partyd.client import CsvColumns, Party, StoredTable

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NAMESPACE = click.option("-ns", "--namespace", required=True, help="The table's namespace.")
_NAME = click.option("-n", "--name", required=True, help="The table's name.")


@click.group(epilog=example("flow data upload --file guest.csv --namespace demo --name guest --label y"))
def data() -> None:
    """Upload tables to this party's own daemon."""


@data.command(
    epilog=example(
        "flow data upload --file guest.csv --namespace demo --name guest --label y",
        "flow --port 9381 data upload -c upload_host.json",
    )
)
@click.option("-c", "--conf-path", "conf", type=_FILE, help="FATE's upload configuration instead of the options.")
@click.option("--file", type=_FILE, help="A CSV file with a header line; .csv.gz too.")
@click.option("-ns", "--namespace", help="The table's namespace.")
@click.option("-n", "--name", help="The table's name; a table of that name is replaced.")
@click.option("--label", default="", metavar="COLUMN", help="The label  [y or label, where there is one].")
@click.option("--id", "sample_id", default="", metavar="COLUMN", help="The rows' id  [id, else the first column].")
@click.option("--match-id", default="", metavar="COLUMN", help="The id on which parties intersect  [the rows' id].")
@click.option("--weight", default="", metavar="COLUMN", help="The rows' weight.")
@click.option("--delimiter", default="", metavar="CHAR", help="What separates columns  [,].")
@click.option("--bad-rows", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True)
@at_party
@knows_daemon
def upload(
    flow: Flow,
    conf: Path | None,
    file: Path | None,
    namespace: str | None,
    name: str | None,
    label: str,
    sample_id: str,
    match_id: str,
    weight: str,
    delimiter: str,
    bad_rows: str,
    party: Party,
) -> None:
    """Upload a CSV file as a table; it stays with this party."""
    if conf is not None:
        wanted = read_conf(conf)
    elif file is None or not namespace or not name:
        raise click.UsageError("say what to upload and as what: --file FILE --namespace NS --name NAME, or -c CONF")
    else:
        character = delimiter_of(delimiter, "--delimiter")
        form = CsvColumns(label, sample_id, match_id, weight, character, "" if bad_rows == "refuse" else bad_rows)
        wanted = UploadConf(file, namespace, name, form)
    for remark in wanted.remarks:
        click.echo(f"flow: {conf}: {remark}", err=True)
    with flow.client() as client, progress.bytes_sent(wanted.file.name, wanted.file.stat().st_size) as sent:
        stored = client.upload(wanted.file, wanted.namespace, wanted.name, wanted.columns, party, sent)
    flow.answer(stored, [*(f"skipped {line}" for line in stored.skipped), *_page(stored)])


@click.group(epilog=example("flow table list"))
def table() -> None:
    """Look at and delete this party's tables."""


@table.command("list", epilog=example("flow table list", "flow --port 9381 table list"))
@at_party
@knows_daemon
def list_tables(flow: Flow, party: Party) -> None:
    """List the tables of this party."""
    with flow.client() as client:
        found = client.tables(party)
    rows = [("namespace", "name", "rows", "features", "label")]
    rows += [(t.namespace, t.name, str(t.count), str(len(t.features)), t.label) for t in found]
    flow.answer(found, columns(rows) if found else ["no tables yet; begin with: flow data upload --help"])


@table.command(epilog=example("flow table query -ns demo -n guest"))
@_NAMESPACE
@_NAME
@at_party
@knows_daemon
def query(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Show a table's columns and size."""
    with flow.client() as client:
        found = client.table(namespace, name, party)
    flow.answer(found, _page(found))


@table.command(epilog=example("flow table delete -ns demo -n guest"))
@_NAMESPACE
@_NAME
@at_party
@knows_daemon
def delete(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Delete a table; jobs that have read it keep what they read."""
    with flow.client() as client:
        client.delete_table(namespace, name, party)
    flow.answer({"namespace": namespace, "name": name}, [f"{namespace}/{name} is deleted"])


def _page(found: StoredTable) -> Iterable[str]:
    yield f"{found.namespace}/{found.name}: {found.count} rows, {len(found.features)} features"
    named = (("id", found.sample_id), ("match id", found.match_id), ("label", found.label), ("weight", found.weight))
    yield "  " + ", ".join(f"{what} {column}" for what, column in named if column)
    if found.features:
        yield "  features " + ", ".join(found.features)
