"""Prove on a running broker that its rules hold: try what must work and what must not.

That something does not arrive is shown without waiting: after the forbidden message a permitted one follows, and MQTT
keeps their order; when the second is there and the first is not, the first was refused. Only MQTT 3.1.1 is used,
whose acknowledgements do not tell a refusal, so delivery itself is the evidence.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiomqtt

from broker.errors import BrokerError
from broker.identity import Credentials, Target

_TIMEOUT_S = 5.0
_REFUSAL_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Finding:
    """One rule, whether it holds, and what to do if not."""

    rule: str
    passed: bool
    advice: str


def run(target: Target) -> list[Finding]:
    """Check the broker; raises BrokerError when its own party cannot connect."""
    return asyncio.run(check(target))


async def check(target: Target) -> list[Finding]:
    """Check the broker rule by rule."""
    asyncio.get_running_loop().set_exception_handler(_without_lost_connections)
    probe = _Probe(target)
    async with asyncio.TaskGroup() as group:  # side by side: some brokers leave an impostor waiting
        impostors = [group.create_task(probe.impostor_is_refused(name, who)) for name, who in target.impostors]
    return [
        await probe.own_mail_arrives(),
        *[await probe.forgery_is_dropped(topic, username) for topic, username in probe.forgeries()],
        *[await probe.eavesdropping_yields_nothing(topic_filter) for topic_filter in probe.foreign_filters()],
        *[impostor.result() for impostor in impostors],
        await probe.oversize_is_refused(),
        await probe.nothing_is_retained(),
    ]


def table(findings: Sequence[Finding]) -> str:
    """Print findings one a line, with advice under each failure."""
    lines = []
    for finding in findings:
        lines.append(f"{'PASS' if finding.passed else 'FAIL'}  {finding.rule}")
        if not finding.passed:
            lines.append(f"      -> {finding.advice}")
    failed = sum(not finding.passed for finding in findings)
    lines.append(f"{len(findings) - failed} of {len(findings)} rules hold")
    return "\n".join(lines)


class _Probe:
    """The attempts, each in connections of its own, under topics that carry a fresh nonce."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._owner, self._stranger = target.owner, target.stranger
        self._nonce = secrets.token_hex(8)

    def _topic(self, to: str, sender: str) -> str:
        return f"partyd/1/{to}/{sender}/check/check/{self._nonce}"

    async def own_mail_arrives(self) -> Finding:
        topic = self._topic(self._owner.party, self._owner.party)
        advice = "Check the rule for a party's own topics: write partyd/1/+/ID/#, read partyd/1/ID/#."
        try:
            async with self._reading(self._owner) as inbox:
                await self._publish(self._owner, topic, b"own")
                arrived = await _next(inbox, self._nonce) == b"own"
        except aiomqtt.MqttError as error:
            where = f"{self._target.address.host}:{self._target.address.port}"
            mend = "Is it running (partyd-broker run), and is this one of its parties?"
            raise BrokerError(f"{self._owner.party} cannot connect: {error}", where=where, mend=mend) from error
        except TimeoutError:
            arrived = False
        return Finding("a party's own message reaches its mailbox", arrived, advice)

    def forgeries(self) -> list[tuple[str, str | None]]:
        """List topics that the stranger must not write, and the user name it gives (None: its own)."""
        owner = self._owner.party
        by_name = [] if self._stranger.password is not None else [(self._topic(owner, owner), owner)]
        return [(self._topic(owner, owner), None), (self._topic(owner, "nobody"), None), *by_name]

    async def forgery_is_dropped(self, topic: str, username: str | None) -> Finding:
        async with self._reading(self._owner) as inbox:
            await self._attempt_publish(self._stranger, topic, b"forged", username=username)
            dropped = await self._only_permitted_arrives(inbox)
        disguise = ", giving that party's user name" if username else ""
        rule = f"a stranger cannot publish as {topic.split('/')[3]}{disguise}"
        return Finding(rule, dropped, "Let a party write partyd/1/+/ID/# only, ID being what the broker proved.")

    def foreign_filters(self) -> list[str]:
        """List filters that would show the stranger another party's mail."""
        mailbox = f"partyd/1/{self._owner.party}/#"
        return [mailbox, "#", "partyd/#", "partyd/1/+/#", "+/+/+/+/#", f"$share/check/{mailbox}", "$MQTT/#"]

    async def eavesdropping_yields_nothing(self, topic_filter: str) -> Finding:
        advice = "Let a party read partyd/1/ID/# only, whatever it subscribes to."
        rule = f"a stranger that subscribes {topic_filter} reads nobody else's mail"
        try:
            async with self._connected(self._stranger) as client:
                await self._attempt_subscribe(client, topic_filter)
                await client.subscribe(f"partyd/1/{self._stranger.party}/#", qos=1)
                await self._publish(self._owner, self._topic(self._owner.party, self._owner.party), b"secret")
                await self._publish(self._owner, self._topic(self._stranger.party, self._owner.party), b"permitted")
                silent = await _next(client.messages, self._nonce) == b"permitted"
        except aiomqtt.MqttError:
            silent = True  # the broker disconnects who asks for it
        except TimeoutError:
            silent = False
        return Finding(rule, silent, advice)

    async def impostor_is_refused(self, name: str, credentials: Credentials) -> Finding:
        try:
            async with credentials.client(self._target.address, timeout_s=_REFUSAL_TIMEOUT_S):
                refused = False
        except (aiomqtt.MqttError, OSError):
            refused = True
        advice = "Set allow_anonymous false, and require_certificate true with the right cafile (or the password file)."
        return Finding(f"{name} is refused", refused, advice)

    async def oversize_is_refused(self) -> Finding:
        limit = self._target.max_packet_bytes
        topic = self._topic(self._owner.party, self._owner.party)
        async with self._reading(self._owner) as inbox:
            await self._attempt_publish(self._owner, topic, bytes(limit + 1))
            refused = await self._only_permitted_arrives(inbox)
        return Finding(f"a packet of more than {limit} bytes is refused", refused, f"Set max_packet_size {limit}.")

    async def nothing_is_retained(self) -> Finding:
        topic = self._topic(self._owner.party, self._owner.party)
        await self._attempt_publish(self._owner, topic, b"retained", retain=True)
        async with self._reading(self._owner) as inbox:
            forgotten = await self._only_permitted_arrives(inbox)
        if not forgotten:
            await self._attempt_publish(self._owner, topic, b"", retain=True)
        return Finding("a retained message is not kept", forgotten, "Set retain_available false.")

    async def _only_permitted_arrives(self, inbox: AsyncIterator[aiomqtt.Message]) -> bool:
        """Send the owner a permitted message and say whether it is the first to arrive."""
        await self._publish(self._stranger, self._topic(self._owner.party, self._stranger.party), b"permitted")
        try:
            return await _next(inbox, self._nonce) == b"permitted"
        except TimeoutError:
            return False

    async def _publish(self, sender: Credentials, topic: str, payload: bytes) -> None:
        async with self._connected(sender) as client:
            await client.publish(topic, payload, qos=1)

    async def _attempt_publish(
        self, sender: Credentials, topic: str, payload: bytes, *, username: str | None = None, retain: bool = False
    ) -> None:
        """Publish what may be refused: some brokers acknowledge and drop, some disconnect, some stay silent."""
        try:
            async with self._connected(sender, username) as client:
                publishing = asyncio.ensure_future(client.publish(topic, payload, qos=1, retain=retain))
                thrown_off = asyncio.ensure_future(anext(client.messages))
                both = {publishing, thrown_off}
                await asyncio.wait(both, timeout=_REFUSAL_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
                for attempt in both:
                    attempt.cancel()
                await asyncio.gather(*both, return_exceptions=True)
        except (aiomqtt.MqttError, OSError):
            return

    async def _attempt_subscribe(self, client: aiomqtt.Client, topic_filter: str) -> None:
        """Subscribe to what may be refused with SUBACK's failure code; a disconnection is raised."""
        await client.subscribe(topic_filter, qos=1, timeout=_REFUSAL_TIMEOUT_S)

    @asynccontextmanager
    async def _reading(self, reader: Credentials) -> AsyncIterator[AsyncIterator[aiomqtt.Message]]:
        async with self._connected(reader) as client:
            await client.subscribe(f"partyd/1/{reader.party}/#", qos=1)
            yield client.messages

    def _connected(self, who: Credentials, username: str | None = None) -> aiomqtt.Client:
        return who.client(self._target.address, username=username)


def _without_lost_connections(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Keep aiomqtt's unread "disconnected" futures quiet: here the broker is meant to disconnect."""
    if not isinstance(context.get("exception"), aiomqtt.MqttError):
        loop.default_exception_handler(context)


async def _next(inbox: AsyncIterator[aiomqtt.Message], nonce: str) -> bytes:
    """Return the payload of the next message of this check; raises TimeoutError."""
    async with asyncio.timeout(_TIMEOUT_S):
        async for message in inbox:
            if message.topic.value.endswith(nonce) and isinstance(message.payload, bytes):
                return message.payload
    raise TimeoutError
