"""``flow data``: give a party its tables, and fetch them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from partyd.cli import progress
from partyd.cli.flow_context import Flow, example, knows_daemon
from partyd.cli.flow_options import CONF, FILE, NAME, NAMESPACE, OUT, at_party, read_object
from partyd.cli.table_page import page
from partyd.cli.upload_conf import UploadConf, delimiter_of, read_conf
from partyd.client import Client, CsvColumns, Party, StoredTable, calls_data
from partyd.client.watch import failure

FORMATS = ("csv", "parquet", "svmlight", "tag", "tag_value")
Command = Callable[..., object]


@click.group(epilog=example("flow data upload --file guest.csv --namespace demo --name guest --label y"))
def data() -> None:
    """Upload tables to this party's own daemon, and fetch them; nothing goes to another party."""


@dataclass(frozen=True)
class Wanted:
    """What the options of an upload say."""

    conf: Path | None
    file: Path | None
    source: str
    query: str
    table: str
    namespace: str
    name: str
    columns: CsvColumns


def _options(command: Command) -> Command:
    """Give a command a `Wanted` made of the options that say what to upload and how to read it."""

    @functools.wraps(command)
    def made(
        *arguments: object,
        conf: Path | None,
        file: Path | None,
        source: str,
        sql_query: str,
        sql_table: str,
        namespace: str,
        name: str,
        no_header: bool,
        names: str,
        delimiter: str,
        bad_rows: Literal["refuse", "skip"],
        duplicates: Literal["refuse", "skip"],
        extend_sid: bool,
        label: str,
        sample_id: str,
        match_id: str,
        weight: str,
        kind: str,
        encoding: str,
        party: Party,
    ) -> object:
        columns = CsvColumns(
            label=label,
            sample_id=sample_id,
            match_id=match_id,
            weight=weight,
            delimiter=delimiter_of(delimiter, "--delimiter"),
            on_bad_row="" if bad_rows == "refuse" else bad_rows,
            on_duplicate="" if duplicates == "refuse" else duplicates,
            format=kind,
            header=not (no_header or names),
            names=tuple(name.strip() for name in names.split(",")) if names else (),
            encoding=encoding,
            extend_sid=extend_sid,
        )
        return command(*arguments, Wanted(conf, file, source, sql_query, sql_table, namespace, name, columns), party)

    wrapped: Command = at_party(made)
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


_OPTIONS = (
    click.option("-c", "--conf-path", "conf", type=FILE, help="FATE's upload configuration instead of the options."),
    click.option("--file", type=FILE, help="The file; .gz too."),
    click.option("--sql", "source", default="", metavar="SOURCE", help="One of the site's databases instead."),
    click.option("--query", "sql_query", default="", metavar="SELECT", help="Which rows of the database."),
    click.option("--table", "sql_table", default="", metavar="TABLE", help="Which table of the database, all of it."),
    click.option("-ns", "--namespace", default="", metavar="NS", help="The table's namespace."),
    click.option("-n", "--name", default="", metavar="NAME", help="Its name; a table of that name is replaced."),
    click.option("--label", default="", metavar="COLUMN", help="The label  [y or label, where there is one]."),
    click.option("--id", "sample_id", default="", metavar="COLUMN", help="The rows' id  [id, else the first column]."),
    click.option("--match-id", default="", metavar="COLUMN", help="The id on which parties intersect  [the rows' id]."),
    click.option("--weight", default="", metavar="COLUMN", help="The rows' weight."),
    click.option("--format", "kind", default="", type=click.Choice(("", *FORMATS)), metavar="FORMAT",
                 help=f"{', '.join(FORMATS)}  [csv, or parquet by its first bytes]."),
    click.option("--no-header", is_flag=True, help="The first line is a row; columns are id, x0, x1 ..."),
    click.option("--header", "names", default="", metavar="A,B,...", help="The columns of a file without a header."),
    click.option("--delimiter", default="", metavar="CHAR", help="What separates columns; tab and space too  [,]."),
    click.option("--encoding", default="", metavar="NAME", help="utf-8, latin-1, gbk ...  [utf-8]."),
    click.option("--bad-rows", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True),
    click.option("--duplicates", type=click.Choice(["refuse", "skip"]), default="refuse", show_default=True,
                 help="Rows whose id came before."),
    click.option("--extend-sid", is_flag=True, help="Give rows ids of the daemon's making; the file's is matched on."),
)  # fmt: skip


@data.command(
    epilog=example(
        "flow data upload --file guest.csv --namespace demo --name guest --label y",
        "flow data upload --file guest.svm --format svmlight -ns demo -n guest",
        'flow data upload --sql warehouse --query "select id, age from users" -ns demo -n guest',
        "flow --port 9381 data upload -c upload_host.json",
    )
)
@knows_daemon
@_options
def upload(flow: Flow, wanted: Wanted, party: Party) -> None:
    """Upload a file, or rows of one of the site's databases, as a table; it stays with this party."""
    if wanted.conf is not None:
        _upload_conf(flow, wanted.conf, party)
    elif not wanted.namespace or not wanted.name or bool(wanted.file) == bool(wanted.source):
        raise click.UsageError(
            "say what to upload and as what: --file FILE (or --sql SOURCE --query SELECT) --namespace NS --name NAME, "
            "or -c CONF"
        )
    elif wanted.file is not None:
        with flow.client() as client, progress.bytes_sent(wanted.file.name, wanted.file.stat().st_size) as sent:
            stored = client.upload(wanted.file, wanted.namespace, wanted.name, wanted.columns, party, sent)
        _tell(flow, stored)
    else:
        _upload_rows(flow, wanted, party)


