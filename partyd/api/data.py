"""Data under ``/v2/data``: upload, transform, download, each a local job; FATE Flow's fields, and a stream of our own.

A file that arrives goes to the disk as it comes; processes of their own read and write tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from partyd.api.auth import BODY_CHECK, body_chunks, caller_of
from partyd.api.endpoint import Access, Asked, Endpoint, parse
from partyd.api.files import send_stream
from partyd.api.forms import CHUNK_BYTES, Spool, read_form
from partyd.api.replies import BadRequest, FateCode, Refusal, check_text, success
from partyd.api.site import Site
from partyd.api.tables import AtParty, TableNames, here, stored_view, there
from partyd.data.fate_meta import Meta, form_of
from partyd.data.formats import Format
from partyd.errors import DataError, JobError, StoreFull
from partyd.layout import make_private_dir
from partyd.tables.catalog import TableRecord
from partyd.tables.local import Download, LocalJob, LocalJobs, LocalStatus, Transform, Upload

Text = Annotated[str, Field(max_length=1024)]


class TableName(BaseModel):
    """Which table."""

    namespace: str
    name: str


class UploadStream(Asked):
    """What the query of a streamed upload says: names, and how to read the body. A form says this in its fields."""

    namespace: str | None = None
    name: str | None = None
    role: str | None = None
    party_id: str | None = None
    format: Literal["auto", "csv", "parquet", "svmlight", "tag", "tag_value"] = "auto"
    delimiter: Text | None = None
    header: bool = True
    names: list[Text] | None = None
    """The columns of a file without a header."""
    encoding: Text | None = None
    sample_id: Text | None = None
    match_id: Text | None = None
    label: Text | None = None
    weight: Text | None = None
    guess: bool = True
    extend_sid: bool = False
    strip_ids: bool = True
    missing: list[Text] | None = None
    dtype: Text | None = None
    label_type: Text | None = None
    weight_type: Text | None = None
    storage: Literal["float64", "float32"] = "float64"
    tag_value_delimiter: Text | None = None
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    on_duplicate: Literal["refuse", "skip"] = "refuse"
    gzip: bool = False
    """Of no effect: a packed body is known by its first bytes."""


class UploadForm(Asked):
    """FATE's fields beside a file."""

    head: bool
    partitions: Annotated[int, Field(ge=0, le=1 << 20)] = 1
    meta: Meta
    extend_sid: bool = False
    namespace: str | None = None
    name: str | None = None
    role: str | None = None
    party_id: str | None = None


class UploadPath(UploadForm):
    """A file on the daemon's machine, or a table or query of one of the site's databases."""

    head: bool = True
    meta: Meta = Meta()
    file: Annotated[str, Field(max_length=4096)] = ""
    source: Annotated[str, Field(max_length=64)] = ""
    query: Annotated[str, Field(max_length=65_536)] = ""
    table: Annotated[str, Field(max_length=256)] = ""


class TransformAsked(TableNames):
    """Which table to give another name."""

    data_warehouse: TableName
    drop: bool = True
    site_name: str | None = None
    meta: dict[str, Any] | None = None
    """Of no effect: the upload has applied it."""


class DownloadAsked(TableNames):
    """Which table to write."""

    path: Annotated[str, Field(max_length=4096)] = ""
    header: str | None = None
    """FATE writes the header whatever this says; only ``false`` leaves it out here."""


class Started(BaseModel):
    """What a local job will make; its id is ``job_id`` beside ``data``."""

    namespace: str
    name: str
    path: str = ""


