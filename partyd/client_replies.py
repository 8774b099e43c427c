"""What a daemon answers, as frozen values, read field by field: a stranger's reply is named, not guessed at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partyd.errors import PartydError

ENDED = frozenset({"success", "failed", "canceled", "timeout"})
"""States in which a job stays."""


class ClientError(PartydError):
    """A request that did not succeed: ``what`` went wrong, ``where``, and ``how`` to mend it."""

    code = "client"

    def __init__(self, what: str, *, where: str, how: str) -> None:
        self.what, self.where, self.how = what, where, how
        super().__init__(f"{where}: {what}; {how}")


class Unreachable(ClientError):
    """No daemon answers at the address."""

    code = "unreachable"


class StrangeReply(ClientError):
    """Something answers that is no partyd daemon, or one of another version."""

    code = "strange_reply"


class Refused(ClientError):
    """The daemon said no; its own sentence says what to do."""

    code = "refused"

    def __init__(self, what: str, *, where: str, how: str, http_status: int, reply_code: int) -> None:
        super().__init__(what, where=where, how=how)
        self.http_status, self.reply_code = http_status, reply_code

    def __str__(self) -> str:
        return self.what if not self.how else f"{self.what}; {self.how}"


@dataclass(frozen=True)
class Fields:
    """One JSON object of a reply; every reader raises StrangeReply naming the field."""

    values: Mapping[str, object]
    where: str

    @classmethod
    def of(cls, value: object, where: str) -> Fields:
        """Return the object ``value``."""
        if not isinstance(value, dict):
            raise StrangeReply(f"a reply holds {type(value).__name__} instead of an object", where=where, how=_HOW)
        return cls(value, where)

    def text(self, name: str) -> str:
        """Return a text; absent and null are the empty text, numbers their digits."""
        value = self.values.get(name)
        if value is None:
            return ""
        if isinstance(value, str | int) and not isinstance(value, bool):
            return str(value)
        raise self._strange(name, value, "a text")

    def number(self, name: str) -> float:
        """Return a number; absent and null are 0."""
        value = self.values.get(name, 0)
        if value is None:
            return 0.0
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self._strange(name, value, "a number")

    def whole(self, name: str) -> int:
        """Return a whole number; absent and null are 0."""
        return int(self.number(name))

    def flag(self, name: str) -> bool:
        """Return a truth value; absent is false."""
        value = self.values.get(name, False)
        if isinstance(value, bool):
            return value
        raise self._strange(name, value, "true or false")

    def sequence(self, name: str) -> Sequence[object]:
        """Return a list; absent and null are empty."""
        value = self.values.get(name)
        if value is None:
            return ()
        if isinstance(value, list):
            return value
        raise self._strange(name, value, "a list")

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(str(item) for item in self.sequence(name))

    def parts(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        return [Fields.of(item, f"{self.where}, {name}") for item in self.sequence(name)]

    def part(self, name: str) -> Fields:
        """Return an object; absent and null are empty."""
        value = self.values.get(name)
        return Fields.of({} if value is None else value, f"{self.where}, {name}")

    def _strange(self, name: str, value: object, wanted: str) -> StrangeReply:
        return StrangeReply(f"the reply's field {name!r} is {value!r:.80}, not {wanted}", where=self.where, how=_HOW)


_HOW = "check that a partyd daemon of this version listens there"


@dataclass(frozen=True)
class Reason:
    """Why a job ended other than well."""

    party: str
    task: str
    code: str
    cause: str

    @classmethod
    def read(cls, fields: Fields) -> Reason | None:
        """Return the reason, or None for a job that has none."""
        if not fields.values:
            return None
        return cls(fields.text("party"), fields.text("task"), fields.text("code"), fields.text("cause"))


@dataclass(frozen=True)
class Task:
    """One task at the party that was asked."""

    name: str
    component: str
    status: str
    done: int
    total: int
    note: str

    @classmethod
    def read(cls, fields: Fields) -> Task:
        """Return the task in a reply."""
        progress = fields.part("progress")
        name, component, status = fields.text("task_name"), fields.text("component"), fields.text("status")
        return cls(name, component, status, progress.whole("done"), progress.whole("total"), progress.text("note"))


@dataclass(frozen=True)
class Job:
    """A job as the party that was asked sees it."""

    job_id: str
    role: str
    party_id: str
    initiator: str
    parties: tuple[str, ...]
    status: str
    progress: int
    stalled_by: tuple[str, ...]
    accepted: tuple[str, ...]
    reason: Reason | None
    tasks: tuple[Task, ...]
    remote: Mapping[str, Mapping[str, str]]
    """Status by task of every other party, by address, as far as they have reported."""
    create_time: int
    elapsed_ms: int
    seen: str

    @property
    def me(self) -> str:
        """The address that was asked."""
        return f"{self.party_id}/{self.role}"

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED

    @classmethod
    def read(cls, fields: Fields) -> Job:
        """Return the job in a reply."""
        parties = tuple(f"{p}/{g.text('role')}" for g in fields.parts("parties") for p in g.texts("party_id"))
        told = fields.part("remote_tasks")
        remote = {party: {t: str(s) for t, s in told.part(party).values.items()} for party in told.values}
        return cls(
            job_id=fields.text("job_id"),
            role=fields.text("role"),
            party_id=fields.text("party_id"),
            initiator=fields.text("initiator"),
            parties=parties,
            status=fields.text("status"),
            progress=fields.whole("progress"),
            stalled_by=fields.texts("stalled_by"),
            accepted=fields.texts("accepted"),
            reason=Reason.read(fields.part("reason")),
            tasks=tuple(Task.read(part) for part in fields.parts("tasks")),
            remote=remote,
            create_time=fields.whole("create_time"),
            elapsed_ms=fields.whole("elapsed"),
            seen=fields.text("seen"),
        )


@dataclass(frozen=True)
class LogLine:
    """One line of a task's log; ``ts`` in seconds since 1970."""

    ts: float
    level: str
    message: str

    @classmethod
    def read(cls, fields: Fields) -> LogLine:
        """Return the line in a reply."""
        return cls(fields.number("ts"), fields.text("level"), fields.text("message"))


