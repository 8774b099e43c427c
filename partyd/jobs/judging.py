"""Judges a job by the policy file, the grants and the history of one address."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from partyd.components.base import Component
from partyd.dag.spec import JobSpec
from partyd.governance.grants import list_grants
from partyd.governance.policy import PolicyFile, Verdict
from partyd.jobs.history import StoredHistory
from partyd.jobs.ports import JobStore, Reader
from partyd.types import Address


@dataclass(frozen=True)
class SiteJudge:
    """The judge of one address; the file, the grants and the history are read anew for every job."""

    policy: PolicyFile
    me: Address
    store: JobStore
    components: Mapping[str, Component]
    clock: Callable[[], float] = time.time

    async def judge(self, spec: JobSpec, initiator: Address) -> Verdict:
        """Return whether this party takes part in a job that `read_dag` has checked."""

        def judged(store: Reader) -> Verdict:
            history = StoredHistory(store, self.me)
            grants = list_grants(store)
            return self.policy.judge(spec, self.me, initiator, self.components, history, self.clock(), grants)

        return await self.store.read(judged)  # on a thread of the store