@data.command("upload-file", epilog=example("flow data upload-file -c upload_guest.json"))
@CONF
@at_party
@knows_daemon
def upload_file(flow: Flow, conf: Path, party: Party) -> None:
    """Upload a file by FATE's upload configuration; the same as flow data upload -c."""
    _upload_conf(flow, conf, party)


@data.command(epilog=example("flow data transformer -c transformer_guest.json"))
@CONF
@knows_daemon
def transformer(flow: Flow, conf: Path) -> None:
    """Give a table another name, as FATE's dataframe transformer does: namespace, name and data_warehouse."""
    document = read_object(conf)
    with flow.client() as client:
        job_id = client.do(calls_data.transform(document))
        _wait(flow, client, job_id)
        stored = client.table(str(document.get("namespace", "")), str(document.get("name", "")))
    _tell(flow, stored)


@data.command(epilog=example("flow data download -ns demo -n guest -o tables"))
@NAMESPACE
@NAME
@OUT
@at_party
@knows_daemon
def download(flow: Flow, namespace: str, name: str, folder: Path, party: Party) -> None:
    """Put a table as CSV, with a description of its columns, into -o on this machine."""
    with flow.client() as client:
        files = client.fetch(calls_data.table_file(namespace, name, party), folder, f"{name}.csv")
    shown = [str(file) for file in files]
    flow.answer({"directory": str(folder), "files": shown}, shown)


@data.command("download-component", epilog=example("flow data download-component -ns demo -n guest -o /data/guest.csv"))
@NAMESPACE
@NAME
@click.option("-o", "--path", required=True, metavar="PATH", help="Where, on the daemon's machine.")
@at_party
@knows_daemon
def download_component(flow: Flow, namespace: str, name: str, path: str, party: Party) -> None:
    """Write a table as CSV to a file on the daemon's own machine."""
    with flow.client() as client:
        job_id = client.do(calls_data.download_component(namespace, name, path, party))
        _wait(flow, client, job_id)
    flow.answer({"job_id": job_id, "path": path}, [f"{namespace}/{name} is written to {path} there"])


def _upload_conf(flow: Flow, path: Path, party: Party) -> None:
    conf = read_conf(path)
    for remark in conf.remarks:
        click.echo(f"flow: {path}: {remark}", err=True)
    fields = {**conf.fields, **party.query()}
    with flow.client() as client:
        job_id = (
            _send(client, conf, fields)
            if conf.is_here
            else client.do(calls_data.upload_there({**fields, "file": str(conf.file)}))
        )
        _wait(flow, client, job_id)
        stored = client.table(str(fields["namespace"]), str(fields["name"]), party)
    _tell(flow, stored)


def _send(client: Client, conf: UploadConf, fields: Mapping[str, object]) -> str:
    with progress.bytes_sent(conf.file.name, conf.file.stat().st_size) as sent:
        return client.transfer(calls_data.upload_form(fields), conf.file, sent, file_name=conf.file.name)


def _upload_rows(flow: Flow, wanted: Wanted, party: Party) -> None:
    fields = {"namespace": wanted.namespace, "name": wanted.name, "source": wanted.source, **party.query()}
    where = {"query": wanted.query, "table": wanted.table, "meta": _meta(wanted.columns)}
    with flow.client() as client:
        job_id = client.do(calls_data.upload_there({**fields, **where, "extend_sid": wanted.columns.extend_sid}))
        _wait(flow, client, job_id)
        stored = client.table(wanted.namespace, wanted.name, party)
    _tell(flow, stored)


def _meta(columns: CsvColumns) -> dict[str, str]:
    """Return the columns in FATE's words, as far as they say something."""
    named = {
        "label_name": columns.label,
        "sample_id_name": columns.sample_id,
        "match_id_name": columns.match_id,
        "weight_name": columns.weight,
        "on_bad_row": columns.on_bad_row,
        "on_duplicate": columns.on_duplicate,
    }
    return {key: value for key, value in named.items() if value}


def _wait(flow: Flow, client: Client, job_id: str) -> None:
    """Show the rows that are read until a local job has ended; raises JobFailed."""
    with progress.rows_read("reading rows", is_shown=not flow.is_json) as show:
        ended = progress.follow(client, job_id, show, Party("local", "0"), wait_s=1)
    if not ended.is_success:
        raise failure(ended)


def _tell(flow: Flow, stored: StoredTable) -> None:
    more = stored.bad_rows - len(stored.skipped)
    skipped = [f"skipped {line}" for line in stored.skipped] + ([f"and {more} more bad rows"] if more > 0 else [])
    flow.answer(stored, [*skipped, *page(stored)])