@dataclass(frozen=True)
class Metric:
    """A metric's values by step."""

    name: str
    points: tuple[tuple[int, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1] if self.points else float("nan")

    @classmethod
    def read(cls, fields: Fields) -> Metric:
        """Return the metric in a reply."""
        return cls(fields.text("name"), tuple((p.whole("step"), p.number("val")) for p in fields.parts("data")))


@dataclass(frozen=True)
class StoredTable:
    """An uploaded table."""

    namespace: str
    name: str
    count: int
    sample_id: str
    match_id: str
    label: str
    weight: str
    features: tuple[str, ...]
    digest: str
    skipped: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> StoredTable:
        """Return the table in a reply."""
        schema = fields.part("schema")
        return cls(
            fields.text("namespace"),
            fields.text("name"),
            fields.whole("count"),
            schema.text("sample_id"),
            schema.text("match_id"),
            schema.text("label"),
            schema.text("weight"),
            schema.texts("features"),
            fields.text("digest"),
            fields.texts("skipped"),
        )


@dataclass(frozen=True)
class Rows:
    """Rows of an output table, which has ``count`` in all."""

    count: int
    header: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]

    @classmethod
    def read(cls, fields: Fields) -> Rows:
        """Return the rows in a reply."""
        rows = tuple(tuple(row) if isinstance(row, list) else (row,) for row in fields.sequence("rows"))
        return cls(fields.whole("count"), fields.texts("header"), rows)


@dataclass(frozen=True)
class Sibling:
    """Another daemon of the same standalone federation, on this machine."""

    address: str
    url: str


@dataclass(frozen=True)
class SiteInfo:
    """Who answers."""

    party_id: str
    roles: tuple[str, ...]
    org: str
    siblings: tuple[Sibling, ...]

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that the daemon serves."""
        return tuple(f"{self.party_id}/{role}" for role in self.roles)

    @classmethod
    def read(cls, fields: Fields) -> SiteInfo:
        """Return the site in a reply."""
        siblings = tuple(Sibling(s.text("address"), s.text("url")) for s in fields.parts("siblings"))
        return cls(fields.text("party_id"), fields.texts("roles"), fields.text("org"), siblings)


@dataclass(frozen=True)
class Peer:
    """A pinned peer, and how it goes with it."""

    me: str
    peer: str
    fingerprint: str
    established: bool
    silent: bool
    outbox_messages: int
    outbox_bytes: int

    @classmethod
    def read(cls, fields: Fields) -> Peer:
        """Return the peer in a reply."""
        return cls(
            fields.text("me"),
            fields.text("peer"),
            fields.text("fingerprint"),
            fields.flag("established"),
            fields.flag("silent"),
            fields.whole("outbox_messages"),
            fields.whole("outbox_bytes"),
        )


@dataclass(frozen=True)
class ServerInfo:
    """What answers."""

    host: str
    port: int
    version: str

    @classmethod
    def read(cls, fields: Fields) -> ServerInfo:
        """Return the server in a reply."""
        return cls(fields.text("host"), fields.whole("port"), fields.text("version"))
