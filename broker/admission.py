"""Decide at the door who a client is, before amqtt sees it.

amqtt forgets a session as soon as somebody sends CONNECT with its client id, and asks its authentication plugins
later; so an unknown client could cut off any party whose client id it knows. Here the CONNECT packet is read first
(by amqtt's own codec), the party is established, and amqtt gets a packet rewritten to what this broker offers:

- the client id is put under the party's name, so two parties never share one and nobody can take another's;
- clean session is set and the will's retain flag cleared: nothing outlives a connection;
- a last will must lie where the party may publish, for amqtt checks it against no rule;
- the password is removed; the user name is the party id that was proved.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from amqtt.adapters import BufferReader
from amqtt.errors import AMQTTError, MQTTError, NoDataError
from amqtt.mqtt.connack import (
    BAD_USERNAME_PASSWORD,
    IDENTIFIER_REJECTED,
    NOT_AUTHORIZED,
    UNACCEPTABLE_PROTOCOL_VERSION,
)
from amqtt.mqtt.connect import ConnectPacket
from amqtt.mqtt.packet import CONNECT

from broker.certificates import common_name
from broker.errors import RefusedError
from broker.passwords import PasswordHash, hash_password
from broker.rules import is_party_id, may_publish

_MQTT_3_1_1 = 4
_NOBODY = hash_password("")


@dataclass(frozen=True)
class Admission:
    """A client that was let in, and the CONNECT packet that amqtt is to see."""

    party: str
    client_id: str
    keepalive_s: int
    packet: bytes


@dataclass(frozen=True)
class Door:
    """Admit clients by password, or by certificate where ``users`` is None."""

    users: Mapping[str, PasswordHash] | None
    max_keepalive_s: int

    async def admit(self, packet: bytes, tls: ssl.SSLObject | None) -> Admission:
        """Establish the party and rewrite its CONNECT; raises RefusedError."""
        connect = await _parse(packet)
        party = _certified_party(tls) if self.users is None else await self._proved_party(connect, self.users)
        if not 0 < connect.keep_alive <= self.max_keepalive_s:
            raise RefusedError(f"keepalive {connect.keep_alive} s", return_code=IDENTIFIER_REJECTED)
        if connect.will_flag and not may_publish(party, connect.will_topic or ""):
            raise RefusedError(f"{party}: a last will outside its own topics", return_code=NOT_AUTHORIZED)
        return _rewrite(connect, party)

    async def _proved_party(self, connect: ConnectPacket, users: Mapping[str, PasswordHash]) -> str:
        party = connect.username or ""
        known = await users.get(party, _NOBODY).accepts(connect.password or "")
        if not known or party not in users or not is_party_id(party):
            raise RefusedError("unknown user or wrong password", return_code=BAD_USERNAME_PASSWORD)
        return party


async def _parse(packet: bytes) -> ConnectPacket:
    if packet[0] >> 4 != CONNECT:
        raise RefusedError("the first packet is not CONNECT", return_code=NOT_AUTHORIZED)
    try:
        connect = await ConnectPacket.from_stream(BufferReader(packet))
    except (AMQTTError, MQTTError, NoDataError) as error:
        raise RefusedError("a malformed CONNECT", return_code=UNACCEPTABLE_PROTOCOL_VERSION) from error
    if connect.proto_name != "MQTT" or connect.proto_level != _MQTT_3_1_1 or connect.reserved_flag:
        raise RefusedError("another protocol than MQTT 3.1.1", return_code=UNACCEPTABLE_PROTOCOL_VERSION)
    return connect


def _certified_party(tls: ssl.SSLObject | None) -> str:
    encoded = tls.getpeercert(binary_form=True) if tls else None
    party = common_name(encoded) if encoded else None
    if party is None or not is_party_id(party):
        raise RefusedError("no certificate whose common name is a party id", return_code=NOT_AUTHORIZED)
    return party


def _rewrite(connect: ConnectPacket, party: str) -> Admission:
    keepalive_s, client_id = connect.keep_alive, f"{party}/{connect.client_id}"
    connect.client_id, connect.clean_session_flag, connect.will_retain_flag = client_id, True, False
    connect.username_flag, connect.username = True, party
    connect.password_flag, connect.keep_alive = False, 0
    return Admission(party, client_id, keepalive_s, connect.to_bytes())
