"""What the API serves: the daemon's nodes and its pulse."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from partyd.config import Settings
from partyd.errors import JobError
from partyd.federation.office import PostOffice
from partyd.jobs.ports import JobStore
from partyd.jobs.record import JobRecord
from partyd.jobs.supervisor import Supervisor
from partyd.jobs.tasks import TaskRunner
from partyd.jobs.workers import Workers
from partyd.layout import Layout
from partyd.tables.local import LocalJobs
from partyd.trust import Own, Pinned
from partyd.types import Address

BROKER_GRACE_S = 30.0


@dataclass
class Pulse:
    """Signs of life that cost nothing to read."""

    lag_s: float = 0.0
    beat_at: float = field(default_factory=time.monotonic)
    started_at: float = field(default_factory=time.monotonic)
    is_connected: bool = False
    connection_changed_at: float = field(default_factory=time.monotonic)
    port: int = 0

    def beat(self, lag_s: float) -> None:
        """Note how late the loop was."""
        self.lag_s = max(0.0, lag_s)
        self.beat_at = time.monotonic()

    @property
    def broker_is_missing(self) -> bool:
        """Whether the broker has been away for longer than a reconnection takes."""
        return not self.is_connected and time.monotonic() - self.connection_changed_at > BROKER_GRACE_S


class SiteStore(JobStore, Protocol):
    """The store, as far as the API goes."""

    @property
    def is_alive(self) -> bool: ...
    async def ping(self) -> float: ...
    def is_low(self) -> bool: ...
    def free_bytes(self) -> int: ...
    def size_bytes(self) -> int: ...
    async def backup_to(self, directory: Path) -> object: ...


class SiteNode(Protocol):
    """One address, as far as the API goes."""

    @property
    def address(self) -> Address: ...
    @property
    def store(self) -> SiteStore: ...
    @property
    def office(self) -> PostOffice: ...
    @property
    def runner(self) -> TaskRunner: ...
    @property
    def supervisor(self) -> Supervisor: ...
    @property
    def own(self) -> Own: ...
    @property
    def peers(self) -> Mapping[Address, Pinned]: ...


@dataclass(frozen=True)
class Site:
    """Everything the API may touch."""

    settings: Settings
    layout: Layout
    nodes: Mapping[Address, SiteNode]
    workers: Workers
    pulse: Pulse
    local: LocalJobs | None = None
    """What moves data without a peer; without it there are no data endpoints."""

    def node(self, role: str | None = None, party_id: str | None = None) -> SiteNode:
        """Return the node that a request names, or the first; raises JobError naming those there are."""
        for address, node in self.nodes.items():
            if role in (None, "", address.role.label) and party_id in (None, "", address.party_id):
                return node
        names = ", ".join(map(str, self.nodes))
        raise JobError(
            f"this daemon is {names}, not {party_id or 'any party'}/{role or 'any role'}; ask that party's own daemon"
        )

    async def find(self, job: str, role: str | None, party_id: str | None) -> tuple[SiteNode, JobRecord]:
        """Return a job's record and the node that has it; raises JobError when no node here knows it."""
        error: JobError | None = None
        for address, node in self.nodes.items():
            if role in (None, "", address.role.label) and party_id in (None, "", address.party_id):
                try:
                    return node, await node.supervisor.record(job)
                except JobError as missing:
                    error = missing
        if error is not None:
            raise error
        return self.node(role, party_id), await self.node(role, party_id).supervisor.record(job)

    async def knows(self, job: str) -> bool:
        """Return whether a job, of a federation or local, is known here."""
        try:
            await self.find(job, None, None)
        except JobError:
            return self.local is not None and await self.local.find(job) is not None
        return True
