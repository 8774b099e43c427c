"""The federation as an algorithm's coroutine sees it: send, recv, gather, randomness, progress.

`Party` is the only door of an algorithm. Behind it stands a `Post` (the durable mailbox: in a worker a socket to the
daemon, in tests a dictionary) and a `Reporter`. The driver in `partyd.federation.driver` opens one *scope* a round; a
message's identity is that scope plus its class and its two ends, so nobody invents tags, and a repeated round finds
its messages again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from partyd.errors import LocalProtocolError
from partyd.federation.costs import Costs
from partyd.federation.engine import Engine, Inline
from partyd.federation.message import Message
from partyd.types import Address, MessageId, Role

if TYPE_CHECKING:
    from partyd.crypto.obfuscators import Key
    from partyd.crypto.prg import Prg
    from partyd.federation.cipher_engine import CipherEngine

M = TypeVar("M", bound=Message)
GRACE_S = 0.002
"""How long a message may take before the waiting is used for something."""
TURNS = 8
"""How often the loop goes round between two pieces of other work: an arrival takes three or four turns."""


class Post(Protocol):
    """The durable mailbox of one party (architecture §4 rule 2)."""

    async def send(self, message: MessageId, body: bytes) -> None:
        """Keep ``body`` under ``message`` and deliver it; the first write wins, a repetition sends the first."""

    async def receive(self, message: MessageId) -> bytes:
        """Return the body that arrived under ``message``, waiting for it; may be cancelled and asked again."""


class Reporter(Protocol):
    """Where an algorithm's progress, metrics and log lines go; everything is idempotent by name and step."""

    def progress(self, done: int, total: int, note: str = "") -> None: ...

    def metric(self, name: str, step: int, value: float) -> None: ...

    def info(self, line: str) -> None: ...


class Party:
    """One party of one task, as its algorithm sees it."""

    def __init__(
        self,
        me: Address,
        peers: Sequence[Address],
        post: Post,
        reporter: Reporter,
        *,
        job: str,
        task: str,
        attempt: int,
        seed: bytes,
        engine: Engine | None = None,
        costs: Costs | None = None,
    ) -> None:
        self.me = me
        self.engine: Engine = engine or Inline()
        """Maps heavy work over the machine's cores; what it returns does not depend on how many there are."""
        self.costs = costs or Costs()
        """What this task's time goes into."""
        self.report = reporter
        self.consumed: list[MessageId] = []
        self._peers = sorted((p for p in peers if p != me), key=str)
        self._post = post
        self._origin = (job, task, attempt)
        self._seed = seed
        self._scope = ""
        self._labels: set[str] = set()
        self._ciphers: CipherEngine | None = None

    @property
    def ciphers(self) -> CipherEngine:
        """Computes with ciphertexts on all cores, with obfuscators that were made while this party waited."""
        if self._ciphers is None:
            from partyd.federation.cipher_engine import CipherEngine  # here, for numpy comes with it

            self._ciphers = CipherEngine(self.engine, self.costs)
        return self._ciphers

    def obfuscators(self, key: Key, wanted: int) -> None:
        """Say how many encryptions and re-randomisations under ``key`` this party will still do.

        They are prepared while it waits for messages. Say it again in every round: a number too high is work in vain.
        """
        self.ciphers.expect(key, wanted)

    @property
    def context(self) -> bytes:
        """The digest of job, task and attempt, the same at every party: what a proof is bound to."""
        words = [str(word).encode() for word in self._origin]
        return hashlib.sha256(b"".join(len(word).to_bytes(4, "big") + word for word in words)).digest()

    def enter(self, scope: str) -> None:
        """Begin the round ``scope``; the driver calls this, never an algorithm."""
        self._scope = scope
        self._labels = set()
        self.consumed = []

    def peers(self, role: Role) -> list[Address]:
        """Return the other parties that have ``role``, in a fixed order."""
        return [peer for peer in self._peers if peer.role & role]

    def rng(self, label: str) -> Prg:
        """Return the CSPRNG of this attempt, round and label: the same stream when the round is repeated.

        A label is used once a round: two streams under one label would be one stream used twice.
        """
        if label in self._labels:
            raise LocalProtocolError(f"randomness {label!r} is drawn twice in scope {self._scope}; use another label")
        self._labels.add(label)
        from partyd.crypto.prg import Prg  # here, for numpy comes with it and only workers draw randomness

        job, task, attempt = self._origin
        return Prg(self._seed, job, task, str(attempt), self._scope, str(self.me), label)

    async def send(self, message: Message, to: Address | None = None) -> None:
        """Send to every peer of the receiving role, or to one; fails at once when this role may not."""
        kind = type(message)
        if not kind.sender & self.me.role:
            raise LocalProtocolError(f"{kind.__name__} is sent by {kind.sender!r}, not by {self.me}")
        receivers = [to] if to else self.peers(kind.receiver)
        if any(not peer.role & kind.receiver for peer in receivers):
            raise LocalProtocolError(f"{kind.__name__} is received by {kind.receiver!r}, not by {to}")
        body = message.to_bytes()
        for peer in receivers:
            await self._post.send(self._id(kind, self.me, peer), body)

    async def recv(self, kind: type[M], sender: Address | None = None) -> M:
        """Wait for the ``kind`` of this round from ``sender``, or from the one peer that may send it."""
        if not kind.receiver & self.me.role:
            raise LocalProtocolError(f"{kind.__name__} is received by {kind.receiver!r}, not by {self.me}")
        if sender is None:
            senders = self.peers(kind.sender)
            if len(senders) != 1:
                raise LocalProtocolError(f"{kind.__name__} has {len(senders)} possible senders; name one or gather")
            sender = senders[0]
        message = self._id(kind, sender, self.me)
        body = await self._meanwhile(self._post.receive(message))
        self.consumed.append(message)
        return kind.from_bytes(body)

    async def gather(self, kind: type[M]) -> dict[Address, M]:
        """Wait for the ``kind`` of this round from every peer that sends it."""
        return {peer: await self.recv(kind, peer) for peer in self.peers(kind.sender)}

    async def _meanwhile(self, receiving: Coroutine[Any, Any, bytes]) -> bytes:
        """Wait for a body, and prepare obfuscators for as long as it has not come."""
        if self._ciphers is None or not self._ciphers.lacks:
            return await receiving
        arrival = asyncio.ensure_future(receiving)
        try:
            await asyncio.wait([arrival], timeout=GRACE_S)
            while not arrival.done() and self._ciphers.fill():
                for _ in range(TURNS):
                    await asyncio.sleep(0)
            return await arrival
        finally:
            arrival.cancel()

    def _id(self, kind: type[Message], source: Address, destination: Address) -> MessageId:
        job, task, attempt = self._origin
        return MessageId(job, task, attempt, self._scope, kind.__name__, source, destination)
