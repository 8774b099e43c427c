"""What an owner may set, each key with its meaning, default and bounds.

``partyd.config_sources`` reads them: defaults, then files, then ``PARTYD_...`` variables, then the command line. Sizes
may be written as ``"16 MiB"``, lists in variables as ``guest,host``. ``conf/partyd.toml`` shows every key.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from partyd.types import PARTY_ID_PATTERN, Address, Role

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_SIZE = re.compile(r"([0-9]{1,18})\s*(B|KiB|MiB|GiB)?\Z")
_UNITS = {None: 1, "B": 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def _size(value: object) -> object:
    """Read ``"16 MiB"``; leave everything else to pydantic."""
    if not isinstance(value, str):
        return value
    match = _SIZE.match(value.strip())
    if match is None:
        raise ValueError('a size is a number of bytes or a text such as "16 MiB" (B, KiB, MiB, GiB)')
    return int(match[1]) * _UNITS[match[2]]


def _role(value: object) -> object:
    return Role.from_label(value) if isinstance(value, str) else value


def _listed(value: object) -> object:
    """Split ``guest,host``, as variables and the command line write lists."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _party_id(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not PARTY_ID_PATTERN.match(text):
        raise ValueError("a party id is 1 to 64 of 0-9 A-Z a-z _ -")
    return text


Size = Annotated[int, BeforeValidator(_size), Field(ge=0, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65_535)]
RoleName = Annotated[Role, BeforeValidator(_role), PlainSerializer(lambda role: role.label)]
Roles = Annotated[tuple[RoleName, ...], BeforeValidator(_listed), Field(min_length=1, max_length=3)]


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerSettings(Section):
    """The broker all parties share; it is not trusted with anything but delivery."""

    url: Annotated[str, Field(max_length=1024)] = "mqtt://127.0.0.1:1883"
    """mqtts://HOST:PORT (TLS, port 8883 by default) or, on one machine, mqtt://127.0.0.1:1883."""
    ca_file: Path | None = None
    """The authority that signed the broker's certificate (PEM); without it the system's authorities count."""
    cert_file: Path | None = None
    """Our certificate for the broker (PEM), its common name our party id; needs key_file."""
    key_file: Path | None = None
    """The private key of cert_file (PEM)."""
    username: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Our name at a broker with passwords; at partyd-broker it is the party id."""
    password_file: Path | None = None
    """A file that holds the password of username, and nothing else."""

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def scheme(self) -> str:
        return self._parts.scheme

    @property
    def host(self) -> str:
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        return self._parts.port or _PORTS.get(self.scheme, 0)

    @property
    def tls(self) -> bool:
        return self.scheme == "mqtts"

    @model_validator(mode="after")
    def _check_url(self) -> Self:
        parts = self._parts
        if parts.scheme not in ("mqtt", "mqtts", "memory") or not parts.hostname or parts.path.strip("/"):
            raise ValueError("url must be mqtts://HOST:PORT, mqtt://HOST:PORT or memory://NAME")
        if parts.username is not None:
            raise ValueError("url must not hold a user or password: set username and password_file")
        _ = parts.port  # urlsplit checks the port only when it is asked for
        return self

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: set both or neither")
        if not self.tls and self.cert_file is not None:
            raise ValueError("a certificate is shown over TLS only: write url = 'mqtts://...'")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs username (at our broker: the party id)")
        if self.scheme == "mqtt" and self.password_file is not None and not is_loopback(self.host):
            raise ValueError("a password would travel in clear: write url = 'mqtts://...'")
        return self


class HttpSettings(Section):
    """The API, health and board. Anything but loopback needs TLS and a token."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    """Where to listen. An address that others can reach needs tls_cert, tls_key and token_file."""
    port: Port = 9380
    """The port; 0 lets the system choose one."""
    tls_cert: Path | None = None
    """The server's certificate chain (PEM)."""
    tls_key: Path | None = None
    """The private key of tls_cert (PEM)."""
    token_file: Path | None = None
    """A file with the owner's token (Authorization: Bearer ...). With it every caller needs that token or an app's."""
    fate_auth: bool = False
    """Whether FATE's client may sign as it does (appId, Signature ...): neither path nor body, so over TLS alone."""
    max_requests: Annotated[int, Field(ge=8, le=10_000)] = 256
    """How many requests are answered at a time; more are told to come again."""

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: set both or neither")
        if is_loopback(self.host) or (self.tls_cert is not None and self.token_file is not None):
            return self
        raise ValueError(
            f"host {self.host!r} can be reached by others: set tls_cert, tls_key and token_file, or use 127.0.0.1"
        )


