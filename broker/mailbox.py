"""Make amqtt's broker deliver by our rules, and bound what it holds for a slow reader.

amqtt 0.12 asks plugins for permission and was told the party by the door (`broker.admission`). Three of its habits do
not fit, and `MailboxBroker` changes them in a few overridden methods:

- it acknowledges a publication into a queue that it throws away when the publisher disconnects, so what was sent last
  is lost; `_Outlet` takes that queue's place and passes each message on before it is acknowledged;
- it writes the repr of every payload for a log line that nobody reads;
- it queues without limit for a client that does not read. A delivery beyond the client's limits is dropped, as
  mosquitto does; the daemons' own windows keep the backlog far below, and their acknowledgements notice a loss.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import NoneType
from typing import Final

from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import ApplicationMessage, OutgoingApplicationMessage, Session

from broker import log
from broker.rules import is_party_id, matches, may_publish, may_subscribe
from broker.settings import Limits

LISTENER: Final = "default"
_MAX_FILTERS = 100  # of one session; a daemon needs one for each of its roles
_FAILURE = 0x80
_MAX_DELIVERIES = 60_000  # packet ids of one session end at 65,535 (MQTT 3.1.1 §2.3.1)


class Admitted(BaseAuthPlugin):  # type: ignore[misc]  # amqtt ships no types
    """Accept the sessions that the door let in: their user name is a proved party id."""

    async def authenticate(self, *, session: Session) -> bool:
        """Say whether the door admitted the session."""
        return is_party_id(session.username or "")


class MailboxRules(BaseTopicPlugin):  # type: ignore[misc]
    """Ask `broker.rules` about every publication and subscription."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Say whether the session's party may do this."""
        if session is None or topic is None:
            return False
        rule = may_publish if action == Action.PUBLISH else may_subscribe
        return rule(session.username or "", topic) or _refuse(session, str(action), topic)


def _refuse(session: Session, action: str, topic: str) -> bool:
    """Return False, and log the first refusal of a session: a hostile party must not fill the disk."""
    if not session.attributes.setdefault("broker.refused", False):
        session.attributes["broker.refused"] = True
        log.warning("refused", party=session.username, action=action, topic_chars=len(topic))
    return False


class _Outlet(asyncio.Queue[ApplicationMessage]):
    """Pass what a client publishes straight on, where amqtt would queue it for its session loop."""

    def __init__(self, broker: MailboxBroker, session: Session) -> None:
        super().__init__()
        self._broker, self._session = broker, session

    async def put(self, item: ApplicationMessage) -> None:
        """Publish a QoS 1 or 2 message; amqtt acknowledges it afterwards."""
        self._broker.publish(self._session, item.topic, item.data)

    def put_nowait(self, item: ApplicationMessage) -> None:
        """Publish a QoS 0 message."""
        self._broker.publish(self._session, item.topic, item.data)


@dataclass
class _Backlog:
    bytes: int = 0
    messages: int = 0
    dropping: bool = False


class MailboxBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with bounded delivery and nothing retained; its connections are handed to it."""

    def __init__(self, limits: Limits) -> None:
        listener = ListenerConfig(type=ListenerType.EXTERNAL, bind="external")
        plugins: dict[str, dict[str, str]] = {
            f"{plugin.__module__}.{plugin.__name__}": {} for plugin in (Admitted, MailboxRules)
        }
        super().__init__(BrokerConfig(listeners={LISTENER: listener}, plugins=plugins))
        self._max_bytes = limits.max_queued_bytes
        self._max_messages = min(limits.max_queued_messages, _MAX_DELIVERIES)
        self._backlogs: dict[str, _Backlog] = {}
        self._deliveries: set[asyncio.Task[OutgoingApplicationMessage]] = set()

    async def shutdown(self) -> None:
        """Stop the broker and give up what is not delivered."""
        await super().shutdown()
        deliveries = list(self._deliveries)
        for delivery in deliveries:
            delivery.cancel()
        await asyncio.gather(*deliveries, return_exceptions=True)

    async def add_subscription(self, subscription: tuple[str, int], session: Session) -> int:
        """Subscribe a session, up to a number of filters; returns what SUBACK says (MQTT 3.1.1 §3.9.3)."""
        for topic_filter in [unused for unused, subscribers in self._subscriptions.items() if not subscribers]:
            del self._subscriptions[topic_filter]  # amqtt keeps the filter of the last who unsubscribed
        held = sum(any(holder is session for holder, _ in holders) for holders in self._subscriptions.values())
        return int(await super().add_subscription(subscription, session)) if held < _MAX_FILTERS else _FAILURE

    async def retain_message(
        self,
        source_session: Session | None,
        topic_name: str | None,
        data: bytes | bytearray | None,
        qos: int | None = None,
    ) -> None:
        """Keep nothing: a retained message would outlive its conversation."""

    def publish(self, session: Session, topic: str, data: bytes | bytearray, max_qos: int = 1) -> None:
        """Deliver to every subscriber, if the session's party may publish on the topic."""
        if not may_publish(session.username or "", topic):
            _refuse(session, "publish", topic)
            return
        for topic_filter, subscribers in self._subscriptions.items():
            if matches(topic_filter, topic):
                for target, qos in subscribers:
                    self._deliver(target, topic, bytes(data), min(qos, max_qos))

    async def _authenticate(self, session: Session, listener: ListenerConfig) -> bool:
        session.delivered_message_queue = _Outlet(self, session)
        return bool(await super()._authenticate(session, listener))

    async def _broadcast_message(
        self, session: Session | None, topic: str | None, data: bytes | bytearray | None, force_qos: int | None = None
    ) -> None:
        if session is not None and topic is not None and data is not None:  # a last will
            self.publish(session, topic, data, 1 if force_qos is None else min(force_qos, 1))

    def _deliver(self, target: Session, topic: str, data: bytes, qos: int) -> None:
        handler = self._get_handler(target)
        if handler is None or target.client_id is None or target.transitions.state != "connected":
            return
        backlog = self._backlogs.setdefault(target.client_id, _Backlog())
        if not self._fits(backlog, len(data), target):
            return
        delivery = asyncio.create_task(handler.mqtt_publish(topic, data, qos, retain=False))
        self._deliveries.add(delivery)
        backlog.bytes, backlog.messages = backlog.bytes + len(data), backlog.messages + 1
        client_id, size = target.client_id, len(data)
        delivery.add_done_callback(lambda done: self._delivered(done, client_id, size))

    def _fits(self, backlog: _Backlog, size: int, target: Session) -> bool:
        fits = backlog.bytes + size <= self._max_bytes and backlog.messages < self._max_messages
        if not fits and not backlog.dropping:
            log.warning("dropping", party=target.username, queued_bytes=backlog.bytes, queued_messages=backlog.messages)
        backlog.dropping = not fits
        return fits

    def _delivered(self, delivery: asyncio.Task[OutgoingApplicationMessage], client_id: str, size: int) -> None:
        self._deliveries.discard(delivery)
        backlog = self._backlogs[client_id]
        backlog.bytes, backlog.messages = backlog.bytes - size, backlog.messages - 1
        if not backlog.messages:
            del self._backlogs[client_id]
        if not delivery.cancelled() and not isinstance(error := delivery.exception(), TimeoutError | NoneType):
            log.info("not_delivered", error=type(error).__name__)
