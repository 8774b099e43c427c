"""What a policy asks of the store: how often, and what earlier jobs were."""

from __future__ import annotations

from typing import Protocol

from pydantic import ValidationError

from partyd.dag.dag import JobSpec
from partyd.federation.rows import JobRow
from partyd.governance.grants import USES, GrantReader, moment, pages, use_prefix
from partyd.jobs.record import MODEL_JOBS, JobRecord, ModelJob, model_job_key
from partyd.types import Address


class HistoryReader(GrantReader, Protocol):
    """Questions about documents and jobs."""

    def job(self, job: str) -> JobRow | None: ...


class StoredHistory:
    """Answers from the store, in the caller's transaction, for one address of this daemon."""

    def __init__(self, store: HistoryReader, me: Address) -> None:
        self._store = store
        self._me = me

    def jobs_of(self, peer: Address, dataset: str, since: float) -> int:
        """Return how many jobs of ``peer`` with our ``dataset`` were taken since."""
        prefix = use_prefix(peer, dataset)
        earliest = f"{prefix}{moment(since)}"
        jobs = {row.key.rsplit("|", 1)[1] for row in pages(self._store, USES, prefix) if row.key >= earliest}
        return len(jobs)

    def spec_of(self, job: str) -> JobSpec | None:
        """Return an earlier job, None when it is unknown here or its record cannot be read."""
        row = self._store.job(job)
        try:
            return None if row is None else JobRecord.model_validate_json(row.document).spec
        except ValidationError:
            return None

    def model_spec(self, model_id: str, model_version: str) -> JobSpec | None:
        """Return the job that trained a model of ours, None when it is unknown here."""
        if not model_id or not model_version:
            return None
        raw = self._store.document(MODEL_JOBS, model_job_key(model_id, model_version, self._me))
        try:
            return None if raw is None else JobSpec.model_validate(ModelJob.model_validate_json(raw).spec)
        except ValidationError:
            return None
