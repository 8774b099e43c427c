"""One address of this daemon, put together: its keys, store, post office, workers and jobs."""

from __future__ import annotations

import itertools
import secrets
import time
from dataclasses import dataclass

import structlog

from partyd.components import COMPONENTS
from partyd.config import Settings
from partyd.crypto.identity import verify_signature
from partyd.errors import BadValue, ConfigError
from partyd.federation.bodies import FileSpool
from partyd.federation.office import PostOffice, Watch
from partyd.federation.ports import Carrier
from partyd.jobs.supervisor import Supervisor
from partyd.jobs.tasks import TaskRunner
from partyd.jobs.workers import Workers
from partyd.layout import Layout
from partyd.store import Store
from partyd.store.space import SpaceLimits
from partyd.trust import Own, Pinned, now_s, open_own, read_peers
from partyd.types import Address
from partyd.wire.channel import Channel
from partyd.wire.delivery import Delivery
from partyd.wire.frame import MAX_FRAME
from partyd.wire.hello import Hello
from partyd.wire.session import Session

log = structlog.get_logger()

EPOCH_SHIFT = 24
"""A handshake's epoch is the boot epoch, which the store has made durable, followed by a counter of this boot."""


@dataclass
class Node:
    """One address of this daemon."""

    address: Address
    settings: Settings
    layout: Layout
    own: Own
    store: Store
    office: PostOffice
    runner: TaskRunner
    supervisor: Supervisor
    peers: dict[Address, Pinned]
    boot_id: bytes

    @classmethod
    async def open(cls, address: Address, settings: Settings, carrier: Carrier, workers: Workers) -> Node:
        """Open the address's store, keys and jobs; raises ConfigError, StoreCorrupt or StoreFull for the owner."""
        layout = Layout(settings.state_dir)
        own = open_own(layout, address, settings.org, now_s())
        limits = SpaceLimits(reserve_bytes=settings.store.reserve_bytes, low_bytes=settings.store.low_watermark_bytes)
        store = Store.open(layout.store_dir(address.role), limits=limits)
        watch = Watch(_refuse, _ignore, _ignore, _ignore, _ignore)
        office = PostOffice(
            address,
            store,
            carrier,
            watch,
            outbox_quota_bytes=settings.delivery.outbox_quota_bytes,
            inbox_quota_bytes=settings.delivery.inbox_quota_bytes,
        )
        runner = TaskRunner(office, store, workers, layout, COMPONENTS)
        node = cls(
            address=address,
            settings=settings,
            layout=layout,
            own=own,
            store=store,
            office=office,
            runner=runner,
            supervisor=Supervisor(
                address, office, store, runner, COMPONENTS, sign=own.identity.sign, verify=lambda *a: node.verify(*a)
            ),
            peers={},
            boot_id=secrets.token_bytes(16),
        )
        watch.admit = node.supervisor.admit
        watch.control = node.supervisor.control
        watch.store_changed = node.supervisor.peer_lost_store
        watch.equivocated = lambda message: node.supervisor.equivocated(message)
        watch.epoch_stale = node.raise_epoch
        await node.supervisor.load()
        await node.reload_peers()
        return node

    async def reload_peers(self) -> None:
        """Read the pinned peers again: new ones are spoken to, revoked ones never again."""
        now = now_s()
        wanted = {pinned.address: pinned for pinned in read_peers(self.layout) if pinned.address != self.address}
        for address in set(self.peers) - set(wanted):
            log.info("peer_dropped", peer=str(address))
            self.office.drop_peer(address)
        for address, pinned in wanted.items():
            if self.peers.get(address) == pinned:
                continue
            try:
                pinned.card.verify(pinned.fingerprint, now)
            except BadValue as error:
                log.warning("peer_card_refused", peer=str(address), error=str(error))
                continue
            await self.office.add_peer(address, await self._session(pinned))
        self.peers = wanted

    async def _session(self, pinned: Pinned) -> Session:
        epoch = await self.store.read(lambda store: store.seen_epoch(pinned.address))
        delivery = self.settings.delivery
        hello = Hello(self.boot_id, self.store.store_id, delivery.window_bytes, MAX_FRAME)
        counter = itertools.count(1)
        channel = Channel(
            self.own.identity,
            self.own.card,
            pinned.card,
            hello=hello,
            next_epoch=lambda: (self.store.boot_epoch << EPOCH_SHIFT) + next(counter),
            last_seen_epoch=epoch,
            previous_card=self.own.previous,
            previous_peer=pinned.previous,
        )
        uniform = secrets.SystemRandom().uniform
        spool = self.store.blobs.spool_path
        now = time.monotonic()
        return Session(
            channel,
            Delivery(
                self.boot_id,
                lambda _total: FileSpool(spool()),
                uniform,
                now,
                chunk=delivery.chunk_bytes,
                window=delivery.window_bytes,
            ),
            uniform,
            now,
        )

    def raise_epoch(self, last_seen: int) -> None:
        """Go past an epoch that a peer remembers of us: this party was restored from a backup."""
        self.store.boot_epoch = max(self.store.boot_epoch, (last_seen >> EPOCH_SHIFT) + 1)

    def verify(self, signer: Address, signature: bytes, text: bytes) -> bool:
        """Return whether ``signer``, ourselves or a pinned peer, has signed ``text``."""
        pinned = self.peers.get(signer)
        id_pub = self.own.card.id_pub if signer == self.address else pinned.card.id_pub if pinned else b""
        try:
            verify_signature(id_pub, signature, text)
        except BadValue:
            return False
        return True


def _refuse(_: object) -> bool:
    return False


def _ignore(*_: object) -> None:
    return None


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
