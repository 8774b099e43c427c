"""Stores, messages and a small job that several tests run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from partyd.store import BlobRef, Body, GroupCommit, Posted, Reader, SpaceLimits, Store, Transaction
from partyd.types import GUEST, HOST, Address, MessageId

HERE, THERE, ELSEWHERE = Address("10000", GUEST), Address("9999", HOST), Address("9998", HOST)
NO_RESERVE = SpaceLimits(low_share=0.0, low_bytes=0, reserve_bytes=0)
QUICK_CHECKPOINTS = GroupCommit(checkpoint_pages=25, truncate_pages=90)
JOB, TASK = "job-1", "train"


def outgoing(number: int, to: Address = THERE, task: str = TASK) -> MessageId:
    return MessageId(JOB, task, 1 if task else 0, f"iteration/{number}", "Forward", HERE, to)


def incoming(number: int, source: Address = THERE, task: str = TASK) -> MessageId:
    return MessageId(JOB, task, 1 if task else 0, f"iteration/{number}", "Residual", source, HERE)


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def open_store(directory: Path, **options: Any) -> Store:
    return Store.open(directory, **{"limits": NO_RESERVE, **options})


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Store]:
    store = open_store(directory, **options)
    try:
        yield store
    finally:
        store.close_now()


def body_of(number: int) -> bytes:
    """A body that is large enough for a blob every fifth time."""
    return hashlib.sha256(b"body %d" % number).digest() * (2200 if number % 5 == 0 else 20)


def arrive(number: int) -> Callable[[Transaction], bool]:
    body = body_of(1000 + number)
    return lambda transaction: transaction.accept(incoming(number), sha256(body), body)


def finish_round(number: int) -> Callable[[Transaction], int]:
    """One transaction: checkpoint, the message consumed, the message produced, an event (architecture §4 rule 4)."""

    def work(transaction: Transaction) -> int:
        transaction.post(outgoing(number), b"header", body_of(number))
        transaction.checkpoint(JOB, TASK, 1, number, f"iteration/{number}", body_of(2000 + number), [incoming(number)])
        return transaction.append_event("round", JOB, b"%d" % number)

    return work


def begin(transaction: Transaction) -> None:
    transaction.save_job(JOB, "running", b"{}")
    transaction.begin_attempt(JOB, TASK, 1, b"seed", b"pin")


def post(number: int, body: bytes = b"x", to: Address = THERE) -> Callable[[Transaction], Posted]:
    return lambda transaction: transaction.post(outgoing(number, to), b"", body)


def accept(message: MessageId, body: bytes) -> Callable[[Transaction], bool]:
    return lambda transaction: transaction.accept(message, sha256(body), body)


def content(reader: Reader, body: Body | None) -> bytes | None:
    return reader.read_body(body) if body is not None else None


def rounds_in(reader: Reader) -> int:
    """Check that rounds are there whole or not at all and return how many; AssertionError otherwise."""
    checkpoint = reader.latest_checkpoint(JOB, TASK, 1)
    last = checkpoint.round if checkpoint else 0
    if checkpoint:
        assert content(reader, checkpoint.state) == body_of(2000 + last)
    posted = reader.unacknowledged(THERE, limit=10_000)
    assert [row.message for row in posted] == [outgoing(number) for number in range(1, last + 1)]
    assert [content(reader, row.body) for row in posted] == [body_of(number) for number in range(1, last + 1)]
    assert all(reader.take(incoming(number)) is None for number in range(1, last + 1))
    assert reader.verify_events() == last
    return last


def arrived_in(reader: Reader, rounds: int) -> int:
    """Check messages that arrived for later rounds and return the last one's number."""
    last = rounds
    while (body := reader.take(incoming(last + 1))) is not None:
        last += 1
        assert content(reader, body) == body_of(1000 + last)
    return last


def is_blob(body: Body | None) -> bool:
    return isinstance(body, BlobRef)
