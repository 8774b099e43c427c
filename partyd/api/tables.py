"""Tables under ``/v2/table``: query, preview, lineage; bind, disable, delete."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any, Protocol

from aiohttp import web
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from partyd.api.auth import caller_of
from partyd.api.endpoint import Access, Asked, Endpoint
from partyd.api.replies import BadRequest, FateCode, Refusal, success
from partyd.api.site import Site
from partyd.data.fate_meta import Meta, form_of
from partyd.data.formats import Format
from partyd.data.schema import Schema, anonymous_names
from partyd.errors import DataError, JobError
from partyd.tables.catalog import Binding, Catalog, TableMissing, TableRecord
from partyd.tables.local import LocalJobs
from partyd.types import Address

MAX_NAME = 128
PREVIEW_ROWS = 100


def _printable(text: str) -> str:
    if "/" in text or not text.isprintable():
        raise ValueError(f"at most {MAX_NAME} printable characters without /")
    return text


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_printable)]


class AtParty(Protocol):
    """A request that may name one of the daemon's parties."""

    @property
    def role(self) -> str | None: ...
    @property
    def party_id(self) -> str | None: ...


class TableNames(Asked):
    """A table, and at which of the daemon's parties."""

    namespace: Name
    name: Name
    role: str | None = None
    party_id: str | None = None


class TableQuery(Asked):
    """One table, or all of them."""

    namespace: Name | None = None
    name: Name | None = None
    display: bool = False
    role: str | None = None
    party_id: str | None = None


class PreviewAsked(TableNames):
    """Which rows to show."""

    limit: Annotated[int, Field(ge=1, le=PREVIEW_ROWS)] = PREVIEW_ROWS


class BindAsked(TableNames):
    """Where a table's rows are: a path on the daemon's machine, or a query or table of one of the site's databases."""

    path: Annotated[str, Field(max_length=4096)] = ""
    head: bool = True
    meta: Meta | None = None
    extend_sid: bool = False
    adopt: bool = False
    """Take a folder in our own columns over, by links, so that it may go where it was."""
    source: Annotated[str, Field(max_length=64)] = ""
    query: Annotated[str, Field(max_length=65_536)] = ""
    table: Annotated[str, Field(max_length=256)] = ""


class TableView(BaseModel):
    """One table: FATE's fields, then ours."""

    namespace: str
    name: str
    count: int
    meta: dict[str, Any]
    engine: str
    path: str
    source: dict[str, Any]
    data_type: str
    schema_: Schema = Field(alias="schema")
    anonymous: list[str] = []
    digest: str
    disabled: bool
    bad_rows: int
    skipped: list[str]
    created_at: float
    job_id: str
    bound: dict[str, str] = {}
    display: list[list[Any]] | None = None


class Rows(BaseModel):
    """The first rows of a table; a missing value is null."""

    count: int
    header: list[str]
    rows: list[list[Any]]


class TableUse(BaseModel):
    """One task that has read a table."""

    job_id: str
    task_name: str
    digest: str
    used_at: float
    is_open: bool


