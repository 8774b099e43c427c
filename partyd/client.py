"""A small synchronous client of a daemon's REST API, on the standard library: what ``flow`` and scripts speak with.

It imports nothing heavy, so that a command starts at once. Reads are repeated once when a kept connection turns out to
be closed; what changes something is sent once, on a new connection. Nothing polls: `Client.job` waits at the daemon
until the job looks different from what the caller has seen.
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import urlencode, urlsplit

from partyd.client_replies import (
    ENDED,
    ClientError,
    Fields,
    Job,
    LogLine,
    Metric,
    Peer,
    Reason,
    Refused,
    Rows,
    ServerInfo,
    Sibling,
    SiteInfo,
    StoredTable,
    StrangeReply,
    Task,
    Unreachable,
)

__all__ = [
    "DEFAULT_URL",
    "ENDED",
    "Client",
    "ClientError",
    "CsvColumns",
    "Job",
    "LogLine",
    "Metric",
    "Party",
    "Peer",
    "Reason",
    "Refused",
    "Rows",
    "ServerInfo",
    "Sibling",
    "SiteInfo",
    "StoredTable",
    "StrangeReply",
    "Task",
    "Unreachable",
]
DEFAULT_URL = "http://127.0.0.1:9380"
MAX_WAIT_S = 30
MAX_REPLY_BYTES = 256 << 20
UPLOAD_TIMEOUT_S = 3600.0
BLOCK_BYTES = 1 << 18
_HOW_TO_START = (
    "start one with: partyd --role guest --party-id 10000, or a whole federation with: partyd standalone; "
    "or say where it is: flow --url http://HOST:PORT ..."
)


@dataclass(frozen=True)
class Party:
    """Which of the addresses that a daemon serves is meant; empty: whichever fits."""

    role: str = ""
    party_id: str = ""

    def query(self) -> dict[str, str]:
        """Return the fields of a request."""
        return {key: value for key, value in (("role", self.role), ("party_id", self.party_id)) if value}


ANY_PARTY = Party()


@dataclass(frozen=True)
class CsvColumns:
    """How to read an uploaded file; what is empty is guessed by the daemon."""

    label: str = ""
    sample_id: str = ""
    match_id: str = ""
    weight: str = ""
    delimiter: str = ""
    on_bad_row: str = ""

    def query(self) -> dict[str, str]:
        """Return the fields of a request."""
        return {key: value for key, value in vars(self).items() if value}


class Client:
    """Speaks with one daemon; use it as a context manager, from one thread."""

    def __init__(
        self, url: str = DEFAULT_URL, *, token: str = "", ca_file: Path | None = None, timeout_s: float = 60.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(
                "this is no address of a daemon", where=url[:200], how=f"write it as {DEFAULT_URL} or https://HOST:PORT"
            )
        self.url = url.rstrip("/")
        self._host, self._port, self._tls = parts.hostname, parts.port or 9380, parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- jobs

    def submit(self, dag: str | Mapping[str, object]) -> str:
        """Start the job that a DAG describes (a YAML or JSON text, or the object) and return its id."""
        text = dag if isinstance(dag, str) else json.dumps(dag)
        reply = self._post("/v2/job/submit", text.encode(), "application/json")
        return reply.text("job_id")

    def stop(self, job_id: str) -> None:
        """End a job at every party."""
        self._post("/v2/job/stop", json.dumps({"job_id": job_id}).encode(), "application/json")

    def job(self, job_id: str, party: Party = ANY_PARTY, *, seen: str = "", wait_s: int = 0) -> Job:
        """Return a job; with ``wait_s``, as soon as it differs from the state of the tag ``seen``."""
        query = {"job_id": job_id, **party.query()}
        wait = min(wait_s, MAX_WAIT_S)
        if seen and wait:
            query |= {"seen": seen, "wait": str(wait)}
        found = self._get("/v2/job/query", query, wait_s=wait).parts("data")
        if not found:
            raise StrangeReply("the reply holds no job", where=self.url, how="ask with: flow job list")
        return Job.read(found[0])

    def jobs(self, limit: int = 20, party: Party = ANY_PARTY) -> list[Job]:
        """Return the newest jobs."""
        reply = self._get("/v2/job/list/query", {"limit": str(limit), **party.query()})
        return [Job.read(part) for part in reply.part("data").parts("data")]

    def log(self, job_id: str, task: str, party: Party = ANY_PARTY, *, begin: int = 0) -> list[LogLine]:
        """Return the log lines of a task from line ``begin``."""
        query = {"job_id": job_id, "task_name": task, "begin": str(begin), **party.query()}
        return [LogLine.read(part) for part in self._get("/v2/log/query", query).parts("data")]

    def metrics(self, job_id: str, task: str, party: Party = ANY_PARTY) -> dict[str, Metric]:
        """Return the metrics of a task by name."""
        query = {"job_id": job_id, "task_name": task, **party.query()}
        found = [Metric.read(part) for part in self._get("/v2/output/metric/query", query).parts("data")]
        return {metric.name: metric for metric in found}

    def documents(self, job_id: str, task: str, party: Party = ANY_PARTY) -> Mapping[str, object]:
        """Return the models and other documents that a task wrote, by name."""
        query = {"job_id": job_id, "task_name": task, **party.query()}
        return self._get("/v2/output/model/query", query).part("data").values

    def rows(
        self, job_id: str, task: str, party: Party = ANY_PARTY, *, port: str = "", begin: int = 0, limit: int = 100
    ) -> Rows:
        """Return rows of a task's output table; the daemon gives at most 100 at a time."""
        query = {"job_id": job_id, "task_name": task, "limit": str(limit), **party.query()}
        query |= {"output_key": port} if port else {}
        query |= {"begin": str(begin)} if begin else {}
        return Rows.read(self._get("/v2/output/data/display", query).part("data"))

    # -- tables

    def upload(
        self,
        file: Path,
        namespace: str,
        name: str,
        columns: CsvColumns = CsvColumns(),
        party: Party = ANY_PARTY,
        sent: Callable[[int], None] = lambda _: None,
    ) -> StoredTable:
        """Stream a CSV file (or .csv.gz) to the daemon as a table; ``sent`` hears how many bytes went each time."""
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            query = {"namespace": namespace, "name": name, **columns.query(), **party.query()}
            query |= {"gzip": "1"} if file.suffix == ".gz" else {}
            reply = self._post(
                f"/v2/data/component/upload/file?{urlencode(query)}", _Watched(stream, sent), "text/csv", size=size
            )
        return StoredTable.read(reply.part("data"))

    def upload_text(
        self,
        text: str,
        namespace: str,
        name: str,
        columns: CsvColumns = CsvColumns(),
        party: Party = ANY_PARTY,
    ) -> StoredTable:
        """Store a small CSV text as a table."""
        query = {"namespace": namespace, "name": name, **columns.query(), **party.query()}
        path = f"/v2/data/component/upload/file?{urlencode(query)}"
        return StoredTable.read(self._post(path, text.encode(), "text/csv").part("data"))

    def table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> StoredTable:
        """Return one table's description."""
        reply = self._get("/v2/table/query", {"namespace": namespace, "name": name, **party.query()})
        return StoredTable.read(reply.part("data"))

    def tables(self, party: Party = ANY_PARTY) -> list[StoredTable]:
        """Return every table's description."""
        return [StoredTable.read(part) for part in self._get("/v2/table/query", party.query()).parts("data")]

    def delete_table(self, namespace: str, name: str, party: Party = ANY_PARTY) -> None:
        """Delete a table; jobs that have read it keep what they read."""
        body = json.dumps({"namespace": namespace, "name": name, **party.query()})
        self._post("/v2/table/delete", body.encode(), "application/json")

    # -- the daemon

    def site(self) -> SiteInfo:
        """Return who answers."""
        return SiteInfo.read(self._get("/v2/site/info/query", {}).part("data"))

    def peers(self) -> list[Peer]:
        """Return every pinned peer."""
        return [Peer.read(part) for part in self._get("/v2/site/peers", {}).parts("data")]

    def server(self) -> ServerInfo:
        """Return address and version of what answers."""
        return ServerInfo.read(self._get("/v2/server/fateflow", {}).part("data"))

    def is_ready(self) -> bool:
        """Return whether the daemon takes work; False also while nothing answers."""
        try:
            status, _ = self._exchange("GET", "/readyz", None, {}, self._timeout_s)
        except Unreachable:
            return False
        return status == 200

    def wait_until_ready(self, deadline_s: float, pause_s: float = 0.05) -> bool:
        """Return whether the daemon became ready in time; a daemon that does not listen yet can only be asked again."""
        end = time.monotonic() + deadline_s
        while not self.is_ready():
            if time.monotonic() > end:
                return False
            time.sleep(pause_s)
        return True

    # -- HTTP

    def _get(self, path: str, query: Mapping[str, str], *, wait_s: float = 0.0) -> Fields:
        target = f"{path}?{urlencode(query)}" if query else path
        return self._read(*self._exchange("GET", target, None, {}, self._timeout_s + wait_s))

    def _post(self, path: str, body: bytes | _Watched, content_type: str, *, size: int | None = None) -> Fields:
        self.close()
        headers = {"Content-Type": content_type} | ({} if size is None else {"Content-Length": str(size)})
        timeout_s = UPLOAD_TIMEOUT_S if size is not None else self._timeout_s
        return self._read(*self._exchange("POST", path, body, headers, timeout_s))

    def _exchange(
        self, method: str, path: str, body: bytes | _Watched | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        is_kept = self._connection is not None
        try:
            return self._once(method, path, body, headers, timeout_s)
        except TimeoutError as error:
            self.close()
            raise self._unreachable(f"no answer within {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_kept and method == "GET":
                return self._exchange(method, path, body, headers, timeout_s)
            if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
                raise StrangeReply(f"this does not speak HTTP ({error!r:.80})", where=self.url, how=_CHECK) from error
            raise self._unreachable(_cause(error)) from error

    def _once(
        self, method: str, path: str, body: bytes | _Watched | None, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        connection = self._connection or self._connect(timeout_s)
        self._connection = connection
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        try:
            connection.request(method, self._prefix + path, body, {**self._headers, **headers})
        except (BrokenPipeError, ConnectionResetError):
            if not isinstance(body, _Watched):
                raise  # of an upload the daemon may have refused the rest: then its answer is there to read
        response = connection.getresponse()
        data = response.read(MAX_REPLY_BYTES + 1)
        if len(data) > MAX_REPLY_BYTES:
            self.close()
            raise StrangeReply("the reply is larger than 256 MiB", where=self.url, how="ask for fewer rows")
        return response.status, data

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s, blocksize=BLOCK_BYTES)
        import ssl

        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=timeout_s, context=context, blocksize=BLOCK_BYTES
        )

    def _read(self, status: int, data: bytes) -> Fields:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise StrangeReply(f"HTTP {status} without a JSON reply", where=self.url, how=_CHECK) from error
        fields = Fields.of(document, self.url)
        if status < 400 and fields.values.get("code") == 0:
            return fields
        how = "flow init --token-file FILE keeps where it is" if status == 401 else ""
        raise Refused(
            fields.text("message") or f"HTTP {status}",
            where=self.url,
            how=how,
            http_status=status,
            reply_code=fields.whole("code"),
        )

    def _unreachable(self, cause: str) -> Unreachable:
        return Unreachable(f"no daemon answers at {self.url} ({cause})", where="flow", how=_HOW_TO_START)


_CHECK = "check the address: a partyd daemon listens on 9380 unless told otherwise"


@dataclass
class _Watched:
    """A file that tells how much of it was read."""

    stream: BinaryIO
    sent: Callable[[int], None]

    def read(self, size: int = -1) -> bytes:
        """Return the next block."""
        block = self.stream.read(size)
        self.sent(len(block))
        return block


def _cause(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).lower()
