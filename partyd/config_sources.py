"""Read settings from files, variables and the command line, and say exactly where a wrong one stands.

Later sources win: defaults < systemd (``$STATE_DIRECTORY``, ``$CREDENTIALS_DIRECTORY``) < files in the order given
< variables ``PARTYD_KEY`` or ``PARTYD_SECTION__KEY`` < the command line. A relative path counts from the directory of
the file that names it; from a variable or the command line, from the working directory.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from partyd.config import Section, Settings, instance_name, parse_instance
from partyd.errors import ConfigError
from partyd.layout import POLICY_FILE
from partyd.types import Role

EX_CONFIG = 78
"""What the process exits with on a ConfigError (sysexits.h); systemd does not restart on it."""
PREFIX = "PARTYD_"
NOT_SETTINGS = frozenset({"PARTYD_CONFIG", "PARTYD_FAILPOINT", "PARTYD_NO_SKIPS", "PARTYD_TOKEN_FILE", "PARTYD_URL"})
"""Variables under our prefix that mean something else: where settings are, tests, and ``flow``'s."""
CREDENTIALS = {
    "broker.ca": "broker.ca_file",
    "broker.crt": "broker.cert_file",
    "broker.key": "broker.key_file",
    "broker.pass": "broker.password_file",
    "http.crt": "http.tls_cert",
    "http.key": "http.tls_key",
    "http.token": "http.token_file",
}
"""Credentials that systemd may hand over (``LoadCredential=broker.pass``), and the setting each fills."""
_INTERNAL = frozenset({"standalone"})
_MAX_FILE_BYTES = 256 << 10


@dataclass(frozen=True)
class Source:
    """Settings from one place, flat: ``{"http.port": 9380}``."""

    where: Callable[[str], str]
    base: Path
    values: Mapping[str, object]


def load_settings(files: Sequence[Path], environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """Merge all sources into checked settings; raises ConfigError naming the place, the key and what is expected.

    ``overrides`` is the command line: flat keys such as ``{"http.port": 9381}``.
    """
    here = Path.cwd()
    sources = [_from_credentials(environ), *(_from_file(path) for path in files), _from_environ(environ)]
    sources.append(Source(lambda key: f"command line, {key}", here, overrides))
    merged: dict[str, object] = {}
    where: dict[str, str] = {}
    for source in sources:
        _refuse_unknown(source, internal=source.values is overrides)
        for key, value in source.values.items():
            merged[key] = _resolved(key, value, source.base)
            where[key] = source.where(key)
    merged.setdefault("state_dir", _default_state_dir(environ, merged))
    try:
        return Settings.model_validate(_nested(merged))
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(one, where) for one in error.errors())) from error


def find_files(environ: Mapping[str, str], overrides: Mapping[str, object]) -> tuple[Path, ...]:
    """Return the files to read when none is named on the command line.

    ``$PARTYD_CONFIG`` (paths separated by ``:``), else systemd's credential ``config``, else ``conf/*.toml`` of the
    state directory in the order of their names.
    """
    if environ.get("PARTYD_CONFIG"):
        return expand_files(Path(part) for part in environ["PARTYD_CONFIG"].split(":") if part)
    credential = Path(environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"), "config")
    if credential.is_file():
        return (credential,)
    known = {**_from_environ(environ).values, **overrides}
    state_dir = Path(str(known.get("state_dir") or _default_state_dir(environ, known)))
    return expand_files([state_dir.expanduser() / "conf"]) if (state_dir.expanduser() / "conf").is_dir() else ()


def expand_files(paths: Sequence[Path] | Iterator[Path]) -> tuple[Path, ...]:
    """Replace each directory by its settings files in the order of their names."""
    return tuple(file for path in paths for file in (_settings_in(path) if path.is_dir() else (path,)))


def _settings_in(directory: Path) -> list[Path]:
    """Return a directory's settings files; the policy beside them is the jobs' to read."""
    return sorted(path for path in directory.glob("*.toml") if path.name != POLICY_FILE)


def state_base(environ: Mapping[str, str]) -> Path:
    """Return the directory that holds one state directory for each daemon of this user."""
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "partyd"


@functools.cache
def known_keys() -> Mapping[str, type]:
    """List every key as ``section.key`` with ``Path`` for paths and ``object`` for anything else."""
    keys: dict[str, type] = {}
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            keys |= {f"{name}.{inner}": _kind(part.annotation) for inner, part in section.model_fields.items()}
        else:
            keys[name] = _kind(section)
    return keys


def _kind(annotation: object) -> type:
    members = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return Path if Path in members else object


def _default_state_dir(environ: Mapping[str, str], known: Mapping[str, object]) -> Path:
    """Return ``$STATE_DIRECTORY``, else ``~/.local/state/partyd/guest-10000``."""
    given = environ.get("STATE_DIRECTORY", "")
    if given:
        return Path(given.split(":")[0])
    roles, party_id = known.get("roles", ()), str(known.get("party_id", ""))
    labels = roles.split(",") if isinstance(roles, str) else roles if isinstance(roles, list | tuple) else ()
    try:
        parsed = tuple(role if isinstance(role, Role) else Role.from_label(str(role).strip()) for role in labels)
    except ValueError:
        parsed = ()
    return state_base(environ) / (instance_name(parsed, party_id) if parsed else party_id)


def _from_credentials(environ: Mapping[str, str]) -> Source:
    base = Path(environ.get("CREDENTIALS_DIRECTORY", "/nonexistent"))
    values = {key: base / name for name, key in CREDENTIALS.items() if (base / name).is_file()}
    return Source(lambda key: f"systemd credential for {key}", base, values)


def _from_environ(environ: Mapping[str, str]) -> Source:
    names = {
        name.removeprefix(PREFIX).lower().replace("__", "."): name
        for name in environ
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }
    return Source(lambda key: f"variable {names[key]}", Path.cwd(), {key: environ[name] for key, name in names.items()})


def _from_file(path: Path) -> Source:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; write one with `partyd init`") from error
    return Source(lambda key: f"{path}, {key}", path.absolute().parent, dict(flat(parse_toml(raw, path))))


def parse_toml(raw: bytes, path: Path) -> dict[str, object]:
    """Parse one file's bytes; raises ConfigError with the line for anything that is no TOML."""
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: larger than {_MAX_FILE_BYTES} bytes; this is no configuration of ours")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no valid TOML: {str(error)[:256]}; see conf/partyd.toml") from error


