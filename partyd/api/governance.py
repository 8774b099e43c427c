"""What the owner decides and may look up: contracts, approvals, the audit log and the policy."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from partyd.api.auth import caller_of
from partyd.api.endpoint import Access, Endpoint
from partyd.api.replies import FateCode, Refusal, success
from partyd.api.site import Site
from partyd.api.sought import AskedJob, AskedOfParty, FoundJob, find_job, find_jobs, named_nodes, no_job
from partyd.components import COMPONENTS
from partyd.components.base import JsonObject
from partyd.federation.rows import EventRow
from partyd.governance.contract import SignedContract, digest, read
from partyd.governance.grants import list_grants
from partyd.governance.policy import Policy
from partyd.jobs.contract_words import draft_in_plain_words, in_plain_words
from partyd.jobs.record import JobStatus
from partyd.jobs.why import Why

MAX_CAUSE = 1000
MAX_EVENTS = 1000


class AskedReject(AskedJob):
    """A job that waits for approval, and what its parties are told."""

    cause: str = Field(default="", max_length=MAX_CAUSE)


class AskedEvents(AskedOfParty):
    """Which events: those numbered above ``after``, of one job if named."""

    after: int = Field(default=0, ge=0, le=1 << 53)
    limit: int = Field(default=100, ge=1, le=MAX_EVENTS)
    job_id: str = Field(default="", max_length=64)


class ContractView(BaseModel):
    """A contract: its text, who has signed it, and what it says in plain words; without digest it is a draft."""

    digest: str
    contract: JsonObject
    signatures: dict[str, str]
    plain_words: list[str]


class EventView(BaseModel):
    """One event of the audit log."""

    party: str
    seq: int
    at: float
    kind: str
    job: str
    detail: Any
    hash: str


class PolicyView(BaseModel):
    """What is open to whom: the rules of the file, the aliases, and what was granted party by party."""

    where: str
    is_open: bool
    allow: list[JsonObject]
    dataset: dict[str, str]
    granted: list[JsonObject]


class Governance:
    """The endpoints of contracts, approvals, audit and policy."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def endpoints(self) -> list[Endpoint[Any]]:
        """Return the endpoints."""
        viewer, operator, admin = Access.VIEWER, Access.OPERATOR, Access.ADMIN
        return [
            Endpoint("GET", "/v2/job/contract", self.contract, AskedJob, viewer, ContractView),
            Endpoint("GET", "/v2/job/why", self.why, AskedJob, viewer, Why),
            Endpoint("POST", "/v2/job/approve", self.approve, AskedJob, operator, JsonObject),
            Endpoint("POST", "/v2/job/reject", self.reject, AskedReject, operator, JsonObject),
            Endpoint("GET", "/v2/audit/query", self.events, AskedEvents, operator, list[EventView]),
            Endpoint("GET", "/v2/policy/query", self.policy, AskedOfParty, admin, PolicyView),
        ]

    async def contract(self, _: web.Request, asked: AskedJob) -> web.Response:
        """Return a job's contract, signed and in plain words; before there is one, what it would say."""
        found = await find_job(self._site, asked)
        raw = await found.node.supervisor.contract(asked.job_id)
        if raw is None and found.record.status is JobStatus.WAITING:
            plain = await asyncio.to_thread(draft_in_plain_words, found.record, COMPONENTS)
            return success({"digest": "", "contract": {}, "signatures": {}, "plain_words": plain}, job_id=asked.job_id)
        if raw is None:
            raise Refusal(
                f"job {asked.job_id} has no contract: it ended before that; see: flow job why -j {asked.job_id}",
                status=404,
                number=FateCode.JOB_NOT_FOUND,
            )
        return success(await asyncio.to_thread(_contract_view, raw), job_id=asked.job_id)

    async def why(self, _: web.Request, asked: AskedJob) -> web.Response:
        """Return what a job waits for or why it ended, which party and step, and what to do."""
        found = await find_job(self._site, asked)
        why = await found.node.supervisor.why(asked.job_id)
        return success(dataclasses.asdict(why), job_id=asked.job_id)

    async def approve(self, request: web.Request, asked: AskedJob) -> web.Response:
        """Let a job in that waits for this party's approval."""
        for found in await self._waiting(asked):
            await found.node.supervisor.approve(asked.job_id, caller_of(request).name)
        return success({}, job_id=asked.job_id)

    async def reject(self, request: web.Request, asked: AskedReject) -> web.Response:
        """Refuse a job that waits for this party's approval; its parties are told the cause."""
        for found in await self._waiting(asked):
            await found.node.supervisor.reject(asked.job_id, caller_of(request).name, asked.cause)
        return success({}, job_id=asked.job_id)

    async def events(self, _: web.Request, asked: AskedEvents) -> web.Response:
        """Return events of the audit log, the oldest first."""
        shown: list[JsonObject] = []
        for node in named_nodes(self._site, asked):
            rows = await node.store.read(
                lambda store: store.events(asked.after, asked.limit, asked.job_id or None)  # the shapes of the log
            )
            shown += [_event_view(str(node.address), row) for row in rows]
        return success(shown)

    async def policy(self, _: web.Request, asked: AskedOfParty) -> web.Response:
        """Return what is open to whom here."""
        node = named_nodes(self._site, asked)[0]
        path = self._site.layout.policy_file
        policy = await asyncio.to_thread(Policy.load, path, standalone=self._site.settings.standalone)
        grants = await node.store.read(list_grants)
        view = {
            "where": policy.where,
            "is_open": policy.is_open,
            "allow": [rule.model_dump(mode="json") for rule in policy.rules],
            "dataset": {str(alias): str(table) for alias, table in policy.aliases.items()},
            "granted": [json.loads(grant.encode()) for grant in grants],
        }
        return success(view)

    async def _waiting(self, asked: AskedJob) -> list[FoundJob]:
        """Return the addresses here at which the job waits for approval; raises Refusal when there is none."""
        found = await find_jobs(self._site, asked)
        if not found:
            raise no_job(asked.job_id)
        waiting = [job for job in found if job.record.is_parked and not job.record.is_ended]
        if not waiting:
            raise Refusal(
                f"job {asked.job_id} does not wait for an approval here; see: flow job why -j {asked.job_id}",
                status=409,
                number=FateCode.JOB_UPDATE_FAILED,
            )
        return waiting


def _contract_view(raw: bytes) -> JsonObject:
    signed = SignedContract.from_bytes(raw)
    return {
        "digest": digest(signed.text),
        "contract": read(signed.text),
        "signatures": signed.signatures,
        "plain_words": in_plain_words(signed.text, list(signed.signatures)),
    }


def _event_view(party: str, event: EventRow) -> JsonObject:
    text = event.detail.decode("utf-8", "replace")
    try:
        detail: object = json.loads(text)
    except ValueError:
        detail = text
    return {
        "party": party,
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "job": event.job,
        "detail": detail,
        "hash": event.hash.hex(),
    }
