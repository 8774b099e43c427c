"""From an address and an HTTP answer to fields or a named error: the same for both clients."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from partyd.client.errors import ClientError, Refused, StrangeReply, Unreachable
from partyd.client.fields import Fields

DEFAULT_URL = "http://127.0.0.1:9380"
DEFAULT_PORT = 9380
MAX_REPLY_BYTES = 256 << 20
UPLOAD_TIMEOUT_S = 3600.0
BLOCK_BYTES = 1 << 18
CHECK = "check the address: a partyd daemon listens on 9380 unless told otherwise"
_HOW_TO_START = (
    "start one with: partyd --role guest --party-id 10000, or a whole federation with: partyd standalone; "
    "or say where it is: flow --url http://HOST:PORT ..."
)
_TOO_LARGE = "the reply is larger than 256 MiB"
_OLDER = "the daemon does not know this request: it is of another version than this client"
_MENDS = {
    401: "flow init --token-file FILE (or --app-id ID --app-token TOKEN) keeps where it is",
}


@dataclass(frozen=True)
class Place:
    """Where a daemon listens."""

    url: str
    host: str
    port: int
    is_tls: bool
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL; raises ClientError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ClientError(
                "this is no address of a daemon", where=url[:200], how=f"write it as {DEFAULT_URL} or https://HOST:PORT"
            )
        is_tls = parts.scheme == "https"
        return cls(url.rstrip("/"), parts.hostname, parts.port or DEFAULT_PORT, is_tls, parts.path.rstrip("/"))

    def unreachable(self, cause: str) -> Unreachable:
        """Return the error for a daemon that does not answer."""
        return Unreachable(f"no daemon answers at {self.url} ({cause})", where="flow", how=_HOW_TO_START)

    def strange(self, what: str) -> StrangeReply:
        """Return the error for something that is no daemon."""
        return StrangeReply(what, where=self.url, how=CHECK)

    def too_large(self) -> StrangeReply:
        """Return the error for a reply without end."""
        return StrangeReply(_TOO_LARGE, where=self.url, how="ask for fewer rows")

    def read(self, status: int, data: bytes) -> Fields:
        """Return the fields of a reply; raises Refused with the daemon's own sentence, or StrangeReply."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise self.strange(f"HTTP {status} without a JSON reply") from error
        fields = Fields.of(document, self.url)
        if status < 400 and fields.values.get("code") == 0:
            return fields
        raise Refused(
            fields.text("message") or f"HTTP {status}",
            where=self.url,
            how=_OLDER if status == 404 and fields.text("message") == "Not Found" else _MENDS.get(status, ""),
            http_status=status,
            reply_code=fields.whole("code"),
            mistakes=_mistakes(fields.values.get("data")),
        )


def _mistakes(data: object) -> list[str]:
    told = data.get("mistakes") if isinstance(data, Mapping) else None
    found = []
    for each in told if isinstance(told, list) else []:
        if isinstance(each, Mapping):
            place, message, hint = (str(each.get(part) or "") for part in ("path", "message", "hint"))
            found.append(f"{place}: {message}" + (f"; {hint}" if hint else ""))
    return found


def cause_of(error: Exception) -> str:
    """Return what the operating system said, in lower case."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text or type(error).__name__).lower()
