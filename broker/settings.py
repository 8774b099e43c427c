"""Read and write ``broker.toml``: everything an operator may set, checked once."""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from broker.errors import SettingsError

MIB = 1 << 20


class Identity(StrEnum):
    """How a client proves its party id."""

    CERTIFICATES = "certificates"
    PASSWORDS = "passwords"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Section):
    """Where the broker listens."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8883
    tls: bool = True


class Files(_Section):
    """Names of files, relative to the directory of ``broker.toml``."""

    ca: Path = Path("ca.crt")
    certificate: Path = Path("server.crt")
    key: Path = Path("server.key")
    revoked: Path = Path("ca.crl")
    passwords: Path = Path("passwords")
    acl: Path = Path("acl")


class Limits(_Section):
    """What one client may use; the same numbers bind mosquitto and the embedded broker."""

    max_packet_bytes: Annotated[int, Field(ge=4096, le=256 * MIB - 1)] = 2 * MIB
    max_connections: Annotated[int, Field(ge=2, le=100_000)] = 1024
    max_queued_messages: Annotated[int, Field(ge=1, le=10_000_000)] = 1_000_000
    max_queued_bytes: Annotated[int, Field(ge=MIB)] = 1024 * MIB
    max_inflight_messages: Annotated[int, Field(ge=1, le=65535)] = 100
    max_keepalive_s: Annotated[int, Field(ge=10, le=65535)] = 120


class Settings(_Section):
    """The whole of ``broker.toml``."""

    identity: Identity = Identity.CERTIFICATES
    listen: Listen = Listen()
    files: Files = Files()
    limits: Limits = Limits()
    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    mosquitto: str = "mosquitto"

    @model_validator(mode="after")
    def _refuse_secrets_in_clear(self) -> Self:
        if not self.listen.tls and self.identity is Identity.CERTIFICATES:
            raise ValueError("listen.tls = false needs identity = 'passwords': certificates are shown over TLS only")
        if not self.listen.tls and not is_loopback(self.listen.host):
            raise ValueError(
                "listen.tls = false is allowed on a loopback address only: passwords would travel in clear"
            )
        return self


def is_loopback(host: str) -> bool:
    """Say whether the host can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(path: Path) -> Settings:
    """Read a configuration; raises SettingsError that names the wrong key and the nearest known one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        mend = "Write one with: partyd-broker init --dir DIR --party ID --party ID"
        raise SettingsError("no configuration found", where=str(path), mend=mend) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot be read: {error}", where=str(path), mend="Mend the file.") from error
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise _named(error, path) from error


def _named(error: ValidationError, path: Path) -> SettingsError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "broker.toml"
    if first["type"] != "extra_forbidden":
        return SettingsError(f"{key}: {first['msg']}", where=str(path), mend="Set it as conf/broker.toml explains.")
    near = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known keys: {', '.join(known_keys())}."
    return SettingsError(f"unknown key {key!r}", where=str(path), mend=hint)


def known_keys() -> list[str]:
    """List every key as ``section.key``."""
    keys: list[str] = []
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
        else:
            keys.append(name)
    return keys
