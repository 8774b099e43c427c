"""Threads that serve the store's callers one item after the other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Generic, TypeVar

from partyd.errors import StoreError

S = TypeVar("S")
T = TypeVar("T")


class Item(ABC, Generic[S]):
    """A caller's work on a session ``S``, and where its outcome goes."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self.loop = loop
        self.error: BaseException | None = None

    @abstractmethod
    def run(self, session: S) -> None:
        """Do the work; an exception from it is kept in ``error``."""

    @abstractmethod
    def settle(self) -> None:
        """Hand the outcome to the caller; called on the caller's own loop if it has one."""


class Call(Item[S], Generic[S, T]):
    """An item made of a function and a future, asyncio's with ``loop`` or a thread's without."""

    def __init__(
        self,
        work: Callable[[S], T],
        future: asyncio.Future[T] | concurrent.futures.Future[T],
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        super().__init__(loop)
        self._work = work
        self._future = future
        self._values: list[T] = []

    def run(self, session: S) -> None:
        with _Keep(self):
            self._values.append(self._work(session))

    def settle(self) -> None:
        if self._future.done():
            return  # the caller was cancelled
        if self.error is None and self._values:
            self._future.set_result(self._values[0])
        else:
            self._future.set_exception(self.error or StoreError("the store stopped before this work was done"))


class _Keep:
    """Keep whatever the caller's own function raises for the caller, so that the thread lives on."""

    def __init__(self, item: Item[S]) -> None:
        self._keep = item.__setattr__

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._keep("error", error)
        return error is not None


class Lane(Generic[S]):
    """A thread with a queue: ``serve`` gets the first waiting item and may ask for more with ``more``."""

    def __init__(self, name: str, serve: Callable[[Item[S]], None], finish: Callable[[], None]) -> None:
        self._queue: queue.SimpleQueue[Item[S] | None] = queue.SimpleQueue()
        self._serve = serve
        self._finish = finish
        self._is_closing = False
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, item: Item[S]) -> None:
        self._queue.put(item)
        if self._is_over:
            self._turn_away()

    def more(self) -> Item[S] | None:
        """Return the next item if one waits already."""
        if self._is_closing or self._queue.empty():
            return None
        item = self._queue.get()
        self._is_closing = item is None
        return item

    def close(self) -> None:
        """Serve what was submitted so far, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._is_closing and (item := self._queue.get()) is not None:
                self._serve(item)
        finally:
            self._is_over = True
            self._turn_away()
            self._finish()

    def _turn_away(self) -> None:
        """Tell those who still wait that nobody will serve them."""
        with suppress(queue.Empty):
            while True:
                left = self._queue.get_nowait()
                settle_all([left] if left is not None else [])


def fail(items: Iterable[Item[S]], error: BaseException) -> None:
    """Give ``error`` to all items that have none of their own."""
    for item in items:
        item.error = item.error or error


def settle_all(items: Iterable[Item[S]]) -> None:
    """Hand out outcomes, with one wake-up for each event loop."""
    by_loop: defaultdict[asyncio.AbstractEventLoop | None, list[Item[S]]] = defaultdict(list)
    for item in items:
        by_loop[item.loop].append(item)
    for loop, group in by_loop.items():
        if loop is None:
            _settle(group)
        elif not loop.is_closed():
            _wake(loop, group)


def _wake(loop: asyncio.AbstractEventLoop, group: list[Item[S]]) -> None:
    try:
        loop.call_soon_threadsafe(_settle, group)
    except RuntimeError:
        return  # the loop was closed meanwhile: nobody waits any more


def _settle(group: list[Item[S]]) -> None:
    for item in group:
        item.settle()