class Tables:
    """The endpoints about tables; ``jobs`` are the daemon's local jobs."""

    def __init__(self, site: Site, jobs: LocalJobs) -> None:
        self._site = site
        self._jobs = jobs

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        viewer, operator = Access.VIEWER, Access.OPERATOR
        return [
            Endpoint("GET", "/v2/table/query", self.query, TableQuery, viewer, Any),
            Endpoint("GET", "/v2/table/list", self.listing, TableQuery, viewer, list[TableView]),
            Endpoint("GET", "/v2/table/preview", self.preview, PreviewAsked, operator, Rows, timeout_s=None),
            Endpoint("GET", "/v2/table/lineage", self.lineage, TableNames, viewer, list[TableUse]),
            Endpoint("POST", "/v2/table/bind/path", self.bind, BindAsked, operator, TableView, timeout_s=None),
            Endpoint("POST", "/v2/table/delete", self.delete, TableNames, operator, dict[str, str]),
            Endpoint("POST", "/v2/table/disable", self.disable, TableNames, operator, TableView),
            Endpoint("POST", "/v2/table/enable", self.enable, TableNames, operator, TableView),
        ]

    async def query(self, request: web.Request, asked: TableQuery) -> web.StreamResponse:
        """Return a table's description, with its first rows where the caller may see them, or every table's."""
        if asked.name is None and asked.namespace is None:
            return await self.listing(request, asked)
        if asked.name is None or asked.namespace is None:
            raise BadRequest("a table has a namespace and a name: give both, or none of them for every table")
        address = there(self._site, self._jobs, asked)
        catalog = self._jobs.catalog(address)
        record = await here(catalog, asked.namespace, asked.name)
        view = stored_view(record, address)
        if asked.display:
            may_take(request)
            view["display"] = (await self._rows(catalog, record, PREVIEW_ROWS)).rows
        return success(view)

    async def listing(self, request: web.Request, asked: TableQuery) -> web.StreamResponse:
        """Return every table's description."""
        del request
        address = there(self._site, self._jobs, asked)
        records = await self._jobs.catalog(address).records()
        wanted = [record for record in records if asked.namespace in (None, record.namespace)]
        return success([stored_view(record, address) for record in wanted])

    async def preview(self, request: web.Request, asked: PreviewAsked) -> web.StreamResponse:
        """Return a table's first rows, to its owner."""
        del request
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        record = await here(catalog, asked.namespace, asked.name)
        return success((await self._rows(catalog, record, asked.limit)).model_dump())

    async def lineage(self, request: web.Request, asked: TableNames) -> web.StreamResponse:
        """Return which tasks of which jobs have read a table, also one that is deleted."""
        del request
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        uses = await catalog.lineage(asked.namespace, asked.name)
        if not uses:
            await here(catalog, asked.namespace, asked.name)
        found = [
            TableUse(job_id=use.job, task_name=use.task, digest=use.digest, used_at=use.at, is_open=use.is_open)
            for use in uses
        ]
        return success([use.model_dump() for use in found])

    async def bind(self, request: web.Request, asked: BindAsked) -> web.StreamResponse:
        """Make a table of rows that stay where they are: a file, a folder in our columns, or a database's."""
        if bool(asked.path) == bool(asked.source) or (asked.source and bool(asked.query) == bool(asked.table)):
            raise BadRequest("name either path, or source together with either query or table")
        address = there(self._site, self._jobs, asked)
        catalog = self._jobs.catalog(address)
        form = Format() if asked.meta is None else form_of(asked.meta, head=asked.head, extend_sid=asked.extend_sid)
        meta = {} if asked.meta is None else asked.meta.model_dump(exclude_defaults=True)
        record = TableRecord(namespace=asked.namespace, name=asked.name, created_at=time.time(), meta=meta)
        actor = caller_of(request).name
        if asked.path:
            path = await asyncio.to_thread(catalog.sources.path, asked.path)
            made = await self._bind_path(catalog, record, path, form, asked, actor)
        else:
            await asyncio.to_thread(catalog.sources.url, asked.source)
            binding = Binding(form=form, source=asked.source, query=asked.query, table=asked.table)
            made = await catalog.bind(record.model_copy(update={"binding": binding}), actor)
        return success(stored_view(made, address))

    async def _bind_path(
        self, catalog: Catalog, record: TableRecord, path: Path, form: Format, asked: BindAsked, actor: str
    ) -> TableRecord:
        mark = await catalog.sources.mark(path)
        if not mark.is_folder:
            if asked.adopt:
                raise BadRequest("only a folder in partyd's own columns can be adopted; bind or upload the file")
            binding = Binding(path=str(path), form=form, mark=mark)
            return await catalog.bind(record.model_copy(update={"binding": binding}), actor)
        if asked.adopt:
            return await catalog.adopt(record, path, actor)
        schema = await asyncio.to_thread(_schema_of, path)
        binding = Binding(path=str(path), mark=mark)
        update = {"binding": binding, "count": schema.rows, "table_schema": schema}
        return await catalog.bind(record.model_copy(update=update), actor)

    async def delete(self, request: web.Request, asked: TableNames) -> web.StreamResponse:
        """Delete a table; a bound file stays, and jobs that have read the table keep what they read."""
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        await here(catalog, asked.namespace, asked.name)
        await catalog.delete(asked.namespace, asked.name, caller_of(request).name)
        return success({"namespace": asked.namespace, "name": asked.name})

    async def disable(self, request: web.Request, asked: TableNames) -> web.StreamResponse:
        """Keep new jobs from using a table."""
        return await self._set_disabled(request, asked, is_disabled=True)

    async def enable(self, request: web.Request, asked: TableNames) -> web.StreamResponse:
        """Allow jobs to use a table again."""
        return await self._set_disabled(request, asked, is_disabled=False)

    async def _set_disabled(self, request: web.Request, asked: TableNames, *, is_disabled: bool) -> web.StreamResponse:
        address = there(self._site, self._jobs, asked)
        catalog = self._jobs.catalog(address)
        await here(catalog, asked.namespace, asked.name)
        actor = caller_of(request).name
        record = await catalog.disable(asked.namespace, asked.name, is_disabled=is_disabled, actor=actor)
        return success(stored_view(record, address))

    async def _rows(self, catalog: Catalog, record: TableRecord, limit: int) -> Rows:
        record = await catalog.read_bound(record)
        return await asyncio.to_thread(_first_rows, catalog.folder(record), limit)


