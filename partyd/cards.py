"""Keep an address's own keys and cards, and its peers' cards, current while the daemon runs.

`refresh` reads the files again, at the start, on SIGHUP and once an hour: our card is renewed before its end, a key
whose overlap is over is dropped, and every channel gets the new cards without losing its session. A peer whose card
has expired is not spoken to until there is a newer one; one that was revoked never again.

A new card of ours travels by itself. `CardRenewal` is a control message that belongs to no job (``job == ""``); its
scope is the card's digest. It is written to the outbox once for each card and peer, and its delivery survives
everything. The receiver takes it under the pinned id key alone. A card with another id key, even one that the old key
has signed, is left to a person who compares the fingerprint: whoever stole the old key could have signed it too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from partyd.crypto.identity import verify_signature
from partyd.errors import BadValue, ConfigError, RemoteProtocolError, StoreError
from partyd.federation.insist import insist
from partyd.federation.office import PostOffice
from partyd.federation.rows import Posted
from partyd.jobs.ports import JobStore, Transaction
from partyd.layout import Layout
from partyd.trust import Own, Pinned, find_peer, is_revoked, keep_own, read_peers, renew_peer
from partyd.types import Address, MessageId
from partyd.wire.card import Card
from partyd.wire.codec import Record
from partyd.wire.session import Session

log = structlog.get_logger()

TOLD = "card_told"
"""By peer, the digest of the card of ours that was last written to the outbox for it."""
WARN_EVERY_S = 86_400
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class CardRenewal(Record):
    """A party's new card, to a peer that has pinned it."""

    card: bytes


def is_renewal(message: MessageId) -> bool:
    """Say whether a message from a pinned peer is a card, and not about a job."""
    names_card = message.kind == CardRenewal.__name__ and _DIGEST.match(message.scope) is not None
    return names_card and (message.job, message.task, message.attempt) == ("", "", 0)


