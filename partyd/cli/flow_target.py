"""Which daemon ``flow`` speaks with: the command line's, PARTYD_URL's, the one ``flow init`` kept, this machine's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from partyd.client.answer import DEFAULT_URL
from partyd.client.errors import ClientError

if TYPE_CHECKING:
    from partyd.client import Client

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Target:
    """An address, how to say who asks (a token's file, or an app), and the file with its authority's certificate."""

    url: str = DEFAULT_URL
    token_file: str = ""
    ca_file: str = ""
    app_id: str = ""
    app_token: str = ""

    def client(self, timeout_s: float = TIMEOUT_S) -> Client:
        """Return a client of the daemon; raises ClientError when the token cannot be read."""
        from partyd.client import Client  # here, so that help does not wait for it

        return Client(
            self.url,
            token=self._token(),
            app_id=self.app_id,
            app_token=self.app_token,
            ca_file=Path(self.ca_file) if self.ca_file else None,
            timeout_s=timeout_s,
        )

    def at(self, url: str) -> Target:
        """Return the same target under another address."""
        return replace(self, url=url)

    def shown(self) -> dict[str, str]:
        """Return what may be printed: all but the app's token."""
        return {**vars(self), "app_token": "(kept)" if self.app_token else ""}

    def _token(self) -> str:
        if not self.token_file:
            return ""
        try:
            return Path(self.token_file).read_text().strip()
        except OSError as error:
            how = "name a file that you may read: flow init --token-file FILE"
            raise ClientError(f"cannot be read: {error.strerror}", where=self.token_file, how=how) from error


FIELDS = tuple(field.name for field in fields(Target))


def config_path(environ: Mapping[str, str]) -> Path:
    """Return where ``flow init`` keeps its answer."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "~")).expanduser() / ".config")
    return Path(base) / "partyd" / "flow.json"


def load(environ: Mapping[str, str]) -> Target:
    """Return the target that environment and ``flow init`` name; raises ClientError for a damaged file."""
    kept = _kept(config_path(environ))
    return Target(
        url=environ.get("PARTYD_URL") or kept.get("url") or DEFAULT_URL,
        token_file=environ.get("PARTYD_TOKEN_FILE") or kept.get("token_file", ""),
        ca_file=kept.get("ca_file", ""),
        app_id=environ.get("PARTYD_APP_ID") or kept.get("app_id", ""),
        app_token=environ.get("PARTYD_APP_TOKEN") or kept.get("app_token", ""),
    )


def save(target: Target, environ: Mapping[str, str]) -> Path:
    """Keep ``target`` for later commands, readable by this account alone, and return the file."""
    path = config_path(environ)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(json.dumps(vars(target), indent=1) + "\n")
    partial.replace(path)
    return path


def url_of(url: str, ip: str, port: int | None, default: str) -> str:
    """Return the address that ``--url``, or ``--ip`` and ``--port``, name; else ``default``."""
    if url:
        return url
    if not ip and port is None:
        return default
    host = f"[{ip}]" if ":" in ip and not ip.startswith("[") else ip
    return f"http://{host or '127.0.0.1'}:{port or 9380}"


def _kept(path: Path) -> dict[str, str]:
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ClientError(
            f"cannot be read: {error}", where=str(path), how="write it anew: flow init --reset"
        ) from error
    if not isinstance(document, dict):
        raise ClientError("holds no JSON object", where=str(path), how="write it anew: flow init --reset")
    return {name: str(document.get(name) or "") for name in FIELDS}
