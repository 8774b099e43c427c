"""The post office of one address: its durable mailbox, and one link to each pinned peer.

A message to a peer is written to the outbox, and is durable when `send` returns; its link then delivers it, whenever and as
often as it takes, until the peer has acknowledged that it is on *its* disk. A message from a peer is written to the inbox
before it is acknowledged; whoever waits for its identity is woken. Nothing depends on the order of arrival, on the broker, or
on either process living on.

A link is a sans-IO `Session` and one task that pumps it: frames out when the session has some, time in when its deadline
comes. Frames come in through `frame_arrived`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from partyd.errors import BadValue, Equivocation, PartydError, StoreError
from partyd.federation.bodies import FileBody
from partyd.federation.header import decode_header, encode_header
from partyd.federation.ports import Carrier, MailReader, MailStore, MailWriter
from partyd.federation.rows import BlobRef, Body, OutboxRow, Posted
from partyd.types import Address, MessageId
from partyd.wire.bodies import BytesBody
from partyd.wire.channel import EpochSeen, EpochStale, Established, Rejected
from partyd.wire.delivery_events import Alive, Arrived, BodyLost, Delivered, RecordRejected, Refused, SpoolFailed, Suspect
from partyd.wire.session import Session, SessionEvent

log = structlog.get_logger()

BUDGET_BYTES = 4 << 20
PUBLISH_IN_FLIGHT = 24
RESTORE_PAGE = 256
INLINE_BYTES = 64 << 10


@dataclass
class Watch:
    """What the owner of an office wants to know; every member is called on the event loop."""

    admit: Callable[[MessageId], bool]
    """Whether a message from a pinned peer may be stored; one that may not is acknowledged and dropped."""
    control: Callable[[MessageId, bytes], None]
    """A control message is in the inbox and not yet consumed."""
    store_changed: Callable[[Address], None]
    """The peer's store is another one than before: it was lost or restored from a backup."""
    equivocated: Callable[[MessageId], None]
    """The peer sent two contents under one identity."""
    epoch_stale: Callable[[int], None]
    """A peer has seen a later epoch of ours: this party was restored from a backup."""


@dataclass
class Link:
    """One peer: its session and the pump's state."""

    peer: Address
    session: Session
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: dict[int, int] = field(default_factory=dict)
    waiting_bytes: int = 0
    is_suspect: bool = False
    rejected: dict[str, int] = field(default_factory=dict)
    pump: asyncio.Task[None] | None = None


