"""Exchanges audit heads and their countersignatures with the parties of a job, and notes what was exchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from partyd.components.base import JsonObject
from partyd.federation.office import PostOffice
from partyd.federation.rows import Posted
from partyd.governance import audit
from partyd.governance.audit import AuditHead, AuditReceipt
from partyd.jobs.ports import JobStore, Reader, Transaction, Verify
from partyd.jobs.record import JobRecord, TaskStatus
from partyd.types import Address, MessageId

Outgoing = list[tuple[MessageId, Posted, bytes]]


@dataclass(frozen=True)
class Evidence:
    """The audit log of one address, as far as peers see it."""

    office: PostOffice
    store: JobStore
    sign: Callable[[bytes], bytes]
    verify: Verify

    @property
    def me(self) -> Address:
        return self.office.me

    def show(self, store: Transaction, job: str, scope: str, peers: tuple[Address, ...]) -> Outgoing:
        """Send the head of our log, as it stands in this transaction."""
        body = audit.head(store, self.me, self.sign).to_bytes() if peers else b""
        return [self._post(store, job, scope, AuditHead.__name__, peer, body) for peer in peers]

    async def take(self, message: MessageId, told: AuditHead | AuditReceipt, consume: Consume) -> None:
        """Keep a peer's head and countersign it, or keep its countersignature; raises BadValue if it is unsigned."""
        job, peer = message.job, message.source

        def taken(store: Transaction) -> Outgoing:
            consume(store, message)
            if isinstance(told, AuditReceipt):
                audit.keep_receipt(store, job, self.me, peer, told, self.verify)
                return []
            receipt = audit.take_head(store, job, peer, told, self.verify, self.sign)
            if receipt is None:
                return []
            return [self._post(store, job, f"receipt/{told.seq}", AuditReceipt.__name__, peer, receipt.to_bytes())]

        self.dispatch(await self.store.write(taken))

    def dispatch(self, outgoing: Outgoing) -> None:
        """Deliver what a transaction has posted."""
        for entry in outgoing:
            self.office.dispatch(*entry)

    async def traffic(self, record: JobRecord) -> dict[str, dict[str, JsonObject]]:
        """Return what was exchanged in each task of an ended job that ran here, before its mail is forgotten."""
        ran = {task: s.version for task, s in record.tasks.items() if s.status is not TaskStatus.PASS and s.started_at}

        def summed(store: Reader) -> dict[str, dict[str, JsonObject]]:
            return {
                task: audit.traffic_of(self.me, store.message_digests(record.job, task, version))
                for task, version in ran.items()
            }

        return {task: traffic for task, traffic in (await self.store.read(summed)).items() if traffic}

    def _post(
        self, store: Transaction, job: str, scope: str, kind: str, peer: Address, body: bytes
    ) -> tuple[MessageId, Posted, bytes]:
        message = MessageId(job, "", 0, scope, kind, self.me, peer)
        return message, self.office.post(store, message, body), body


Consume = Callable[[Transaction, MessageId], None]
