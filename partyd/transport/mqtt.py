"""Frames through an MQTT broker: QoS 1, clean start, nothing retained, reconnecting for ever.

Only features of MQTT 3.1.1 are relied on, so that any broker serves; MQTT 5 is tried first, because its reason codes
say at once that nobody listens or that the broker's rules forbid something.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import aiomqtt
import structlog

from partyd.errors import ConfigError
from partyd.transport.base import (
    MAX_FRAME,
    Endpoint,
    OnFrame,
    OnPresence,
    OnState,
    TransportDown,
    TransportSecurity,
    parse_topic,
    presence_topic_of,
    subscriptions,
    topic_of,
)
from partyd.transport.mqtt_client import (
    CONNECT_TIMEOUT_S,
    PACKET_SLACK,
    PUBLISH_TIMEOUT_S,
    Connection,
    MqttConnectError,
    NoAnswer,
    heed_cancellation,
)
from partyd.types import Address

log = structlog.get_logger(__name__)

MAX_IN_FLIGHT = 64
PROBE_TIMEOUT_S = 2.0
STABLE_S = 2.0
"""A connection that lived so long was good: the next try after it is immediate."""
PORTS = {"mqtt": 1883, "mqtts": 8883}
HERE, GONE = b"\x01", b"\x00"

NO_SUBSCRIBERS = 0x10
FAILURE = 0x80
UNSUPPORTED_VERSION = frozenset({1, 0x84})
BAD_CREDENTIALS = frozenset({4, 5, 0x86, 0x87})


def delays(uniform: Callable[[float, float], float]) -> Iterator[float]:
    """Yield waiting times between tries: at once, then each second for a while, at last each 30 s, all with jitter."""
    for base in (0.05, 0.15, 0.45, *[1.0] * 15, 2.0, 4.0, 8.0, 16.0):
        yield base * uniform(0.5, 1.5)
    while True:
        yield 30.0 * uniform(0.5, 1.5)


class SubscriptionRefused(aiomqtt.MqttError):
    """The broker does not let us read our own mailbox."""


@dataclass(frozen=True, slots=True)
class _Callbacks:
    frame: OnFrame
    state: OnState
    presence: OnPresence


class MqttTransport:
    """One daemon's connection to a broker, for all its local addresses."""

    def __init__(self, endpoint: Endpoint, uniform: Callable[[float, float], float]) -> None:
        self._local = endpoint.local
        self._host = endpoint.url.hostname or ""
        self._port = endpoint.url.port or PORTS[endpoint.url.scheme]
        self._secure = endpoint.url.scheme == "mqtts"
        self._security = endpoint.security
        self._uniform = uniform
        self._peers: tuple[Address, ...] = ()
        self._version: aiomqtt.ProtocolVersion | None = None
        self._connection: Connection | None = None
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self._callbacks: _Callbacks | None = None
        self._said: set[str] = set()
        self._max_frame = MAX_FRAME

    @property
    def max_frame(self) -> int:
        return self._max_frame

    # staying connected

    async def run(self, on_frame: OnFrame, on_state: OnState, on_presence: OnPresence) -> None:
        """Connect, subscribe, wait for the end, wait a little, again; until cancelled."""
        self._callbacks = _Callbacks(on_frame, on_state, on_presence)
        loop = asyncio.get_running_loop()
        waits = delays(self._uniform)
        while True:
            began = loop.time()
            try:
                reason = await self._live()
            except aiomqtt.MqttError as error:
                heed_cancellation()
                reason = self._explain(error)
            if loop.time() - began >= STABLE_S:
                waits = delays(self._uniform)
            delay = next(waits)
            log.info("broker_unreachable", broker=self._name, reason=reason, retry_in_s=round(delay, 2))
            await asyncio.sleep(delay)

    @property
    def _name(self) -> str:
        return f"{self._host}:{self._port}"

    async def _live(self) -> str:
        """Live through one connection; return why it ended."""
        if self._version is None:
            self._version = await self._learn_version()
        async with self._connect(self._version) as connection:
            await self._subscribe(connection)
            self._connection = connection
            self._max_frame = min(MAX_FRAME, connection.max_packet - PACKET_SLACK)
            self._said.clear()
            log.info("broker_connected", broker=self._name, mqtt=self._version.name)
            try:
                self._tell(self._peers, HERE)
                self._on().state(True)
                return await connection.lost()
            finally:
                self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        self._tell(self._peers, GONE)
        self._connection = None
        connection.fail_pending()
        self._on().state(False)

    def _on(self) -> _Callbacks:
        if self._callbacks is None:
            raise TransportDown("run() has not been called")
        return self._callbacks

    async def _learn_version(self) -> aiomqtt.ProtocolVersion:
        """Ask with a bare CONNECT of MQTT 5 which MQTT the broker speaks.

        Bare, because a broker of 3.1.1 (amqtt) that reads a will or a password where MQTT 5 has its properties may wait
        for ever. A refusal with a reason code of MQTT 5, such as "not authorised", is an answer too.
        """
        probe = self._connection_of(aiomqtt.ProtocolVersion.V5, TransportSecurity(), None, PROBE_TIMEOUT_S)
        try:
            async with probe:
                return aiomqtt.ProtocolVersion.V5
        except MqttConnectError as error:
            five = (code_of(error) or 0) >= FAILURE and code_of(error) not in UNSUPPORTED_VERSION
            return aiomqtt.ProtocolVersion.V5 if five else aiomqtt.ProtocolVersion.V311
        except NoAnswer:
            return aiomqtt.ProtocolVersion.V311

    def _connect(self, version: aiomqtt.ProtocolVersion) -> Connection:
        will = None
        if self._peers:
            will = aiomqtt.Will(presence_topic_of(self._local[0], self._peers[0]), GONE, qos=1)
        return self._connection_of(version, self._security, will, CONNECT_TIMEOUT_S)

    def _connection_of(
        self, version: aiomqtt.ProtocolVersion, login: TransportSecurity, will: aiomqtt.Will | None, timeout_s: float
    ) -> Connection:
        return Connection(
            self._host,
            self._port,
            client_id=secrets.token_hex(16),
            version=version,
            on_message=self._receive,
            tls=tls_context(self._security) if self._secure else None,
            username=login.username,
            password=login.password,
            will=will,
            timeout_s=timeout_s,
        )

    async def _subscribe(self, connection: Connection) -> None:
        granted = await connection.subscribe([(topic, 1) for topic in subscriptions(self._local)])
        heed_cancellation()
        codes = [code if isinstance(code, int) else code.value for code in granted]
        if any(code >= FAILURE for code in codes):
            raise SubscriptionRefused(f"codes {codes}")

    def _explain(self, error: aiomqtt.MqttError) -> str:
        """Say what an operator can do about a failed connection."""
        code = code_of(error)
        if isinstance(error, NoAnswer) or code in UNSUPPORTED_VERSION:
            self._version = None
        if code in BAD_CREDENTIALS:
            return f"the broker refuses our credentials ({error}); check certificate, user name and password"
        if isinstance(error, SubscriptionRefused):
            return f"the broker refuses our mailbox ({error}); its rules must let us read partyd/1/OUR-ID/#"
        return str(error)

    # sending

    async def publish(self, source: Address, destination: Address, frame: bytes) -> None:
        """Publish at QoS 1 and wait for the broker's PUBACK, at most 64 at once."""
        async with self._slots:
            if self._connection is None:
                raise TransportDown(f"no connection to the broker at {self._name}; it is being retried")
            acknowledged = self._connection.send(topic_of(source, destination), frame)
            try:
                async with asyncio.timeout(PUBLISH_TIMEOUT_S):
                    code = await acknowledged
            except TimeoutError:
                raise TransportDown(
                    f"the broker at {self._name} did not acknowledge in {PUBLISH_TIMEOUT_S} s"
                ) from None
        if code:
            self._note(code, source, destination)

    def _note(self, code: int, source: Address, destination: Address) -> None:
        """Act on a reason code other than success."""
        if code == NO_SUBSCRIBERS:
            self._on().presence(destination, False)
            return
        said = f"{code:#x} {source} {destination}"
        if said not in self._said:
            self._said.add(said)
            log.error(
                "publish_refused",
                broker=self._name,
                code=hex(code),
                source=str(source),
                destination=str(destination),
                remedy=f"the broker's rules must let us publish under partyd/1/+/{source.party_id}/#",
            )

    def set_peers(self, peers: Sequence[Address]) -> None:
        added = [peer for peer in peers if peer not in self._peers]
        self._peers = tuple(peers)
        self._tell(added, HERE)

    def _tell(self, peers: Sequence[Address], presence: bytes) -> None:
        """Send presence hints; nobody waits for them, and they may be lost."""
        connection = self._connection
        if connection is None:
            return
        try:
            for peer in peers:
                for source in self._local:
                    connection.hint(presence_topic_of(source, peer), presence)
        except TransportDown:
            return

    # receiving

    def _receive(self, topic: str, payload: bytes) -> None:
        mail = parse_topic(topic)
        if mail is None or mail.destination not in self._local or len(payload) > MAX_FRAME:
            return
        if not mail.presence:
            self._on().frame(mail.source, mail.destination, payload)
        elif payload in (HERE, GONE):
            self._on().presence(mail.source, payload == HERE)


def code_of(error: aiomqtt.MqttError) -> int | None:
    """Return the reason code of a refused CONNECT, None for any other error."""
    if not isinstance(error, MqttConnectError):
        return None
    return error.rc if isinstance(error.rc, int) or error.rc is None else int(error.rc.value)


def tls_context(security: TransportSecurity) -> ssl.SSLContext:
    """Return a context that checks the broker and shows our certificate, read anew so that rotation takes effect."""
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if security.cert_file is not None:
            context.load_cert_chain(security.cert_file, security.key_file)
    except OSError as error:
        raise ConfigError(
            f"broker TLS: cannot use CA {security.ca_file}, certificate {security.cert_file}: {error}; "
            "check the paths and that key and certificate belong together"
        ) from error
    return context


def open_mqtt(endpoint: Endpoint) -> MqttTransport:
    """Open ``mqtt://host[:port]`` or ``mqtts://host[:port]``; raises ConfigError if the TLS files cannot be used."""
    if endpoint.url.scheme == "mqtts":
        tls_context(endpoint.security)
    return MqttTransport(endpoint, random.SystemRandom().uniform)