class PostOffice:
    """Sends, receives and delivers the messages of one address; use `run` in a task group."""

    def __init__(
        self,
        me: Address,
        store: MailStore,
        carrier: Carrier,
        watch: Watch,
        *,
        outbox_quota_bytes: int,
        inbox_quota_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.me = me
        self.links: dict[Address, Link] = {}
        self._store = store
        self._carrier = carrier
        self._watch = watch
        self._outbox_quota = outbox_quota_bytes
        self._inbox_quota = inbox_quota_bytes
        self._clock = clock
        self._arrivals: dict[MessageId, asyncio.Future[None]] = {}
        self._inbox_bytes: dict[Address, int] = {}
        self._group: asyncio.TaskGroup | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for link in self.links.values():
                self._start(link)
            await asyncio.get_running_loop().create_future()

    async def add_peer(self, peer: Address, session: Session) -> None:
        """Begin (or begin anew, with a new card) to deliver to ``peer``, with what waits for it in the outbox."""
        self.drop_peer(peer)
        link = Link(peer, session)
        link.room.set()
        self.links[peer] = link
        after = 0
        while page := await self._store.read(lambda mail: mail.unacknowledged(peer, after, RESTORE_PAGE)):  # noqa: B023
            for row in page:
                self._submit(link, row)
            after = page[-1].seq
        self._inbox_bytes[peer] = await self._store.read(lambda mail: mail.inbox_bytes(peer))
        session.connect()
        if self._group is not None:
            self._start(link)

    def drop_peer(self, peer: Address) -> None:
        """Stop all traffic with ``peer`` at once."""
        link = self.links.pop(peer, None)
        if link is not None:
            link.session.close()
            if link.pump is not None:
                link.pump.cancel()

    def _start(self, link: Link) -> None:
        assert self._group is not None
        if link.pump is None:
            link.pump = self._group.create_task(self._pump(link))

    # -- what the owner calls

    async def send(self, message: MessageId, body: bytes) -> None:
        """Write a message to the outbox and deliver it; waits while the peer's outbox is over its quota."""
        link = self.links.get(message.destination)
        if link is not None:
            await link.room.wait()
        kept: Body = body
        if len(body) > INLINE_BYTES:
            kept = BlobRef(await asyncio.to_thread(self._store.blobs.write, body), len(body))
        posted = await self._store.write(lambda mail: self.post(mail, message, kept))
        self.dispatch(message, posted, kept)

    def post(self, mail: MailWriter, message: MessageId, body: Body) -> Posted:
        """Write a message to the outbox as part of the caller's transaction; call `dispatch` once it is committed."""
        return mail.post(message, encode_header(message), body)

    def dispatch(self, message: MessageId, posted: Posted, body: Body) -> None:
        """Deliver a message that `post` has written; one that was there already is under way already."""
        link = self.links.get(message.destination)
        if link is not None and posted.is_new:
            sha256 = bytes.fromhex(body.digest) if isinstance(body, BlobRef) else b""
            self._submit(link, OutboxRow(posted.seq, message, encode_header(message), body, sha256, 0))
            link.wake.set()

    async def receive(self, message: MessageId) -> bytes:
        """Return the body of a message once it is in the inbox; may be cancelled and asked again."""
        arrival = self._arrivals.get(message)
        if arrival is None:
            arrival = self._arrivals[message] = asyncio.get_running_loop().create_future()
        while (body := await self._store.read(lambda mail: _take(mail, message))) is None:
            await asyncio.shield(arrival)
        self._arrivals.pop(message, None)
        return body

    async def consumed(self, source: Address) -> None:
        """Note that messages of ``source`` were consumed: it may send more."""
        self._inbox_bytes[source] = await self._store.read(lambda mail: mail.inbox_bytes(source))
        self._grant(source)

    def forget(self, job: str) -> None:
        """Drop what waits for messages of a job that has ended."""
        for message in [m for m in self._arrivals if m.job == job]:
            self._arrivals.pop(message).cancel()

    # -- what the transport calls

    def frame_arrived(self, source: Address, frame: bytes) -> None:
        """Take a frame that claims to come from ``source``; a stranger's is dropped before any work."""
        link = self.links.get(source)
        if link is not None:
            self._handle(link, link.session.receive_frame(frame, self._clock()))
            link.wake.set()

    def transport_changed(self, connected: bool) -> None:
        """Pause while the broker is away; send everything unacknowledged again when it is back."""
        if not connected:
            self._connected.clear()
            return
        self._connected.set()
        for link in self.links.values():
            link.session.transport_restored(self._clock())
            link.wake.set()

    def peer_appeared(self, peer: Address) -> None:
        """Take the hint that a peer is there: try it now."""
        link = self.links.get(peer)
        if link is not None:
            link.session.nudge(self._clock())
            link.wake.set()

    # -- the pump

    async def _pump(self, link: Link) -> None:
        room = asyncio.Semaphore(PUBLISH_IN_FLIGHT)
        async with asyncio.TaskGroup() as publishing:
            while True:
                await self._connected.wait()
                link.wake.clear()
                self._handle(link, link.session.tick(self._clock()))
                frames = link.session.frames_to_send(self._clock(), BUDGET_BYTES)
                for frame in frames:
                    await room.acquire()
                    publishing.create_task(self._publish(link, frame, room))
                if not frames:
                    await self._sleep(link)

    async def _sleep(self, link: Link) -> None:
        deadline = link.session.next_deadline()
        wait = None if deadline is None else max(0.0, deadline - self._clock())
        try:
            async with asyncio.timeout(wait):
                await link.wake.wait()
        except TimeoutError:
            return

    async def _publish(self, link: Link, frame: bytes, room: asyncio.Semaphore) -> None:
        try:
            await self._carrier.publish(self.me, link.peer, frame)
        except PartydError as error:
            log.debug("frame_not_published", peer=str(link.peer), error=str(error))
        finally:
            room.release()

    def _submit(self, link: Link, row: OutboxRow) -> None:
        body = row.body
        if isinstance(body, BlobRef):
            path: Path = self._store.blobs.path(body.digest)
            link.session.submit(row.seq, row.header, FileBody(path, body.size, bytes.fromhex(body.digest)))
            size = body.size
        else:
            link.session.submit(row.seq, row.header, BytesBody(body), control=row.message.task == "")
            size = len(body)
        if row.seq not in link.waiting:
            link.waiting[row.seq] = size
            link.waiting_bytes += size
        if link.waiting_bytes > self._outbox_quota:
            link.room.clear()

    # -- what happens on a link

    def _handle(self, link: Link, events: list[SessionEvent]) -> None:
        acknowledged = [event.seq for event in events if isinstance(event, Delivered | Refused)]
        if acknowledged:
            self._spawn(self._acknowledge(link, acknowledged))
        for event in events:
            if isinstance(event, Arrived):
                self._spawn(self._keep(link, event))
            elif isinstance(event, Rejected | RecordRejected):
                reason = str(event.reason)
                link.rejected[reason] = link.rejected.get(reason, 0) + 1
            elif isinstance(event, Refused | BodyLost | SpoolFailed):
                log.warning("message_not_delivered", peer=str(link.peer), seq=event.seq, what=type(event).__name__)
            else:
                self._note(link, event)

    def _note(self, link: Link, event: SessionEvent) -> None:
        if isinstance(event, Established):
            link.is_suspect = False
            log.info("session_established", me=str(self.me), peer=str(link.peer), peer_restarted=event.new_boot)
            self._spawn(self._meet(link, event))
        elif isinstance(event, EpochSeen):
            epoch = event.epoch
            self._spawn(self._see(link.peer, epoch))
        elif isinstance(event, EpochStale):
            self._watch.epoch_stale(event.last_seen)
        elif isinstance(event, Suspect | Alive):
            link.is_suspect = isinstance(event, Suspect)
            log.info("peer_silent" if link.is_suspect else "peer_back", peer=str(link.peer))

    def _spawn(self, work: object) -> None:
        assert self._group is not None
        self._group.create_task(work)  # type: ignore[arg-type]

    async def _see(self, peer: Address, epoch: int) -> None:
        await self._store.write(lambda mail: mail.see_epoch(peer, epoch))

    async def _meet(self, link: Link, event: Established) -> None:
        hello = event.hello
        is_other = await self._store.write(lambda mail: mail.see_store(link.peer, hello.store_id, hello.boot_id))
        if is_other:
            log.warning("peer_store_changed", peer=str(link.peer))
            self._watch.store_changed(link.peer)

    async def _acknowledge(self, link: Link, seqs: list[int]) -> None:
        await self._store.write(lambda mail: mail.acknowledge(link.peer, seqs))
        for seq in seqs:
            link.waiting_bytes -= link.waiting.pop(seq, 0)
        if link.waiting_bytes <= self._outbox_quota:
            link.room.set()

    async def _keep(self, link: Link, event: Arrived) -> None:
        try:
            message = decode_header(event.header, link.peer, self.me)
            is_new, body = await self._accept(message, event)
        except BadValue:
            link.rejected["bad_header"] = link.rejected.get("bad_header", 0) + 1
            link.session.refused(event.seq, "bad_header", self._clock())
        except Equivocation as error:
            log.error("peer_equivocated", peer=str(link.peer), error=str(error))
            link.session.refused(event.seq, "equivocation", self._clock())
            self._watch.equivocated(message)
        except StoreError as error:
            log.error("message_not_stored", peer=str(link.peer), error=str(error))
        else:
            link.session.stored(event.seq, self._clock())
            if is_new:
                self._announce(link, message, body)
        link.wake.set()

    async def _accept(self, message: MessageId, event: Arrived) -> tuple[bool, bytes]:
        body: Body
        if isinstance(event.body, bytes):
            body = event.body
        else:
            assert isinstance(event.body, FileBody)
            path, digest = event.body.path, event.sha256.hex()
            if not self._watch.admit(message):
                path.unlink(missing_ok=True)
                return False, b""
            body = await asyncio.to_thread(self._store.blobs.adopt, path, digest)
        if not self._watch.admit(message):
            return False, b""
        is_new = await self._store.write(lambda mail: mail.accept(message, event.sha256, body))
        return is_new, body if isinstance(body, bytes) else b""

    def _announce(self, link: Link, message: MessageId, body: bytes) -> None:
        self._inbox_bytes[link.peer] = self._inbox_bytes.get(link.peer, 0) + len(body)
        self._grant(link.peer)
        if message.task == "":
            self._watch.control(message, body)
            return
        arrival = self._arrivals.get(message)
        if arrival is not None and not arrival.done():
            arrival.set_result(None)

    def _grant(self, peer: Address) -> None:
        link = self.links.get(peer)
        if link is not None:
            link.session.set_credit(max(0, self._inbox_quota - self._inbox_bytes.get(peer, 0)), self._clock())
            link.wake.set()


def _take(mail: MailReader, message: MessageId) -> bytes | None:
    body = mail.take(message)
    return None if body is None else mail.read_body(body)