@dataclass
class Cards:
    """The keys and cards of one address, and those of its peers."""

    layout: Layout
    address: Address
    org: str
    own: Own
    office: PostOffice
    store: JobStore
    session: Callable[[Pinned], Awaitable[Session]]
    clock: Callable[[], int]
    revoked: Callable[[Address], None]
    """Told of a peer that is not pinned any more."""
    peers: dict[Address, Pinned] = field(default_factory=dict)
    """Every peer that is pinned, also those whose card has expired."""
    _warned: dict[Address, int] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def sign(self, text: bytes) -> bytes:
        """Sign with our present id key."""
        return self.own.identity.sign(text)

    def verify(self, signer: Address, signature: bytes, text: bytes) -> bool:
        """Return whether ``signer``, ourselves or a pinned peer, has signed ``text``."""
        pinned = self.peers.get(signer)
        id_pub = self.own.card.id_pub if signer == self.address else pinned.card.id_pub if pinned else b""
        try:
            verify_signature(id_pub, signature, text)
        except BadValue:
            return False
        return True

    async def refresh(self) -> None:
        """Bring keys, cards and peers up to the files and the time.

        Raises ConfigError or OSError when the files cannot be used, and StoreError; the rest is done at the next call.
        """
        async with self._lock:
            now = self.clock()
            own = await asyncio.to_thread(keep_own, self.layout, self.address, self.org, now)
            found = await asyncio.to_thread(read_peers, self.layout)
            if own.card.digest != self.own.card.digest:
                log.info("own_card_changed", me=str(self.address), serial=own.card.serial)
            self.own = own
            await self._follow({pinned.address: pinned for pinned in found if pinned.address != self.address}, now)
            try:
                await self._tell()
            except StoreError as error:  # the next refresh tries again
                log.warning("card_not_sent", me=str(self.address), error=str(error))

    async def take(self, message: MessageId, body: bytes) -> None:
        """Take a card that a peer has sent, if it may replace the one that is pinned."""
        async with self._lock:
            try:
                await self._renew(message, Card.decode(CardRenewal.from_bytes(body).card))
            except (RemoteProtocolError, ValueError) as error:
                log.warning("card_renewal_refused", peer=str(message.source), error=str(error)[:500])
            except (ConfigError, StoreError, OSError) as error:
                log.error("card_not_stored", peer=str(message.source), error=str(error))
                return
        await insist("card_not_consumed", lambda: self.store.write(lambda store: _consume(store, message)))
        await insist("inbox_not_read", lambda: self.office.consumed(message.source))

    async def recover(self) -> None:
        """Take the cards that wait in the inbox since an earlier life."""
        found = await insist("not_read", lambda: self.store.read(lambda store: store.unconsumed_control()))
        for message, kept in [(mail.message, mail.body) for mail in found if is_renewal(mail.message)]:
            body = await insist("not_read", lambda: self.store.read(lambda store: store.read_body(kept)))  # noqa: B023
            await self.take(message, body)

    async def tell_again(self, peer: Address) -> None:
        """Send our card to a peer that has lost what it knew."""
        await insist("card_not_sent", lambda: self.store.write(lambda store: store.delete_document(TOLD, str(peer))))
        async with self._lock:
            await insist("card_not_sent", self._tell)

    # -- the peers' cards

    async def _follow(self, wanted: Mapping[Address, Pinned], now: int) -> None:
        for address in set(self.peers) - set(wanted):
            log.info("peer_dropped", peer=str(address))
            self.office.drop_peer(address)
            del self.peers[address]
            self.revoked(address)
        for pinned in wanted.values():
            await self._adopt(pinned, now)

    async def _adopt(self, pinned: Pinned, now: int) -> None:
        """Speak to a peer under its present cards, or not at all while they are not valid."""
        address, known = pinned.address, self.peers.get(pinned.address)
        self.peers[address] = pinned
        try:
            pinned.card.verify(pinned.fingerprint, now)
        except BadValue as error:
            self.office.drop_peer(address)
            self._warn(address, str(error), now)
            return
        self._warned.pop(address, None)
        link = self.office.links.get(address)
        if link is None or known is None or known.fingerprint != pinned.fingerprint:
            await self.office.add_peer(address, await self.session(pinned))
        else:
            own, theirs = self.own.cards(now), pinned.cards(now)
            link.session.replace_cards(
                self.own.identity,
                own[0],
                theirs[0],
                previous_card=own[1] if len(own) > 1 else None,
                previous_peer=theirs[1] if len(theirs) > 1 else None,
            )

    def _warn(self, address: Address, error: str, now: int) -> None:
        if now - self._warned.get(address, -WARN_EVERY_S) >= WARN_EVERY_S:
            self._warned[address] = now
            log.warning("peer_card_refused", peer=str(address), error=error)

    async def _renew(self, message: MessageId, card: Card) -> None:
        peer, now = message.source, self.clock()
        known = await asyncio.to_thread(find_peer, self.layout, peer)
        if known is None or is_revoked(self.layout, peer, known.fingerprint):
            raise BadValue(f"{peer} is not pinned any more")
        if card.digest.hex() != message.scope:
            raise BadValue("the card is not the one that its message names")
        renewed = await asyncio.to_thread(renew_peer, self.layout, known, card, now)
        if renewed is not known:
            log.info("peer_card_renewed", peer=str(peer), serial=card.serial, not_after=card.not_after)
            await self._adopt(renewed, now)

    # -- our card

    async def _tell(self) -> None:
        """Send our card to every peer that was not sent this one before."""
        body, digest = CardRenewal(card=self.own.card.encode()).to_bytes(), self.own.card.digest
        peers = sorted(self.peers, key=str)

        def post(store: Transaction) -> list[tuple[MessageId, Posted]]:
            stale = [peer for peer in peers if store.document(TOLD, str(peer)) != digest]
            if stale:
                store.forget_mail("")  # of an earlier telling, so that the same card may be sent again
            posted = []
            for peer in stale:
                message = MessageId("", "", 0, digest.hex(), CardRenewal.__name__, self.address, peer)
                posted.append((message, self.office.post(store, message, body)))
                store.put_document(TOLD, str(peer), digest)
            return posted

        for message, entry in await self.store.write(post):
            self.office.dispatch(message, entry, body)


def _consume(store: Transaction, message: MessageId) -> None:
    """Consume a card and forget that it came: the same one again would change nothing."""
    if store.take(message) is not None:
        store.consume([message])
    store.forget_mail("")
