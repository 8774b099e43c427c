"""Contracts, approvals, the audit log and the policy through the API, with a supervisor that only writes down."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from partyd.api.endpoint import Access, register
from partyd.api.governance import ContractView, EventView, Governance, PolicyView
from partyd.api.replies import errors
from partyd.api.site import Pulse, Site
from partyd.components import COMPONENTS
from partyd.components.limits import Limits
from partyd.config import Settings
from partyd.dag.dag import JobSpec
from partyd.errors import JobError
from partyd.governance.contract import PartyTerms, SignedContract, build, digest
from partyd.governance.grants import grant, read_grant
from partyd.jobs.record import JobRecord
from partyd.jobs.why import Why
from partyd.layout import Layout
from partyd.store import Store
from partyd.types import Address
from tests.nodes import Idle
from tests.store.samples import open_store

GUEST, HOST = Address.parse("9999/guest"), Address.parse("10000/host")
SPEC = JobSpec.model_validate(
    {
        "dag": {
            "parties": [{"role": "guest", "party_id": ["9999"]}, {"role": "host", "party_id": ["10000"]}],
            "tasks": {"toy_0": {"component_ref": "toy_example"}},
        }
    }
)
CONTRACT = build("j1", SPEC, COMPONENTS, {GUEST: PartyTerms(), HOST: PartyTerms()}, initiator=GUEST)
SIGNED = SignedContract.of(CONTRACT, {HOST: bytes(64)})


def record(job: str, **more: Any) -> JobRecord:
    return JobRecord(job=job, me=HOST, initiator=GUEST, spec=SPEC, tasks={}, created_at=1.0, **more)


@dataclass
class Office:
    """What the API asks of a supervisor."""

    records: dict[str, JobRecord] = field(default_factory=dict)
    done: list[tuple[str, ...]] = field(default_factory=list)

    async def record(self, job: str) -> JobRecord:
        if job not in self.records:
            raise JobError(f"no job {job}")
        return self.records[job]

    async def contract(self, job: str) -> bytes | None:
        return SIGNED.to_bytes() if job == "j1" else None

    async def why(self, job: str) -> Why:
        return Why("waiting", "10000/host", "", "approval", f"{job} must be approved", "approve it")

    async def approve(self, job: str, who: str) -> None:
        self.done.append(("approve", job, who))

    async def reject(self, job: str, who: str, cause: str) -> None:
        self.done.append(("reject", job, who, cause))


@dataclass
class Desk:
    """One address of the daemon."""

    address: Address
    store: Store
    supervisor: Office


@dataclass
class Api:
    http: Any
    desk: Desk
    layout: Layout

    async def get(self, path: str, **query: Any) -> tuple[int, Any]:
        async with self.http.get(path, params=query) as reply:
            return reply.status, await reply.json()

    async def post(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.http.post(path, json=body) as reply:
            return reply.status, await reply.json()


def on_api(folder: Path, work: Callable[[Api], Awaitable[None]]) -> None:
    async def scenario() -> None:
        store = open_store(folder / "store")
        office = Office(
            {
                "j1": record("j1", status="running"),
                "parked": record("parked", is_parked=True, limits=Limits(min_rows=77)),
                "ended": record("ended", status="failed"),
            }
        )
        desk = Desk(HOST, store, office)
        settings = Settings(party_id="10000", roles=(HOST.role,), state_dir=folder)
        layout = Layout(folder)
        site = Site(settings, layout, cast("Any", {HOST: desk}), Idle(), Pulse())
        app = web.Application(middlewares=[errors])
        register(app, [Governance(site)])
        try:
            async with TestClient(TestServer(app)) as client:
                await work(Api(client, desk, layout))
        finally:
            await store.close()

    asyncio.run(scenario())


def test_a_contract_is_shown_signed_and_in_plain_words(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get("/v2/job/contract", job_id="j1")
        assert status == 200
        view = ContractView.model_validate(reply["data"])
        assert view.digest == digest(CONTRACT)
        assert view.signatures == {"10000/host": "00" * 64}
        assert view.contract["job"] == "j1"
        assert view.plain_words[0] == "Job j1, submitted by 9999/guest."
        assert any("10000/host" in line and line.endswith("; signed") for line in view.plain_words)
        assert reply["job_id"] == "j1"

    on_api(tmp_path, work)


def test_before_there_is_one_a_draft_says_what_would_be_signed(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get("/v2/job/contract", job_id="parked")
        assert status == 200
        words = ContractView.model_validate(reply["data"]).plain_words
        assert words[1].startswith("DRAFT")
        assert any("77 rows in a table" in line and "waits for approval" in line for line in words)
        assert reply["data"]["digest"] == ""
        status, reply = await api.get("/v2/job/contract", job_id="ended")
        assert status == 404
        assert "has no contract" in reply["message"]

    on_api(tmp_path, work)


def test_why(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get("/v2/job/why", job_id="parked")
        assert status == 200
        assert Why(**reply["data"]).code == "approval"

    on_api(tmp_path, work)


def test_approve_and_reject(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        assert (await api.post("/v2/job/approve", job_id="parked"))[0] == 200
        assert (await api.post("/v2/job/reject", job_id="parked", cause="not agreed"))[0] == 200
        assert api.desk.supervisor.done == [("approve", "parked", "owner"), ("reject", "parked", "owner", "not agreed")]
        for path in ("/v2/job/approve", "/v2/job/reject"):
            status, reply = await api.post(path, job_id="j1")
            assert status == 409
            assert "does not wait for an approval" in reply["message"]
            assert (await api.post(path, job_id="nonsense"))[0] == 404
        assert (await api.post("/v2/job/reject", job_id="parked", cause="x" * 1001))[0] == 400
        assert len(api.desk.supervisor.done) == 2

    on_api(tmp_path, work)


def test_events_are_paged_and_filtered(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        for number, job in enumerate(("a", "b", "a"), 1):
            detail = b'{"n": %d}' % number if number < 3 else b"\xff no json"
            await api.desk.store.write(lambda t, job=job, detail=detail: t.append_event("k", job, detail))
        status, reply = await api.get("/v2/audit/query")
        assert status == 200
        found = [EventView.model_validate(one) for one in reply["data"]]
        assert [one.seq for one in found] == [1, 2, 3]
        assert (found[0].detail, found[2].detail, found[0].party) == ({"n": 1}, "\ufffd no json", "10000/host")
        assert [one["seq"] for one in (await api.get("/v2/audit/query", job_id="a"))[1]["data"]] == [1, 3]
        assert [one["seq"] for one in (await api.get("/v2/audit/query", after=1, limit=1))[1]["data"]] == [2]
        for wrong in ({"limit": 0}, {"limit": 1001}, {"after": -1}, {"aftr": 1}):
            assert (await api.get("/v2/audit/query", **wrong))[0] == 400

    on_api(tmp_path, work)


def test_the_policy_is_shown_with_aliases_and_grants(tmp_path: Path) -> None:
    async def work(api: Api) -> None:
        status, reply = await api.get("/v2/policy/query")
        assert status == 200
        assert (reply["data"]["allow"], reply["data"]["is_open"]) == ([], False)
        api.layout.conf_dir.mkdir()
        rule = "[[allow]]\npeers = ['9999']\ncomponents = ['psi']\ndatasets = ['a/b']\n"
        (api.layout.conf_dir / "policy.toml").write_text(f"[[dataset]]\nalias = 'a/b'\ntable = 'c/d'\n{rule}")
        await api.desk.store.write(lambda t: grant(t, read_grant("9999", ["psi"], ["a/b"], ["psi"])))
        view = PolicyView.model_validate((await api.get("/v2/policy/query"))[1]["data"])
        assert view.dataset == {"a/b": "c/d"}
        assert view.allow[0]["datasets"] == ["a/b"]
        assert view.granted == [{"party_id": "9999", "components": ["psi"], "datasets": [["a", "b"]]}]
        (api.layout.conf_dir / "policy.toml").write_text("[[allow]")
        status, reply = await api.get("/v2/policy/query")
        assert status == 400
        assert "no valid TOML" in reply["message"]

    on_api(tmp_path, work)


def test_who_may_ask() -> None:
    access = {one.path: one.access for one in Governance(cast("Any", None)).endpoints()}
    assert access["/v2/job/approve"] is access["/v2/job/reject"] is Access.OPERATOR
    assert access["/v2/policy/query"] is Access.ADMIN
    assert access["/v2/audit/query"] is Access.OPERATOR
