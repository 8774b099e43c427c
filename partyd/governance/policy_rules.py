"""What an owner may write into ``policy.toml``: data sets by alias, and who may use which in what.

``[[dataset]]`` gives a table the name under which peers know it. ``[[allow]]`` opens data sets in components to peers,
with floors. What no rule opens stays closed, and the first rule that fits decides.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails

from partyd.components.limits import Limits
from partyd.errors import ConfigError
from partyd.types import PARTY_ID_PATTERN, Address, Role

MAX_POLICY_BYTES = 1 << 20
MAX_RULES = 1000
MAX_NAME = 256
ANY = "*"
SELF = "self"
_HEADER = re.compile(r"\s*\[\[\s*(\w+)\s*\]\]")


class DatasetName(NamedTuple):
    """A table as somebody names it."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def read_dataset(value: object) -> object:
    """Read ``"bank/customers"`` or ``{namespace, name}``; leave everything else to pydantic."""
    if isinstance(value, str) and value != ANY:
        namespace, _, name = value.partition("/")
        if not namespace or not name or "/" in name:
            raise ValueError('write "namespace/name", or {namespace = "...", name = "..."} where a name holds a /')
        return DatasetName(namespace, name)
    if isinstance(value, dict) and value.keys() == {"namespace", "name"}:
        return DatasetName(**value)
    return value


def _bounded(value: DatasetName | str) -> DatasetName | str:
    if isinstance(value, DatasetName) and not all(0 < len(part) <= MAX_NAME for part in value):
        raise ValueError(f"namespace and name are texts of 1 to {MAX_NAME} characters")
    return value


_ENDS = (BeforeValidator(read_dataset), AfterValidator(_bounded), PlainSerializer(str, return_type=str))
Dataset = Annotated[DatasetName, *_ENDS]
DatasetPattern = Annotated[DatasetName | Literal["*"], *_ENDS]


class PeerPattern(NamedTuple):
    """Whom a rule speaks of; None stands for any."""

    role: Role | None
    party_id: str | None
    is_self: bool = False

    @classmethod
    def parse(cls, text: str) -> PeerPattern:
        """Read ``guest-9999``, ``9999/guest``, ``9999`` (any role), ``self`` or ``*``; raises ValueError."""
        if text in (ANY, SELF):
            return cls(None, None, text == SELF)
        if "/" in text:
            address = Address.parse(text)
            return cls(address.role, address.party_id)
        label, dash, party_id = text.partition("-")
        if dash and label in ("guest", "host", "arbiter"):
            return cls(Role.from_label(label), party_id).checked(text)
        return cls(None, text).checked(text)

    def checked(self, text: str) -> PeerPattern:
        """Return the pattern; raises ValueError when its party id cannot be one."""
        if not PARTY_ID_PATTERN.match(self.party_id or ""):
            raise ValueError(f'{text[:80]!r} names no peer; write "guest-9999", "9999" (any role), "self" or "*"')
        return self

    def matches(self, peer: Address, me: Address) -> bool:
        """Return whether ``peer`` is meant; ``*`` never means this organisation itself."""
        is_own = peer.party_id == me.party_id
        if self.is_self or self.party_id is None:
            return is_own is self.is_self
        return self.party_id == peer.party_id and self.role in (None, peer.role)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Alias(_Part):
    """The outside name of a table."""

    alias: Dataset
    table: Dataset