class DeliverySettings(Section):
    """How much may be under way to and from one peer."""

    window_bytes: Annotated[Size, Field(ge=MIB)] = 16 * MIB
    """Bytes sent and not yet acknowledged."""
    chunk_bytes: Annotated[Size, Field(ge=4 * KIB, le=MIB)] = 960 * KIB
    """The largest piece of a message in one frame; the broker must let a little more through."""
    inbox_quota_bytes: Annotated[Size, Field(ge=MIB)] = 4 * GIB
    """Received and not yet used by a job; beyond it the peer is told to wait."""
    outbox_quota_bytes: Annotated[Size, Field(ge=MIB)] = 4 * GIB
    """Produced and not yet acknowledged by the peer; beyond it our tasks wait."""


class StoreSettings(Section):
    """The durable store and its disk."""

    reserve_bytes: Size = 64 * MIB
    """A file that is given up when the disk is full, so that final states can still be written."""
    low_watermark_bytes: Size = 512 * MIB
    """With less than this free (or 5 % of the disk) no new job is taken and no data acknowledged."""
    backup_every_h: Annotated[float, Field(ge=0, le=24 * 366, allow_inf_nan=False)] = 1
    """Hours between the daemon's own backups of its stores, in backups/ of the state directory; 0 for none."""
    backups_kept: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many of those are kept, the newest."""


class JobSettings(Section):
    """How jobs run here."""

    cores: Annotated[int, Field(ge=0, le=65_536)] = 0
    """How many cores all running jobs together may ask for; 0 for twice the processors, at least 8."""
    task_timeout_s: Seconds = 86_400
    """A task of this party that runs longer fails; a restart of the daemon counts anew."""
    peer_timeout_s: Seconds = 86_400
    """A job that was begun here ends when one of its parties is silent for so long; until then it is stalled."""


class DataSettings(Section):
    """Tables: what may be uploaded or bound, and where databases are described."""

    upload_max_bytes: Annotated[Size, Field(ge=KIB)] = 64 * GIB
    """The largest file that an upload may bring."""
    max_columns: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    """The most columns of one table; of sparse files, the most features or tags."""
    bind_roots: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = ()
    """Directories whose files may be bound, read or written by path. None named: data/ of the state directory."""
    sources_dir: Path | None = None
    """Where NAME.url holds the SQLAlchemy URL of database NAME, mode 0600. Default: conf/sources of state_dir."""
    jobs_at_once: Annotated[int, Field(ge=1, le=64)] = 2
    """How many uploads, transformations and downloads run at a time; more wait."""

    @model_validator(mode="after")
    def _check_roots(self) -> Self:
        if not all(root.is_absolute() for root in self.bind_roots):
            raise ValueError("bind_roots must be absolute paths")
        return self


class LogSettings(Section):
    """What is written to standard output while the daemon runs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important line that is written."""
    format: Literal["auto", "json", "pretty"] = "auto"
    """auto: pretty on a terminal, one JSON object a line elsewhere."""


class Settings(Section):
    """Everything one daemon is told, read once at its start."""

    party_id: Annotated[str, BeforeValidator(_party_id)]
    """This organisation's id at the broker and in jobs: 1 to 64 of 0-9 A-Z a-z _ -"""
    roles: Roles
    """The roles this daemon serves (guest, host, arbiter); each has keys of its own."""
    org: Annotated[str, Field(max_length=120)] = ""
    """The organisation's name for people; it stands on the card that peers read."""
    state_dir: Path
    """Keys, peers, store and tables. Default: $STATE_DIRECTORY, else ~/.local/state/partyd/<role>-<party id>."""
    broker: BrokerSettings = BrokerSettings()
    http: HttpSettings = HttpSettings()
    delivery: DeliverySettings = DeliverySettings()
    store: StoreSettings = StoreSettings()
    jobs: JobSettings = JobSettings()
    data: DataSettings = DataSettings()
    log: LogSettings = LogSettings()
    standalone: bool = False
    """Set by ``partyd standalone`` alone: this daemon is part of a federation in one directory."""

    @model_validator(mode="after")
    def _check_roles(self) -> Self:
        if len(set(self.roles)) != len(self.roles):
            raise ValueError("roles names a role twice")
        return self

    @property
    def addresses(self) -> tuple[Address, ...]:
        """One address for each role, each with keys of its own."""
        return tuple(Address(self.party_id, role) for role in self.roles)

    @property
    def instance(self) -> str:
        """The daemon's name for systemd and the default state directory, such as ``guest-10000``."""
        return instance_name(self.roles, self.party_id)


def instance_name(roles: tuple[Role, ...], party_id: str) -> str:
    """Name a daemon: ``guest-10000``, or ``guest.host-10000`` when it serves two roles."""
    return ".".join(role.label for role in sorted(roles, key=lambda role: role.value)) + f"-{party_id}"


def parse_instance(text: str) -> tuple[tuple[Role, ...], str]:
    """Read ``guest-10000``; raises ValueError saying how an instance is written."""
    labels, separator, party_id = text.partition("-")
    if not separator or not PARTY_ID_PATTERN.match(party_id):
        raise ValueError(f"{text[:80]!r} is no instance; write role and party id as guest-10000")
    return tuple(Role.from_label(label) for label in labels.split(".")), party_id