def there(site: Site, jobs: LocalJobs, asked: AtParty) -> Address:
    """Return the address here that a request means; FATE's ``local`` is the first one. Raises JobError."""
    if asked.role in (None, "", "local") and asked.party_id in (None, "", "0"):
        return site.node().address
    try:
        return site.node(None if asked.role == "local" else asked.role, asked.party_id).address
    except JobError:
        if jobs.share is None:
            raise
        return site.node().address  # one owner's federation: it is stored here and shared with that party


async def here(catalog: Catalog, namespace: str, name: str) -> TableRecord:
    """Return a table's record; raises Refusal with FATE's code for one that is not here."""
    try:
        return await catalog.find(namespace, name)
    except TableMissing as error:
        raise Refusal(str(error), status=404, number=FateCode.TABLE_NOT_FOUND) from error


def may_take(request: web.Request) -> None:
    """Raise Refusal unless the caller may see rows."""
    caller = caller_of(request)
    if caller.access not in (Access.OPEN, Access.OPERATOR, Access.ADMIN):
        raise Refusal(
            "rows are shown to operators only; ask for the table without display",
            status=403,
            number=FateCode.NO_PERMISSION,
        )


def stored_view(record: TableRecord, address: Address | None = None) -> dict[str, Any]:
    """Return a table as replies show it: FATE's fields, then ours."""
    schema, binding = record.table_schema, record.binding
    is_known = binding is None or bool(record.digest) or bool(schema.features)
    view = TableView(
        namespace=record.namespace,
        name=record.name,
        count=record.count,
        meta={**record.meta, "header": _header(schema) if is_known else [], "partitions": record.partitions},
        engine="path" if binding is not None and binding.path else "partyd",
        path=binding.path if binding is not None else f"{record.namespace}/{record.name}",
        source={"task_name": "upload", "component": "upload", "job_id": record.job},
        data_type="dataframe",
        schema=schema,
        anonymous=[] if address is None else list(anonymous_names(schema, address)),
        digest=record.digest,
        disabled=record.is_disabled,
        bad_rows=record.bad_rows,
        skipped=list(record.skipped),
        created_at=record.created_at,
        job_id=record.job,
        bound={}
        if binding is None
        else {key: str(value) for key in ("path", "source", "query", "table") if (value := getattr(binding, key))},
    )
    return view.model_dump(mode="json", by_alias=True, exclude={"display"})


def _header(schema: Schema) -> list[str]:
    names = (schema.sample_id, schema.match_id, schema.label, schema.weight)
    return [name for name in names if name is not None] + list(schema.features)


def _schema_of(folder: Path) -> Schema:
    try:
        return Schema.model_validate_json((folder / "schema.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{folder}/schema.json is no table's schema; bind a file, or upload it") from error


def _first_rows(folder: Path, limit: int) -> Rows:
    from partyd.data.table import Table  # here, for numpy comes with it and a daemon seldom shows a table

    table = Table.load(folder)
    ids = [[i.decode("utf-8", "replace") for i in table.ids[:limit].tolist()]]
    if table.match_ids is not None:
        ids.append([i.decode("utf-8", "replace") for i in table.match_ids[:limit].tolist()])
    numbers = [column[:limit].tolist() for column in (table.label, table.weight) if column is not None]
    numbers += [table.features[:limit, i].tolist() for i in range(table.features.shape[1])]
    shown = [*ids, *([None if value != value else value for value in column] for column in numbers)]
    rows = [list(row) for row in zip(*shown, strict=True)]
    return Rows(count=len(table), header=_header(table.schema), rows=rows)
