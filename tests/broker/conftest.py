"""Real brokers for the tests: the embedded one and mosquitto through the command line, nats-server by its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from broker.certificates import utc_now
from broker.identity import Credentials, Target, find_target
from broker.layout import Plan, initialise
from broker.settings import Identity

OWNER, STRANGER = "10000", "9999"
LIMIT = 65536

NATS_CONFIGURATION = """
server_name: test
listen: "127.0.0.1:-1"
jetstream {{ store_dir: "{store}" }}
mqtt {{ listen: "127.0.0.1:-1" }}
max_payload: {limit}
authorization {{ users = [ {users} ] }}
"""
NATS_USER = """
{{ user: "{party}", password: "{password}", allowed_connection_types: ["MQTT"], permissions: {{
   publish: ["partyd.1.*.{party}.>", "$MQTT.>"],
   subscribe: ["partyd.1.{party}", "partyd.1.{party}.>", "$MQTT.>"] }} }}
"""


@contextmanager
def running(directory: Path, *options: str) -> Iterator[int]:
    """Run `partyd-broker run` on a free port until the block ends; gives the port."""
    read_fd, write_fd = os.pipe()
    command = [sys.executable, "-m", "broker", "run", "--dir", str(directory), "--port", "0"]
    with (directory / "log").open("wb") as output:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(write_fd), *options], pass_fds=[write_fd], stdout=output, stderr=output
        )
    os.close(write_fd)
    try:
        with os.fdopen(read_fd) as ready:
            port = ready.readline()
        assert port, (directory / "log").read_text()
        yield int(port)
    finally:
        process.terminate()
        code = process.wait(timeout=20)
    assert code == 0, (directory / "log").read_text()


@contextmanager
def own_broker(directory: Path, identity: Identity, *options: str) -> Iterator[Target]:
    """Set up and run our broker with two parties."""
    passwords = identity is Identity.PASSWORDS
    tls = False if passwords else None
    initialise(Plan(directory, (OWNER, STRANGER), identity, tls=tls), utc_now())
    settings = directory / "broker.toml"
    settings.write_text(settings.read_text().replace("max_packet_bytes = 2097152", f"max_packet_bytes = {LIMIT}"))
    folders = [directory / "parties" / party for party in (OWNER, STRANGER)]
    with running(directory, *options) as port:
        yield find_target(directory, f"mqtt{'' if passwords else 's'}://127.0.0.1:{port}", folders)


@contextmanager
def nats_broker(directory: Path) -> Iterator[Target]:
    """Run nats-server with its MQTT gateway and the same two parties."""
    folders = [directory / party for party in (OWNER, STRANGER)]
    users = []
    for folder in folders:
        folder.mkdir()
        (folder / "password").write_text(f"secret of {folder.name}")
        users.append(NATS_USER.format(party=folder.name, password=f"secret of {folder.name}"))
    configuration = directory / "nats.conf"
    configuration.write_text(
        NATS_CONFIGURATION.format(store=directory / "store", limit=LIMIT, users="".join(users)), encoding="utf-8"
    )
    program = Path(sys.executable).with_name("nats-server")
    command = [str(program if program.exists() else "nats-server"), "--config", str(configuration)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        log, address = "", ""
        for line in process.stderr:
            log += line
            if "Listening for MQTT clients on " in line:
                address = line.split()[-1]
            if "Server is ready" in line:
                break
        assert address, log
        yield find_target(None, address, folders, LIMIT)
    finally:
        process.terminate()
        process.stderr.read()
        process.wait(timeout=20)
        process.stderr.close()


@pytest.fixture(
    scope="session",
    params=[
        "embedded, certificates",
        "embedded, passwords",
        pytest.param("mosquitto, certificates", marks=pytest.mark.needs("mosquitto")),
        pytest.param("mosquitto, passwords", marks=pytest.mark.needs("mosquitto")),
        pytest.param("nats, passwords", marks=pytest.mark.needs("nats-server")),
    ],
)
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Each broker in turn, with a party, a stranger, and impostors."""
    program, _, identity = str(request.param).partition(", ")
    directory = tmp_path_factory.mktemp(program)
    if program == "nats":
        with nats_broker(directory) as found:
            yield found
    else:
        options = ["--embedded"] if program == "embedded" else []
        with own_broker(directory, Identity(identity), *options) as found:
            yield found


@pytest.fixture
def owner(target: Target) -> Credentials:
    """The party whose mailbox is attacked."""
    return target.owner


@pytest.fixture
def stranger(target: Target) -> Credentials:
    """Another party of the same broker."""
    return target.stranger
