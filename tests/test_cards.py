"""Keys and cards that change while the daemon runs: rotations, renewals, expiries, revocations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from partyd import trust
from partyd.cards import TOLD, CardRenewal, is_renewal
from partyd.crypto.identity import KX_OVERLAP_S
from partyd.types import MessageId
from partyd.wire.card import Card
from tests.nodes import BANK, DAY, SHOP, Town, town, until


def pinned_card(place: Town, at: object = SHOP, of: object = BANK) -> Card:
    """Return the card of the bank that the shop has on disk, or the other way round."""
    layout, peer = (place.layout(SHOP), BANK) if at == SHOP else (place.layout(BANK), SHOP)
    assert of in (BANK, SHOP)
    found = trust.find_peer(layout, peer)
    assert found is not None
    return found.card


async def meet_again(place: Town) -> None:
    """Drop all keys and wait for new sessions under the present cards."""
    sessions = [place.nodes[BANK].office.links[SHOP].session, place.nodes[SHOP].office.links[BANK].session]
    before = [session.stats.handshakes for session in sessions]
    for address in (BANK, SHOP):
        place.nodes[address].office.drop_keys()
    await until(lambda: all(s.established and s.stats.handshakes > n for s, n in zip(sessions, before, strict=True)))


def test_a_rotated_key_is_used_without_a_restart_and_reaches_the_peer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank = place.nodes[BANK]
            session = bank.office.links[SHOP].session
            before = session.stats.handshakes
            rotated = trust.rotate(place.layout(BANK), BANK, "", place.now)
            await bank.cards.refresh()
            assert bank.own.card == rotated.card
            assert session.established
            await until(lambda: place.nodes[SHOP].peers[BANK].card == rotated.card)
            assert pinned_card(place) == rotated.card
            assert session.stats.handshakes == before
            assert bank.office.links[SHOP].session is session
            await meet_again(place)
            place.now += KX_OVERLAP_S + 1
            for address in (BANK, SHOP):
                await place.nodes[address].cards.refresh()
            assert bank.own.identity.previous_kx is None
            await meet_again(place)

    asyncio.run(scenario())


def test_a_card_is_renewed_before_its_end_and_the_next_after_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            first = place.nodes[BANK].own.card
            for day in range(0, 240, 20):
                place.now = first.not_before + day * DAY
                for node in place.nodes.values():
                    await node.cards.refresh()
                await until(lambda: pinned_card(place) == place.nodes[BANK].own.card)
                await until(lambda: pinned_card(place, BANK, SHOP) == place.nodes[SHOP].own.card)
            assert place.nodes[BANK].own.card.serial > first.serial
            assert place.established()
            await meet_again(place)

    asyncio.run(scenario())


def test_a_card_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            bank, shop = place.nodes[BANK], place.nodes[SHOP]
            taken: list[MessageId] = []
            await until(lambda: not bank.office.links[SHOP].waiting and not shop.office.links[BANK].waiting)
            shop.supervisor.control = lambda message, _body: taken.append(message)  # type: ignore[method-assign]
            posted = await bank.store.read(lambda store: store.counter(f"seq:{SHOP}"))
            await bank.cards.refresh()
            assert await bank.store.read(lambda store: store.counter(f"seq:{SHOP}")) == posted
            assert await bank.store.read(lambda store: store.document(TOLD, str(SHOP))) == bank.own.card.digest
            await bank.cards.tell_again(SHOP)
            assert await bank.store.read(lambda store: store.counter(f"seq:{SHOP}")) == posted + 1
            await until(lambda: not bank.office.links[SHOP].waiting)
            assert taken == []

    asyncio.run(scenario())


def test_a_card_that_waits_in_the_inbox_is_taken_at_the_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            await place.stop(SHOP)
            rotated = trust.rotate(place.layout(BANK), BANK, "", place.now)
            await place.nodes[BANK].cards.refresh()
            shop = await place.open(SHOP)
            office = asyncio.create_task(shop.office.run())  # and nobody who takes what comes
            await asyncio.sleep(0)
            shop.office.transport_changed(True)
            place.nodes[BANK].office.peer_appeared(SHOP)
            await until(lambda: not place.nodes[BANK].office.links[SHOP].waiting)
            assert pinned_card(place) != rotated.card
            office.cancel()
            await asyncio.wait([office])
            await place.stop(SHOP)
            shop = await place.start(SHOP)
            await until(lambda: pinned_card(place) == rotated.card)
            async with asyncio.timeout(30):
                while await shop.store.read(lambda store: store.unconsumed_control()):
                    await asyncio.sleep(0.005)
            assert shop.peers[BANK].card == rotated.card

    asyncio.run(scenario())


def _other_key(place: Town) -> Card:
    return trust.rotate(place.layout(BANK), BANK, "", place.now, replace_id=True).card


def _of_another(place: Town) -> Card:
    return trust.read_own(place.layout(SHOP), SHOP).card


@pytest.mark.parametrize(
    ("made", "said"),
    [(_other_key, "is pinned"), (_of_another, "cannot replace a card of"), (None, "bytes follow"), ("scope", "names")],
)
def test_a_card_that_may_not_replace_the_pinned_one_is_ignored(
    tmp_path: Path, made: Callable[[Town], Card] | str | None, said: str
) -> None:
    async def scenario() -> None:
        async with town(tmp_path, are_running=False) as place:
            shop = await place.open(SHOP)
            before = pinned_card(place)
            card = made(place) if callable(made) else trust.rotate(place.layout(BANK), BANK, "", place.now).card
            scope = "0" * 64 if made == "scope" else card.digest.hex()
            body = CardRenewal(card=b"no card" if made is None else card.encode()).to_bytes()
            with capture_logs() as logs:
                await shop.cards.take(MessageId("", "", 0, scope, "CardRenewal", BANK, SHOP), body)
            assert pinned_card(place) == before == shop.peers[BANK].card
            assert [entry["event"] for entry in logs] == ["card_renewal_refused"]
            assert said in logs[0]["error"]

    asyncio.run(scenario())


def test_a_revoked_peer_cannot_come_back_with_a_new_card(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            shop = place.nodes[SHOP]
            trust.revoke(place.layout(SHOP), BANK)
            card = trust.rotate(place.layout(BANK), BANK, "", place.now).card
            body = CardRenewal(card=card.encode()).to_bytes()
            await shop.cards.take(MessageId("", "", 0, card.digest.hex(), "CardRenewal", BANK, SHOP), body)
            assert trust.find_peer(place.layout(SHOP), BANK) is None
            await shop.cards.refresh()
            assert BANK not in shop.peers
            assert BANK not in shop.office.links

    asyncio.run(scenario())


def test_a_peer_with_an_expired_card_is_not_spoken_to_until_there_is_a_newer(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with town(tmp_path) as place:
            shop = place.nodes[SHOP]
            await place.stop(BANK)
            place.now = shop.peers[BANK].card.not_after + DAY
            with capture_logs() as logs:
                for _ in range(3):
                    await shop.cards.refresh()
            assert [entry["event"] for entry in logs].count("peer_card_refused") == 1
            assert BANK in shop.peers
            assert BANK not in shop.office.links
            place.now += DAY
            with capture_logs() as logs:
                await shop.cards.refresh()
            assert [entry["event"] for entry in logs].count("peer_card_refused") == 1
            own = trust.open_own(place.layout(BANK), BANK, "", place.now)
            trust.pin(place.layout(SHOP), own.card, own.identity.fingerprint, place.now)
            trust.pin(place.layout(BANK), shop.own.card, shop.own.identity.fingerprint, place.now)
            await shop.cards.refresh()
            await place.start(BANK)
            shop.office.peer_appeared(BANK)
            await until(place.established)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("change", "is_one"),
    [
        ({}, True),
        ({"job": "j"}, False),
        ({"task": "t"}, False),
        ({"attempt": 1}, False),
        ({"kind": "JobOffer"}, False),
        ({"scope": "a" * 63}, False),
        ({"scope": "A" * 64}, False),
    ],
)
def test_a_renewal_belongs_to_no_job(change: dict[str, object], is_one: bool) -> None:
    message = MessageId("", "", 0, "a" * 64, "CardRenewal", BANK, SHOP)
    assert is_renewal(message._replace(**change)) is is_one  # type: ignore[arg-type]
