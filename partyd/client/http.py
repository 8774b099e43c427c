"""The synchronous way to a daemon, on the standard library: one kept connection, nothing heavy to import.

Reads are repeated once when a kept connection turns out to be closed; what changes something is sent once, on a new
connection.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlencode

from partyd.client.answer import BLOCK_BYTES, MAX_REPLY_BYTES, UPLOAD_TIMEOUT_S, Place, cause_of
from partyd.client.call import Call, Download, Query, T
from partyd.client.credentials import Credentials
from partyd.client.events import MAX_EVENT_BYTES, Event, EventReader
from partyd.client.source import Sent, Stream


@dataclass
class Watched:
    """A file that tells how much of it was read."""

    stream: BinaryIO
    sent: Sent

    def read(self, size: int = -1) -> bytes:
        """Return the next block."""
        block = self.stream.read(size)
        self.sent(len(block))
        return block

    def __iter__(self) -> Iterator[bytes]:
        while block := self.read(BLOCK_BYTES):
            yield block


class Connection:
    """One kept connection to one daemon, for one thread."""

    def __init__(self, place: Place, credentials: Credentials, ca_file: Path | None, timeout_s: float) -> None:
        self._place = place
        self._credentials = credentials
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._kept: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def do(self, call: Call[T]) -> T:
        """Carry out a call and read its answer; raises ClientError."""
        body = call.body if call.method == "POST" else None
        headers = {"Content-Type": call.content_type} if body is not None else {}
        target = _target(call.path, call.query)
        status, data = self._request(call.method, target, body, headers, call.wait_s, signs_body=call.signs_body)
        return call.read(self._place.read(status, data))

    def status(self, path: str) -> int:
        """Return the HTTP status of a GET; raises ClientError when nothing answers."""
        return self._request("GET", path, None, {}, 0)[0]

    def upload(self, call: Call[T], stream: Stream, sent: Sent) -> T:
        """Send a stream as a call's body; what the daemon refuses half-way is still read."""
        headers = {"Content-Type": call.content_type}
        headers |= {"Content-Length": str(stream.size)} if stream.size >= 0 else {"Transfer-Encoding": "chunked"}
        body = Watched(stream.file, sent)
        status, data = self._request("POST", _target(call.path, call.query), body, headers, UPLOAD_TIMEOUT_S)
        return call.read(self._place.read(status, data))

    def download(self, call: Download, file: BinaryIO) -> str:
        """Write a file answer into ``file`` and return its content type; raises Refused for an answer without one."""
        body = call.body if call.method == "POST" else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.close()
        try:
            target = _target(call.path, call.query)
            response = self._send(call.method, target, body, headers, UPLOAD_TIMEOUT_S)
            kind = response.headers.get_content_type()
            if response.status >= 400 or kind == "application/json":
                self._place.read(response.status, response.read(MAX_REPLY_BYTES))
            while block := response.read(BLOCK_BYTES):
                file.write(block)
        except (OSError, http.client.HTTPException) as error:
            raise self._place.unreachable(cause_of(error)) from error
        finally:
            self.close()
        return kind

    def events(self, call: Download, timeout_s: float) -> Iterator[Event]:
        """Yield the events of a stream as they come; raises Refused for an answer without any."""
        self.close()
        reader = EventReader(self._place.url)
        try:
            response = self._send(call.method, _target(call.path, call.query), None, {}, timeout_s)
            if response.status >= 400 or response.headers.get_content_type() == "application/json":
                self._place.read(response.status, response.read(MAX_REPLY_BYTES))
            while line := response.readline(MAX_EVENT_BYTES):
                event = reader.feed(line)
                if event is not None:
                    yield event
        except (OSError, http.client.HTTPException) as error:
            raise self._place.unreachable(cause_of(error)) from error
        finally:
            self.close()

    def _request(
        self,
        method: str,
        target: str,
        body: bytes | Watched | None,
        headers: Mapping[str, str],
        wait_s: float,
        *,
        signs_body: bool = True,
    ) -> tuple[int, bytes]:
        if method == "POST":
            self.close()
        is_kept = self._kept is not None
        timeout_s = self._timeout_s + wait_s
        try:
            return self._whole(self._send(method, target, body, headers, timeout_s, signs_body=signs_body))
        except TimeoutError as error:
            self.close()
            raise self._place.unreachable(f"no answer within {timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_kept and method == "GET":
                return self._request(method, target, body, headers, wait_s)
            raise self._named(error) from error

    def _named(self, error: Exception) -> Exception:
        if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
            return self._place.strange(f"this does not speak HTTP ({error!r:.80})")
        return self._place.unreachable(cause_of(error))

    def _send(
        self,
        method: str,
        target: str,
        body: bytes | Watched | None,
        headers: Mapping[str, str],
        timeout_s: float,
        *,
        signs_body: bool = True,
    ) -> http.client.HTTPResponse:
        connection = self._kept or self._connect(timeout_s)
        self._kept = connection
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        path = self._place.prefix + target
        content = body.stream if isinstance(body, Watched) else body or b""
        signed = self._credentials.headers(method, path, content if signs_body else None)
        try:
            connection.request(method, path, body, {**signed, **headers}, encode_chunked="Transfer-Encoding" in headers)
        except (BrokenPipeError, ConnectionResetError):
            if not isinstance(body, Watched):
                raise  # of an upload the daemon may have refused the rest: then its answer is there to read
        return connection.getresponse()

    def _whole(self, response: http.client.HTTPResponse) -> tuple[int, bytes]:
        data = response.read(MAX_REPLY_BYTES + 1)
        if len(data) > MAX_REPLY_BYTES:
            self.close()
            raise self._place.too_large()
        return response.status, data

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._place.host, self._place.port
        if not self._place.is_tls:
            return http.client.HTTPConnection(host, port, timeout=timeout_s, blocksize=BLOCK_BYTES)
        import ssl

        context = ssl.create_default_context(cafile=None if self._ca_file is None else str(self._ca_file))
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context, blocksize=BLOCK_BYTES)


def _target(path: str, query: Query) -> str:
    return f"{path}?{urlencode(query)}" if query else path
