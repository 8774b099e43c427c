"""Who asks: an app that signs its requests, whoever holds the daemon's token, FATE's client, or anybody on loopback.

Without ``http.token_file`` (possible on loopback alone) every request is the owner's, unless an app signed it. With it
every request needs credentials, the probes excepted. What a caller may do follows from the role
and from what the endpoint declares, never from the text of a path. A refusal says the same whatever was wrong with a
signature; what is wrong with a time or a nonce is said to those alone who could sign.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from partyd import signing
from partyd.api.appbook import App, AppBook
from partyd.api.endpoint import Access, Endpoint, endpoint_of
from partyd.api.replay import SKEW_S, Nonces, Verdict
from partyd.api.replies import FateCode, Handler, Refusal, read_body
from partyd.config import HttpSettings, is_loopback
from partyd.errors import ConfigError

log = structlog.get_logger()

LOWERED_HEADER = "X-Partyd-Access"
"""What the one may for whom the owner's other daemon asks; a caller can only give rights away with it."""
FATE_HEADERS = ("appId", "userName", "Nonce", "Timestamp", "Signature")
_FATE_FORMS = {
    "appId": re.compile(r"[0-9A-Za-z_-]{1,64}"),
    "userName": re.compile(r"[\x20-\x7e]{0,128}"),
    "Nonce": re.compile(r"[0-9A-Za-z_-]{1,64}"),
    "Timestamp": re.compile(r"[0-9]{13}"),
    "Signature": re.compile(r"[0-9a-f]{32}"),
}
_NOBODY = secrets.token_urlsafe(32)
"""The key under which an unknown app's signature is checked: as long as any other's."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what they may."""

    name: str
    access: Access
    how: Literal["open", "token", "app", "fate"]


@dataclass
class BodyCheck:
    """The digest that was signed for a body that is read in pieces."""

    expected: str
    is_done: bool = False
    _hash: Any = field(default_factory=hashlib.sha256)

    def add(self, piece: bytes) -> None:
        """Count a piece."""
        self._hash.update(piece)

    def finish(self) -> None:
        """Compare, after the last piece; raises Refusal."""
        if not hmac.compare_digest(self._hash.hexdigest(), self.expected):
            raise _refused("the body is not the one that was signed; send it again")
        self.is_done = True


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)
BODY_CHECK: web.RequestKey[BodyCheck] = web.RequestKey("body_check", BodyCheck)


def caller_of(request: web.Request) -> Caller:
    """Return who asks, for the audit log."""
    return request.get(CALLER) or Caller("owner", Access.OPEN, "open")


async def body_chunks(request: web.Request, size: int) -> AsyncIterator[bytes]:
    """Yield a streamed body; raises Refusal instead of ending when it is not the body that was signed.

    An endpoint with ``body="file"`` must read its body through this, to the end, before it believes any of it.
    """
    check = request.get(BODY_CHECK)
    async for chunk in request.content.iter_chunked(size):
        if check is not None:
            check.add(chunk)
        yield chunk
    if check is not None:
        check.finish()


