"""The check against a broker without rules: it must fail, and say what to do."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.identity import Address, Credentials, Target
from broker.probe import Finding, check, table

LAX = """
listener {port} 127.0.0.1
allow_anonymous true
log_dest stderr
user root
"""


@pytest.fixture
def lax(tmp_path: Path) -> Iterator[Target]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (tmp_path / "mosquitto.conf").write_text(LAX.format(port=port))
    command = ["mosquitto", "-c", str(tmp_path / "mosquitto.conf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/sbin:/usr/bin"}) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rstrip().endswith("running"):
                break
        one, two = (Credentials(party, username=party, password="any") for party in ("1", "2"))
        yield Target(Address("127.0.0.1", port), one, two, [("no password", Credentials("1"))], 65536)
        process.terminate()
        process.stderr.read()


@pytest.mark.needs("mosquitto")
def test_a_broker_without_rules_fails_the_check(lax: Target) -> None:
    findings = asyncio.run(check(lax))
    assert [finding.rule for finding in findings if finding.passed] == [
        "a party's own message reaches its mailbox",
        "a stranger that subscribes $MQTT/# reads nobody else's mail",  # a matter of NATS alone
    ]
    assert "FAIL  a stranger cannot publish as 1\n      -> Let a party write" in table(findings)


def test_the_table_counts() -> None:
    text = table([Finding("one", True, "nothing"), Finding("two", False, "mend it")])
    assert text == "PASS  one\nFAIL  two\n      -> mend it\n1 of 2 rules hold"
