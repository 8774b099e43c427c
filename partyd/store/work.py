"""Attempts, checkpoints, jobs and tasks: what a party needs to go on after it died (architecture §4 rules 3 to 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from partyd.errors import StoreError
from partyd.federation.rows import AttemptRow, Body, CheckpointRow, JobRow, TaskRow
from partyd.store.mail import MailWriter, body_columns
from partyd.store.session import Session
from partyd.store.tables import ATTEMPTS, CHECKPOINTS, JOBS, TASKS, Row, Value
from partyd.types import MessageId


class WorkReader(Session):
    """Questions about jobs and their progress."""

    def attempt(self, job: str, task: str) -> AttemptRow | None:
        """Return a task's highest attempt."""
        rows = self._rows(ATTEMPTS, "WHERE job = ? AND task = ? ORDER BY attempt DESC LIMIT 1", (job, task))
        return _attempt(rows[0]) if rows else None

    def latest_checkpoint(self, job: str, task: str, attempt: int) -> CheckpointRow | None:
        """Return the one checkpoint an attempt keeps."""
        row = self._row(CHECKPOINTS, (job, task, attempt))
        if row is None:
            return None
        return CheckpointRow(
            job, task, attempt, row.integer("round"), row.text("scope"), self._body(row), row.real("saved_at")
        )

    def job(self, job: str) -> JobRow | None:
        """Return a job."""
        row = self._row(JOBS, (job,))
        return _job(row) if row else None

    def jobs(self, statuses: Collection[str] | None = None, limit: int = 100, offset: int = 0) -> list[JobRow]:
        """Return jobs, the newest first, those in one of ``statuses`` only if given."""
        where = "" if statuses is None else f"WHERE status IN ({', '.join('?' * len(statuses))})"
        bindings: tuple[Value, ...] = (*(statuses or ()), limit, offset)
        return [_job(row) for row in self._rows(JOBS, f"{where} ORDER BY number DESC LIMIT ? OFFSET ?", bindings)]

    def task(self, job: str, task: str) -> TaskRow | None:
        """Return a task."""
        row = self._row(TASKS, (job, task))
        return _task(row) if row else None

    def tasks(self, job: str) -> list[TaskRow]:
        """Return a job's tasks in the order they were first saved."""
        return [_task(row) for row in self._rows(TASKS, "WHERE job = ? ORDER BY number", (job,))]


class WorkWriter(MailWriter, WorkReader):
    """Changes to jobs and their progress."""

    def begin_attempt(self, job: str, task: str, attempt: int, seed: bytes, pin: bytes) -> AttemptRow:
        """Start an attempt, or find it again with the seed it was started with.

        Raises StoreError if it is fenced off by a higher one, if it was started with another pin (other code,
        parameters or data: the same randomness over other values would leak), or if its secrets were erased.
        """
        highest = self.attempt(job, task)
        known = self._row(ATTEMPTS, (job, task, attempt))
        self._check_fence(job, task, attempt, highest)
        if known is None:
            self._insert(ATTEMPTS, (job, task, attempt, seed, pin, float(self._clock())))
            return AttemptRow(job, task, attempt, seed, pin, float(self._clock()))
        if known.data("pin") != pin:
            raise StoreError(
                f"attempt {attempt} of task {task!r} in job {job} was started with other code, parameters or data: "
                f"start attempt {attempt + 1}"
            )
        if not known.data("seed"):
            raise StoreError(f"attempt {attempt} of task {task!r} in job {job} is over, its secrets were erased")
        return _attempt(known)

    def checkpoint(
        self,
        job: str,
        task: str,
        attempt: int,
        round_: int,
        scope: str,
        state: Body,
        consumed: Sequence[MessageId] = (),
    ) -> None:
        """Save an attempt's state after a round and consume the messages it was made from.

        Only the newest is kept. Raises StoreError for an attempt that is fenced off or unknown, and for a round
        before the saved one.
        """
        self._check_fence(job, task, attempt, self.attempt(job, task))
        if self._row(ATTEMPTS, (job, task, attempt)) is None:
            raise StoreError(f"attempt {attempt} of task {task!r} in job {job} has not begun")
        known = self._row(CHECKPOINTS, (job, task, attempt))
        if known is not None and known.integer("round") > round_:
            raise StoreError(
                f"task {task!r} of job {job} has a checkpoint of round {known.integer('round')}, after round {round_}"
            )
        body, blob, size, sha256 = body_columns(self._blobs.keep(state))
        self._replace(
            CHECKPOINTS,
            {
                "job": job,
                "task": task,
                "attempt": attempt,
                "round": round_,
                "scope": scope,
                "body": body,
                "blob": blob,
                "size": size,
                "sha256": sha256,
                "saved_at": float(self._clock()),
            },
        )
        self.consume(consumed)

    def _check_fence(self, job: str, task: str, attempt: int, highest: AttemptRow | None) -> None:
        if highest is not None and attempt < highest.attempt:
            raise StoreError(
                f"attempt {attempt} of task {task!r} in job {job} is over: attempt {highest.attempt} has begun"
            )

    def forget_secrets(self, job: str) -> None:
        """Erase a job's seeds and checkpoints; the log that held them is truncated after the commit.

        What lay in blob files is removed by the next ``collect_blobs``.
        """
        self._execute("DELETE FROM checkpoints WHERE job = ?", (job,))
        self._update(ATTEMPTS, {"seed": b""}, {"job": job}, "job = :job")
        self.wipes_log = True

    def save_job(self, job: str, status: str, document: bytes) -> None:
        """Insert a job or change its status and document."""
        now = float(self._clock())
        if not self._update(JOBS, {"status": status, "document": document, "updated_at": now}, {"job": job}):
            self._insert(JOBS, (job, status, document, now, now))

    def save_task(self, job: str, task: str, status: str, document: bytes) -> None:
        """Insert a task of a saved job or change its status and document."""
        now = float(self._clock())
        if not self._update(
            TASKS, {"status": status, "document": document, "updated_at": now}, {"job": job, "task": task}
        ):
            if self._row(JOBS, (job,)) is None:
                raise StoreError(f"task {task!r} belongs to job {job}, which is not saved")
            self._insert(TASKS, (job, task, status, document, now, now))


def _attempt(row: Row) -> AttemptRow:
    return AttemptRow(
        row.text("job"),
        row.text("task"),
        row.integer("attempt"),
        row.data("seed"),
        row.data("pin"),
        row.real("started_at"),
    )


def _job(row: Row) -> JobRow:
    return JobRow(
        row.text("job"), row.text("status"), row.data("document"), row.real("created_at"), row.real("updated_at")
    )


def _task(row: Row) -> TaskRow:
    return TaskRow(
        row.text("job"),
        row.text("task"),
        row.text("status"),
        row.data("document"),
        row.real("created_at"),
        row.real("updated_at"),
    )
