"""One address of this daemon, put together: its keys, store, post office, workers and jobs."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from partyd.cards import Cards, is_renewal
from partyd.components import COMPONENTS
from partyd.config import Settings
from partyd.errors import ConfigError, LocalProtocolError
from partyd.federation.bodies import FileSpool
from partyd.federation.office import PostOffice
from partyd.federation.ports import Carrier
from partyd.federation.watch import Watch
from partyd.governance.policy import PolicyFile
from partyd.jobs.judging import SiteJudge
from partyd.jobs.slots import SlotDesk, own_cores
from partyd.jobs.supervisor import Supervisor
from partyd.jobs.tasks import TaskRunner
from partyd.jobs.workers import Workers
from partyd.layout import Layout
from partyd.models.registry import ModelRegistry
from partyd.store import Store
from partyd.store.space import SpaceLimits
from partyd.tables.catalog import Catalog
from partyd.tables.sources import Sources
from partyd.trust import Own, Pinned, now_s, open_own
from partyd.types import Address, MessageId
from partyd.wire.channel import Channel
from partyd.wire.delivery import Delivery
from partyd.wire.frame import MAX_FRAME
from partyd.wire.hello import CONTRACTS, Hello
from partyd.wire.session import Session

EPOCH_SHIFT = 24
"""A handshake's epoch is the boot epoch, which the store has made durable, followed by a counter of this boot."""


