"""Ask the daemon that runs here, over its own HTTP port."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping

from partyd.config import HttpSettings
from partyd.errors import ConfigError, PartydError

_MAX_ANSWER = 4 << 20


class UnreachableError(PartydError):
    """The daemon's port does not answer as one of ours."""

    code = "no_answer"


def ask(
    settings: HttpSettings, method: str, path: str, body: object = None, timeout_s: float = 10
) -> tuple[int, object]:
    """Return status and decoded JSON or text; raises UnreachableError, or ConfigError for a file that is wrong."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  (a name, no listener)
    if not settings.port:
        raise UnreachableError("http.port is 0: the daemon chose its port, which only its log shows")
    connection = _connection(settings, host, timeout_s)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, _headers(settings))
        answer = connection.getresponse()
        text = answer.read(_MAX_ANSWER).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"http://{host}:{settings.port}{path}: {error or type(error).__name__}") from error
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def _connection(settings: HttpSettings, host: str, timeout_s: float) -> http.client.HTTPConnection:
    if settings.tls_cert is None:
        return http.client.HTTPConnection(host, settings.port, timeout=timeout_s)
    context = ssl.create_default_context()
    context.check_hostname = False  # it is our own certificate that counts, whatever name it has
    try:
        context.load_verify_locations(settings.tls_cert)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"http.tls_cert: {settings.tls_cert} cannot be used: {error}") from error
    return http.client.HTTPSConnection(host, settings.port, timeout=timeout_s, context=context)


def _headers(settings: HttpSettings) -> Mapping[str, str]:
    headers = {"Content-Type": "application/json"}
    if settings.token_file is not None:
        try:
            headers["Authorization"] = f"Bearer {settings.token_file.read_text(encoding='utf-8').strip()}"
        except OSError as error:
            raise ConfigError(f"http.token_file: {settings.token_file} cannot be read: {error.strerror}") from error
    return headers
