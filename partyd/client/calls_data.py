"""The requests about tables and about the daemon itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from partyd.client.call import ANY_PARTY, Call, Download, Party, data_of, nothing
from partyd.client.calls import get, post
from partyd.client.fields import Fields
from partyd.client.replies_data import Rows, StoredTable
from partyd.client.replies_site import Peer, ServerInfo, SiteInfo

T = TypeVar("T")


@dataclass(frozen=True)
class CsvColumns:
    """How to read an uploaded file; what is empty is guessed by the daemon."""

    label: str = ""
    sample_id: str = ""
    match_id: str = ""
    weight: str = ""
    delimiter: str = ""
    on_bad_row: str = ""
    """refuse the table, or skip bad rows and name them."""
    format: str = ""
    """csv, parquet, svmlight, tag or tag_value; Parquet is known by itself."""
    header: bool = True
    """Whether the first line names the columns."""
    names: tuple[str, ...] = ()
    """The columns of a file without a header."""
    encoding: str = ""
    extend_sid: bool = False
    """Give every row a sample id of the daemon's making."""
    on_duplicate: str = ""
    """refuse the table, or skip rows whose sample id came before."""

    def query(self) -> dict[str, str]:
        """Return the fields of a request, as far as they say something."""
        flags = {"header": "" if self.header else "false", "extend_sid": "true" if self.extend_sid else ""}
        texts = {key: value for key, value in vars(self).items() if isinstance(value, str)}
        return {key: value for key, value in {**texts, **flags}.items() if value}

    def pairs(self) -> list[tuple[str, str]]:
        """Return the fields with names that are given more than once."""
        return [*self.query().items(), *(("names", name) for name in self.names)]


GUESSED = CsvColumns()


@dataclass(frozen=True)
class Form(Generic[T]):
    """A request that brings fields and a file as a form; what it does is read from its answer."""

    path: str
    fields: Mapping[str, str]
    read: Callable[[Fields], T]

    def call(self, content_type: str) -> Call[T]:
        """Return the request for a body of that type."""
        return Call("POST", self.path, self.read, content_type=content_type, signs_body=False)


def upload(
    namespace: str, name: str, columns: CsvColumns, party: Party = ANY_PARTY, *, is_gzip: bool = False
) -> Call[StoredTable]:
    """Store what the body streams as a table."""
    query = [("namespace", namespace), ("name", name), *columns.pairs(), *party.query().items()]
    query += [("gzip", "1")] if is_gzip else []
    return Call("POST", "/v2/data/component/upload/file", _part(StoredTable.read), query, content_type="text/csv")


def upload_form(fields: Mapping[str, object]) -> Form[str]:
    """Store the file of a form as a table, in FATE's words; the answer is the local job that does it."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in fields.items()}
    return Form("/v2/data/component/upload/file", texts, lambda reply: reply.text("job_id"))


def upload_there(fields: Mapping[str, object]) -> Call[str]:
    """Store a file of the daemon's machine (``file``), or rows of one of its databases, and return the local job.

    A database is named as ``source``, with a ``query`` or a ``table``; the site's own configuration knows its address.
    """
    return post("/v2/data/component/upload", lambda reply: reply.text("job_id"), fields)


def table(namespace: str, name: str, party: Party = ANY_PARTY) -> Call[StoredTable]:
    """Ask for one table's description."""
    return get("/v2/table/query", _part(StoredTable.read), namespace=namespace, name=name, **party.query())


def tables(party: Party = ANY_PARTY) -> Call[list[StoredTable]]:
    """Ask for every table's description."""
    return get("/v2/table/query", _tables, **party.query())


def delete_table(namespace: str, name: str, party: Party = ANY_PARTY) -> Call[None]:
    """Delete a table; jobs that have read it keep what they read."""
    return post("/v2/table/delete", nothing, _named(namespace, name, party))


def bind(namespace: str, name: str, where: Mapping[str, object], party: Party = ANY_PARTY) -> Call[object]:
    """Make rows a table that stay where they are: a ``path`` there, or a ``source`` with a ``query`` or ``table``."""
    return post("/v2/table/bind/path", data_of, {**_named(namespace, name, party), **where})


def preview(namespace: str, name: str, party: Party = ANY_PARTY, *, limit: int = 0) -> Call[Rows]:
    """Ask for a table's first rows; only its owner may."""
    return get("/v2/table/preview", _part(Rows.read), **_named(namespace, name, party), limit=limit or None)


def set_disabled(namespace: str, name: str, party: Party = ANY_PARTY, *, is_disabled: bool) -> Call[object]:
    """Keep jobs from using a table, or allow it again."""
    path = "/v2/table/disable" if is_disabled else "/v2/table/enable"
    return post(path, data_of, _named(namespace, name, party))


def lineage(namespace: str, name: str, party: Party = ANY_PARTY) -> Call[object]:
    """Ask which jobs used a table."""
    return get("/v2/table/lineage", data_of, **_named(namespace, name, party))


def transform(document: Mapping[str, object]) -> Call[str]:
    """Make one table of another, as FATE's dataframe_transformer does, and return the job that does it."""
    return post("/v2/data/component/dataframe/transformer", lambda reply: reply.text("job_id"), document)


def table_file(namespace: str, name: str, party: Party = ANY_PARTY) -> Download:
    """Fetch a table as a file."""
    return Download("GET", "/v2/data/download", _named(namespace, name, party))


def download_component(namespace: str, name: str, path: str, party: Party = ANY_PARTY) -> Call[str]:
    """Write a table to a file on the daemon's machine, and return the job that does it."""
    fields = {**_named(namespace, name, party), "path": path}
    return post("/v2/data/component/download", lambda reply: reply.text("job_id"), fields)


# -- the daemon


def site() -> Call[SiteInfo]:
    """Ask who answers."""
    return get("/v2/site/info/query", _part(SiteInfo.read))


def peers() -> Call[list[Peer]]:
    """Ask for every pinned peer."""
    return get("/v2/site/peers", lambda reply: [Peer.read(part) for part in reply.parts("data")])


def server() -> Call[ServerInfo]:
    """Ask for address and version of what answers."""
    return get("/v2/server/fateflow", _part(ServerInfo.read))


def _named(namespace: str, name: str, party: Party) -> dict[str, str]:
    return {"namespace": namespace, "name": name, **party.query()}


def _part(read: Callable[[Fields], T]) -> Callable[[Fields], T]:
    return lambda reply: read(reply.part("data"))


def _tables(reply: Fields) -> list[StoredTable]:
    return [StoredTable.read(part) for part in reply.parts("data")]
