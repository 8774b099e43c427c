"""What ``partyd doctor`` looks at over the network: the broker, the running daemon's port, and each peer."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from collections.abc import Iterator, Mapping

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from partyd import trust
from partyd.cli.checks import CARD_WARNING_S, Finding
from partyd.cli.identity import day
from partyd.cli.local_api import UnreachableError, ask
from partyd.config import BrokerSettings, Settings, is_loopback
from partyd.errors import ConfigError
from partyd.layout import Layout
from partyd.pidfile import running_pid
from partyd.transport.base import TransportSecurity, subscriptions
from partyd.transport.mqtt import tls_context

TIMEOUT_S = 10.0
_REFUSED = 128
_SUBJECT = "broker"


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Connect step by step (address, TLS, credentials), so that the finding names the step that fails."""
    broker = settings.broker
    if broker.scheme == "memory":
        yield Finding("OK", _SUBJECT, "in memory: nothing to reach")
        return
    if not broker.tls and not is_loopback(broker.host):
        yield Finding("WARN", _SUBJECT, f"{broker.url} is not encrypted: others see who speaks to whom", "use mqtts://")
    try:
        yield asyncio.run(_reach(settings))
    except ConfigError as error:
        yield Finding("FAIL", _SUBJECT, str(error), "the broker's operator gives you these files")


async def _reach(settings: Settings) -> Finding:
    broker = settings.broker
    context = tls_context(_security(broker)) if broker.tls else None
    where = f"{broker.host}:{broker.port}"
    try:
        async with asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection(broker.host, broker.port, ssl=context)
            writer.close()
            await writer.wait_closed()
    except ssl.SSLCertVerificationError as error:
        remedy = (
            "set broker.ca_file to the authority that signed the broker's certificate, and use the name it is made for"
        )
        return Finding("FAIL", _SUBJECT, f"{where}: not the broker we expect: {error.verify_message}", remedy)
    except ssl.SSLError as error:
        return Finding("FAIL", _SUBJECT, f"{where}: no TLS: {error.reason}", "does the broker speak TLS on this port?")
    except TimeoutError:
        return Finding(
            "FAIL", _SUBJECT, f"{where}: no answer within {TIMEOUT_S:.0f} s", "a firewall? we need to dial out"
        )
    except OSError as error:
        text = f"{where}: {error.strerror or error}"
        return Finding("FAIL", _SUBJECT, text, "start the broker (partyd-broker run), or mend broker.url")
    return await _log_in(settings, context, where)


async def _log_in(settings: Settings, context: ssl.SSLContext | None, where: str) -> Finding:
    broker = settings.broker
    try:
        async with aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=_password(broker),
            identifier=f"doctor-{uuid.uuid4().hex[:12]}",
            tls_context=context,
            timeout=TIMEOUT_S,
        ) as client:
            granted = await client.subscribe([(one, 1) for one in subscriptions(settings.addresses)])
    except aiomqtt.MqttError as error:
        remedy = "check broker.username and password_file, or cert_file and key_file; ask the broker's operator"
        return Finding("FAIL", _SUBJECT, f"{where}: refused: {str(error)[:200]}", remedy)
    if any(_code(one) >= _REFUSED for one in granted):
        text = f"{where} lets us in, but not read the mailbox of party {settings.party_id}"
        return Finding(
            "FAIL", _SUBJECT, text, "these are another party's credentials; ask the broker's operator for ours"
        )
    return Finding("OK", _SUBJECT, f"{where} takes our credentials and opens our mailbox")


def _code(granted: int | ReasonCode) -> int:
    """Return a SUBACK code; MQTT 5 wraps it."""
    return granted if isinstance(granted, int) else int(granted.value)


def _security(broker: BrokerSettings) -> TransportSecurity:
    return TransportSecurity(broker.ca_file, broker.cert_file, broker.key_file)


def _password(broker: BrokerSettings) -> str | None:
    if broker.password_file is None:
        return None
    try:
        return broker.password_file.read_text(encoding="utf-8").strip("\r\n")
    except OSError as error:
        raise ConfigError(f"broker.password_file: {broker.password_file} cannot be read: {error.strerror}") from error


def check_daemon(settings: Settings, layout: Layout) -> Iterator[Finding]:
    """Ask the running daemon whether it is ready."""
    pid = running_pid(layout.pid_file)
    if pid is None:
        yield Finding("WARN", "daemon", "not running", f"partyd --instance {settings.instance}")
        return
    try:
        status, answer = ask(settings.http, "GET", "/readyz?verbose")
    except UnreachableError as error:
        yield Finding("FAIL", "daemon", f"process {pid} runs, but {error}", "look at its log; restart it")
        return
    if status == 200:
        yield Finding("OK", "daemon", f"process {pid} is ready")
    else:
        said = " ".join(str(answer).split())[:200]
        yield Finding("FAIL", "daemon", f"process {pid} is not ready: {said}", "mend what is not ok there")


def check_peers(settings: Settings, layout: Layout, now: int) -> Iterator[Finding]:
    """Check each pinned peer's card, and what the running daemon knows of it."""
    try:
        peers = trust.read_peers(layout)
    except ConfigError as error:
        yield Finding("FAIL", "peers", str(error), "partyd peer add")
        return
    if not peers:
        yield Finding("WARN", "peers", "none pinned: nobody can be spoken to", "partyd peer add --help")
    presence = _presence(settings, layout)
    for peer in peers:
        subject, until = f"peer {peer.address}", day(peer.card.not_after)
        state = presence.get(str(peer.address), "")
        seen = f", {state}" if state else ""
        if peer.card.not_after < now:
            yield Finding("FAIL", subject, f"its card expired on {until}", "ask for a new one: partyd card import")
        elif peer.card.not_after < now + CARD_WARNING_S:
            yield Finding(
                "WARN", subject, f"its card expires on {until}{seen}", "ask for a new one: partyd card import"
            )
        else:
            yield Finding("OK", subject, f"card valid until {until}{seen}")


def _presence(settings: Settings, layout: Layout) -> Mapping[str, str]:
    """Return each peer's state as the daemon tells it; empty when none runs or it does not say."""
    if running_pid(layout.pid_file) is None:
        return {}
    try:
        status, answer = ask(settings.http, "GET", "/v2/site/peers")
    except UnreachableError:
        return {}
    rows = answer.get("data") if isinstance(answer, dict) and status == 200 else None
    if not isinstance(rows, list):
        return {}
    return {str(row.get("peer", "")): _state(row) for row in rows if isinstance(row, dict)}


def _state(row: Mapping[str, object]) -> str:
    if row.get("established"):
        return "silent at the moment" if row.get("silent") else "in session"
    waiting = row.get("outbox_messages")
    return "no session" + (f", {waiting} messages wait for it" if isinstance(waiting, int) and waiting else "")
