"""aiomqtt with its known gaps closed: reason codes kept, nothing queued, no call outliving its connection.

What is changed, and why (aiomqtt 2.5, paho 2):

- incoming messages go straight to a callback instead of an unbounded queue with one task a message; paho's
  acknowledgement to the broker follows when the callback returns;
- the reason code of a PUBACK is handed to the publisher instead of thrown away;
- publishes in flight fail when the connection dies, not when their own timeout ends;
- the socket is closed whatever happens, and leaving takes a second at most and raises nothing;
- a connection that the broker closes before its CONNACK fails at once, not after ten seconds.

A client object is used for one connection only: paho would send again what failed before, after a reconnect.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTT_ERR_SUCCESS, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from partyd.transport.base import MAX_FRAME, TransportDown

if TYPE_CHECKING:
    from ssl import SSLContext

KEEPALIVE_S = 30
CONNECT_TIMEOUT_S = 10.0
PUBLISH_TIMEOUT_S = 60.0
GOODBYE_S = 1.0
PACKET_SLACK = 64 * 1024
MANY = 1_000_000

OnMessage = Callable[[str, bytes], None]


class NoAnswer(aiomqtt.MqttError):
    """The broker closed the connection, or let it wait, without a CONNACK."""


def heed_cancellation() -> None:
    """Raise the CancelledError that ``asyncio.wait_for`` of Python 3.11 swallows when its future is done already."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Connection(aiomqtt.Client):
    """One connection to a broker."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        client_id: str,
        version: aiomqtt.ProtocolVersion,
        on_message: OnMessage,
        tls: SSLContext | None,
        username: str | None,
        password: str | None,
        will: aiomqtt.Will | None,
        timeout_s: float,
    ) -> None:
        five = version == aiomqtt.ProtocolVersion.V5
        super().__init__(
            host,
            port,
            identifier=client_id,
            protocol=version,
            username=username,
            password=password,
            tls_context=tls,
            will=will,
            keepalive=KEEPALIVE_S,
            timeout=timeout_s,
            clean_session=None if five else True,
            clean_start=True if five else MQTT_CLEAN_START_FIRST_ONLY,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self.pending_calls_threshold = MANY
        self._deliver = on_message
        self._abandoned = False
        self._acknowledgements: dict[int, asyncio.Future[int]] = {}
        self.max_packet = MAX_FRAME + PACKET_SLACK

    async def __aenter__(self) -> Self:
        """Connect; a try that fails leaves no open socket behind. Raises MqttError."""
        connected = False
        try:
            await super().__aenter__()
            heed_cancellation()
            connected = True
        except aiomqtt.MqttError as error:
            heed_cancellation()
            if str(error) == "Operation timed out":
                raise NoAnswer("no CONNACK in time") from error
            raise
        finally:
            if not connected:
                self._abandoned = True
                self._client._sock_close()
        return self

    def _client_connect(self) -> None:
        """Connect, in a thread that cannot be cancelled; if nobody waits any more, close again."""
        super()._client_connect()
        if self._abandoned:
            self._loop.call_soon_threadsafe(self._client._sock_close)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Say goodbye for a second at most, then close the socket; never raises, so a cancellation stays one."""
        self.fail_pending()
        if not self._disconnected.done() and self._client.disconnect() == MQTT_ERR_SUCCESS:
            await asyncio.wait([self._disconnected], timeout=GOODBYE_S)
        self._client._sock_close()
        if not self._disconnected.done():
            self._disconnected.set_result(None)
        self._disconnected.exception()

    async def lost(self) -> str:
        """Wait until the connection is lost and return why; then every publish in flight has failed."""
        try:
            await asyncio.wait([self._disconnected])
        finally:
            self.fail_pending()
        return str(self._disconnected.exception() or "closed")

    def fail_pending(self) -> None:
        """Wake whoever waits for a PUBACK."""
        pending, self._acknowledgements = self._acknowledgements, {}
        for waiting in pending.values():
            if not waiting.done():
                waiting.set_exception(TransportDown("the connection to the broker was lost; the frame may be lost too"))

    def send(self, topic: str, payload: bytes) -> asyncio.Future[int]:
        """Write a QoS 1 publish and return the future of its reason code; raises TransportDown."""
        if self._disconnected.done():
            raise TransportDown("the connection to the broker was lost")
        info = self._client.publish(topic, payload, qos=1)
        if info.rc != MQTT_ERR_SUCCESS:
            raise TransportDown(f"the broker connection takes no message: {info.rc}")
        acknowledged: asyncio.Future[int] = self._loop.create_future()
        self._acknowledgements[info.mid] = acknowledged
        return acknowledged

    def hint(self, topic: str, payload: bytes) -> None:
        """Write a QoS 0 publish that nobody waits for; raises TransportDown."""
        if self._disconnected.done() or self._client.publish(topic, payload, qos=0).rc != MQTT_ERR_SUCCESS:
            raise TransportDown("the connection to the broker was lost")

    # paho's callbacks, all on the event loop

    def _on_message(self, _client: PahoClient, _userdata: object, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._deliver(topic, bytes(message.payload))

    def _on_publish(
        self, _client: PahoClient, _userdata: object, mid: int, reason_code: ReasonCode, _properties: Properties
    ) -> None:
        waiting = self._acknowledgements.pop(mid, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(reason_code.value)

    def _on_connect(
        self,
        client: PahoClient,
        userdata: object,
        flags: ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        offered = getattr(properties, "MaximumPacketSize", None)
        if isinstance(offered, int):
            self.max_packet = min(self.max_packet, offered)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: PahoClient,
        userdata: object,
        flags: DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        if not self._connected.done():
            self._connected.set_exception(NoAnswer("closed before CONNACK"))
            return
        super()._on_disconnect(client, userdata, flags, reason_code, properties)


__all__ = ["Connection", "MqttConnectError", "NoAnswer"]
