"""Who a client says it is: the daemon's token, or an app's id with a signature over each request."""

from __future__ import annotations

import hashlib
import io
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from partyd import signing

_BLOCK_BYTES = 1 << 20


def digest(body: bytes | BinaryIO | None) -> str:
    """Return what a signature says of a body: its SHA-256, or that it is not signed, having to be read twice for it."""
    if body is None:
        return signing.UNSIGNED
    if isinstance(body, bytes):
        return hashlib.sha256(body).hexdigest()
    if not body.seekable():
        return signing.UNSIGNED
    begin, found = body.tell(), hashlib.sha256()
    while block := body.read(_BLOCK_BYTES):
        found.update(block)
    body.seek(begin, io.SEEK_SET)
    return found.hexdigest()


@dataclass(frozen=True)
class Credentials:
    """The daemon's token, or an app's id and token; nothing for a daemon that asks for none."""

    token: str = ""
    app_id: str = ""
    app_token: str = ""
    now: Callable[[], float] = time.time
    nonce: Callable[[], str] = lambda: secrets.token_hex(16)

    def headers(self, method: str, target: str, body: bytes | BinaryIO | None) -> dict[str, str]:
        """Return the headers that a request needs; ``target`` is path and query as sent, None a body left unsigned."""
        if self.app_id and self.app_token:
            moment, nonce = int(self.now()), self.nonce()
            value = signing.authorization(self.app_id, self.app_token, method, target, moment, nonce, digest(body))
            return {"Authorization": value}
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}
