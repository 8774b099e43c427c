"""A supervisor at its desk: a store, a post office that delivers nothing, and a runner whose tasks end when told."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from partyd.components import COMPONENTS
from partyd.dag.spec import JobSpec, read_dag
from partyd.errors import StoreFull
from partyd.federation.office import PostOffice
from partyd.governance import contract as contracts
from partyd.governance.contract import PartyTerms, Run
from partyd.governance.policy import Verdict, VerdictKind
from partyd.jobs.conductor import Conductor
from partyd.jobs.control import ContractDraft, JobEnd, JobOffer, JobStart, SlotRequest
from partyd.jobs.diary import Diary
from partyd.jobs.record import JobRecord, JobStatus
from partyd.jobs.slots import SlotDesk
from partyd.jobs.supervisor import Supervisor
from partyd.jobs.workers import Exit
from partyd.store import Store
from partyd.types import Address, MessageId
from partyd.wire.codec import Record
from tests.federation.offices import GUEST, HOST, NO_RESERVE, Seen, Wire, run_fast

SIGNATURE = b"s" * 64
YES = Verdict(VerdictKind.ACCEPT)
OTHER, STRANGER = Address.parse("9998/host"), Address.parse("4711/host")


@dataclass
class Runner:
    """Runs tasks as the test says: ``results`` by task, a task without one runs until it is cancelled."""

    folder: Path
    results: dict[str, Exit | Exception] = field(default_factory=dict)
    started: list[tuple[str, str]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    erased: list[tuple[str, str]] = field(default_factory=list)
    linked: list[tuple[str, str, str]] = field(default_factory=list)
    progressed: Callable[..., None] = lambda *_: None

    async def run(self, record: JobRecord, task: str) -> Exit:
        self.started.append((record.job, task))
        result = self.results.get(task)
        if result is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(result, Exception):
            raise result
        assert result is not None
        return result

    def diary(self, job: str, task: str) -> Diary:
        return Diary(self.folder / job / task)

    def schedule_log(self, job: str) -> Diary:
        return Diary(self.folder / job / "~schedule")

    def forget(self, job: str) -> None:
        self.forgotten.append(job)

    async def release(self, job: str) -> None:
        assert job in self.forgotten

    async def erase(self, job: str, tasks: list[str]) -> None:
        self.erased += [(job, task) for task in tasks]

    def link(self, older: str, job: str, task: str) -> None:
        self.linked.append((older, job, task))


@dataclass
class FixedJudge:
    """A policy that says the same to every job."""

    verdict: Verdict = YES

    async def judge(self, _spec: JobSpec, _initiator: Address) -> Verdict:
        return self.verdict


@dataclass
class Desk:
    """A supervisor of the host 9999 with a real store, and an office that delivers nothing by itself."""

    store: Store
    supervisor: Supervisor
    runner: Runner
    office: PostOffice
    judge: FixedJudge
    is_signed: bool = True

    @property
    def conductor(self) -> Conductor:
        return self.supervisor._conductor

    async def bring(self, source: Address, job: str, message: Record, scope: str = "x", kind: str = "") -> MessageId:
        """Put a control message into the inbox, as the office does, and hand it over."""
        body = message.to_bytes()
        return await self.bring_bytes(source, job, kind or type(message).__name__, body, scope)

    async def bring_bytes(self, source: Address, job: str, kind: str, body: bytes, scope: str = "x") -> MessageId:
        import hashlib

        message = MessageId(job, "", 0, scope, kind, source, self.supervisor.me)
        await self.store.write(lambda store: store.accept(message, hashlib.sha256(body).digest(), body))
        self.supervisor.control(message, body)
        return message

    async def waiting(self) -> int:
        return len(await self.store.read(lambda store: store.unconsumed_control()))

    async def all_consumed(self) -> None:
        """Wait until everything brought so far is on the disk as consumed, and what it led to has been carried out."""
        while await self.waiting():
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)

    async def sent(self, to: Address) -> list[str]:
        rows = await self.store.read(lambda store: store.unacknowledged(to))
        return [row.message.kind for row in rows]


@contextlib.asynccontextmanager
async def desk(folder: Path, me: Address = HOST) -> AsyncIterator[Desk]:
    store = Store.open(folder / "store", limits=NO_RESERVE)
    office = PostOffice(
        me, store, Wire(random.Random(1)), Seen().watch(), outbox_quota_bytes=1 << 20, inbox_quota_bytes=1 << 20
    )
    link = SimpleNamespace(is_suspect=False, features=None)
    office.links.update(dict.fromkeys((a for a in (GUEST, HOST, OTHER) if a != me), link))  # type: ignore[arg-type]
    office.dispatch = lambda *_: None  # type: ignore[method-assign]
    office._grant = lambda *_: None  # type: ignore[method-assign]
    runner = Runner(folder / "tasks")
    judge = FixedJudge()
    held: list[Desk] = []
    supervisor = Supervisor(
        me, office, store, runner, COMPONENTS, sign=lambda _: SIGNATURE,  # type: ignore[arg-type]
        verify=lambda *_: held[0].is_signed, judge=judge, slots=SlotDesk.of(8), clock=lambda: 5.0,
    )  # fmt: skip
    await supervisor.load()
    running = asyncio.create_task(supervisor.run())
    await asyncio.sleep(0)
    held.append(Desk(store, supervisor, runner, office, judge))
    try:
        yield held[0]
    finally:
        if running.done():
            running.result()
        running.cancel()
        await asyncio.wait([running])
        await store.close()
        assert running.cancelled(), running.exception()


def spec(*parties: Address, tasks: int = 2, **conf: object) -> JobSpec:
    dag = {
        "parties": [{"role": p.role.label, "party_id": [p.party_id]} for p in parties or (GUEST, HOST, OTHER)],
        "conf": conf,
        "tasks": {
            f"toy_{i}": {"component_ref": "toy_example", "dependent_tasks": [f"toy_{i - 1}"] if i else []}
            for i in range(tasks)
        },
    }
    return read_dag({"dag": dag}, COMPONENTS)


def offer(spec_: JobSpec | None = None) -> JobOffer:
    return JobOffer(spec=(spec_ or spec()).model_dump_json().encode(), created_at=1.0)


def end(status: str = "failed", **changes: Any) -> JobEnd:
    values = {"status": status, "party": "10000/guest", "task": "", "code": "x", "cause": "y", "signature": b""}
    return JobEnd(**{**values, **changes})


def draft(
    job: str = "job1",
    spec_: JobSpec | None = None,
    terms: PartyTerms | None = None,
    run: int = 0,
    versions: dict[str, int] | None = None,
) -> ContractDraft:
    """Return the contract of an offered job, as its initiator makes it."""
    job_spec = spec_ or spec()
    answers = dict.fromkeys(job_spec.dag.addresses(), terms or PartyTerms())
    which = Run(run, versions or {})
    text = contracts.build(job, job_spec, COMPONENTS, answers, initiator=GUEST, run=which)
    return ContractDraft(run=run, contract=text, signature=SIGNATURE)


def start(spec_: JobSpec | None = None) -> JobStart:
    signatures = {str(address): SIGNATURE for address in (spec_ or spec()).dag.addresses()}
    return JobStart(started_at=1.0, signatures=signatures)


async def agree(desk_: Desk, job: str = "job1", spec_: JobSpec | None = None) -> None:
    """Bring a job at this host to where it has signed and has cores."""
    await desk_.bring(GUEST, job, offer(spec_), "offer")
    await desk_.all_consumed()
    await desk_.bring(GUEST, job, draft(job, spec_), "draft")
    await desk_.all_consumed()
    await desk_.bring(GUEST, job, SlotRequest(ask=1, cores=4, priority=0, created_at=1.0), "slots")
    await desk_.all_consumed()


async def begin(desk_: Desk, job: str = "job1", spec_: JobSpec | None = None) -> None:
    await agree(desk_, job, spec_)
    await desk_.bring(GUEST, job, start(spec_), "start")
    await desk_.all_consumed()
    assert (await desk_.supervisor.record(job)).status is JobStatus.RUNNING


def on_desk(tmp_path: Path, work: Callable[[Desk], Any], me: Address = HOST) -> None:
    async def scenario() -> None:
        async with desk(tmp_path, me) as desk_:
            await work(desk_)

    run_fast(scenario)


def values_of(chance: random.Random, kind: type[Record]) -> Record:
    """Return a well-typed message with values from reasonable to absurd."""
    texts = ["", "toy_0", "toy_9", "success", "running", "failed", "pass", "nonsense", "9999/host", "10000/guest", "/"]
    made: dict[str, Any] = {}
    for name, about in kind.model_fields.items():
        if about.annotation not in (str, bytes, float, bool, int):
            key = chance.choice([*texts, "z" * 5000])
            made[name] = {key: chance.choice([0, 1, -5]) if "int" in str(about.annotation) else b"x"}
            continue
        made[name] = {
            int: lambda: chance.choice([0, 0, 0, 1, 2, -1, 1 << 40]),
            str: lambda: chance.choice([*texts, "z" * 5000, "\u0000", "é"]),
            bytes: lambda: chance.choice([b"", chance.randbytes(70), b"{}", offer().spec, b'{"dag":' * 3000]),
            float: lambda: chance.choice([0.0, -1.0, 1e300, float("inf")]),
            bool: lambda: chance.random() < 0.5,
        }[about.annotation]()  # type: ignore[index]
    return kind(**made)


class FullDisk:
    """Makes a store's writes fail for a while; ``vital`` ones may pass."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, times: int, passes_vital: bool = False) -> None:
        self.refused = 0
        self.vital = 0
        write = store.write

        async def fail(work: Callable[[Any], Any], *, is_vital: bool = False) -> Any:
            self.vital += is_vital
            if self.refused < times and not (is_vital and passes_vital):
                self.refused += 1
                raise StoreFull("no space left")
            return await write(work, is_vital=is_vital)

        monkeypatch.setattr(store, "write", fail)
