"""The post office of one address: its durable mailbox, and one link to each pinned peer.

A message to a peer is written to the outbox, and is durable when `send` returns; its link then delivers it, whenever
and as often as it takes, until the peer has acknowledged that it is on *its* disk. A message from a peer is written
to the inbox before it is acknowledged; whoever waits for its identity is woken. Nothing depends on the order of
arrival, on the broker, or on either process living on.

A link is a sans-IO `Session` and one task that pumps it: frames out when the session has some, time in when its
deadline comes. Frames come in through `frame_arrived`.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from partyd.errors import BadValue, Equivocation, LocalProtocolError, PartydError
from partyd.federation.bodies import FileBody
from partyd.federation.header import decode_header, encode_header
from partyd.federation.insist import RETRY_MOST_S, insist
from partyd.federation.ports import Carrier, MailReader, MailStore, MailWriter
from partyd.federation.rows import BlobRef, Body, OutboxRow, Posted
from partyd.federation.watch import Watch
from partyd.types import Address, MessageId
from partyd.wire.bodies import BytesBody
from partyd.wire.channel import EpochSeen, EpochStale, Established, Rejected
from partyd.wire.delivery_events import (
    Alive,
    Arrived,
    BodyLost,
    Delivered,
    RecordRejected,
    Refused,
    SpoolFailed,
    Suspect,
)
from partyd.wire.hello import CONTRACTS
from partyd.wire.records import MAX_CONTROL
from partyd.wire.session import Session, SessionEvent

log = structlog.get_logger()

BUDGET_BYTES = 4 << 20
PUBLISH_IN_FLIGHT = 24
RESTORE_PAGE = 256
INLINE_BYTES = 64 << 10
MAX_CONTROL_BODY = 2 << 20
"""A control message is read whole by the daemon: a DAG of at most 1 MiB, as JSON in an offer."""


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
    """By reason; the reasons are constants, whatever a peer sends."""
    epoch: int = 0
    """The epoch of a handshake that must be on disk before it is answered."""
    stale_epoch: int = 0
    """An epoch that ours must pass, on disk, before the next handshake begins."""
    pump: asyncio.Task[None] | None = None
    features: tuple[str, ...] | None = None
    """What the peer said at its last handshake that it can do."""


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
        self._silent_since: dict[Address, float] = {}
        """Since when a peer is silent; infinity while it is heard."""
        self._group: asyncio.TaskGroup | None = None
        self._connected = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for link in self.links.values():
                self._start(link)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None
                for link in self.links.values():
                    link.session.close()

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
        self._grant(peer)
        session.connect()
        if self._group is not None:
            self._start(link)

    def drop_peer(self, peer: Address) -> None:
        """Stop all traffic with ``peer`` at once."""
        link = self.links.pop(peer, None)
        if link is not None:
            self._note_silence(peer, is_silent=True)
            link.session.close()
            link.room.set()
            if link.pump is not None:
                link.pump.cancel()

    def silent_s(self, peer: Address) -> float:
        """Return how long ``peer`` has been silent, or without a link, as far as this process knows; 0 if it is not."""
        since = self._silent_since.setdefault(peer, self._clock())
        return max(0.0, self._clock() - since)

    def is_outdated(self, peer: Address) -> bool:
        """Return whether ``peer`` has been met and runs a version whose jobs have no contracts."""
        link = self.links.get(peer)
        return link is not None and link.features is not None and CONTRACTS not in link.features

    def drop_keys(self) -> None:
        """Begin a new session with every peer: this machine may have been suspended, copied or set back."""
        for link in self.links.values():
            link.session.drop_keys()
            link.wake.set()

    def _start(self, link: Link) -> None:
        assert self._group is not None
        if link.pump is None:
            link.pump = self._group.create_task(self._pump(link))

    # -- what the owner calls

    async def send(self, message: MessageId, body: bytes) -> None:
        """Write a message to the outbox and deliver it; waits while the peer's outbox is over its quota."""
        while (link := self.links.get(message.destination)) is not None and not link.room.is_set():
            await link.room.wait()
        kept: Body = body
        if len(body) > INLINE_BYTES:
            kept = BlobRef(await asyncio.to_thread(self._store.blobs.write, body), len(body))
        posted = await self._store.write(lambda mail: self.post(mail, message, kept))
        if posted.is_new:
            self.dispatch(message, posted, kept)
        else:
            await self._dispatch_again(message.destination, posted.seq)

    async def _dispatch_again(self, peer: Address, seq: int) -> None:
        """Deliver a message that was there already, unless that is under way or done: its first sender may have been
        cancelled, its worker killed, after the commit and before the delivery."""
        link = self.links.get(peer)
        if link is None or seq in link.waiting:
            return
        rows = await self._store.read(lambda mail: mail.unacknowledged(peer, seq - 1, 1, self.me))
        if rows and rows[0].seq == seq and seq not in link.waiting:
            self._submit(link, rows[0])
            link.wake.set()

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
        """Return the body of a message once it is in the inbox; may be cancelled and asked again.

        Raises LocalProtocolError for a message that a checkpoint has consumed since it was first asked for.
        """
        arrival = self._arrivals.get(message)
        if arrival is None:
            arrival = self._arrivals[message] = asyncio.get_running_loop().create_future()
        while True:
            has_arrived = arrival.done()
            body = await self._store.read(lambda mail: _take(mail, message))
            if body is not None or has_arrived:
                break
            await asyncio.shield(arrival)
        self._arrivals.pop(message, None)
        if body is None:
            raise LocalProtocolError(f"{message.kind} of scope {message.scope!r} was consumed by a round that is over")
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
        if link is not None and self._group is not None:
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
                while link.epoch or link.stale_epoch:
                    await self._settle(link)
                self._handle(link, link.session.tick(self._clock()))  # no await between: nothing unsettled goes out
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
            link.session.submit(
                row.seq, row.header, BytesBody(body), control=_is_control(row.message) and len(body) <= MAX_CONTROL
            )
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
                self._count(link, event.reason.value if isinstance(event, Rejected) else "record")
            elif isinstance(event, Refused | BodyLost | SpoolFailed):
                log.warning("message_not_delivered", peer=str(link.peer), seq=event.seq, what=type(event).__name__)
                if isinstance(event, BodyLost):
                    self._spawn(self._resubmit(link, event.seq))
            else:
                self._note(link, event)

    def _note(self, link: Link, event: SessionEvent) -> None:
        if isinstance(event, Established):
            link.is_suspect = False
            link.features = event.hello.features
            self._note_silence(link.peer, is_silent=False)
            log.info("session_established", me=str(self.me), peer=str(link.peer), peer_restarted=event.new_boot)
            self._spawn(self._meet(link, event))
        elif isinstance(event, EpochSeen):
            link.epoch = max(link.epoch, event.epoch)
        elif isinstance(event, EpochStale):
            link.stale_epoch = max(link.stale_epoch, event.last_seen)
        elif isinstance(event, Suspect | Alive):
            link.is_suspect = isinstance(event, Suspect)
            self._note_silence(link.peer, is_silent=link.is_suspect)
            log.info("peer_silent" if link.is_suspect else "peer_back", peer=str(link.peer))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._group is None:
            work.close()
        else:
            self._group.create_task(work)

    def _count(self, link: Link, reason: str) -> None:
        link.rejected[reason] = link.rejected.get(reason, 0) + 1

    async def _settle(self, link: Link) -> None:
        """Write down the epoch of the peer's newest handshake before it is answered, and a higher one of our own."""
        epoch, stale = link.epoch, link.stale_epoch
        if epoch:
            await insist(
                "epoch_not_stored",
                lambda: self._store.write(lambda mail: mail.see_epoch(link.peer, epoch), is_vital=True),
                peer=str(link.peer),
            )
        if stale:
            await insist("epoch_not_raised", lambda: self._watch.epoch_stale(stale), peer=str(link.peer))
        link.epoch = 0 if link.epoch == epoch else link.epoch
        link.stale_epoch = 0 if link.stale_epoch == stale else link.stale_epoch

    def _note_silence(self, peer: Address, *, is_silent: bool) -> None:
        if not is_silent:
            self._silent_since[peer] = math.inf
        elif self._silent_since.get(peer, math.inf) == math.inf:
            self._silent_since[peer] = self._clock()

    async def _meet(self, link: Link, event: Established) -> None:
        hello = event.hello
        is_other = await insist(
            "peer_not_stored",
            lambda: self._store.write(lambda mail: mail.see_store(link.peer, hello.store_id, hello.boot_id)),
            peer=str(link.peer),
        )
        if is_other:
            log.warning("peer_store_changed", peer=str(link.peer))
            self._watch.store_changed(link.peer)

    async def _acknowledge(self, link: Link, seqs: list[int]) -> None:
        await insist(
            "acknowledgement_not_stored",
            lambda: self._store.write(lambda mail: mail.acknowledge(link.peer, seqs)),
            peer=str(link.peer),
        )
        for seq in seqs:
            link.waiting_bytes -= link.waiting.pop(seq, 0)
        if link.waiting_bytes <= self._outbox_quota:
            link.room.set()

    async def _resubmit(self, link: Link, seq: int) -> None:
        """Try a message again whose body could not be read: too many open files, or a disk that had an error."""
        await asyncio.sleep(RETRY_MOST_S)
        rows = await insist(
            "outbox_not_read", lambda: self._store.read(lambda mail: mail.unacknowledged(link.peer, seq - 1, 1))
        )
        if self.links.get(link.peer) is link and rows and rows[0].seq == seq:
            self._submit(link, rows[0])
            link.wake.set()

    async def _keep(self, link: Link, event: Arrived) -> None:
        """Write what arrived to the inbox, however long that takes: the session does not hand it out twice."""
        try:
            message = decode_header(event.header, link.peer, self.me)
        except BadValue:
            await self._refuse(link, event, "bad_header")
            return
        size = len(event.body) if isinstance(event.body, bytes) else event.body.size
        if _is_control(message) and size > MAX_CONTROL_BODY:
            await self._refuse(link, event, "too_large")
            return
        where = {"peer": str(link.peer), "job": message.job}
        try:
            body = await insist("message_not_stored", lambda: self._body(message, event), **where)
            is_new = await insist("message_not_stored", lambda: self._accept(message, event.sha256, body), **where)
        except Equivocation as error:
            log.error("peer_equivocated", peer=str(link.peer), error=str(error))
            await self._refuse(link, event, "equivocation")
            self._watch.equivocated(message)
            return
        link.session.stored(event.seq, self._clock())
        if is_new:
            self._announce(link, message, size, body if isinstance(body, bytes) else b"")
        link.wake.set()

    async def _refuse(self, link: Link, event: Arrived, code: str) -> None:
        self._count(link, code)
        await self._discard(event)
        link.session.refused(event.seq, code, self._clock())
        link.wake.set()

    async def _discard(self, event: Arrived) -> None:
        """Delete the file of a message that is not kept; the next start empties the spool of what is left."""
        if isinstance(event.body, FileBody):
            with contextlib.suppress(OSError):
                await asyncio.to_thread(event.body.path.unlink, True)

    async def _body(self, message: MessageId, event: Arrived) -> Body | None:
        """Return an arrived body as the inbox takes it, a control message's always whole; None if it is not wanted."""
        if not self._watch.admit(message):
            await self._discard(event)
            return None
        if isinstance(event.body, bytes):
            return event.body
        assert isinstance(event.body, FileBody)
        if _is_control(message):
            return await asyncio.to_thread(event.body.load)
        return await asyncio.to_thread(self._adopt, event.body)

    def _adopt(self, body: FileBody) -> BlobRef:
        digest = body.sha256.hex()
        if not body.path.exists():  # an earlier try has adopted it and failed afterwards
            return BlobRef(digest, body.size)
        return self._store.blobs.adopt(body.path, digest)

    async def _accept(self, message: MessageId, sha256: bytes, body: Body | None) -> bool:
        if body is None or not self._watch.admit(message):
            return False
        return await self._store.write(lambda mail: mail.accept(message, sha256, body))

    def _announce(self, link: Link, message: MessageId, size: int, body: bytes) -> None:
        self._inbox_bytes[link.peer] = self._inbox_bytes.get(link.peer, 0) + size
        self._grant(link.peer)
        if _is_control(message):
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


def _is_control(message: MessageId) -> bool:
    return message.task == ""


def _take(mail: MailReader, message: MessageId) -> bytes | None:
    body = mail.take(message)
    return None if body is None else mail.read_body(body)
