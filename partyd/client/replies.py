"""What a daemon says of jobs, as frozen values: states, reasons, tasks, metrics, log lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partyd.client.fields import Fields

ENDED = frozenset({"success", "failed", "canceled", "timeout"})
"""States in which a job stays."""


@dataclass(frozen=True)
class Reason:
    """Why a job ended other than well, or why one that has not begun waits (then without a task)."""

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
    version: int = 0
    begun_ms: int = 0
    ended_ms: int = 0
    code: str = ""
    cause: str = ""
    job_id: str = ""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1; 0 while it has not said."""
        if self.status in ("success", "pass"):
            return 1.0
        return min(1.0, self.done / self.total) if self.total else 0.0

    @classmethod
    def read(cls, fields: Fields) -> Task:
        """Return the task in a reply."""
        progress = fields.part("progress") if isinstance(fields.values.get("progress"), Mapping) else Fields({}, "")
        return cls(
            name=fields.text("task_name"),
            component=fields.text("component"),
            status=fields.text("status"),
            done=progress.whole("done"),
            total=progress.whole("total"),
            note=progress.text("note"),
            version=fields.whole("task_version"),
            begun_ms=fields.whole("start_time"),
            ended_ms=fields.whole("end_time"),
            code=fields.text("code"),
            cause=fields.text("cause"),
            job_id=fields.text("job_id"),
        )


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
    waiting: Reason | None = None
    """What a job that has not begun waits for."""
    notes: str = ""
    rows: int = 0
    """Of an upload: how many rows it has read."""

    @property
    def me(self) -> str:
        """The address that was asked."""
        return f"{self.party_id}/{self.role}"

    @property
    def is_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED

    @property
    def is_success(self) -> bool:
        """Whether it ended well."""
        return self.status == "success"

    def status_of(self, task: Task, party: str) -> str:
        """Return the state of a task at a party, empty when that party has not said."""
        return task.status if party == self.me else self.remote.get(party, {}).get(task.name, "")

    @classmethod
    def read(cls, fields: Fields) -> Job:
        """Return the job in a reply."""
        parties = tuple(f"{p}/{g.text('role')}" for g in fields.parts("parties") for p in g.texts("party_id"))
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
            remote=_remote(fields.part("remote_tasks")),
            create_time=fields.whole("create_time"),
            elapsed_ms=fields.whole("elapsed"),
            seen=fields.text("seen"),
            waiting=Reason.read(fields.part("waiting")),
            notes=fields.text("notes"),
            rows=fields.whole("rows"),
        )


def _remote(told: Fields) -> dict[str, dict[str, str]]:
    """Return status by task by party; a task is told as its status, or as an object that holds it."""
    found: dict[str, dict[str, str]] = {}
    for party in told.values:
        tasks = told.part(party)
        found[party] = {
            name: str(value.get("status", "")) if isinstance(value, Mapping) else str(value)
            for name, value in tasks.values.items()
        }
    return found


@dataclass(frozen=True)
class Why:
    """What a job waits for, or why it ended other than well, and what to do."""

    status: str
    party: str
    task: str
    code: str
    cause: str
    mend: str

    @classmethod
    def read(cls, fields: Fields) -> Why:
        """Return the explanation in a reply."""
        return cls(*(fields.text(name) for name in ("status", "party", "task", "code", "cause", "mend")))


@dataclass(frozen=True)
class LogLine:
    """One line of a log; ``ts`` in seconds since 1970."""

    ts: float
    level: str
    message: str
    task: str = ""
    number: int = 0
    """Its place in the log that was asked for, from 1."""

    @classmethod
    def read(cls, fields: Fields) -> LogLine:
        """Return the line in a reply."""
        message = fields.text("message") or fields.text("content")
        return cls(
            fields.number("ts"), fields.text("level"), message, fields.text("task_name"), fields.whole("line_num")
        )


@dataclass(frozen=True)
class Metric:
    """A metric's values by step."""

    name: str
    points: tuple[tuple[int, float], ...]

    @property
    def last(self) -> float:
        """The newest value."""
        return self.points[-1][1] if self.points else float("nan")

    @property
    def steps(self) -> list[int]:
        """The steps at which there are values."""
        return [step for step, _ in self.points]

    @property
    def values(self) -> list[float]:
        """The values, step by step."""
        return [value for _, value in self.points]

    @classmethod
    def read(cls, fields: Fields) -> Metric:
        """Return the metric in a reply; a value that JSON cannot carry is not a number here."""
        return cls(fields.text("name"), tuple((p.whole("step"), _value(p)) for p in fields.parts("data")))

    @staticmethod
    def is_series(fields: Fields) -> bool:
        """Return whether a reply holds values by step, rather than a document such as an evaluation's tables."""
        data = fields.values.get("data")
        return isinstance(data, list) and all(isinstance(point, Mapping) and "step" in point for point in data)


def _value(point: Fields) -> float:
    name = "metric" if "metric" in point.values else "val"
    return float("nan") if point.values.get(name) is None else point.number(name)
