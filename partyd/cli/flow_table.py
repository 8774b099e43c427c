"""``flow table``: look at, bind, disable and delete this party's tables."""

from __future__ import annotations

import time
from pathlib import Path

import click

from partyd.cli.flow_context import Flow, cell, columns, example, knows_daemon, pages
from partyd.cli.flow_options import FILE, NAME, NAMESPACE, at_party, read_object
from partyd.cli.table_page import page
from partyd.client import Party, Rows, calls_data

YES = frozenset({"true", "1", "yes", "y", "on"})


@click.group(epilog=example("flow table list", "flow table query -ns demo -n guest"))
def table() -> None:
    """Look at, bind, disable and delete this party's tables."""


@table.command("list", epilog=example("flow table list", "flow --port 9381 table list"))
@at_party
@knows_daemon
def list_tables(flow: Flow, party: Party) -> None:
    """List the tables of this party."""
    with flow.client() as client:
        found = client.tables(party)
    rows = [("namespace", "name", "rows", "features", "label", "")]
    rows += [
        (t.namespace, t.name, str(t.count), str(len(t.features)), t.label, "disabled" if t.is_disabled else "")
        for t in found
    ]
    flow.answer(found, columns(rows) if found else ["no tables yet; begin with: flow data upload --help"])


@table.command(epilog=example("flow table query -ns demo -n guest", "flow table query -ns demo -n guest -d true"))
@NAMESPACE
@NAME
@click.option("-d", "--display", is_flag=False, flag_value="true", default="", help="true: show the first rows too.")
@at_party
@knows_daemon
def query(flow: Flow, namespace: str, name: str, display: str, party: Party) -> None:
    """Show a table's columns and size."""
    with flow.client() as client:
        found = client.table(namespace, name, party)
        rows = client.preview(namespace, name, party) if display.lower() in YES else None
    document = found if rows is None else {**vars(found), "preview": rows}
    flow.answer(document, [*page(found), *(_rows(rows) if rows is not None else ())])


@table.command(epilog=example("flow table preview -ns demo -n guest --limit 5"))
@NAMESPACE
@NAME
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many rows.")
@at_party
@knows_daemon
def preview(flow: Flow, namespace: str, name: str, limit: int, party: Party) -> None:
    """Show a table's first rows; only its owner can."""
    with flow.client() as client:
        found = client.do(calls_data.preview(namespace, name, party, limit=limit))
    flow.answer(found, _rows(found))


@table.command(
    epilog=example(
        "flow table bind -ns demo -n guest -o /data/guest.csv",
        'flow table bind -ns demo -n guest --sql warehouse --query "select id, age from users"',
    )
)
@NAMESPACE
@NAME
@click.option("-o", "--path", default="", metavar="PATH", help="The file on the daemon's machine.")
@click.option("--sql", "source", default="", metavar="SOURCE", help="One of the site's databases, by its name there.")
@click.option("--query", "sql_query", default="", metavar="SELECT", help="Which rows of the database.")
@click.option("--table", "sql_table", default="", metavar="TABLE", help="Which table of the database, all of it.")
@click.option("--adopt", is_flag=True, help="Take over a folder in partyd's own columns, so that it may go there.")
@click.option("-c", "--conf-path", "conf", type=FILE, help="How to read it: FATE's head, extend_sid and meta, as JSON.")
@at_party
@knows_daemon
def bind(
    flow: Flow,
    namespace: str,
    name: str,
    path: str,
    source: str,
    sql_query: str,
    sql_table: str,
    adopt: bool,
    conf: Path | None,
    party: Party,
) -> None:
    """Make a table of rows that stay where they are: a file on the daemon's machine, or one of its databases."""
    absolute = str(Path(path).absolute()) if path else ""
    where: dict[str, object] = {"path": absolute, "source": source, "query": sql_query, "table": sql_table}
    where |= ({"adopt": True} if adopt else {}) | (read_object(conf) if conf is not None else {})
    with flow.client() as client:
        found = client.do(calls_data.bind(namespace, name, where, party))
    flow.answer(found, [f"{namespace}/{name} is {absolute or source}"])


@table.command(epilog=example("flow table disable -ns demo -n guest"))
@NAMESPACE
@NAME
@at_party
@knows_daemon
def disable(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Keep new jobs from using a table, without deleting it."""
    with flow.client() as client:
        client.do(calls_data.set_disabled(namespace, name, party, is_disabled=True))
    flow.answer({"namespace": namespace, "name": name, "disabled": True}, [f"{namespace}/{name} is disabled"])


@table.command(epilog=example("flow table enable -ns demo -n guest"))
@NAMESPACE
@NAME
@at_party
@knows_daemon
def enable(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Allow jobs to use a table again."""
    with flow.client() as client:
        client.do(calls_data.set_disabled(namespace, name, party, is_disabled=False))
    flow.answer({"namespace": namespace, "name": name, "disabled": False}, [f"{namespace}/{name} is enabled"])


@table.command(epilog=example("flow table lineage -ns demo -n guest"))
@NAMESPACE
@NAME
@at_party
@knows_daemon
def lineage(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Show which jobs have used a table, for whom, when."""
    with flow.client() as client:
        found = client.do(calls_data.lineage(namespace, name, party))
    flow.answer(found, pages(_dated(found)) or [f"no job has used {namespace}/{name}"])


@table.command(epilog=example("flow table delete -ns demo -n guest"))
@NAMESPACE
@NAME
@at_party
@knows_daemon
def delete(flow: Flow, namespace: str, name: str, party: Party) -> None:
    """Delete a table; jobs that have read it keep what they read."""
    with flow.client() as client:
        client.delete_table(namespace, name, party)
    flow.answer({"namespace": namespace, "name": name}, [f"{namespace}/{name} is deleted"])


def _dated(found: object) -> object:
    """Return uses with their moments as people read them."""
    if not isinstance(found, list):
        return found
    return [
        {key: _moment(value) if key == "used_at" else value for key, value in use.items()}
        for use in found
        if isinstance(use, dict)
    ]


def _moment(seconds: object) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if isinstance(seconds, int | float) else "-"


def _rows(found: Rows) -> list[str]:
    lines = columns([found.header, *([cell(value) for value in row] for row in found.rows)])
    return [*lines, f"{len(found.rows)} of {found.count} rows"]
