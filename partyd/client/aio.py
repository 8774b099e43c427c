"""The asynchronous client, on aiohttp: the same methods and the same answers as `partyd.client.Client`."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Self

from partyd.client import calls, calls_data
from partyd.client.aio_http import AsyncConnection
from partyd.client.aio_job import AsyncJobs
from partyd.client.answer import DEFAULT_URL, Place
from partyd.client.archive import kind_of, unpack
from partyd.client.call import ANY_PARTY, Call, Download, Party, T
from partyd.client.calls_data import GUESSED, CsvColumns
from partyd.client.credentials import Credentials
from partyd.client.errors import ClientError
from partyd.client.replies import ENDED, Job, LogLine, Metric, Why
from partyd.client.replies_data import Rows, StoredTable
from partyd.client.replies_site import Peer, ServerInfo, SiteInfo
from partyd.client.source import Sent, Source, as_form, opened


def _ignore(_: int) -> None:
    return None


class AsyncClient:
    """Speaks with one daemon; use it as an asynchronous context manager, from one event loop."""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        token: str = "",
        app_id: str = "",
        app_token: str = "",
        ca_file: Path | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        place = Place.of(url)
        self.url = place.url
        self._connection = AsyncConnection(place, Credentials(token, app_id, app_token), ca_file, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def close(self) -> None:
        """Close every connection; the next request opens another."""
        await self._connection.close()

    async def do(self, call: Call[T]) -> T:
        """Carry out any request of `partyd.client.calls`, `calls_data` or `calls_admin`; raises ClientError."""
        return await self._connection.do(call)

    # -- jobs

    @property
    def jobs(self) -> AsyncJobs:
        """Jobs as objects: ``await client.jobs.submit(dag)``, ``client.jobs.get(id)``."""
        return AsyncJobs(self)

    async def submit(self, dag: str | Mapping[str, object], *, request_id: str = "") -> str:
        """Start the job that a DAG describes; the same ``request_id`` again is the same job."""
        return await self.do(calls.submit(dag, request_id or secrets.token_hex(16)))

    async def stop(self, job_id: str) -> None:
        """End a job at every party."""
        await self.do(calls.stop(job_id))

    async def job(self, job_id: str, party: Party = ANY_PARTY, *, seen: str = "", wait_s: int = 0) -> Job:
        """Return a job; with ``wait_s``, as soon as it differs from the state of the tag ``seen``."""
        return await self.do(calls.job(job_id, party, seen=seen, wait_s=wait_s))

    async def job_list(self, limit: int = 20, party: Party = ANY_PARTY) -> list[Job]:
        """Return the newest jobs."""
        return await self.do(calls.jobs(limit, party))

    async def why(self, job_id: str, party: Party = ANY_PARTY) -> Why:
        """Return what a job waits for, or why it ended as it did."""
        return await self.do(calls.why(job_id, party))

    async def log(self, job_id: str, task: str, party: Party = ANY_PARTY, *, begin: int = 0) -> list[LogLine]:
        """Return the log lines of a task from line ``begin``."""
        return await self.do(calls.log(job_id, task, party, begin=begin))

    async def follow_log(
        self, job_id: str, task: str = "", party: Party = ANY_PARTY, *, log_type: str = "", after: int = 0
    ) -> AsyncIterator[LogLine]:
        """Yield log lines as they are written, from the one after line ``after``, until the job has ended."""
        while True:
            status = ""
            call = calls.log_stream(job_id, task, party, log_type=log_type, after=after)
            async for event in self._connection.events(call):
                if event.kind == "end":
                    status, after = event.data.text("status"), event.data.whole("after")
                else:
                    line = LogLine.read(event.data)
                    after = line.number or after
                    yield line
            if status in ENDED:
                return

    async def metrics(self, job_id: str, task: str, party: Party = ANY_PARTY) -> dict[str, Metric]:
        """Return the metrics of a task by name."""
        return await self.do(calls.metrics(job_id, task, party))

    async def documents(self, job_id: str, task: str, party: Party = ANY_PARTY) -> Mapping[str, object]:
        """Return the models and other documents that a task wrote, by name."""
        return await self.do(calls.documents(job_id, task, party))

    async def rows(
        self, job_id: str, task: str, party: Party = ANY_PARTY, *, port: str = "", begin: int = 0, limit: int = 100
    ) -> Rows:
        """Return rows of a task's output table; the daemon gives at most 100 at a time."""
        return await self.do(calls.rows(job_id, task, party, port=port, begin=begin, limit=limit))

    # -- tables

    async def upload(
        self,
        source: Source,
        namespace: str,
        name: str,
        columns: CsvColumns = GUESSED,
        party: Party = ANY_PARTY,
        sent: Sent = _ignore,
    ) -> StoredTable:
        """Stream a file, an open file or a DataFrame to the daemon as a table; ``sent`` hears how many bytes went."""
        with opened(source) as stream:
            call = calls_data.upload(namespace, name, columns, party, is_gzip=stream.is_gzip)
            return await self._connection.upload(call, stream, sent)

    async def upload_text(
        self, text: str, namespace: str, name: str, columns: CsvColumns = GUESSED, party: Party = ANY_PARTY
    ) -> StoredTable:
        """Store a small CSV text as a table."""
        return await self.upload(text.encode(), namespace, name, columns, party)

    async def table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> StoredTable:
        """Return one table's description."""
        return await self.do(calls_data.table(namespace, name, party))

    async def tables(self, party: Party = ANY_PARTY) -> list[StoredTable]:
        """Return every table's description."""
        return await self.do(calls_data.tables(party))

    async def preview(self, namespace: str, name: str, party: Party = ANY_PARTY) -> Rows:
        """Return a table's first rows; only its owner may."""
        return await self.do(calls_data.preview(namespace, name, party))

    async def delete_table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> None:
        """Delete a table; jobs that have read it keep what they read."""
        await self.do(calls_data.delete_table(namespace, name, party))

    async def transfer(
        self, form: calls_data.Form[T], source: Source, sent: Sent = _ignore, *, file_name: str = "file"
    ) -> T:
        """Send a file as a form, as FATE's client does."""
        with opened(source) as stream:
            content_type, whole = as_form(stream, form.fields, file_name)
            return await self._connection.upload(form.call(content_type), whole, sent)

    # -- files

    async def save(self, what: Download, target: Path) -> str:
        """Write a file answer to ``target`` and return its content type."""
        with await asyncio.to_thread(target.open, "wb") as file:
            return await self._connection.download(what, file)

    async def fetch(self, what: Download, folder: Path, name: str) -> list[Path]:
        """Put what a file answer holds into ``folder`` (a file that is no archive under ``name``); return the files."""
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch) / "part"
            kind = await self.save(what, part)
            if kind_of(kind) == "file":
                return [part.replace(folder / name)]
            return await asyncio.to_thread(unpack, part, folder)

    # -- the daemon

    async def site(self) -> SiteInfo:
        """Return who answers."""
        return await self.do(calls_data.site())

    async def peers(self) -> list[Peer]:
        """Return every pinned peer."""
        return await self.do(calls_data.peers())

    async def server(self) -> ServerInfo:
        """Return address and version of what answers."""
        return await self.do(calls_data.server())

    async def is_ready(self) -> bool:
        """Return whether the daemon takes work; False also while nothing answers."""
        try:
            return await self._connection.status("/readyz") == 200
        except ClientError:
            return False
