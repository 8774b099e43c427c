"""How a request to the API is signed: HMAC-SHA256 with an app's token over all that matters of it.

::

    Authorization: PARTYD-HMAC-SHA256 app_id=ID, ts=SECONDS, nonce=NONCE, body=DIGEST, signature=SIGNATURE

``SIGNATURE`` is HMAC-SHA256, in lower-case hex, keyed with the app's token, over six lines without a line feed at the
end: the scheme's name, the method in capitals, path and query exactly as they stand in the request line, SECONDS since
1970, NONCE, and DIGEST. ``DIGEST`` is the SHA-256 of the body in lower-case hex, of the empty text where there is none;
a multipart form, which is made while it is sent, may say ``UNSIGNED-PAYLOAD`` where nobody can listen (TLS, loopback).
A nonce is 16 to 64 of ``0-9 A-Z a-z _ -`` and counts once. Client and daemon share this module; it reads no clock.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

SCHEME = "PARTYD-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_BODY = hashlib.sha256(b"").hexdigest()
MAX_LENGTH = 512
_FIELDS = {
    "app_id": re.compile(r"[0-9A-Za-z_-]{1,64}"),
    "ts": re.compile(r"[1-9][0-9]{0,11}"),
    "nonce": re.compile(r"[0-9A-Za-z_-]{16,64}"),
    "body": re.compile(rf"[0-9a-f]{{64}}|{UNSIGNED}"),
    "signature": re.compile(r"[0-9a-f]{64}"),
}


@dataclass(frozen=True)
class Signed:
    """What the header says."""

    app_id: str
    ts: int
    nonce: str
    body: str
    signature: str


def signature(token: str, method: str, target: str, ts: int, nonce: str, body: str) -> str:
    """Return the signature of a request; ``target`` is path and query as they are sent, ``body`` the body's digest."""
    text = "\n".join([SCHEME, method, target, str(ts), nonce, body])
    return hmac.new(token.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def authorization(app_id: str, token: str, method: str, target: str, ts: int, nonce: str, body: str) -> str:
    """Return the value of the Authorization header of a request."""
    made = signature(token, method, target, ts, nonce, body)
    return f"{SCHEME} app_id={app_id}, ts={ts}, nonce={nonce}, body={body}, signature={made}"


def parse(header: str) -> Signed | None:
    """Read the header; None for one that is not exactly of this form, each field once."""
    scheme, _, rest = header.partition(" ")
    pairs = [part.strip().partition("=") for part in rest.split(",")] if len(header) <= MAX_LENGTH else []
    found = {name: value for name, _, value in pairs}
    if scheme != SCHEME or len(pairs) != len(_FIELDS) or found.keys() != _FIELDS.keys():
        return None
    if not all(pattern.fullmatch(found[name]) for name, pattern in _FIELDS.items()):
        return None
    return Signed(found["app_id"], int(found["ts"]), found["nonce"], found["body"], found["signature"])