def flat(table: Mapping[str, object], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, object]]:
    """Yield ``section.key`` and value; tables deeper than any of ours are named by their path alone."""
    for key, value in table.items():
        if isinstance(value, dict) and value and depth < 3:
            yield from flat(value, f"{prefix}{key}.", depth + 1)
        elif not isinstance(value, dict) or f"{prefix}{key}" not in Settings.model_fields:
            yield f"{prefix}{key}", value


def _refuse_unknown(source: Source, *, internal: bool) -> None:
    known = [key for key in known_keys() if internal or key not in _INTERNAL]
    for key in source.values:
        if key in known:
            continue
        shown = repr(key[:80])
        if key in Settings.model_fields and key not in _INTERNAL:
            raise ConfigError(
                f"{source.where(key)[:256]}: {shown} is a section; set its keys, such as {_nearest(key, known)}"
            )
        raise ConfigError(
            f"{source.where(key)[:256]}: unknown key {shown}; the nearest known one is {_nearest(key, known)}"
        )


def _nearest(key: str, known: Sequence[str]) -> str:
    """Return the known key that looks most like ``key``, by its whole path or by its last part."""
    cut = key[:80]
    leaf = cut.rpartition(".")[2]

    def likeness(candidate: str) -> float:
        parts = ((cut, candidate), (leaf, candidate.rpartition(".")[2]))
        return max(difflib.SequenceMatcher(None, left, right).ratio() for left, right in parts)

    inside = [one for one in known if one.startswith(f"{cut}.")]
    return repr(inside[0] if inside else max(known, key=likeness))


def _resolved(key: str, value: object, base: Path) -> object:
    """Make a relative path absolute."""
    if known_keys()[key] is not Path or not isinstance(value, str | Path) or not str(value):
        return value
    if "\0" in str(value):
        raise ConfigError(f"{key}: a path cannot hold a NUL character")
    path = Path(value)
    return base / (path.expanduser() if str(value).startswith("~/") else path)


def _nested(flat: Mapping[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    sections: dict[str, dict[str, object]] = {}
    for key, value in flat.items():
        section, _, leaf = key.rpartition(".")
        if section:
            nested[section] = sections.setdefault(section, {})
            sections[section][leaf] = value
        else:
            nested[key] = value
    return nested


def _explain(error: ErrorDetails, where: Mapping[str, str]) -> str:
    """Say where one wrong value stands and what is expected there."""
    parts = [str(part) for part in error["loc"]]
    path = ".".join(parts)
    if error["type"] == "missing":
        return f"{path} is missing: start with --role guest --party-id 10000, or name a file with --config"
    place = next((where[".".join(parts[:end])] for end in (2, 1) if ".".join(parts[:end]) in where), None)
    if place is None:
        place = ", ".join(sorted({spot for key, spot in where.items() if not path or key.startswith(f"{path}.")}))
    message = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = f", not {repr(given)[:80]}" if isinstance(given, str | int | float) else ""
    return f"{place or path or 'settings'}: {message}{shown}"


def overrides_of(instance: str | None, roles: Sequence[str], party_id: str | None) -> dict[str, object]:
    """Return the settings that ``--instance`` or ``--role`` and ``--party-id`` stand for; raises ConfigError."""
    given: dict[str, object] = {}
    if instance is not None:
        try:
            given["roles"], given["party_id"] = parse_instance(instance)
        except ValueError as error:
            raise ConfigError(f"command line, --instance: {error}") from error
    if roles:
        given["roles"] = tuple(roles)
    if party_id is not None:
        given["party_id"] = party_id
    return given
