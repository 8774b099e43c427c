"""Which jobs a list shows: filters, order and pages, looked up in the store's own thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError

from partyd.api.site import SiteNode
from partyd.jobs.ports import Reader
from partyd.jobs.record import JobRecord

log = structlog.get_logger()

CHUNK = 500
MAX_LOOKED_AT = 100_000
"""The newest jobs of an address; older ones are found by their id."""


@dataclass(frozen=True)
class Filter:
    """What a job must be like; empty means anything."""

    job: str = ""
    description: str = ""
    partner: str = ""
    statuses: frozenset[str] = frozenset()
    order_by: str = "create_time"
    is_descending: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether a row's own columns say enough, without its document."""
        return not (self.description or self.partner) and self.order_by in ("create_time", "job_id", "status")

    def wants(self, document: dict[str, Any]) -> bool:
        """Return whether a job's document fits."""
        notes, me = str(document.get("notes", "")), str(document.get("me", "")).split("/")[0]
        if self.description not in notes:
            return False
        if not self.partner:
            return True
        groups = document.get("spec", {}).get("dag", {}).get("parties", [])
        return any(self.partner in party for group in groups for party in group["party_id"] if party != me)


@dataclass(frozen=True)
class _Hit:
    key: tuple[float | str, str]
    job: str
    node: int


async def job_page(
    nodes: Sequence[SiteNode], wanted: Filter, limit: int, offset: int
) -> tuple[int, list[tuple[SiteNode, JobRecord]]]:
    """Return how many jobs fit, and those of one page with the node that has them."""
    hits: list[_Hit] = []
    for index, node in enumerate(nodes):
        hits += await node.store.read(lambda store: _hits(store, wanted, index))  # noqa: B023 - awaited at once
    hits.sort(key=lambda hit: hit.key, reverse=wanted.is_descending)
    chosen = hits[offset : offset + limit]
    found = []
    for hit in chosen:
        try:
            found.append((nodes[hit.node], await nodes[hit.node].supervisor.record(hit.job)))
        except ValidationError:
            log.warning("job_not_readable", job=hit.job)  # of another version; the others are shown all the same
    return len(hits), found


def _hits(store: Reader, wanted: Filter, node: int) -> list[_Hit]:
    found: list[_Hit] = []
    for offset in range(0, MAX_LOOKED_AT, CHUNK):
        rows = store.jobs(limit=CHUNK, offset=offset)
        for row in rows:
            if wanted.job not in row.job or (wanted.statuses and row.status not in wanted.statuses):
                continue
            document = {} if wanted.is_plain else json.loads(row.document)
            if wanted.wants(document):
                columns: dict[str, float | str] = {"create_time": row.created_at, "update_time": row.updated_at}
                columns["status"] = row.status
                found.append(_Hit((_key(wanted.order_by, row.job, columns, document), row.job), row.job, node))
        if len(rows) < CHUNK:
            break
    return found


def _key(order_by: str, job: str, columns: dict[str, float | str], document: dict[str, Any]) -> float | str:
    if order_by == "job_id":
        return job
    if order_by in columns:
        return columns[order_by]
    began, ended = document.get("started_at") or 0.0, document.get("ended_at") or 0.0
    if order_by == "progress":
        states = list(document.get("tasks", {}).values())
        return sum(state["status"] in ("success", "pass") for state in states) / max(1, len(states))
    return float({"start_time": began, "end_time": ended}.get(order_by, max(0.0, ended - began)))
