"""A thread that dies leaves nobody waiting."""

from __future__ import annotations

import concurrent.futures
import threading
from functools import partial

import pytest

from partyd.errors import StoreError
from partyd.store.lanes import Call, Item, Lane


class DeadlyError(Exception):
    pass


def test_those_who_wait_for_a_dead_thread_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    died: list[type[BaseException] | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: died.append(arguments.exc_type))
    finished: list[bool] = []

    def serve(_item: Item[int]) -> None:
        raise DeadlyError

    lane: Lane[int] = Lane("dying", serve, lambda: finished.append(True))
    futures = [concurrent.futures.Future[int]() for _ in range(4)]
    for future in futures[:3]:
        lane.submit(Call(lambda number: number, future, None))
    lane.start()
    for future in futures[1:3]:
        with pytest.raises(StoreError, match="stopped before"):
            future.result(10)
    lane.close()
    lane.submit(Call(lambda number: number, futures[3], None))
    with pytest.raises(StoreError, match="stopped before"):
        futures[3].result(10)
    assert died == [DeadlyError]
    assert finished == [True]
    assert not lane.is_alive


def _note(served: list[int], number: int, _session: int) -> None:
    served.append(number)


def test_more_ends_with_the_closing_mark() -> None:
    served: list[int] = []

    def serve(item: Item[int]) -> None:
        item.run(1)
        while (other := lane.more()) is not None:
            other.run(1)

    lane: Lane[int] = Lane("closing", serve, lambda: None)
    for number in range(3):
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        lane.submit(Call(partial(_note, served, number), future, None))
    lane._queue.put(None)
    lane.start()
    lane.close()
    assert served == [0, 1, 2]