class Data:
    """The endpoints that move data; ``jobs`` are the daemon's local jobs."""

    def __init__(self, site: Site, jobs: LocalJobs) -> None:
        self._site = site
        self._jobs = jobs

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        operator, component = Access.OPERATOR, "/v2/data/component"
        transform = f"{component}/dataframe/transformer"
        return [
            Endpoint(
                "POST",
                f"{component}/upload/file",
                self.upload_file,
                UploadStream,
                operator,
                dict[str, Any],
                body="file",
            ),
            Endpoint("POST", f"{component}/upload", self.upload, UploadPath, operator, Started),
            Endpoint("POST", transform, self.transform, TransformAsked, operator, Started),
            Endpoint("POST", f"{component}/download", self.download_component, DownloadAsked, operator, Started),
            Endpoint("GET", "/v2/data/download", self.download, DownloadAsked, operator, bytes),
        ]

    async def upload_file(self, request: web.Request, asked: UploadStream) -> web.StreamResponse:
        """Store the file in the body as a table: a stream is answered when it is stored, FATE's form at once."""
        self._check_room()
        if request.content_type == "multipart/form-data":
            return await self._upload_form(request)
        names, form = _checked(asked.namespace, asked.name), _form(asked)
        address = there(self._site, self._jobs, asked)
        async with self._spool() as spool:
            await spool.fill(body_chunks(request, CHUNK_BYTES))
            path = str(spool.path)
            work = Upload(
                _record(names, {}), form, path, is_received=True, shown_as="the uploaded file", only=_only(asked)
            )
            started = await self._start(request, asked, work)
        job = await self._jobs.wait(started.job_id)
        if job.status is not LocalStatus.SUCCESS:
            raise _failed(job)
        record = await self._jobs.catalog(address).find(*names)
        return success(stored_view(record), job_id=job.job_id)

    async def upload(self, request: web.Request, asked: UploadPath) -> web.StreamResponse:
        """Make a table of a file on the daemon's machine, or of a configured database's table or query."""
        self._check_room()
        if bool(asked.file) == bool(asked.source) or (asked.source and bool(asked.query) == bool(asked.table)):
            raise BadRequest("name either file, or source together with either query or table")
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        path = str(await asyncio.to_thread(catalog.sources.path, asked.file)) if asked.file else ""
        names = _checked(asked.namespace, asked.name)
        work = Upload(
            _record(names, asked.meta.model_dump(exclude_defaults=True), asked.partitions),
            form_of(asked.meta, head=asked.head, extend_sid=asked.extend_sid),
            path,
            source=asked.source,
            query=asked.query,
            table=asked.table,
            only=_only(asked),
        )
        job = await self._start(request, asked, work)
        return success(Started(namespace=names[0], name=names[1]).model_dump(exclude_defaults=True), job_id=job.job_id)

    async def transform(self, request: web.Request, asked: TransformAsked) -> web.StreamResponse:
        """Give a table another name, as FATE's dataframe transformer does with what was uploaded."""
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        source = await here(catalog, asked.data_warehouse.namespace, asked.data_warehouse.name)
        if not asked.drop and any(one.key == f"{asked.namespace}/{asked.name}" for one in await catalog.records()):
            raise Refusal(
                f"there is a table {asked.namespace}/{asked.name} already; replace it with drop = true",
                status=409,
                number=FateCode.TABLE_EXISTS,
            )
        record = _record((asked.namespace, asked.name), {})
        work = Transform(record, source.namespace, source.name, drop=asked.drop, only=_only(asked))
        job = await self._start(request, asked, work)
        return success({"namespace": asked.namespace, "name": asked.name}, job_id=job.job_id)

    async def download_component(self, request: web.Request, asked: DownloadAsked) -> web.StreamResponse:
        """Write a table as a CSV file on the daemon's machine."""
        catalog = self._jobs.catalog(there(self._site, self._jobs, asked))
        record = await here(catalog, asked.namespace, asked.name)
        path = await asyncio.to_thread(_target, catalog.sources.path(asked.path or ".", must_exist=False), record)
        work = Download(record, path, has_header=_wants_header(asked))
        job = await self._start(request, asked, work)
        return success({"namespace": asked.namespace, "name": asked.name, "path": str(path)}, job_id=job.job_id)

    async def download(self, request: web.Request, asked: DownloadAsked) -> web.StreamResponse:
        """Send a table as FATE does: a tar.gz with its CSV and the names of its columns."""
        record = await here(self._jobs.catalog(there(self._site, self._jobs, asked)), asked.namespace, asked.name)
        async with self._spool() as spool:
            work = Download(record, spool.path, is_archive=True, has_header=_wants_header(asked))
            job = await self._jobs.wait((await self._start(request, asked, work)).job_id)
            if job.status is not LocalStatus.SUCCESS:
                raise _failed(job)
            stream = await asyncio.to_thread(spool.path.open, "rb")
            size = spool.path.stat().st_size
            spool.path.unlink()
        with stream:
            name = f"download_data_{asked.namespace}_{asked.name}.tar.gz"
            return await send_stream(request, stream, size, name, "application/gzip")

    # -- inside

    async def _upload_form(self, request: web.Request) -> web.StreamResponse:
        if BODY_CHECK in request:
            raise BadRequest("a form is not signed with its body; sign UNSIGNED-PAYLOAD, over TLS or loopback")
        async with self._spool() as spool:
            given, shown_as = await read_form(request, spool)
            if not shown_as:
                raise Refusal("the form holds no file; send it as 'file'", status=400, number=FateCode.NO_FILE)
            asked = parse(UploadForm, given | ({"meta": _meta(given["meta"])} if "meta" in given else {}))
            form = form_of(asked.meta, head=asked.head, extend_sid=asked.extend_sid)
            names = _checked(asked.namespace, asked.name)
            work = Upload(
                _record(names, asked.meta.model_dump(exclude_defaults=True), asked.partitions),
                form,
                str(spool.path),
                is_received=True,
                shown_as=shown_as,
                only=_only(asked),
            )
            job = await self._start(request, asked, work)
        return success({"namespace": names[0], "name": names[1]}, job_id=job.job_id)

    async def _start(self, request: web.Request, asked: AtParty, work: Upload | Transform | Download) -> LocalJob:
        address = there(self._site, self._jobs, asked)
        try:
            return await self._jobs.start(address, work, caller_of(request).name)
        except JobError as error:
            raise Refusal(str(error), status=503, number=FateCode.JOB_RESOURCE) from error

    def _check_room(self) -> None:
        if self._is_low():
            raise StoreFull("the disk is almost full; free some space, then upload again")

    def _is_low(self) -> bool:
        return any(node.store.is_low() for node in self._site.nodes.values())

    @contextlib.asynccontextmanager
    async def _spool(self) -> AsyncIterator[Spool]:
        """Give a new place for a file, which an error leaves empty; what has begun to use the file removes it."""
        folder = self._site.layout.state_dir / "uploads"
        await asyncio.to_thread(make_private_dir, folder)
        most = self._site.settings.data.upload_max_bytes
        mend = "raise data.upload_max_bytes or bind it by its path"
        spool = Spool(folder / secrets.token_hex(16), most, mend, self._is_low)
        try:
            yield spool
        except BaseException:
            spool.path.unlink(missing_ok=True)
            raise