@dataclass
class Node:
    """One address of this daemon."""

    address: Address
    settings: Settings
    store: Store
    office: PostOffice
    runner: TaskRunner
    supervisor: Supervisor
    cards: Cards
    sessions: Sessions
    catalog: Catalog
    _group: asyncio.TaskGroup | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        settings: Settings,
        carrier: Carrier,
        workers: Workers,
        *,
        slots: SlotDesk | None = None,
        clock: Callable[[], int] = now_s,
    ) -> Node:
        """Open the address's store, keys and jobs; raises ConfigError, StoreCorrupt or StoreFull for the owner.

        ``slots`` are the cores that all addresses of this daemon share; ``clock`` gives the Unix seconds that cards are
        judged by.
        """
        layout = Layout(settings.state_dir)
        own = open_own(layout, address, settings.org, clock())
        limits = SpaceLimits(reserve_bytes=settings.store.reserve_bytes, low_bytes=settings.store.low_watermark_bytes)
        store = Store.open(layout.store_dir(address.role), limits=limits)
        watch = Watch(_refuse, _ignore, _ignore, _ignore, _unraised)
        office = PostOffice(
            address,
            store,
            carrier,
            watch,
            outbox_quota_bytes=settings.delivery.outbox_quota_bytes,
            inbox_quota_bytes=settings.delivery.inbox_quota_bytes,
        )
        sessions = Sessions(settings, store, lambda: cards.own, clock)
        cards = Cards(
            layout,
            address,
            settings.org,
            own,
            office,
            store,
            sessions.begin,
            clock,
            lambda peer: supervisor.peer_revoked(peer),
        )
        policy = PolicyFile(layout.policy_file, standalone=settings.standalone)
        sources = Sources(layout, settings.data, is_standalone=settings.standalone)
        catalog = Catalog(layout, address.role, store, sources)
        runner = _runner(settings, layout, office, store, workers, catalog, policy)
        supervisor = Supervisor(
            address,
            office,
            store,
            runner,
            COMPONENTS,
            sign=cards.sign,
            verify=cards.verify,
            judge=SiteJudge(policy, address, store, COMPONENTS),
            slots=slots or SlotDesk.of(own_cores(settings.jobs.cores)),
        )
        node = cls(address, settings, store, office, runner, supervisor, cards, sessions, catalog)
        node._look_through(watch)
        await supervisor.load()
        await cards.refresh()
        return node

    def _look_through(self, watch: Watch) -> None:
        watch.admit = self.admit
        watch.control = self.control
        watch.store_changed = self.peer_lost_store
        watch.equivocated = self.supervisor.equivocated
        watch.epoch_stale = self.raise_epoch

    @property
    def own(self) -> Own:
        """Our keys and card."""
        return self.cards.own

    @property
    def peers(self) -> Mapping[Address, Pinned]:
        """Every pinned peer, also those whose card has expired."""
        return self.cards.peers

    async def run(self) -> None:
        """Deliver mail, run jobs and take cards until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.office.run())
            group.create_task(self.supervisor.run())
            group.create_task(self.cards.recover())
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    async def close(self) -> None:
        """Close the store; call it when `run` has ended."""
        self.sessions.close()
        await self.store.close()

    # -- what the post office asks and tells

    def admit(self, message: MessageId) -> bool:
        """Return whether a message from a pinned peer is wanted."""
        return is_renewal(message) or self.supervisor.admit(message)

    def control(self, message: MessageId, body: bytes) -> None:
        """Pass a control message on: a card to the cards, everything else to the jobs."""
        if not is_renewal(message):
            self.supervisor.control(message, body)
        elif self._group is not None:
            self._group.create_task(self.cards.take(message, body))

    def peer_lost_store(self, peer: Address) -> None:
        """End the jobs shared with a peer that lost its memory, and tell it our card again."""
        self.supervisor.peer_lost_store(peer)
        if self._group is not None:
            self._group.create_task(self.cards.tell_again(peer))

    def end_orphans(self) -> None:
        """End the jobs shared with peers that are not pinned any more, also those revoked while no daemon ran."""
        for peer in self.supervisor.partners() - set(self.peers):
            self.supervisor.peer_revoked(peer)

    async def raise_epoch(self, last_seen: int) -> None:
        """Go past an epoch that a peer remembers of us: this party was restored from a backup. Durable on return."""
        await self.store.raise_boot_epoch((last_seen >> EPOCH_SHIFT) + 1)


class Sessions:
    """Makes sessions, all of one boot and with one count of handshakes."""

    def __init__(self, settings: Settings, store: Store, own: Callable[[], Own], clock: Callable[[], int]) -> None:
        self._delivery = settings.delivery
        self._store = store
        self._own = own
        self._clock = clock
        self._boot_id = secrets.token_bytes(16)
        self._handshakes = itertools.count(1)
        self._writer = ThreadPoolExecutor(1, "spool")

    def _next_epoch(self) -> int:
        return (self._store.boot_epoch << EPOCH_SHIFT) + next(self._handshakes)

    async def begin(self, pinned: Pinned) -> Session:
        """Return a session at rest with a peer."""
        epoch = await self._store.read(lambda store: store.seen_epoch(pinned.address))
        own, now, limits = self._own(), self._clock(), self._delivery
        cards, theirs = own.cards(now), pinned.cards(now)
        channel = Channel(
            own.identity,
            cards[0],
            theirs[0],
            hello=Hello(self._boot_id, self._store.store_id, limits.window_bytes, MAX_FRAME, features=(CONTRACTS,)),
            next_epoch=self._next_epoch,
            last_seen_epoch=epoch,
            previous_card=cards[1] if len(cards) > 1 else None,
            previous_peer=theirs[1] if len(theirs) > 1 else None,
        )
        uniform = secrets.SystemRandom().uniform
        started = time.monotonic()
        delivery = Delivery(
            self._boot_id, self._spool, uniform, started, chunk=limits.chunk_bytes, window=limits.window_bytes
        )
        return Session(channel, delivery, uniform, started)

    def _spool(self, _total: int) -> FileSpool:
        return FileSpool(self._store.blobs.spool_path(), self._writer)

    def close(self) -> None:
        """Let the thread go that writes arriving bodies."""
        self._writer.shutdown()


def _runner(
    settings: Settings,
    layout: Layout,
    office: PostOffice,
    store: Store,
    workers: Workers,
    catalog: Catalog,
    policy: PolicyFile,
) -> TaskRunner:
    return TaskRunner(
        office,
        store,
        workers,
        layout,
        COMPONENTS,
        task_timeout_s=settings.jobs.task_timeout_s,
        models=ModelRegistry(layout, office.me, store),
        tables=catalog,
        resolve=lambda name: policy.current().resolve(name),
    )


def _refuse(_: object) -> bool:
    return False


def _ignore(*_: object) -> None:
    return None


async def _unraised(_: int) -> None:
    raise LocalProtocolError("a handshake began before its office had an owner")


def check_addresses(settings: Settings) -> None:
    """Raise ConfigError when this daemon has no keys for one of its addresses."""
    layout = Layout(settings.state_dir)
    missing = [str(a) for a in settings.addresses if not layout.key_file(a.role).exists()]
    if missing:
        roles = " ".join(f"--role {role.label}" for role in settings.roles)
        raise ConfigError(
            f"{settings.state_dir} holds no keys of {', '.join(missing)}; make them with: "
            f"partyd init {roles} --party-id {settings.party_id} --state-dir {settings.state_dir}"
        )
