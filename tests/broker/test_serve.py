"""The foreground service: readiness, signals, and a child that dies with its supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiomqtt
import pytest

from broker.certificates import utc_now
from broker.identity import Address, Credentials
from broker.layout import Plan, initialise, revoke
from broker.settings import Identity

KINDS = ["--embedded", pytest.param("", marks=pytest.mark.needs("mosquitto"))]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    initialise(Plan(tmp_path, ("10000", "9999"), Identity.PASSWORDS, tls=False), utc_now())
    return tmp_path


def _command(directory: Path, *options: str) -> list[str]:
    given = [option for option in options if option]
    return [sys.executable, "-m", "broker", "run", "--dir", str(directory), "--port", "0", *given]


def _events(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        if line.startswith("{"):
            yield json.loads(line)


def _listening(process: subprocess.Popen[str]) -> int:
    assert process.stderr is not None
    for event in _events(iter(process.stderr.readline, "")):
        if event["event"] == "broker_listening":
            assert isinstance(event["port"], int)
            return event["port"]
    raise AssertionError("the broker ended before it listened")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_listens_says_so_and_ends_on_a_signal(directory: Path, kind: str, number: signal.Signals) -> None:
    with subprocess.Popen(_command(directory, kind), stderr=subprocess.PIPE, text=True) as process:
        port = _listening(process)
        socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(number)
        assert process.stderr is not None
        assert process.stderr.read().rstrip().endswith("}")
        assert process.wait(timeout=20) == 0
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_listens_after_it_is_killed(directory: Path, kind: str) -> None:
    with subprocess.Popen(_command(directory, kind), stderr=subprocess.PIPE, text=True) as process:
        port = _listening(process)
        process.kill()
        assert process.stderr is not None
        process.stderr.read()
        process.wait(timeout=20)
        _wait_until_free(port)
    assert process.returncode == -signal.SIGKILL


def _wait_until_free(port: int) -> None:
    """Connect and read to the end: whoever still accepts ends the connection when it dies."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            assert connection.recv(1) == b""
    except OSError:
        return


def test_systemd_is_told(directory: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address = directory / "notify"
        manager.bind(str(address))
        manager.settimeout(20)
        environment = os.environ | {"NOTIFY_SOCKET": str(address)}
        with subprocess.Popen(_command(directory, "--embedded"), env=environment, stderr=subprocess.DEVNULL) as process:
            assert manager.recv(100) == b"READY=1"
            process.terminate()


@pytest.mark.needs("mosquitto")
def test_mosquittos_own_failure_is_reported(directory: Path) -> None:
    (directory / "acl").unlink()
    done = subprocess.run(_command(directory), capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "mosquitto ended with" in done.stderr


def test_a_missing_mosquitto_is_replaced_by_the_embedded_broker(directory: Path) -> None:
    configuration = directory / "broker.toml"
    configuration.write_text(configuration.read_text().replace('mosquitto = "mosquitto"', 'mosquitto = "not-there"'))
    with subprocess.Popen(_command(directory), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        started = next(_events(iter(process.stderr.readline, "")))
        process.terminate()
        process.stderr.read()
    assert started["program"] == "embedded"


@pytest.mark.needs("mosquitto")
def test_mosquitto_refuses_a_revoked_certificate(tmp_path: Path) -> None:
    initialise(Plan(tmp_path, ("10000", "9999")), utc_now())
    revoke(tmp_path, "9999", utc_now())
    kept, refused = (Credentials.read(tmp_path / "parties" / party) for party in ("10000", "9999"))

    async def scenario(port: int) -> None:
        address = Address("127.0.0.1", port, (tmp_path / "ca.crt").read_bytes())
        async with kept.client(address) as client:
            await client.publish("partyd/1/9999/10000/guest/host", b"in", qos=1)
        with pytest.raises(aiomqtt.MqttError):
            await refused.client(address, timeout_s=2).__aenter__()

    with subprocess.Popen(_command(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        asyncio.run(scenario(_listening(process)))
        process.terminate()
        assert process.stderr is not None
        process.stderr.read()
    assert process.returncode == 0