def _form(asked: UploadStream) -> Format:
    """Return how a streamed body is read; raises BadRequest."""
    plain = asked.model_dump(
        include={
            "delimiter", "encoding", "sample_id", "match_id", "label", "weight", "guess", "extend_sid", "strip_ids",
            "missing", "dtype", "label_type", "weight_type", "storage", "tag_value_delimiter", "on_bad_row",
            "on_duplicate",
        },
        exclude_none=True,
    )  # fmt: skip
    kind = {"csv": "dense", "tag_value": "tag"}.get(asked.format, asked.format)
    said = {**plain, "input_format": kind, "head": asked.header, "header": tuple(asked.names or ())}
    if asked.label == "":
        said["guess"] = False
    try:
        return Format.model_validate(
            {key: value for key, value in said.items() if value != ""} | {"tag_with_value": asked.format == "tag_value"}
        )
    except ValidationError as error:
        raise BadRequest(
            "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        ) from None


def _checked(namespace: str | None, name: str | None) -> tuple[str, str]:
    """Return the names of a table to be made, made up where FATE makes them up; raises BadRequest."""
    if not namespace and not name:
        return "upload", str(uuid.uuid4())
    try:
        found = TableNames.model_validate({"namespace": namespace, "name": name})
    except ValidationError as error:
        raise BadRequest(f"namespace and name: {error.errors()[0]['msg']}") from None
    return found.namespace, found.name


def _record(names: tuple[str, str], meta: dict[str, object], partitions: int = 0) -> TableRecord:
    return TableRecord(namespace=names[0], name=names[1], created_at=time.time(), meta=meta, partitions=partitions)


def _only(asked: AtParty) -> dict[str, str]:
    """Return the party that a request names, as far as it names one; FATE's ``local`` is nobody's role."""
    if not asked.role or asked.role == "local":
        return {}
    return {"role": asked.role} | ({"party_id": asked.party_id} if asked.party_id else {})


def _target(path: Path, record: TableRecord) -> Path:
    """Return the file to write; raises DataError when its directory is not there, or something else has its name."""
    file = path / f"{record.name}.csv" if path.is_dir() else path
    if file.exists() and (file.suffix.lower() != ".csv" or not file.is_file()):
        raise DataError(f"{file} is there and is no .csv file; name another, for this one would be lost")
    if not file.parent.is_dir():
        raise DataError(f"{file.parent} is no directory on the daemon's machine; make it first")
    return file


def _wants_header(asked: DownloadAsked) -> bool:
    return (asked.header or "").lower() not in ("false", "0", "no")


def _failed(job: LocalJob) -> DataError | StoreFull | Refusal:
    """Return the error that a job ended with, as an answer."""
    if not job.is_ended:
        return Refusal("the daemon is stopping; start this again", status=503, number=FateCode.JOB_RESOURCE)
    if job.status is LocalStatus.CANCELED:
        return Refusal("the upload was stopped", status=409, number=FateCode.FUNCTION_RESTRICTED)
    return StoreFull(job.reason) if job.code in ("io", "store_full") else DataError(job.reason)


def _meta(text: str) -> object:
    """Return FATE's description of a file, which a form holds as JSON; raises BadRequest."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the field 'meta' cannot be read ({error}); send a JSON object") from error
    check_text(found)
    return found
