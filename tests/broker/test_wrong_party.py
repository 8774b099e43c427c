"""The rules, shown on every broker with real clients: one suite for the embedded broker, mosquitto and nats-server."""

from __future__ import annotations

import asyncio
import secrets

import aiomqtt
import pytest

from broker.identity import Credentials, Target
from broker.probe import check


def _topic(to: str, sender: str) -> str:
    return f"partyd/1/{to}/{sender}/guest/host"


async def _publish(target: Target, who: Credentials, topic: str, payload: bytes) -> None:
    async with who.client(target.address) as client:
        await client.publish(topic, payload, qos=1)


async def _received_until(client: aiomqtt.Client, last: bytes) -> list[bytes]:
    received: list[bytes] = []
    async with asyncio.timeout(10):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            received.append(message.payload)
            if message.payload == last:
                return received
    raise AssertionError("the stream of messages ended")


def test_a_frame_reaches_its_addressee_alone(target: Target, owner: Credentials, stranger: Credentials) -> None:
    async def scenario() -> tuple[list[bytes], list[bytes]]:
        async with owner.client(target.address) as receiver, stranger.client(target.address) as sender:
            await receiver.subscribe(f"partyd/1/{owner.party}/#", qos=1)
            await sender.subscribe(f"partyd/1/{stranger.party}/#", qos=1)
            await sender.publish(_topic(owner.party, stranger.party), b"frame", qos=1)
            await receiver.publish(_topic(stranger.party, owner.party), b"answer", qos=1)
            return await _received_until(receiver, b"frame"), await _received_until(sender, b"answer")

    assert asyncio.run(scenario()) == ([b"frame"], [b"answer"])


def test_a_party_cannot_publish_as_another(target: Target, owner: Credentials, stranger: Credentials) -> None:
    async def scenario() -> list[bytes]:
        async with owner.client(target.address) as receiver:
            await receiver.subscribe(f"partyd/1/{owner.party}/#", qos=1)
            for sender in (owner.party, "9998"):
                try:
                    async with stranger.client(target.address) as client:
                        await client.publish(_topic(owner.party, sender), b"forged", qos=1, timeout=2)
                except aiomqtt.MqttError:
                    continue
            await _publish(target, stranger, _topic(owner.party, stranger.party), b"permitted")
            return await _received_until(receiver, b"permitted")

    assert asyncio.run(scenario()) == [b"permitted"]


@pytest.mark.parametrize("topic_filter", ["partyd/1/{}/#", "#", "partyd/1/+/#", "partyd/1/+/{}/#", "$MQTT/#"])
def test_a_party_cannot_read_anothers_mailbox(
    target: Target, owner: Credentials, stranger: Credentials, topic_filter: str
) -> None:
    async def scenario() -> list[bytes]:
        async with stranger.client(target.address) as reader:
            await reader.subscribe(topic_filter.format(owner.party), qos=1)
            await reader.subscribe(f"partyd/1/{stranger.party}/#", qos=1)
            await _publish(target, owner, _topic(owner.party, owner.party), b"secret")
            await _publish(target, owner, _topic(stranger.party, owner.party), b"permitted")
            return await _received_until(reader, b"permitted")

    assert set(asyncio.run(scenario())) == {b"permitted"}


def test_impostors_are_refused(target: Target) -> None:
    async def attempt(who: Credentials) -> None:
        async with who.client(target.address, timeout_s=2):
            raise AssertionError("the broker let an impostor in")

    async def scenario() -> list[BaseException | None]:
        attempts = (attempt(who) for _, who in target.impostors)
        return await asyncio.gather(*attempts, return_exceptions=True)

    outcomes = asyncio.run(scenario())
    assert len(outcomes) >= 2
    assert all(isinstance(outcome, aiomqtt.MqttError | OSError) for outcome in outcomes)


def test_two_daemons_of_one_party_are_served_side_by_side(target: Target, owner: Credentials) -> None:
    async def scenario() -> tuple[list[bytes], list[bytes]]:
        async with owner.client(target.address) as guest, owner.client(target.address) as host:
            await guest.subscribe(f"partyd/1/{owner.party}/+/guest/#", qos=1)
            await host.subscribe(f"partyd/1/{owner.party}/+/host/#", qos=1)
            await guest.publish(f"partyd/1/{owner.party}/{owner.party}/host/guest", b"to host", qos=1)
            await host.publish(f"partyd/1/{owner.party}/{owner.party}/guest/host", b"to guest", qos=1)
            return await _received_until(guest, b"to guest"), await _received_until(host, b"to host")

    assert asyncio.run(scenario()) == ([b"to guest"], [b"to host"])


def test_a_last_will_tells_the_peer(target: Target, owner: Credentials, stranger: Credentials) -> None:
    will = aiomqtt.Will(f"{_topic(owner.party, stranger.party)}/presence", secrets.token_bytes(8), qos=1)

    async def scenario() -> list[bytes]:
        async with owner.client(target.address) as receiver:
            await receiver.subscribe(f"partyd/1/{owner.party}/#", qos=1)
            dying = stranger.client(target.address, will=will, timeout_s=1)
            await dying.__aenter__()
            connection = dying._client.socket()
            assert connection is not None
            connection.close()  # as a killed process does
            assert isinstance(will.payload, bytes)
            received = await _received_until(receiver, will.payload)
            with pytest.raises(aiomqtt.MqttError):
                await dying.__aexit__(None, None, None)
            return received

    assert asyncio.run(scenario()) == [will.payload]


def test_the_check_command_finds_every_rule_kept(target: Target, request: pytest.FixtureRequest) -> None:
    failed = [finding.rule for finding in asyncio.run(check(target)) if not finding.passed]
    keeps_retained = "nats" in request.node.callspec.id  # its gateway cannot switch retained messages off
    assert failed == (["a retained message is not kept"] if keeps_retained else [])
