"""What jobs need of the store; `partyd.store` provides it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from partyd.components.base import Component
from partyd.dag.spec import JobSpec
from partyd.federation.ports import Blobs, MailReader, MailWriter
from partyd.federation.rows import AttemptRow, Body, CheckpointRow, DocumentRow, EventRow, JobRow
from partyd.governance.policy import Verdict
from partyd.jobs.record import JobRecord
from partyd.types import Address, MessageId

T = TypeVar("T")
Verify = Callable[[Address, bytes, bytes], bool]
"""Whether an address, ourselves or a pinned peer, has put this signature under these bytes."""


class Reader(MailReader, Protocol):
    """Questions about jobs."""

    def job(self, job: str) -> JobRow | None: ...
    def jobs(self, statuses: Collection[str] | None = None, limit: int = 100, offset: int = 0) -> Sequence[JobRow]: ...
    def attempt(self, job: str, task: str) -> AttemptRow | None: ...
    def latest_checkpoint(self, job: str, task: str, attempt: int) -> CheckpointRow | None: ...
    def document(self, collection: str, key: str) -> bytes | None: ...
    def documents(
        self, collection: str, prefix: str = "", limit: int = 100, offset: int = 0
    ) -> Sequence[DocumentRow]: ...
    def events(self, after: int = 0, limit: int = 100, job: str | None = None) -> Sequence[EventRow]: ...
    def last_event(self) -> EventRow | None: ...
    def message_digests(self, job: str, task: str, attempt: int) -> Sequence[tuple[MessageId, bytes]]: ...


class Transaction(Reader, MailWriter, Protocol):
    """Changes to jobs; all of a transaction happens, or nothing."""

    def save_job(self, job: str, status: str, document: bytes) -> None: ...
    def begin_attempt(self, job: str, task: str, attempt: int, seed: bytes, pin: bytes) -> AttemptRow: ...
    def checkpoint(
        self,
        job: str,
        task: str,
        attempt: int,
        round_: int,
        scope: str,
        state: Body,
        consumed: Sequence[MessageId] = (),
    ) -> None: ...
    def forget_secrets(self, job: str) -> None: ...
    def abandon_mail(self, job: str) -> None: ...
    def forget_mail(self, job: str) -> int: ...
    def append_event(self, kind: str, job: str, detail: bytes) -> int: ...
    def put_document(self, collection: str, key: str, document: bytes) -> None: ...
    def delete_document(self, collection: str, key: str) -> bool: ...


class JobStore(Protocol):
    """The durable store, as far as jobs go."""

    @property
    def blobs(self) -> Blobs: ...
    async def read(self, work: Callable[[Reader], T], /) -> T: ...
    async def write(self, work: Callable[[Transaction], T], /, *, is_vital: bool = False) -> T: ...
    def is_low(self) -> bool: ...


class Judge(Protocol):
    """This party's policy."""

    async def judge(self, spec: JobSpec, initiator: Address) -> Verdict:
        """Return whether this party takes part in a checked job, under which floors, or what its owner must say."""


class Models(Protocol):
    """The model registry, as far as running tasks goes."""

    async def keep(self, record: JobRecord, task: str, component: Component, folder: Path) -> object:
        """Keep the models that a task that has succeeded wrote; raises DataError."""

    async def checked(self, model_id: str, model_version: str, task: str, key: str) -> Path:
        """Return where a model lies, without its suffix; raises DataError when it is not here or was changed."""


class Tables(Protocol):
    """The tables of an address, as far as running tasks goes."""

    async def open(self, namespace: str, name: str, job: str, task: str) -> Path:
        """Return the folder of a table for a task, the same rows however often it asks; raises DataError."""

    async def release(self, job: str) -> None:
        """Let go of the tables that a job which has ended has used."""