class Authenticator:
    """Finds out who asks."""

    def __init__(self, settings: HttpSettings, apps: AppBook, clock: Callable[[], float] = time.time) -> None:
        self._token = _token(settings)
        self._fate_auth = settings.fate_auth
        self._apps = apps
        self._nonces, self._fate_nonces = Nonces(clock), Nonces(clock)
        if settings.fate_auth:
            log.warning("fate_auth", what="FATE's header scheme signs no path and no body; use it over TLS alone")

    async def caller(self, request: web.Request, endpoint: Endpoint[Any] | None) -> Caller:
        """Return who asks; raises Refusal (401) when that is not certain."""
        given = request.headers.getall("Authorization", [])
        is_fate = any(name in request.headers for name in ("appId", "Signature"))
        if len(given) > 1 or (given and is_fate and self._fate_auth):
            raise _refused("send one kind of credentials, once")
        if given:
            if given[0].startswith(signing.SCHEME):
                return await self._signed(request, endpoint, given[0])
            if self._token:
                return self._bearer(given[0])
        if is_fate and self._fate_auth:
            return await self._fate(request)
        if self._token:
            raise _refused()
        return Caller("owner", _lowered(request), "open")

    def _bearer(self, header: str) -> Caller:
        scheme, _, given = header.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() != "bearer" or not is_right:
            raise _refused()
        return Caller("owner", Access.ADMIN, "token")

    async def _signed(self, request: web.Request, endpoint: Endpoint[Any] | None, header: str) -> Caller:
        said = signing.parse(header)
        if said is None:
            raise _refused()
        app = await self._apps.find(said.app_id)
        token = _NOBODY if app is None else app.app_token
        made = signing.signature(token, request.method, request.raw_path, said.ts, said.nonce, said.body)
        if not hmac.compare_digest(made, said.signature) or app is None:
            raise _refused()
        _check_fresh(self._nonces.judge(app.app_id, said.nonce, said.ts))
        await self._check_body(request, endpoint, said.body)
        return _as_caller(app, "app")

    async def _check_body(self, request: web.Request, endpoint: Endpoint[Any] | None, digest: str) -> None:
        is_streamed = endpoint is not None and endpoint.body in ("file", "form")
        if digest == signing.UNSIGNED:
            if not is_streamed or not (request.secure or _is_local(request)):
                raise _refused("a body must be signed here; only uploads over TLS or loopback may go unsigned")
            return
        if not is_streamed:
            check = BodyCheck(digest)
            check.add(await read_body(request))
            check.finish()
        elif endpoint is not None and endpoint.body == "form":
            raise _refused(f"a form cannot be checked against a digest while it is read; sign {signing.UNSIGNED}")
        else:
            request[BODY_CHECK] = BodyCheck(digest)

    async def _fate(self, request: web.Request) -> Caller:
        given = {name: request.headers.getall(name, [""] if name == "userName" else []) for name in FATE_HEADERS}
        said = {name: values[0] for name, values in given.items() if len(values) == 1}
        if len(said) != len(FATE_HEADERS) or not all(_FATE_FORMS[name].fullmatch(said[name]) for name in said):
            raise _refused()
        app = await self._apps.find(said["appId"])
        token = _NOBODY if app is None else app.app_token
        inner = _md5("".join(said[name] for name in ("appId", "userName", "Nonce", "Timestamp")))
        if not hmac.compare_digest(_md5(inner + token), said["Signature"]) or app is None:
            raise _refused()
        verdict = self._fate_nonces.judge(app.app_id, said["Signature"], int(said["Timestamp"]) // 1000)
        is_repeated_read = verdict is Verdict.REPEATED and request.method == "GET"
        if not is_repeated_read:  # its client draws one of 9000 nonces a second: two reads may well share one
            _check_fresh(verdict)
        return _as_caller(app, "fate")


def access(authenticator: Authenticator) -> Middleware:
    """Return the middleware that lets a request through to what its endpoint declares."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        endpoint = endpoint_of(request)
        needed = Access.VIEWER if endpoint is None else endpoint.access
        if needed is not Access.OPEN:
            caller = await authenticator.caller(request, endpoint)
            if caller.access < needed:
                raise Refusal(
                    f"this needs the role {needed.name.lower()}; an admin gives it with: flow permission grant",
                    status=403,
                    number=FateCode.NO_PERMISSION,
                )
            request[CALLER] = caller
        response = await handler(request)
        waiting = request.get(BODY_CHECK)
        if waiting is not None and not waiting.is_done:
            raise TypeError(f"{request.path} read its body past body_chunks; what was signed was not checked")
        return response

    return check


def _as_caller(app: App, how: Literal["app", "fate"]) -> Caller:
    return Caller(f"{app.app_name} ({app.app_id})", app.access, how)


def _lowered(request: web.Request) -> Access:
    said = [Access[name] for name in request.headers.getall(LOWERED_HEADER, []) if name in Access.__members__]
    return min([Access.ADMIN, *said])


def _check_fresh(verdict: Verdict) -> None:
    match verdict:
        case Verdict.STALE:
            raise _refused(
                f"the request was signed more than {SKEW_S} s from now, or before this daemon began; set the clock",
                FateCode.EXPIRED,
            )
        case Verdict.REPEATED:
            raise _refused("this request was sent before; sign each one anew", FateCode.AUTHENTICATION_FAILED)
        case Verdict.FULL:
            raise Refusal(
                "too many signed requests within two minutes; ask again in a minute",
                status=429,
                number=FateCode.AUTHENTICATION_FAILED,
            )
        case Verdict.FRESH:
            return


def _refused(
    why: str = "credentials are missing or wrong; see docs/api.md for how to send them",
    number: FateCode = FateCode.VERIFY_FAILED,
) -> Refusal:
    return Refusal(why, status=401, number=number)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _is_local(request: web.Request) -> bool:
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    return isinstance(peer, tuple) and is_loopback(str(peer[0]))


def _token(settings: HttpSettings) -> bytes:
    path = settings.token_file
    if path is None:
        return b""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"http.token_file: {path} cannot be read: {error.strerror}") from error
    if len(token) < 16:
        raise ConfigError(f"http.token_file: {path} holds fewer than 16 characters; write a long random token")
    return token
