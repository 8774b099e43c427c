from __future__ import annotations

import pytest

from partyd.errors import BadFrame
from partyd.wire.events import Reason
from partyd.wire.hello import Hello
from partyd.wire.keypair import REJECT_AFTER_S, KeyPair
from partyd.wire.keytable import RECEIVE_ONLY_S, KeyTable
from partyd.wire.noise import TransportKeys
from tests.wire.channel_pair import GUEST, HOST

KEYS = TransportKeys(b"1" * 32, b"2" * 32, b"h" * 32)
HELLO = Hello(bytes(16), bytes(16), 1, 4096)


def make(index: int, now: float = 0.0) -> KeyPair:
    return KeyPair(
        KEYS, initiator=True, local=GUEST, peer=HOST, indexes=(index, 1), hello=HELLO, max_frame=4096, now=now
    )


def reason(table: KeyTable, index: int, now: float) -> Reason:
    with pytest.raises(BadFrame) as raised:
        table.find(index, now)
    found = raised.value.args[0]
    assert isinstance(found, Reason)
    return found


def test_a_pair_in_use_ends_after_twenty_minutes() -> None:
    table, pair = KeyTable(), make(1)
    table.use(pair, 0.0)
    assert table.find(1, REJECT_AFTER_S - 1) is pair
    assert reason(table, 1, REJECT_AFTER_S) is Reason.EXPIRED
    assert reason(table, 2, 0.0) is Reason.UNKNOWN_INDEX
    assert not table.drop_expired(REJECT_AFTER_S - 1)
    assert table.drop_expired(REJECT_AFTER_S)
    assert table.current is None
    assert not table.drop_expired(REJECT_AFTER_S)


def test_the_pair_before_receives_for_a_minute() -> None:
    table, old, new = KeyTable(), make(1), make(2, 10.0)
    table.use(old, 0.0)
    table.use(new, 10.0)
    assert table.current is new
    assert table.find(1, 10.0 + RECEIVE_ONLY_S - 1) is old
    assert reason(table, 1, 10.0 + RECEIVE_ONLY_S) is Reason.EXPIRED


def test_only_the_newest_answer_waits() -> None:
    table, first, second = KeyTable(), make(1), make(2)
    table.wait_for(first, 0.0)
    table.wait_for(second, 0.0)
    assert table.awaiting is second
    assert list(table.indexes) == [2]
    table.use(make(3), 0.0)
    assert table.awaiting is None
    assert list(table.indexes) == [3]


def test_a_confirmed_pair_is_used_and_an_unconfirmed_one_expires() -> None:
    table, pair = KeyTable(), make(1)
    table.wait_for(pair, 0.0)
    assert not table.drop_expired(RECEIVE_ONLY_S)
    assert table.awaiting is None
    table.wait_for(pair, 0.0)
    table.use(pair, 1.0)
    assert (table.current, table.awaiting) == (pair, None)
    assert table.ends == [REJECT_AFTER_S]


def test_few_pairs_are_kept() -> None:
    table = KeyTable()
    for index in range(1, 20):
        table.use(make(index), float(index))
    assert list(table.indexes) == [16, 17, 18, 19]