class Allow(_Part):
    """One rule: what it opens to whom, and at which floors."""

    peers: tuple[str, ...] = Field(min_length=1, max_length=MAX_RULES)
    components: tuple[str, ...] = Field(max_length=MAX_RULES)
    datasets: tuple[DatasetPattern, ...] = Field(default=(), max_length=MAX_RULES)
    roles: tuple[Literal["guest", "host", "arbiter"], ...] = ("guest", "host", "arbiter")
    partners: tuple[str, ...] = (ANY,)
    independent_arbiter: bool = True
    min_rows: int = Field(default=0, ge=0, le=1 << 40)
    min_intersection: int = Field(default=0, ge=0, le=1 << 40)
    key_bits: int = Field(default=0, ge=0, le=1 << 14)
    min_batch: int = Field(default=0, ge=0, le=1 << 40)
    merge_models: Literal["no", "anonymous", "named"] = "no"
    max_jobs_per_day: int | None = Field(default=None, ge=1, le=1 << 20)
    approve: Literal["auto", "manual"] = "auto"

    @field_validator("peers", "partners")
    @classmethod
    def _peers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            PeerPattern.parse(text)
        return value

    @property
    def models_apart(self) -> int:
        """The floor for jobs that merge models, as `Limits` counts it."""
        return {"named": 0, "anonymous": 1, "no": 2}[self.merge_models]

    @property
    def limits(self) -> Limits:
        """The floors that travel with every job; ``models_apart`` goes with those that merge models."""
        return Limits(
            min_rows=self.min_rows,
            min_intersection=self.min_intersection,
            key_bits=self.key_bits,
            min_batch=self.min_batch,
        )

    def is_for(self, initiator: Address, me: Address) -> bool:
        """Return whether the rule speaks of jobs that ``initiator`` asks of this role of ours."""
        named = any(PeerPattern.parse(text).matches(initiator, me) for text in self.peers)
        return named and me.role.label in self.roles

    def admits(self, others: Collection[Address], me: Address) -> bool:
        """Return whether everybody else in the job may be there; our own roles always may."""
        patterns = [PeerPattern.parse(text) for text in self.partners]
        return all(other.party_id == me.party_id or any(p.matches(other, me) for p in patterns) for other in others)

    def opens_component(self, component: str) -> bool:
        """Return whether the rule names ``component``."""
        return ANY in self.components or component in self.components


class PolicyDocument(_Part):
    """A whole ``policy.toml``."""

    dataset: tuple[Alias, ...] = Field(default=(), max_length=MAX_RULES)
    allow: tuple[Allow, ...] = Field(default=(), max_length=MAX_RULES)

    @field_validator("dataset")
    @classmethod
    def _once(cls, value: tuple[Alias, ...]) -> tuple[Alias, ...]:
        names = [entry.alias for entry in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the alias {twice} is given to two tables; rename one of them")
        return value


def read_policy(raw: bytes, path: Path, components: Collection[str]) -> PolicyDocument:
    """Return the checked document in a file's bytes; raises ConfigError naming file, line, key and mend."""
    if len(raw) > MAX_POLICY_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_POLICY_BYTES} bytes; this is no policy of ours")
    try:
        text = raw.decode("utf-8")
        document = PolicyDocument.model_validate(tomllib.loads(text))
    except ValidationError as error:
        lines = text.splitlines()
        raise ConfigError("; ".join(_sentence(path, lines, detail) for detail in error.errors()[:20])) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: no valid TOML: {str(error)[:256]}; see `partyd policy --help`") from error
    for place, rule in enumerate(document.allow):
        for name in rule.components:
            if name != ANY and name not in components:
                where = _where(path, text.splitlines(), ("allow", place, "components"))
                raise ConfigError(f"{where}: no component {name[:80]!r}; {_nearest(name, components)}")
    return document


_TABLES = tuple(PolicyDocument.model_fields)
_KEYS: dict[tuple[int | str, ...], tuple[str, ...]] = {
    ("allow",): tuple(Allow.model_fields),
    ("dataset",): tuple(Alias.model_fields),
}


def _sentence(path: Path, lines: Sequence[str], detail: ErrorDetails) -> str:
    where = _where(path, lines, detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"{where}: no such key; {_nearest(str(detail['loc'][-1]), _KEYS.get(detail['loc'][:-1][:1], _TABLES))}"
    return f"{where}: {detail['msg'].removeprefix('Value error, ')}"


def _where(path: Path, lines: Sequence[str], place: tuple[int | str, ...]) -> str:
    """Return file, line and key of a mistake, the line as near as a scan of the text finds it."""
    key = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    line = next(_lines_of(lines, place), None)
    return f"{path}, {key}" if line is None else f"{path}, line {line}, {key}"


def _lines_of(lines: Sequence[str], place: tuple[Any, ...]) -> Iterator[int]:
    """Yield the line of the key in the table that ``place`` names, then the line of the table's header."""
    if len(place) < 2 or not isinstance(place[1], int):
        return
    headers = [n for n, text in enumerate(lines, 1) if (m := _HEADER.match(text)) and m[1] == place[0]]
    if len(headers) <= place[1]:
        return
    start = headers[place[1]]
    for number, text in enumerate(lines[start:], start + 1):
        if text.lstrip().startswith("["):
            break
        if len(place) > 2 and text.split("=")[0].strip() == place[2]:
            yield number
    yield start


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
