"""Who may ask: the Host allow-list against DNS rebinding, the Origin check, and the token where one is set."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from partyd.api.replies import ARGUMENT, Handler, failure
from partyd.config import Settings, is_loopback
from partyd.errors import ConfigError

OPEN_PATHS = frozenset({"/livez", "/readyz", "/healthz"})


def guard(settings: Settings) -> web.middleware:  # type: ignore[valid-type]
    """Return the middleware for these settings; raises ConfigError when the token cannot be read."""
    token = _token(settings)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        host = _name(request.headers.get("Host", ""))
        if host != settings.http.host and not is_loopback(host):
            return failure(421, ARGUMENT, "this daemon does not answer under that host name")
        origin = request.headers.get("Origin")
        if origin is not None and _netloc(origin) != request.headers.get("Host", "").lower():
            return failure(403, ARGUMENT, "requests from other web sites are refused")
        if token and request.path not in OPEN_PATHS:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ").encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, token):
                return failure(401, ARGUMENT, "send the daemon's token: Authorization: Bearer TOKEN (http.token_file)")
        return await handler(request)

    return check


def _name(host: str) -> str:
    """Return a Host header's name without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str | None:
    """Return an Origin's host and port, None for one that names no site: another port is another site."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _token(settings: Settings) -> bytes:
    path = settings.http.token_file
    if path is None:
        return b""
    try:
        token = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"http.token_file: {path} cannot be read: {error.strerror}") from error
    if len(token) < 16:
        raise ConfigError(f"http.token_file: {path} holds fewer than 16 characters; write a long random token")
    return token
