"""The synchronous client: what ``flow`` and scripts speak with.

It imports nothing heavy, so that a command starts at once. Nothing polls: `Client.job` waits at the daemon until the
job looks different from what the caller has seen.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from partyd.client import calls, calls_data
from partyd.client.answer import DEFAULT_URL, Place
from partyd.client.call import ANY_PARTY, Call, Download, Party, T
from partyd.client.calls_data import GUESSED, CsvColumns
from partyd.client.credentials import Credentials
from partyd.client.errors import ClientError
from partyd.client.http import Connection
from partyd.client.replies import ENDED, Job, LogLine, Metric, Why
from partyd.client.replies_data import Rows, StoredTable
from partyd.client.replies_site import Peer, ServerInfo, SiteInfo
from partyd.client.source import Sent, Source, as_form, opened

if TYPE_CHECKING:
    from partyd.client.job import Jobs

QUIET_S = 60.0
"""How long a followed log may say nothing, not even that it is still there."""


def _ignore(_: int) -> None:
    return None


class Client:
    """Speaks with one daemon; use it as a context manager, from one thread."""

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
        self._connection = Connection(place, Credentials(token, app_id, app_token), ca_file, timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._connection.close()

    def do(self, call: Call[T]) -> T:
        """Carry out any request of `partyd.client.calls`, `calls_data` or `calls_admin`; raises ClientError."""
        return self._connection.do(call)

    # -- jobs

    @property
    def jobs(self) -> Jobs:
        """Jobs as objects: ``client.jobs.submit(dag)``, ``client.jobs.get(id)``, ``client.jobs.list()``."""
        from partyd.client.job import Jobs

        return Jobs(self)

    def submit(self, dag: str | Mapping[str, object], *, request_id: str = "") -> str:
        """Start the job that a DAG describes (a YAML or JSON text, or the object) and return its id.

        A submission whose answer was lost may be repeated with the same ``request_id``: it is the same job.
        """
        return self.do(calls.submit(dag, request_id or secrets.token_hex(16)))

    def stop(self, job_id: str) -> None:
        """End a job at every party."""
        self.do(calls.stop(job_id))

    def job(self, job_id: str, party: Party = ANY_PARTY, *, seen: str = "", wait_s: int = 0) -> Job:
        """Return a job; with ``wait_s``, as soon as it differs from the state of the tag ``seen``."""
        return self.do(calls.job(job_id, party, seen=seen, wait_s=wait_s))

    def job_list(self, limit: int = 20, party: Party = ANY_PARTY) -> list[Job]:
        """Return the newest jobs."""
        return self.do(calls.jobs(limit, party))

    def why(self, job_id: str, party: Party = ANY_PARTY) -> Why:
        """Return what a job waits for, or why it ended as it did."""
        return self.do(calls.why(job_id, party))

    def log(self, job_id: str, task: str, party: Party = ANY_PARTY, *, begin: int = 0) -> list[LogLine]:
        """Return the log lines of a task from line ``begin``."""
        return self.do(calls.log(job_id, task, party, begin=begin))

    def follow_log(
        self, job_id: str, task: str = "", party: Party = ANY_PARTY, *, log_type: str = "", after: int = 0
    ) -> Iterator[LogLine]:
        """Yield log lines as they are written, from the one after line ``after``, until the job has ended."""
        while True:
            status = ""
            for event in self._connection.events(
                calls.log_stream(job_id, task, party, log_type=log_type, after=after), QUIET_S
            ):
                if event.kind == "end":
                    status, after = event.data.text("status"), event.data.whole("after")
                else:
                    line = LogLine.read(event.data)
                    after = line.number or after
                    yield line
            if status in ENDED:
                return

    def metrics(self, job_id: str, task: str, party: Party = ANY_PARTY) -> dict[str, Metric]:
        """Return the metrics of a task by name."""
        return self.do(calls.metrics(job_id, task, party))

    def documents(self, job_id: str, task: str, party: Party = ANY_PARTY) -> Mapping[str, object]:
        """Return the models and other documents that a task wrote, by name."""
        return self.do(calls.documents(job_id, task, party))

    def rows(
        self, job_id: str, task: str, party: Party = ANY_PARTY, *, port: str = "", begin: int = 0, limit: int = 100
    ) -> Rows:
        """Return rows of a task's output table; the daemon gives at most 100 at a time."""
        return self.do(calls.rows(job_id, task, party, port=port, begin=begin, limit=limit))

    # -- tables

    def upload(
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
            return self._connection.upload(call, stream, sent)

    def upload_text(
        self,
        text: str,
        namespace: str,
        name: str,
        columns: CsvColumns = GUESSED,
        party: Party = ANY_PARTY,
    ) -> StoredTable:
        """Store a small CSV text as a table."""
        return self.upload(text.encode(), namespace, name, columns, party)

    def table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> StoredTable:
        """Return one table's description."""
        return self.do(calls_data.table(namespace, name, party))

    def tables(self, party: Party = ANY_PARTY) -> list[StoredTable]:
        """Return every table's description."""
        return self.do(calls_data.tables(party))

    def preview(self, namespace: str, name: str, party: Party = ANY_PARTY) -> Rows:
        """Return a table's first rows; only its owner may."""
        return self.do(calls_data.preview(namespace, name, party))

    def delete_table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> None:
        """Delete a table; jobs that have read it keep what they read."""
        self.do(calls_data.delete_table(namespace, name, party))

    def transfer(self, form: calls_data.Form[T], source: Source, sent: Sent = _ignore, *, file_name: str = "file") -> T:
        """Send a file as a form, as FATE's client does."""
        with opened(source) as stream:
            content_type, whole = as_form(stream, form.fields, file_name)
            return self._connection.upload(form.call(content_type), whole, sent)

    # -- files

    def save(self, what: Download, target: Path) -> str:
        """Write a file answer to ``target`` and return its content type."""
        with target.open("wb") as file:
            return self._connection.download(what, file)

    def fetch(self, what: Download, folder: Path, name: str) -> list[Path]:
        """Put what a file answer holds into ``folder`` (a file that is no archive under ``name``); return the files."""
        from partyd.client.archive import kind_of, unpack  # here, for it is seldom wanted and slow to import

        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            part = Path(scratch) / "part"
            kind = self.save(what, part)
            if kind_of(kind) == "file":
                return [part.replace(folder / name)]
            return unpack(part, folder)

    # -- the daemon

    def site(self) -> SiteInfo:
        """Return who answers."""
        return self.do(calls_data.site())

    def peers(self) -> list[Peer]:
        """Return every pinned peer."""
        return self.do(calls_data.peers())

    def server(self) -> ServerInfo:
        """Return address and version of what answers."""
        return self.do(calls_data.server())

    def is_ready(self) -> bool:
        """Return whether the daemon takes work; False also while nothing answers."""
        try:
            return self._connection.status("/readyz") == 200
        except ClientError:
            return False

    def wait_until_ready(self, deadline_s: float, pause_s: float = 0.05) -> bool:
        """Return whether the daemon became ready in time; a daemon that does not listen yet can only be asked again."""
        end = time.monotonic() + deadline_s
        while not self.is_ready():
            if time.monotonic() > end:
                return False
            time.sleep(pause_s)
        return True
