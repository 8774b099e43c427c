"""systemd's protocol, against a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from partyd.notify import Notifier


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.bind(str(tmp_path / "n"))
        stream.settimeout(10)
        yield stream


def environment(stream: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": stream.getsockname(), **more}


def test_messages_as_systemd_reads_them(listener: socket.socket) -> None:
    notifier = Notifier.from_environment(environment(listener))
    sent = [
        notifier.ready("serving\n10000/guest"),
        notifier.status("2 jobs"),
        notifier.extend(1.5),
        notifier.alive(),
        notifier.stopping(),
    ]
    assert all(sent)
    assert [listener.recv(999).decode() for _ in sent] == [
        "READY=1\nSTATUS=serving 10000/guest",
        "STATUS=2 jobs",
        "EXTEND_TIMEOUT_USEC=1500000",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_abstract_sockets() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        name = f"partyd-test-{os.getpid()}"
        stream.bind(f"\0{name}")
        assert Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert stream.recv(99) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nothing_happens(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
    assert not notifier.ready()
    assert notifier.watchdog_s == 0
    asyncio.run(notifier.feed_watchdog(never_asked))


async def never_asked() -> bool:
    raise AssertionError


def test_a_service_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert not Notifier.from_environment({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_child_that_inherits_the_variables_is_not_watched(listener: socket.socket) -> None:
    ours = environment(listener, WATCHDOG_USEC="30000000", WATCHDOG_PID="77")
    assert Notifier.from_environment(ours, pid=77).watchdog_s == 30
    assert Notifier.from_environment(ours, pid=78).watchdog_s == 0


def feed(notifier: Notifier, probe: Callable[[], Awaitable[bool]], rounds: int) -> list[float]:
    """Run the feeder for ``rounds`` periods that pass at once; return the periods it asked for."""
    asked: list[float] = []

    async def sleep(seconds: float) -> None:
        if len(asked) == rounds:
            raise asyncio.CancelledError
        asked.append(seconds)

    async def run() -> None:
        with pytest.raises(asyncio.CancelledError):
            await notifier.feed_watchdog(probe, sleep=sleep)

    asyncio.run(run())
    return asked


def received(listener: socket.socket) -> int:
    listener.setblocking(False)
    count = 0
    try:
        while listener.recv(99) == b"WATCHDOG=1":
            count += 1
    except BlockingIOError:
        return count
    raise AssertionError


def test_the_watchdog_is_fed_each_third_while_the_probe_answers(listener: socket.socket) -> None:
    answers = iter([True, True, False, True])

    async def probe() -> bool:
        return next(answers)

    notifier = Notifier.from_environment(environment(listener, WATCHDOG_USEC="30000000"))
    assert feed(notifier, probe, 4) == [10.0] * 4
    assert received(listener) == 3


def test_a_probe_that_hangs_starves_the_watchdog(listener: socket.socket) -> None:
    async def probe() -> bool:
        await asyncio.Event().wait()
        return True

    notifier = Notifier.from_environment(environment(listener, WATCHDOG_USEC="30000"))
    assert len(feed(notifier, probe, 2)) == 2
    assert received(listener) == 0


def test_the_failpoint_blocks_the_probe_after_the_first_ping(listener: socket.socket) -> None:
    async def probe() -> bool:
        return True

    given = environment(listener, WATCHDOG_USEC="30000", PARTYD_FAILPOINT="block_probe")
    assert len(feed(Notifier.from_environment(given), probe, 3)) == 3
    assert received(listener) == 1


def test_a_blocked_loop_starves_the_watchdog(listener: socket.socket) -> None:
    program = (
        "import asyncio, os\nfrom partyd.notify import Notifier\n"
        "async def probe() -> bool: return True\n"
        "asyncio.run(Notifier.from_environment(os.environ).feed_watchdog(probe))"
    )
    given = environment(listener, WATCHDOG_USEC="300000", PARTYD_FAILPOINT="block_loop")
    root = str(Path(__file__).parents[1])
    with subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **given, "PYTHONPATH": root}) as child:
        try:
            assert listener.recv(99) == b"WATCHDOG=1"
            listener.settimeout(1.0)  # ten periods
            with pytest.raises(TimeoutError):
                listener.recv(99)
        finally:
            child.kill()
